//! BIND: a bound token and its certificate at the resource.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::key::{OpaqueKey, OpaqueKeys};
use crate::resource_server::{HTTP1, ResourceServer, ServerTls};
use crate::test_env::TestEnv;
use base64ct::{Base64UrlUnpadded, Encoding};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};
use symbolon::{ClientIdentity, Env, HyperTransport, Thumbprint, Token};
use symbolon_emulator::Step;
use symbolon_tests::RESOURCE;
use symbolon_transport::{
    Capabilities, Request, Response, Route, SharedTransport, Transport, TransportErrorKind, transport_fn,
};
use symbolon_types::SharedSigningKey;

/// A request built without the library.
fn manual_request(
    test_env: &TestEnv,
    scheme: &str,
    token: &Token,
    identity: Option<ClientIdentity>,
) -> Request {
    let url = test_env.emulator.resource_url().parse().unwrap();
    let mut request = Request::new(Method::GET, url, Route::Public).with_identity(identity);
    let value = HeaderValue::try_from(format!("{scheme} {}", token.secret().expose())).unwrap();
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

#[tokio::test]
async fn bind_01_binding_serves_the_next_handshake() {
    let test_env = TestEnv::new().await;
    let token = test_env.bound_token(&test_env.identity()).await;
    let binding = token.bound_to().cloned();
    let response =
        test_env.send(manual_request(&test_env, token.token_type(), &token, binding)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn bind_02_thumbprint_equals_the_confirmation() {
    let test_env = TestEnv::new().await;
    let token = test_env.bound_token(&test_env.identity()).await;
    let payload = token.secret().expose().split('.').nth(1).unwrap();
    let payload = Base64UrlUnpadded::decode_vec(payload).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    let leaf = &token.bound_to().unwrap().chain()[0];
    assert_eq!(claims["cnf"]["x5t#S256"], Thumbprint::of(leaf).to_string());
}

#[tokio::test]
async fn bind_03_resource_accepts_token_and_certificate() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let token = test_env.bound_token(&identity).await;
    let response = test_env.call(&identity, &token).await;
    assert_eq!(response.status(), StatusCode::OK);
    let seen: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(seen["bound"], true);
}

#[tokio::test]
async fn bind_04_to_06_wrong_presentation_is_refused() {
    let test_env = TestEnv::new().await;
    let token = test_env.bound_token(&test_env.identity()).await;
    let thief = test_env.emulator.issue_client_certificate(test_env.emulator.client_id()).unwrap();
    let thief = OpaqueKey::identity(&thief.certificate.der, &thief.pkcs8);
    let own = || token.bound_to().cloned();
    // One transport: a connection of an accepted request must not serve the others.
    let transport = test_env.transport();
    for (case, request, reason) in [
        ("as it should be", manual_request(&test_env, "mtls_pop", &token, own()), None),
        ("another scheme", manual_request(&test_env, "Bearer", &token, own()), Some("wrong_scheme")),
        ("no certificate", manual_request(&test_env, "mtls_pop", &token, None), Some("certificate_missing")),
        (
            "another certificate",
            manual_request(&test_env, "mtls_pop", &token, Some(thief)),
            Some("certificate_mismatch"),
        ),
        ("as it should be, again", manual_request(&test_env, "mtls_pop", &token, own()), None),
    ] {
        let response = transport.send(request).await.unwrap();
        let status = if reason.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        assert_eq!(response.status(), status, "{case}");
        assert_eq!(test_env.emulator.journal().last(Step::Resource).unwrap().reason, reason, "{case}");
    }
}

#[tokio::test]
async fn bind_07_bound_token_needs_its_certificate() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let token = test_env.bound_token(&identity).await;

    let plain = test_env.emulator.resource_url().replace("https:", "http:");
    let request = http::Request::get(plain).body(Bytes::new()).unwrap();
    assert_eq!(identity.call(&token, request).await.unwrap_err().code(), "insecure_endpoint");

    let was_called = Arc::new(AtomicBool::new(false));
    let called = Arc::clone(&was_called);
    let incapable = SharedTransport::new(
        transport_fn(move |_| {
            called.store(true, Ordering::SeqCst);
            async { Ok(Response::new(StatusCode::OK, "")) }
        })
        .with_capabilities(Capabilities::none()),
    );
    let refused = incapable.send(token.authorize(test_env.resource_request()).unwrap()).await;
    assert_eq!(refused.unwrap_err().kind(), TransportErrorKind::Unsupported);
    assert!(!was_called.load(Ordering::SeqCst));

    let own = token.bound_to().unwrap();
    let broken = SharedSigningKey::new(OpaqueKey::broken(own.key()));
    let broken = ClientIdentity::new(own.chain().to_vec(), broken).unwrap();
    let refused = test_env.send(manual_request(&test_env, "mtls_pop", &token, Some(broken))).await;
    assert_eq!(refused.unwrap_err().kind(), TransportErrorKind::IdentityUnusable);

    assert_eq!(test_env.count(Step::Resource), 0, "nothing reached the resource");
}

#[tokio::test]
async fn bind_07_server_never_requests_the_certificate() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let token = test_env.bound_token(&identity).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let tls = ServerTls { requests_certificate: false, ..HTTP1 };
        let server = ResourceServer::start_with(tls, &[version]).await;
        let transport = HyperTransport::builder()
            .context(test_env.context().with_env(Env::empty()))
            .platform_roots(false)
            .root_certificates_pem(server.certificate().as_bytes())
            .build()
            .unwrap();
        for method in [Method::GET, Method::POST] {
            let request = http::Request::builder().method(method).uri(server.url());
            let request = request.body(Bytes::from_static(b"body")).unwrap();
            let refused = transport.send(token.authorize(request).unwrap()).await;
            let kind = refused.unwrap_err().kind();
            assert_eq!(kind, TransportErrorKind::IdentityNotRequested, "{version:?}");
        }
        assert!(server.received().is_empty(), "{version:?}: the token was sent without its certificate");
        assert!(server.accepted() > 0, "{version:?}");
        // The server can be reached: a request without a certificate is answered.
        let plain = Request::new(Method::GET, server.url().parse().unwrap(), Route::Public);
        assert_eq!(transport.send(plain).await.unwrap().status(), StatusCode::OK, "{version:?}");
    }
}

#[tokio::test]
async fn bind_07_failing_key_sends_no_request() {
    let test_env = TestEnv::new().await;
    let keys = OpaqueKeys::always(OpaqueKey::broken(&OpaqueKey::rsa_2048()));
    let identity = test_env.builder().key_provider(keys).build().unwrap();
    assert!(identity.token(RESOURCE).proof_of_possession().await.is_err());
    assert_eq!((test_env.counts().issuances, test_env.counts().tokens), (0, 0));
}

#[tokio::test]
async fn bound_token_is_renewed_before_its_certificate() {
    let hours = |count: u64| Duration::from_secs(count * 60 * 60);
    let test_env = TestEnv::with(|emulator| {
        emulator.certificate_lifetime(hours(4)).token_not_after(None).token_lifetime(hours(24))
    })
    .await;
    let token = test_env.bound_token(&test_env.identity()).await;
    let ends = token.bound_to().unwrap().not_after();
    assert!(token.expires_on() > ends, "by itself it would live longer");
    assert!(token.refresh_on() < ends, "without its certificate it is of no use");
}
