//! Tests of the identity endpoints of hosts other than virtual machines.

use std::fs;

use http::{Method, Request};
use symbolon_emulator::Source;
use symbolon_emulator::{Emulator, Step};

use crate::client::{Client, get};

fn variable(emulator: &Emulator, source: Source, name: &str) -> String {
    let variables = emulator.environment_of(source).into_iter();
    variables.filter(|(own, _)| *own == name).map(|(_, value)| value).next().unwrap()
}

#[tokio::test]
async fn secret_endpoint_checks_its_parameters() {
    let emulator = Emulator::start().await.unwrap();
    let client = Client::new(&emulator, None);
    for (source, version, endpoint, secret, header, step) in [
        (
            Source::AppService,
            "2019-08-01",
            "IDENTITY_ENDPOINT",
            "IDENTITY_HEADER",
            "x-identity-header",
            Step::AppService,
        ),
        (
            Source::MachineLearning,
            "2017-09-01",
            "MSI_ENDPOINT",
            "MSI_SECRET",
            "secret",
            Step::MachineLearning,
        ),
    ] {
        let endpoint = variable(&emulator, source, endpoint);
        let secret = variable(&emulator, source, secret);
        for (query, given, status, reason) in [
            (format!("api-version={version}&resource=https://x"), secret.as_str(), 200, None),
            (format!("api-version={version}&resource=https://x"), "another", 401, Some("secret")),
            (format!("api-version={version}&resource="), &secret, 400, Some("resource")),
            ("api-version=1999-01-01&resource=https://x".to_owned(), &secret, 400, Some("api_version")),
            (
                format!("api-version={version}&resource=x&client_id=x&clientid=x"),
                &secret,
                400,
                Some("identity"),
            ),
        ] {
            let mut request = get(&format!("{endpoint}?{query}"));
            request.headers_mut().insert(header, given.parse().unwrap());
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.status, status, "{source} {query}");
            let entry = emulator.journal().last(step).unwrap().clone();
            assert_eq!(entry.reason, reason, "{source} {query}");
            assert!(!format!("{entry:?} {entry}").contains(&secret), "the journal contains the secret");
            let body = answer.json();
            if status == 200 {
                assert!(body["expires_on"].is_string() && body["access_token"].is_string(), "{body}");
            } else {
                assert_eq!(body["statusCode"], status, "{source}");
                assert_eq!(body["correlationId"].as_str().map(str::len), Some(36), "{source}");
            }
        }
    }
}

#[tokio::test]
async fn cloud_shell_requires_a_form() {
    let emulator = Emulator::start().await.unwrap();
    let client = Client::new(&emulator, None);
    let endpoint = variable(&emulator, Source::CloudShell, "MSI_ENDPOINT");
    let form = "application/x-www-form-urlencoded";
    for (body, metadata, content_type, status) in [
        ("resource=https%3A%2F%2Fx", "true", form, 200),
        ("resource=https%3A%2F%2Fx", "false", form, 400),
        ("resource=https%3A%2F%2Fx", "true", "application/json", 400),
        ("", "true", form, 400),
    ] {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&endpoint)
            .header("metadata", metadata)
            .header("content-type", content_type)
            .body(body.to_owned())
            .unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status, status, "{body} {metadata} {content_type}");
        let body = answer.json();
        if status == 200 {
            assert_eq!((&body["refresh_token"], &body["resource"]), (&"".into(), &"https://x".into()));
            let entry = emulator.journal().last(Step::CloudShell).unwrap().clone();
            assert_eq!(entry.form("resource"), Some("https://x"));
        } else {
            assert_eq!(body["error"]["code"], "invalid_request", "{body}");
        }
    }
}

#[tokio::test]
async fn azure_arc_challenge_uses_a_key_file() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let emulator = Emulator::builder().arc_tokens(&tokens).start().await.unwrap();
    assert!(!tokens.exists(), "the directory is created at the first challenge");
    let client = Client::new(&emulator, None);
    let endpoint = variable(&emulator, Source::AzureArc, "IDENTITY_ENDPOINT");
    let send = |authorization: Option<String>| {
        let mut request = get(&format!("{endpoint}?api-version=2020-06-01&resource=https://x"));
        request.headers_mut().insert("metadata", "true".parse().unwrap());
        if let Some(authorization) = authorization {
            request.headers_mut().insert("authorization", authorization.parse().unwrap());
        }
        client.send(request)
    };
    let files = || fs::read_dir(&tokens).unwrap().count();
    let challenge = send(None).await.unwrap();
    assert_eq!(challenge.status, 401);
    let path = challenge.header("www-authenticate").strip_prefix("Basic realm=").unwrap().to_owned();
    assert!(path.ends_with(".key") && path.starts_with(tokens.to_str().unwrap()), "{path}");
    assert_eq!(send(Some("Basic guess".to_owned())).await.unwrap().status, 401);
    let key = fs::read_to_string(&path).unwrap();
    assert_eq!(send(Some(format!("Basic {key}"))).await.unwrap().status, 200);
    assert!(!fs::exists(&path).unwrap(), "the challenge is still open");
    assert_eq!(send(Some(format!("Basic {key}"))).await.unwrap().status, 401);
    assert_eq!(files(), 2, "two challenges are open");
    drop(client);
    drop(emulator);
    assert_eq!(files(), 0);
}

#[tokio::test]
async fn environment_is_that_of_the_source() {
    for source in Source::ALL {
        let emulator = Emulator::builder().source(source).start().await.unwrap();
        assert_eq!(emulator.environment(), emulator.environment_of(source), "{source}");
    }
    let emulator = Emulator::start().await.unwrap();
    let before = variable(&emulator, Source::ServiceFabric, "IDENTITY_SERVER_THUMBPRINT");
    emulator.replace_service_fabric_certificate().unwrap();
    let after = variable(&emulator, Source::ServiceFabric, "IDENTITY_SERVER_THUMBPRINT");
    assert!(before != after && after.len() == 40);
}
