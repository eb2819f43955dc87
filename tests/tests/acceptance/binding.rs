//! BIND: a bound token and its certificate at the resource.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};
use symbolon::{ClientIdentity, Thumbprint, Token};
use symbolon_emulator::Step;
use symbolon_tests::{OpaqueKey, OpaqueKeys, RESOURCE, World};
use symbolon_transport::{
    Capabilities, Request, Response, Route, SharedTransport, Transport, TransportErrorKind, transport_fn,
};
use symbolon_types::SharedSigningKey;

/// A request as a client of its own would make it.
fn by_hand(world: &World, scheme: &str, token: &Token, identity: Option<ClientIdentity>) -> Request {
    let url = world.emulator.resource_url().parse().unwrap();
    let mut request = Request::new(Method::GET, url, Route::Public).with_identity(identity);
    let value = HeaderValue::try_from(format!("{scheme} {}", token.secret().expose())).unwrap();
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

#[tokio::test]
async fn bind_01_the_binding_of_the_result_is_usable_for_the_next_handshake_as_it_is() {
    let world = World::new().await;
    let token = world.bound(&world.identity()).await;
    let binding = token.bound_to().cloned();
    let response = world.send(by_hand(&world, token.token_type(), &token, binding)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn bind_02_the_thumbprint_of_the_leaf_is_what_the_token_confirms() {
    let world = World::new().await;
    let token = world.bound(&world.identity()).await;
    let payload = token.secret().expose().split('.').nth(1).unwrap();
    let payload = Base64UrlUnpadded::decode_vec(payload).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    let leaf = &token.bound_to().unwrap().chain()[0];
    assert_eq!(claims["cnf"]["x5t#S256"], Thumbprint::of(leaf).to_string());
}

#[tokio::test]
async fn bind_03_the_resource_accepts_the_token_with_its_certificate() {
    let world = World::new().await;
    let identity = world.identity();
    let token = world.bound(&identity).await;
    let response = world.call(&identity, &token).await;
    assert_eq!(response.status(), StatusCode::OK);
    let seen: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(seen["bound"], true);
}

#[tokio::test]
async fn bind_04_to_06_another_scheme_no_certificate_and_another_certificate_are_refused() {
    let world = World::new().await;
    let token = world.bound(&world.identity()).await;
    let thief = world.emulator.issue_client_certificate(world.emulator.client_id()).unwrap();
    let thief = OpaqueKey::identity(thief.certificate().der(), thief.pkcs8());
    let own = || token.bound_to().cloned();
    // One transport: what it remembers of the accepted requests must not help the others.
    let transport = world.transport();
    for (case, request, reason) in [
        ("as it should be", by_hand(&world, "mtls_pop", &token, own()), None),
        ("another scheme", by_hand(&world, "Bearer", &token, own()), Some("wrong_scheme")),
        ("no certificate", by_hand(&world, "mtls_pop", &token, None), Some("certificate_missing")),
        (
            "another certificate",
            by_hand(&world, "mtls_pop", &token, Some(thief)),
            Some("certificate_mismatch"),
        ),
        ("as it should be, again", by_hand(&world, "mtls_pop", &token, own()), None),
    ] {
        let response = transport.send(request).await.unwrap();
        let status = if reason.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        assert_eq!(response.status(), status, "{case}");
        assert_eq!(world.emulator.journal().last(Step::Resource).unwrap().reason(), reason, "{case}");
    }
}

#[tokio::test]
async fn bind_07_a_bound_token_never_leaves_without_its_certificate() {
    let world = World::new().await;
    let identity = world.identity();
    let token = world.bound(&identity).await;

    let plain = world.emulator.resource_url().replace("https:", "http:");
    let request = http::Request::get(plain).body(Bytes::new()).unwrap();
    assert_eq!(identity.call(&token, request).await.unwrap_err().code(), "insecure_endpoint");

    let was_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&was_asked);
    let incapable = SharedTransport::new(
        transport_fn(move |_| {
            asked.store(true, Ordering::SeqCst);
            async { Ok(Response::new(StatusCode::OK, "")) }
        })
        .with_capabilities(Capabilities::none()),
    );
    let refused = incapable.send(token.authorize(world.resource_request()).unwrap()).await;
    assert_eq!(refused.unwrap_err().kind(), TransportErrorKind::Unsupported);
    assert!(!was_asked.load(Ordering::SeqCst));

    let own = token.bound_to().unwrap();
    let broken = SharedSigningKey::new(OpaqueKey::broken(own.key()));
    let broken = ClientIdentity::new(own.chain().to_vec(), broken).unwrap();
    let refused = world.send(by_hand(&world, "mtls_pop", &token, Some(broken))).await;
    assert_eq!(refused.unwrap_err().kind(), TransportErrorKind::IdentityUnusable);

    assert_eq!(world.count(Step::Resource), 0, "nothing reached the resource");
}

#[tokio::test]
async fn bind_07_a_provider_whose_key_fails_mints_nothing_and_sends_no_token_request() {
    let world = World::new().await;
    let keys = OpaqueKeys::always(OpaqueKey::broken(&OpaqueKey::rsa_2048()));
    let identity = world.builder().key_provider(keys).build().unwrap();
    assert!(identity.token(RESOURCE).proof_of_possession().await.is_err());
    assert_eq!((world.counts().issuances, world.counts().tokens), (0, 0));
}

#[tokio::test]
async fn a_bound_token_is_renewed_before_its_certificate_ends() {
    let hours = |count: u64| Duration::from_secs(count * 60 * 60);
    let world = World::with(|emulator| {
        emulator.certificate_lifetime(hours(4)).token_not_after(None).token_lifetime(hours(24))
    })
    .await;
    let token = world.bound(&world.identity()).await;
    let ends = token.bound_to().unwrap().not_after();
    assert!(token.expires_on() > ends, "by itself it would live longer");
    assert!(token.refresh_on() < ends, "without its certificate it is of no use");
}
