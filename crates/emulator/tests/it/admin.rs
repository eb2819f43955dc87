//! Tests of the admin API.

use std::net::SocketAddr;

use http::{Method, Request};
use serde_json::{Value, json};
use symbolon_emulator::{Emulator, Error, Step};

use crate::client::{Answer, Client, authorized, get};
use crate::csr::Key;
use crate::fixtures::{bound_request, bound_token, certified, platform_request};

async fn emulator() -> Emulator {
    Emulator::builder().admin_address("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
}

fn request(emulator: &Emulator, method: Method, path: &str, media_type: &str, body: &str) -> Request<String> {
    Request::builder()
        .method(method)
        .uri(format!("{}{path}", emulator.admin_url().unwrap()))
        .header("content-type", media_type)
        .body(body.to_owned())
        .unwrap()
}

async fn send(emulator: &Emulator, method: Method, path: &str, body: &Value) -> Answer {
    let request = request(emulator, method, path, "application/json", &body.to_string());
    Client::new(emulator, None).send(request).await.unwrap()
}

async fn read(emulator: &Emulator, path: &str) -> Value {
    let answer = send(emulator, Method::GET, path, &Value::Null).await;
    assert_eq!(answer.status, 200, "{path}");
    answer.json()
}

#[tokio::test]
async fn secret_and_host_are_required() {
    let emulator = emulator().await;
    let client = Client::new(&emulator, None);
    let url = emulator.admin_url().unwrap();
    let (origin, secret) = url.trim_end_matches('/').rsplit_once('/').unwrap();
    assert_eq!(secret.len(), 32);
    for (path, status) in [
        ("/".to_owned(), 404),
        ("/faults".to_owned(), 404),
        (format!("/{}/faults", "0".repeat(32)), 404),
        (format!("/{}/faults", &secret[..31]), 404),
        (format!("/{secret}"), 308),
        (format!("/{secret}/"), 200),
        (format!("/{secret}/faults"), 200),
        (format!("/{secret}/faults/7"), 404),
        (format!("/{secret}/nothing"), 404),
    ] {
        let answer = client.send(get(&format!("{origin}{path}"))).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    // DNS rebinding: another name that resolves to loopback.
    let mut stream = tokio::net::TcpStream::connect(origin.trim_start_matches("http://")).await.unwrap();
    for (host, status) in [("evil.example", "421"), ("localhost", "421")] {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let head = format!("GET /{secret}/faults HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
        stream = tokio::net::TcpStream::connect(origin.trim_start_matches("http://")).await.unwrap();
    }
    // The media types that an HTML form of another site can send.
    for media_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        for path in ["faults", "revoke", "renew", "reboot", "clock", "user-token"] {
            let answer = client.send(request(&emulator, Method::POST, path, media_type, "{}")).await.unwrap();
            assert_eq!(answer.status, 415, "{path}");
        }
    }
    assert!(!format!("{emulator:?}").contains(secret));
    assert_eq!(Emulator::start().await.unwrap().admin_url(), None);
    let outside: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let refused = Emulator::builder().admin_address(outside).start().await;
    assert!(matches!(refused, Err(Error::NotLoopback(address)) if address == outside));
}

#[tokio::test]
async fn faults_are_added_and_removed() {
    let emulator = emulator().await;
    let client = Client::new(&emulator, None);
    let busy = json!({
        "kind": "status", "step": "metadata", "status": 503, "times": "always", "headers": { "retry-after": "1" },
    });
    let answer = send(&emulator, Method::POST, "faults", &busy).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (201, json!({ "ids": [0] })));
    let file = "[[fault]]\nkind = \"gone\"\nstep = \"compute\"\nlasting = \"70s\"\n\n[[fault]]\nkind = \"wrong-cnf\"\n";
    let answer =
        client.send(request(&emulator, Method::POST, "faults", "application/toml", file)).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()), (201, json!({ "ids": [1, 2] })));
    assert_eq!(
        read(&emulator, "faults").await,
        json!([
            { "id": 0, "kind": "status", "step": "metadata", "detail": "503", "after": 0.0, "times": "always", "lasting": null },
            { "id": 1, "kind": "status", "step": "compute", "detail": "410", "after": 0.0, "times": null, "lasting": 70.0 },
            { "id": 2, "kind": "wrong-cnf", "step": "token", "detail": null, "after": 0.0, "times": 1, "lasting": null },
        ])
    );
    for _ in 0..2 {
        assert_eq!(client.send(platform_request(&emulator)).await.unwrap().status, 503);
    }
    let answer = send(&emulator, Method::DELETE, "faults/0", &Value::Null).await;
    assert_eq!((answer.status.as_u16(), answer.json().as_array().unwrap().len()), (200, 2));
    assert_eq!(client.send(platform_request(&emulator)).await.unwrap().status, 200);
    assert_eq!(send(&emulator, Method::DELETE, "faults/0", &Value::Null).await.status, 404);
    assert_eq!(send(&emulator, Method::DELETE, "faults", &Value::Null).await.json(), json!([]));

    let wrong = "[[fault]]\nkind = \"gone\"\nstep = \"tokn\"\n";
    let answer =
        client.send(request(&emulator, Method::POST, "faults", "application/toml", wrong)).await.unwrap();
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["line"], &body["column"]), (400, &json!(3), &json!(8)));
    assert!(body["message"].as_str().unwrap().contains("there is no step `tokn`"));
    let answer = send(&emulator, Method::POST, "faults", &json!({ "kind": "rset" })).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (400, Some("invalid_fault")));
    assert_eq!(send(&emulator, Method::PUT, "faults", &Value::Null).await.status, 405);
    let long = "#".repeat(70_000);
    let answer =
        client.send(request(&emulator, Method::POST, "faults", "application/toml", &long)).await.unwrap();
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn certificates_are_revoked_and_renewed() {
    let emulator = emulator().await;
    let key = Key::p256();
    let identity = certified(&emulator, &key).await;
    let name = json!({ "certificate": identity.thumbprint().to_string() });
    let shown = read(&emulator, "certificates").await;
    assert_eq!(shown[0]["x5t#S256"], name["certificate"]);
    assert_eq!((&shown[0]["revoked"], &shown[0]["refused_in_tls"]), (&json!(false), &json!(false)));
    assert_eq!(shown[0]["client_id"], emulator.client_id());

    let renewed = send(&emulator, Method::POST, "renew", &name).await;
    assert_eq!(renewed.status, 201);
    assert_eq!(read(&emulator, "certificates").await[1], renewed.json());
    bound_token(&emulator, &identity).await.unwrap();
    assert_eq!(send(&emulator, Method::POST, "revoke", &name).await.json()["revoked"], true);
    let answer = Client::new(&emulator, Some(&identity)).send(bound_request(&emulator)).await.unwrap();
    assert_eq!(answer.status, 401);
    let in_tls = json!({ "certificate": name["certificate"], "in_tls": true });
    assert_eq!(send(&emulator, Method::POST, "revoke", &in_tls).await.json()["refused_in_tls"], true);
    assert!(Client::new(&emulator, Some(&identity)).send(bound_request(&emulator)).await.is_err());
    for path in ["revoke", "renew"] {
        let unknown = json!({ "certificate": "nothing" });
        assert_eq!(send(&emulator, Method::POST, path, &unknown).await.status, 404);
        assert_eq!(send(&emulator, Method::POST, path, &json!({})).await.status, 400);
    }

    let later = certified(&emulator, &key).await;
    send(&emulator, Method::POST, "reboot", &json!({})).await;
    assert!(Client::new(&emulator, Some(&later)).send(bound_request(&emulator)).await.is_err());
}

#[tokio::test]
async fn clock_skew_is_set_and_reset() {
    let emulator = emulator().await;
    assert_eq!(read(&emulator, "clock").await["skew_seconds"], 0);
    let year = 366 * 24 * 60 * 60;
    let clock = send(&emulator, Method::POST, "clock", &json!({ "skew_seconds": year })).await.json();
    assert_eq!(clock["skew_seconds"], year);
    let date = |answer: &Answer| answer.header("date").split(' ').nth(3).unwrap().parse::<u32>().unwrap();
    let client = Client::new(&emulator, None);
    let late = date(&client.send(platform_request(&emulator)).await.unwrap());
    send(&emulator, Method::POST, "clock", &json!({ "skew_seconds": 0 })).await;
    assert_eq!(late, date(&client.send(platform_request(&emulator)).await.unwrap()) + 1);
}

#[tokio::test]
async fn journal_is_read_and_followed() {
    let emulator = emulator().await;
    let identity = certified(&emulator, &Key::p256()).await;
    let url = format!("{}journal?follow", emulator.admin_url().unwrap());
    let address = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let path = &url[url.find(&address).unwrap() + address.len()..];
    let mut follower = tokio::net::TcpStream::connect(&address).await.unwrap();
    {
        use tokio::io::AsyncWriteExt;
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        follower.write_all(head.as_bytes()).await.unwrap();
    }
    let mut followed = String::new();
    let mut until = async |count: usize| {
        use tokio::io::AsyncReadExt;
        let mut chunk = [0; 4096];
        while followed.lines().filter(|line| line.starts_with('{')).count() < count {
            let read = follower.read(&mut chunk).await.unwrap();
            assert!(read > 0, "{followed}");
            followed += &String::from_utf8_lossy(&chunk[..read]);
        }
        followed.clone()
    };
    until(2).await;
    let token = bound_token(&emulator, &identity).await.unwrap();
    let client = Client::new(&emulator, Some(&identity));
    client.send(authorized(emulator.resource_url(), "mtls_pop", &token)).await.unwrap();
    let followed = until(4).await;

    let answer = send(&emulator, Method::GET, "journal", &Value::Null).await;
    let lines = String::from_utf8(answer.body.to_vec()).unwrap();
    let entries: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<_> = entries.iter().map(|entry| entry["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["metadata", "issue", "token", "resource"]);
    assert!(lines.lines().all(|line| followed.contains(line)), "{followed}");
    let issued = &entries[2]["issued"];
    assert_eq!(issued["cnf"]["x5t#S256"], identity.thumbprint().to_string());
    assert_eq!(entries[2]["tls"]["certificate"], identity.thumbprint().to_string());
    assert_eq!((&entries[2]["identity"], &entries[2]["status"]), (&json!(emulator.client_id()), &json!(200)));

    // The public lines contain no claims, and no line contains a secret.
    let journal = emulator.journal();
    let public: String = journal.entries().map(|entry| entry.to_json() + "\n").collect();
    assert!(!public.contains("cnf") && !public.contains(r#""issued""#), "{public}");
    let csr = <base64ct::Base64 as base64ct::Encoding>::encode_string(
        journal.last(Step::IssueCredential).unwrap().csr.as_deref().unwrap(),
    );
    let parts: Vec<_> = token.split('.').chain([&csr[..40]]).collect();
    for secret in parts {
        assert!(!lines.contains(secret) && !public.contains(secret) && !journal.to_string().contains(secret));
    }
}

#[tokio::test]
async fn client_certificate_comes_with_its_key() {
    let emulator = emulator().await;
    let of = |client_id: &str| json!({ "client_id": client_id });
    let application = "11111111-2222-4333-8444-555555555555";
    let answer = send(&emulator, Method::POST, "client-certificate", &of(application)).await;
    assert_eq!(answer.status, 201);
    let pem = String::from_utf8(answer.body.to_vec()).unwrap();
    let (certificate, key) = pem.split_at(pem.find("-----BEGIN PRIVATE KEY-----\n").unwrap());
    let (label, der) = pem_rfc7468::decode_vec(certificate.as_bytes()).unwrap();
    assert_eq!((label, der.as_slice()), ("CERTIFICATE", &*emulator.issued()[0].der));
    assert_eq!(emulator.issued()[0].client_id, application);
    assert!(pem_rfc7468::decode_vec(key.as_bytes()).is_ok());
    // Not a PrintableString.
    let answer = send(&emulator, Method::POST, "client-certificate", &of("an@example")).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "client_id");
}
