//! DATA: calls with reqwest.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use hyper::body::{Body, Frame};
use symbolon::{Client, ClientBuilder, Env, ErrorKind, SharedClock};
use symbolon_emulator::{Fault, Step};
use symbolon_reqwest::{AuthorizedClient, ReqwestConnections, ReqwestTransport, reqwest};
use symbolon_rustls::ClientConfigs;
use symbolon_tests::RESOURCE;
use symbolon_transport::{Request, Route, Transport as _, conformance, timeout};
use symbolon_types::{Event, TlsSession};
use tokio::sync::mpsc;

use crate::resource_server::{HTTP1, HTTP2, Reaction, ResourceServer, ServerTls};
use crate::test_env::TestEnv;

const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"cp1"}}}"#;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Configurations that trust the emulator, and a server if there is one.
fn configs(test_env: &TestEnv, server: Option<&ResourceServer>) -> ClientConfigs {
    let configs = ClientConfigs::builder()
        .platform_roots(false)
        .context(test_env.context().with_env(Env::empty()))
        .root_certificates_pem(test_env.emulator.ca_pem().as_bytes());
    match server {
        Some(server) => configs.root_certificates_pem(server.certificate().as_bytes()),
        None => configs,
    }
    .build()
    .unwrap()
}

fn settings() -> reqwest::ClientBuilder {
    reqwest::Client::builder().user_agent("contoso/1.0").no_proxy()
}

fn connections(test_env: &TestEnv, server: Option<&ResourceServer>) -> ReqwestConnections {
    ReqwestConnections::new(configs(test_env, server), settings)
}

/// A client of a managed identity with bound tokens.
fn bound(test_env: &TestEnv, server: Option<&ResourceServer>) -> AuthorizedClient {
    let client: ClientBuilder = test_env.identity().client(RESOURCE).proof_of_possession();
    AuthorizedClient::new(client.connections(connections(test_env, server)).build().unwrap()).unwrap()
}

/// A body whose parts are sent one by one.
struct PartsBody(mpsc::UnboundedReceiver<&'static str>);

impl Body for PartsBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(Bytes::from(part)))))
    }
}

#[tokio::test]
async fn data_25_reqwest_call_is_bound() {
    for (tls, version) in [(HTTP1, Version::HTTP_11), (HTTP2, Version::HTTP_2)] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(tls).await;
        let client = bound(&test_env, Some(&server));
        let sent = serde_json::json!({ "name": "value" });
        for _ in 0..2 {
            let request = client.post(server.url()).header("x-own", "header").json(&sent);
            let response = client.send(request).await.unwrap();
            assert_eq!((response.status(), response.version()), (StatusCode::OK, version));
            assert_eq!(response.url().as_str(), format!("{}/", server.url()));
            assert_eq!(response.json::<serde_json::Value>().await.unwrap(), sent);
        }
        let received = server.received();
        assert_eq!((received.len(), server.accepted()), (2, 1), "the connection is reused");
        for request in received {
            assert_eq!(request.certificate, Some(test_env.last_certificate()));
            assert_eq!((request.scheme(), &request.method), (Some("mtls_pop"), &Method::POST));
            assert_eq!(
                (&request.headers["user-agent"], &request.headers["x-own"]),
                (&"contoso/1.0".parse().unwrap(), &"header".parse().unwrap())
            );
        }
        // The emulator verifies the token, too.
        let response = client.send(client.get(test_env.emulator.resource_url())).await.unwrap();
        assert_eq!(response.json::<serde_json::Value>().await.unwrap()["bound"], true);
        assert_eq!(test_env.counts().tokens, 1);
    }
}

#[tokio::test]
async fn data_25_upload_ends_with_its_response() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(tls).await;
        let client = bound(&test_env, Some(&server));
        let (parts, receiver) = mpsc::unbounded_channel();
        parts.send("part").unwrap();
        let upload = client.post(server.url()).body(reqwest::Body::wrap(PartsBody(receiver)));
        let mut response = client.send(upload).await.unwrap();
        assert_eq!(response.chunk().await.unwrap().unwrap(), "part");
        drop(response);
        let closed = timeout(&SharedClock::system(), Duration::from_secs(10), parts.closed()).await;
        assert!(closed.is_some(), "{tls:?}: the upload goes on");
    }
}

#[tokio::test]
async fn data_25_settings_of_reqwest_apply() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    let server = ResourceServer::start(HTTP1).await;
    let connections = ReqwestConnections::new(configs(&test_env, Some(&server)), || {
        settings().timeout(Duration::from_millis(50))
    });
    let client = test_env.identity().client(RESOURCE).connections(connections).build().unwrap();
    let client = AuthorizedClient::new(client).unwrap();
    server.script([Reaction::Stall]);
    let error = client.send(client.get(server.url())).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("timeout", ErrorKind::Network), "{error}");
    server.clear_script();
    // The limit of one request replaces that of the client.
    server.script([Reaction::StallBody]);
    let request = client.get(server.url()).timeout(Duration::from_secs(3600));
    let mut response = client.send(request).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "part");
}

#[tokio::test]
async fn data_25_reqwest_follows_rotations() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::with(|emulator| {
            emulator.certificate_lifetime(HOUR).token_not_after(None).token_lifetime(HOUR)
        })
        .await;
        let server = ResourceServer::start(tls).await;
        let client = bound(&test_env, Some(&server));
        let (parts, body) = mpsc::unbounded_channel();
        parts.send("before").unwrap();
        let streaming = client.post(server.url()).body(reqwest::Body::wrap(PartsBody(body)));
        let mut streaming = client.send(streaming).await.unwrap();
        assert_eq!(streaming.chunk().await.unwrap().unwrap(), "before");

        for _ in 0..12 {
            test_env.manual_clock.advance(HOUR / 5);
            let calls = (0..4).map(|_| client.send(client.get(test_env.emulator.resource_url())));
            for response in futures_util::future::join_all(calls).await {
                response.unwrap().error_for_status().unwrap();
            }
            // A renewal in the background needs the test to wait.
            SharedClock::system().sleep(Duration::from_millis(20)).await;
        }
        let journal = test_env.emulator.journal();
        let seen: std::collections::HashSet<_> =
            journal.of(Step::Resource).map(|entry| entry.certificate()).collect();
        assert!(seen.len() >= 3 && !seen.contains(&None), "each certificate was used");

        parts.send("after").unwrap();
        drop(parts);
        assert_eq!(streaming.text().await.unwrap(), "after", "on the old connection");
        client.send(client.get(server.url())).await.unwrap();
        let received = server.received();
        assert_ne!(received[0].certificate, received[1].certificate);
        assert_ne!(received[0].connection, received[1].connection);
    }
}

#[tokio::test]
async fn data_26_claims_challenge_with_reqwest() {
    let test_env = TestEnv::new().await;
    let client = bound(&test_env, None);
    let url = test_env.emulator.resource_url();
    test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS));
    let response = client.send(client.post(url).body("small")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((test_env.counts().tokens, test_env.count(Step::Resource)), (2, 2));

    test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS).times(2));
    let response = client.send(client.get(url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(symbolon::claims_challenge(response.headers()).as_deref(), Some(CLAIMS));
}

#[tokio::test]
async fn data_26_refused_certificate_with_reqwest() {
    use symbolon_emulator::TlsVersion::{V1_2, V1_3};

    for version in [V1_2, V1_3] {
        for offers_http2 in [false, true] {
            let test_env = TestEnv::with(|emulator| emulator.tls_version(version)).await;
            let identity = test_env.identity();
            let url = test_env.emulator.resource_url();
            let first = test_env.bound_token(&identity).await;
            test_env.emulator.reject_in_tls(first.bound_to().unwrap().thumbprint());
            let connections = connections(&test_env, None);
            let connections = if offers_http2 { connections } else { connections.without_http2() };
            let client = identity.client(RESOURCE).proof_of_possession().connections(connections);
            let client = AuthorizedClient::new(client.build().unwrap()).unwrap();
            // The refusal is an alert, so even a POST is sent again.
            let response = client.send(client.post(url).body("small")).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{version:?} {offers_http2}");
            assert_eq!((test_env.counts().issuances, test_env.count(Step::Resource)), (2, 1));

            let second = test_env.last_certificate();
            test_env.emulator.reject_in_tls(second);
            test_env.emulator.reset_connections_of(second);
            let error = client.send(client.get(url)).await.unwrap_err();
            assert_eq!(
                (error.code(), error.kind()),
                ("certificate_refused_by_resource", ErrorKind::Credential)
            );
            assert_eq!(test_env.counts().issuances, 2, "no mint within the pause");
        }
    }
}

#[tokio::test]
async fn data_26_delivered_request_is_not_repeated() {
    for tls in [HTTP1, HTTP2] {
        for keeps_connection in [false, true] {
            let test_env = TestEnv::new().await;
            let server = ResourceServer::start(tls).await;
            let client = bound(&test_env, Some(&server));
            for (method, is_repeated) in
                [(Method::POST, false), (Method::PATCH, false), (Method::GET, true), (Method::PUT, true)]
            {
                let case = format!("{tls:?} {keeps_connection} {method}");
                if keeps_connection {
                    client.send(client.get(server.url())).await.unwrap().bytes().await.unwrap();
                }
                let before = server.received().len();
                server.script([Reaction::Lose]);
                let result = client.send(client.request(method, server.url()).body("small")).await;
                server.clear_script();
                let count = server.received().len() - before;
                match result {
                    Ok(response) => {
                        assert_eq!(
                            (response.status(), count, is_repeated),
                            (StatusCode::OK, 2, true),
                            "{case}"
                        );
                    }
                    Err(error) => {
                        assert_eq!(
                            (error.code(), error.is_transient()),
                            ("transport_error", false),
                            "{case}"
                        );
                        assert_eq!((count, is_repeated), (1, false), "{case}: {error:?}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn data_26_unprocessed_request_is_sent_again() {
    for (reaction, received) in [(Reaction::RefuseStream, 2), (Reaction::GoAway, 1)] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(HTTP2).await;
        let client = bound(&test_env, Some(&server));
        server.script([reaction]);
        let response = client.send(client.post(server.url()).body("small")).await.unwrap();
        assert_eq!(response.text().await.unwrap(), "small", "{reaction:?}");
        assert_eq!(server.received().len(), received, "{reaction:?}");
    }
}

#[tokio::test]
async fn data_27_server_must_request_the_certificate() {
    for tls in [HTTP1, HTTP2] {
        let test_env = TestEnv::new().await;
        let server = ResourceServer::start(ServerTls { requests_certificate: false, ..tls }).await;
        let client = bound(&test_env, Some(&server));
        for _ in 0..2 {
            let error = client.send(client.get(server.url())).await.unwrap_err();
            assert_eq!((error.code(), error.kind()), ("transport_error", ErrorKind::Environment));
            assert!(error.to_string().contains("did not request the client certificate"), "{error}");
        }
        assert_eq!(server.received().len(), 0, "no header was sent");
        let bearer = Client::builder(test_env.identity(), RESOURCE);
        let bearer = bearer.connections(connections(&test_env, Some(&server))).build().unwrap();
        let bearer = AuthorizedClient::new(bearer).unwrap();
        assert_eq!(bearer.send(bearer.get(server.url())).await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn data_27_request_without_client_is_not_sent() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP1).await;
    let client = bound(&test_env, Some(&server));
    let error = client.get(server.url()).send().await.unwrap_err();
    let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
    assert!(causes.map(ToString::to_string).any(|text| text.contains("AuthorizedClient::send")), "{error:?}");
    let error = client.send(client.get("http://localhost/")).await.unwrap_err();
    assert_eq!(error.code(), "insecure_endpoint");
    let error = client.send(client.get("not a url")).await.unwrap_err();
    assert_eq!(error.code(), "invalid_request");
    assert_eq!((server.accepted(), test_env.count(Step::Token)), (0, 0));
}

#[tokio::test]
async fn data_28_bound_tokens_over_reqwest() {
    let test_env = TestEnv::new().await;
    let transport = ReqwestTransport::new(configs(&test_env, None), settings);
    let identity = test_env.builder().transport(transport).build().unwrap();
    let token = test_env.bound_token(&identity).await;
    assert_eq!(test_env.call(&identity, &token).await.status(), StatusCode::OK);
    let entry = test_env.emulator.journal();
    assert_eq!(entry.last(Step::Resource).unwrap().certificate(), Some(test_env.last_certificate()));
    let bearer = test_env.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!(test_env.call(&identity, &bearer).await.status(), StatusCode::OK);

    test_env.emulator.reject_in_tls(test_env.last_certificate());
    test_env.emulator.reset_connections_of(test_env.last_certificate());
    identity.invalidate(&token);
    let token = test_env.bound_token(&identity).await;
    assert_eq!(test_env.counts().issuances, 2, "a refused certificate is replaced");
    assert_eq!(test_env.call(&identity, &token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn data_28_transport_over_reqwest_conforms() {
    let make = |builder: symbolon_rustls::ClientConfigsBuilder| {
        let context = symbolon::Context::default().with_env(Env::empty());
        ReqwestTransport::new(builder.platform_roots(false).context(context).build().unwrap(), settings)
    };
    // Without a root, no configuration can be made.
    let root = rcgen::generate_simple_self_signed(["root".to_owned()]).unwrap().cert.der().clone();
    let report = conformance::check(make(ClientConfigs::builder().root_certificates([root]))).await;
    assert!(report.holds(), "{report}");
    let report =
        conformance::check_tls(|root| make(ClientConfigs::builder().root_certificates([root]))).await;
    assert!(report.holds(), "{report}");
    assert!(report.cases().count() > 15, "with client certificates and pins");
}

#[tokio::test]
async fn metric_04_reqwest_handshakes_are_observed() {
    let test_env = TestEnv::new().await;
    let transport = ReqwestTransport::new(configs(&test_env, None), settings).context(&test_env.context());
    let handshakes = || {
        let handshake = |event| match event {
            Event::Handshake(one) => Some((one.has_identity, one.result)),
            _ => None,
        };
        test_env.take_events().into_iter().filter_map(handshake).collect::<Vec<_>>()
    };
    let identity = test_env.builder().transport(transport.clone()).build().unwrap();
    // The metadata service has no TLS.
    test_env.bound_token(&identity).await;
    assert_eq!(handshakes(), [(true, Ok(TlsSession::new("1.3", false)))]);
    let send = async |url: &str, transport: &ReqwestTransport| {
        transport.send(Request::new(Method::GET, url.parse().unwrap(), Route::Public)).await
    };
    let resource = test_env.emulator.resource_url();
    send(resource, &transport).await.unwrap();
    assert_eq!(handshakes(), [(false, Ok(TlsSession::new("1.3", false)))]);

    let old = ResourceServer::start_with(HTTP1, &[&rustls::version::TLS12]).await;
    let trusting = ReqwestTransport::new(configs(&test_env, Some(&old)), settings);
    send(old.url(), &trusting.context(&test_env.context())).await.unwrap();
    assert_eq!(handshakes(), [(false, Ok(TlsSession::new("1.2", false)))]);

    let builder = ClientConfigs::builder().platform_roots(false);
    let builder = builder.context(test_env.context().with_env(Env::empty()));
    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let other = builder.root_certificates_pem(other.cert.pem().as_bytes()).build().unwrap();
    let other = ReqwestTransport::new(other, settings).context(&test_env.context());
    send(resource, &other).await.unwrap_err();
    send("https://127.0.0.1:1/", &other).await.unwrap_err();
    assert_eq!(handshakes(), [(false, Err("tls")), (false, Err("connect"))]);

    // A server that does not request the certificate; a connection of the client is observed too.
    let server = ResourceServer::start(ServerTls { requests_certificate: false, ..HTTP1 }).await;
    let connections = connections(&test_env, Some(&server)).context(&test_env.context());
    let client = test_env.identity().client(RESOURCE).proof_of_possession().connections(connections);
    handshakes();
    client.build().unwrap().get(server.url()).send().await.unwrap_err();
    let refused = (true, Err("identity_not_requested"));
    assert!(handshakes().contains(&refused));
}
