//! DATA: calls of resources with the HTTP client.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use symbolon::{Client, ClientBuilder, CredentialChain, Env, HttpCalls as _, Secret};
use symbolon_client::{Connections, ConnectionsBuilder, UserTokens};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::RESOURCE;
use tower_service::Service as _;

use crate::resource_server::{HTTP1, HTTP2, Reaction, ResourceServer, ServerTls};
use crate::test_env::TestEnv;

/// Connections that trust the emulator, and a server if there is one.
pub(crate) fn connections(test_env: &TestEnv, server: Option<&ResourceServer>) -> ConnectionsBuilder {
    let connections = Connections::builder()
        .context(test_env.context().with_env(Env::empty()))
        .platform_roots(false)
        .root_certificates_pem(test_env.emulator.ca_pem().as_bytes());
    match server {
        Some(server) => connections.root_certificates_pem(server.certificate().as_bytes()),
        None => connections,
    }
}

/// A client of a managed identity for the emulator's resource, and for a server if there is one.
pub(crate) fn client(test_env: &TestEnv, server: Option<&ResourceServer>) -> ClientBuilder {
    test_env.identity().client(RESOURCE).connections(connections(test_env, server).build().unwrap())
}

/// A body whose parts are sent one by one.
pub(crate) fn channel() -> (
    tokio::sync::mpsc::Sender<&'static str>,
    StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send + 'static>,
) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let parts = stream::unfold(receiver, |mut receiver| async move {
        let part: &str = receiver.recv().await?;
        Some((Ok(Frame::data(Bytes::from(part))), receiver))
    });
    (sender, StreamBody::new(parts))
}

#[tokio::test]
async fn data_03_bound_call_presents_its_certificate() {
    let test_env = TestEnv::new().await;
    let client = client(&test_env, None).proof_of_possession().build().unwrap();
    for _ in 0..2 {
        let response = client.get(test_env.emulator.resource_url()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let seen: serde_json::Value = response.json().await.unwrap();
        assert_eq!((&seen["scheme"], &seen["bound"]), (&"mtls_pop".into(), &true.into()));
    }
    let journal = test_env.emulator.journal();
    let entry = journal.last(Step::Resource).unwrap();
    assert_eq!(entry.certificate(), Some(test_env.last_certificate()));
    assert_eq!((test_env.counts().tokens, test_env.count(Step::Resource)), (1, 2));
    let connections: std::collections::HashSet<_> =
        journal.of(Step::Resource).map(|entry| entry.connection).collect();
    assert_eq!(connections.len(), 1, "the connection is reused");
}

#[tokio::test]
async fn data_04_bearer_call_with_any_tokens() {
    let test_env = TestEnv::new().await;
    let connections = connections(&test_env, None).build().unwrap();
    let confidential = test_env.certificate_client(test_env.certificate());
    let chain = CredentialChain::builder().managed_identity(test_env.identity()).context(test_env.context());
    let chain = chain.transport(test_env.transport()).build().unwrap();
    let audience = format!("api://{}", crate::clients::CLIENT_ID);
    let assertion = Secret::new(test_env.emulator.user_token(&audience).await.unwrap());
    let user = UserTokens::on_behalf_of(confidential.clone(), assertion);
    let default = format!("{RESOURCE}/.default");
    for (case, client) in [
        ("managed identity", test_env.identity().client(RESOURCE)),
        ("chain", chain.client(RESOURCE)),
        ("confidential client", confidential.client(RESOURCE)),
        ("user", Client::builder(user, default)),
    ] {
        let mut client = client.connections(connections.clone()).build().unwrap();
        // As a service of tower.
        let request = Request::get(test_env.emulator.resource_url()).body(Full::new(Bytes::new())).unwrap();
        let response = client.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{case}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&seen["scheme"], &seen["bound"]), (&"Bearer".into(), &false.into()), "{case}");
    }
    let bound = Client::builder(confidential, RESOURCE).proof_of_possession().connections(connections);
    let response = bound.build().unwrap().get(test_env.emulator.resource_url()).send().await.unwrap();
    assert_eq!(response.json::<serde_json::Value>().await.unwrap()["bound"], true);
}

#[tokio::test]
async fn data_05_bodies_are_streams_both_ways() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(tls).await;
        let client = client(&test_env, Some(&server)).proof_of_possession().build().unwrap();
        let (parts, body) = channel();
        parts.send("first").await.unwrap();
        let response = client.post(server.url()).streaming_body(body).send().await.unwrap();
        let mut body = response.into_http().into_body();
        for (next, echoed) in [("second", "first"), ("third", "second")] {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(frame, echoed, "{tls:?}");
            parts.send(next).await.unwrap();
        }
        drop(parts);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "third", "{tls:?}");
    }
}

#[tokio::test]
async fn data_06_protocol_is_negotiated() {
    let http2_only_offered = ServerTls { protocols: &["h2"], ..HTTP2 };
    for (tls, offers_http2, expected) in [
        (HTTP1, true, Version::HTTP_11),
        (HTTP2, true, Version::HTTP_2),
        (http2_only_offered, true, Version::HTTP_2),
        (HTTP2, false, Version::HTTP_11),
    ] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(tls).await;
        let connections = connections(&test_env, Some(&server)).http2(offers_http2).build().unwrap();
        let client = client(&test_env, None).proof_of_possession().connections(connections).build().unwrap();
        let calls = join_all((0..8).map(|_| client.get(server.url()).send())).await;
        for response in calls {
            let response = response.unwrap().into_http();
            assert_eq!((response.status(), response.version()), (StatusCode::OK, expected), "{tls:?}");
        }
        let received = server.received();
        assert!(received.iter().all(|request| request.version == expected && request.certificate.is_some()));
        if expected == Version::HTTP_2 {
            assert_eq!(server.accepted(), 1, "calls share a connection");
        }
    }
}

#[tokio::test]
async fn data_10_rotation_fails_no_call() {
    let hour = Duration::from_secs(60 * 60);
    let test_env = TestEnv::with(|emulator| {
        emulator.certificate_lifetime(hour).token_not_after(None).token_lifetime(hour)
    })
    .await;
    let server = ResourceServer::start(HTTP1).await;
    let client = client(&test_env, Some(&server)).proof_of_possession().build().unwrap();
    let (parts, body) = channel();
    parts.send("before").await.unwrap();
    let streaming = client.post(server.url()).streaming_body(body).send().await.unwrap();
    let mut streaming = streaming.into_http().into_body();
    assert_eq!(streaming.frame().await.unwrap().unwrap().into_data().unwrap(), "before");

    for _ in 0..12 {
        test_env.manual_clock.advance(hour / 5);
        let calls = (0..8).map(|_| async {
            let response = client.get(test_env.emulator.resource_url()).send().await.unwrap();
            assert_eq!(
                response.error_for_status().unwrap().json::<serde_json::Value>().await.unwrap()["bound"],
                true
            );
        });
        join_all(calls).await;
        // A renewal in the background needs the test to wait.
        symbolon::SharedClock::system().sleep(Duration::from_millis(20)).await;
    }
    assert!(test_env.emulator.issued().len() >= 3, "the certificate was renewed several times");
    let seen: std::collections::HashSet<_> =
        test_env.emulator.journal().of(Step::Resource).map(|entry| entry.certificate()).collect();
    assert!(seen.len() >= 3 && !seen.contains(&None), "each certificate was used");

    parts.send("after").await.unwrap();
    drop(parts);
    assert_eq!(streaming.collect().await.unwrap().to_bytes(), "after", "on the old connection");
    client.get(server.url()).send().await.unwrap().bytes().await.unwrap();
    let received = server.received();
    assert_ne!(received[0].certificate, received[1].certificate);
    assert_ne!(received[0].connection, received[1].connection);
}

#[tokio::test]
async fn data_16_url_must_be_allowed() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP1).await;
    let any = client(&test_env, Some(&server)).build().unwrap();
    let restricted =
        client(&test_env, Some(&server)).allowed_hosts(["127.0.0.1", "vault.example"]).build().unwrap();
    let plain = server.url().replace("https:", "http:");
    for (client, url, code) in [
        (&any, plain.as_str(), "insecure_endpoint"),
        (&any, "/secrets/x", "invalid_request"),
        (&any, "not a url", "invalid_request"),
        (&any, &server.url().replace("https://", "https://127.0.0.1@"), "invalid_request"),
        (&restricted, server.url(), "host_not_allowed"),
        (&restricted, "https://vault.example.evil.example/", "host_not_allowed"),
    ] {
        let error = client.get(url).send().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, symbolon::ErrorKind::Request), "{url}");
    }
    assert_eq!((server.accepted(), test_env.emulator.journal().entries().count()), (0, 0));

    // Allowed, and with a warning: it is not the host of the resource.
    any.get(server.url()).send().await.unwrap();
    assert!(test_env.logs().contains("another host than the resource's"));
    let allowed = client(&test_env, Some(&server)).allowed_hosts(["localhost"]).build().unwrap();
    assert_eq!(allowed.get(server.url()).send().await.unwrap().status(), StatusCode::OK);
    let error = client(&test_env, None).allowed_hosts(["https://vault.example"]).build().unwrap_err();
    assert_eq!(error.code(), "invalid_configuration");
    let error = client(&test_env, None).header(AUTHORIZATION, "x").build().unwrap_err();
    assert_eq!(error.code(), "invalid_configuration");
}

#[tokio::test]
async fn data_18_connections_are_bounded() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP1).await;
    let connections = connections(&test_env, Some(&server)).max_connections(4).build().unwrap();
    let client = client(&test_env, None).proof_of_possession().connections(connections).build().unwrap();
    let calls = (0..64).map(|_| async { client.get(server.url()).send().await?.bytes().await });
    for result in join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(server.received().len(), 64);
    assert!(server.most_open() <= 4, "{} connections at once", server.most_open());
}

#[tokio::test]
async fn data_20_redirect_is_returned() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP1).await;
    let client = client(&test_env, Some(&server)).build().unwrap();
    test_env.emulator.inject(Fault::redirect(Step::Resource, server.url()));
    let response = client.get(test_env.emulator.resource_url()).send().await.unwrap();
    assert!(response.status().is_redirection());
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn request_builder_sends_what_it_was_given() {
    for tls in [HTTP1, HTTP2] {
        check_sent_request(tls).await;
    }
}

async fn check_sent_request(tls: ServerTls) {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(tls).await;
    let client = client(&test_env, Some(&server))
        .header("x-ms-tokenboundauth", "true")
        .header("x-client-sku", "the client's")
        .build()
        .unwrap();
    let request = client.put(server.url()).header("x-client-sku", "the request's");
    let sent = serde_json::json!({ "name": "value" });
    let response = request.json(&sent).send().await.unwrap();
    assert_eq!(response.json::<serde_json::Value>().await.unwrap(), sent);
    let received = &server.received()[0];
    assert_eq!((&received.method, received.scheme()), (&Method::PUT, Some("Bearer")));
    for (name, value) in [
        ("x-ms-tokenboundauth", "true"),
        ("x-client-sku", "the request's"),
        ("content-type", "application/json"),
        ("content-length", "16"),
    ] {
        assert_eq!(received.headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
    }
    let error = client.get(server.url()).header("not a name", "x").send().await.unwrap_err();
    assert_eq!(error.code(), "invalid_request");
}

#[tokio::test]
async fn span_has_the_attributes_of_http_clients() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP1).await;
    let client = client(&test_env, Some(&server)).retries(1).build().unwrap();
    server.script([Reaction::Status(503, None), Reaction::Status(404, None)]);
    client.get(format!("{}/path?code=s3cr3t", server.url())).send().await.unwrap();
    let logs = test_env.logs();
    for field in [
        "http.request.method=\"GET\"",
        "server.address=localhost",
        "http.response.status_code=404",
        "error.type=\"404\"",
        "http.request.resend_count=1",
        "otel.status_code=\"ERROR\"",
    ] {
        assert!(logs.contains(field), "{field}:\n{logs}");
    }
    assert!(!logs.contains("method_original"));
    client.request(Method::from_bytes(b"PURGE").unwrap(), server.url()).send().await.unwrap();
    let logs = test_env.logs();
    assert!(logs.contains("http.request.method=\"_OTHER\"") && logs.contains("method_original=\"PURGE\""));
    assert!(!logs.contains("s3cr3t"));
}

#[tokio::test]
async fn data_19_retries_wait_as_requested() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP1).await;
    let retrying = client(&test_env, Some(&server)).retries(2).build().unwrap();
    let once = client(&test_env, Some(&server)).build().unwrap();
    let busy = [Reaction::Status(503, Some(1)), Reaction::Status(429, None)];
    for (client, method, body, expected, count) in [
        (&retrying, Method::GET, "", 200, 3),
        (&retrying, Method::PUT, "small", 200, 3),
        (&retrying, Method::POST, "", 503, 1),
        (&once, Method::GET, "", 503, 1),
    ] {
        let before = server.received().len();
        server.script(busy);
        let response = client.request(method.clone(), server.url()).body(body).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), server.received().len() - before),
            (expected, count),
            "{method}"
        );
        if expected == 200 {
            assert_eq!(response.text().await.unwrap(), body);
        } else {
            assert_eq!(response.headers()[RETRY_AFTER], "1");
            server.clear_script();
        }
    }
    server.script([Reaction::Status(503, Some(61))]);
    let response = retrying.get(server.url()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "too long a wait");
}

// What was read before the response is sent again, and then the rest.
#[tokio::test]
async fn data_19_streaming_body_is_retried() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(tls).await;
        let client = client(&test_env, Some(&server)).retries(1).replay_limit(8).build().unwrap();
        for (rest, expected) in [("rest", (200, 2)), ("more than the limit", (503, 1))] {
            let before = server.received().len();
            server.script([Reaction::Status(503, None)]);
            let (parts, body) = channel();
            let call = tokio::spawn(client.put(server.url()).streaming_body(body).send());
            for part in ["part", rest] {
                parts.send(part).await.unwrap();
            }
            drop(parts);
            let response = call.await.unwrap().unwrap();
            let count = server.received().len() - before;
            assert_eq!((response.status().as_u16(), count), expected, "{tls:?}");
            let text = response.text().await.unwrap();
            assert_eq!(text, if count == 2 { "partrest" } else { "scripted" });
        }
    }
}

#[tokio::test]
async fn data_36_streams_outlive_their_certificate() {
    const STREAMS: usize = 200;
    let hour = Duration::from_secs(60 * 60);
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::with(|emulator| {
            emulator.certificate_lifetime(hour).token_not_after(None).token_lifetime(hour)
        })
        .await;
        let server = ResourceServer::start(tls).await;
        let identity = test_env.identity();
        let connections = connections(&test_env, Some(&server)).build().unwrap();
        let client = identity.client(RESOURCE).proof_of_possession().connections(connections);
        let client = client.build().unwrap();
        let streams = join_all((0..STREAMS).map(|_| async {
            let (parts, body) = channel();
            parts.send("before").await.unwrap();
            let response = client.post(server.url()).streaming_body(body).send().await.unwrap();
            let mut body = response.into_http().into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "before");
            (parts, body)
        }))
        .await;
        let old = test_env.last_certificate();
        let next = loop {
            test_env.manual_clock.advance(hour / 5);
            let token = test_env.bound_token(&identity).await;
            let certificate = token.bound_to().unwrap().thumbprint();
            if certificate != old {
                break certificate;
            }
            // A renewal in the background needs the test to wait.
            symbolon::SharedClock::system().sleep(Duration::from_millis(20)).await;
        };
        let before = server.accepted();
        client.get(server.url()).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(server.received()[STREAMS].certificate, Some(next));
        for (parts, body) in streams {
            parts.send("after").await.unwrap();
            drop(parts);
            assert_eq!(body.collect().await.unwrap().to_bytes(), "after", "{tls:?}");
        }
        assert_eq!(server.accepted(), before + 1);
        assert!(server.received()[..STREAMS].iter().all(|request| request.certificate == Some(old)));
        // The next call closes the connections of the old certificate.
        client.get(server.url()).send().await.unwrap().bytes().await.unwrap();
        test_env.wait_until(|| server.open() == 1).await;
    }
}
