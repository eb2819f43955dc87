//! DATA: calls with a token that the caller has.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use symbolon::{CredentialChain, Env, HyperTransport, ManagedIdentity, ManagedIdentityId, SharedClock};
use symbolon_emulator::{Fault, Step};
use symbolon_tests::RESOURCE;
use symbolon_token::claims_challenge;
use tokio::net::TcpListener;

use crate::resource_server::{HTTP1, Reaction, ResourceServer};
use crate::test_env::TestEnv;

const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"cp1"}}}"#;

fn post(url: &str) -> Request<Bytes> {
    Request::post(url).body(Bytes::from_static(b"small")).unwrap()
}

#[tokio::test]
async fn data_22_challenge_is_answered_once() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let chain = CredentialChain::builder().managed_identity(identity.clone()).context(test_env.context());
    let chain = chain.transport(test_env.transport()).build().unwrap();
    let token = test_env.bound_token(&identity).await;
    let url = test_env.emulator.resource_url();
    let challenge =
        |times| test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS).times(times));

    challenge(1);
    assert_eq!(identity.call(&token, post(url)).await.unwrap().status(), StatusCode::OK);
    assert_eq!((test_env.counts().tokens, test_env.count(Step::Resource)), (2, 2));
    challenge(1);
    assert_eq!(chain.call(&token, post(url)).await.unwrap().status(), StatusCode::OK);
    assert_eq!((test_env.counts().tokens, test_env.count(Step::Resource)), (3, 4));
    assert_eq!(test_env.counts().issuances, 1, "a challenge mints nothing");

    challenge(2);
    let response = identity.call(&token, post(url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(claims_challenge(response.headers()).as_deref(), Some(CLAIMS));
    assert_eq!(test_env.count(Step::Resource), 6);
}

// The certificate of another identity is none of this identity's either.
#[tokio::test]
async fn data_22_owner_of_the_token_stays() {
    let test_env = TestEnv::new().await;
    let other = ManagedIdentityId::client_id(&test_env.emulator.user_assigned().client_id).unwrap();
    let other = test_env.builder().identity(other).build().unwrap();
    let foreign = test_env.bound_token(&other).await;
    let identity = test_env.identity();
    test_env.emulator.inject(Fault::claims_challenge(Step::Resource, CLAIMS));
    let response = identity.call(&foreign, post(test_env.emulator.resource_url())).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "as the resource answered");
    assert_eq!(test_env.count(Step::Resource), 1);

    let certificate = foreign.bound_to().unwrap().thumbprint();
    test_env.emulator.reject_in_tls(certificate);
    test_env.emulator.reset_connections_of(certificate);
    // A GET, because a kept connection that was reset can look open for a moment.
    let get = Request::get(test_env.emulator.resource_url()).body(Bytes::new()).unwrap();
    let error = identity.call(&foreign, get).await.unwrap_err();
    assert_eq!(error.code(), "certificate_refused_by_resource");
    assert_eq!(test_env.count(Step::Resource), 1);
}

#[tokio::test]
async fn data_22_refused_certificate_is_replaced() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let token = test_env.bound_token(&identity).await;
    let refuse = |certificate| {
        test_env.emulator.reject_in_tls(certificate);
        test_env.emulator.reset_connections_of(certificate);
    };
    let url = test_env.emulator.resource_url();
    let first = test_env.last_certificate();
    refuse(first);
    assert_eq!(identity.call(&token, post(url)).await.unwrap().status(), StatusCode::OK);
    assert_ne!(test_env.last_certificate(), first);
    assert_eq!((test_env.counts().issuances, test_env.count(Step::Resource)), (2, 1));

    refuse(test_env.last_certificate());
    let error = identity.call(&token, post(url)).await.unwrap_err();
    assert_eq!(error.code(), "certificate_refused_by_resource");
    assert_eq!(test_env.counts().issuances, 2, "no mint within the pause");
}

/// An identity whose transport also trusts this server.
fn trusting(test_env: &TestEnv, server: &ResourceServer) -> ManagedIdentity {
    let transport = HyperTransport::builder()
        .context(test_env.context().with_env(Env::empty()))
        .platform_roots(false)
        .root_certificates_pem(test_env.emulator.ca_pem().as_bytes())
        .root_certificates_pem(server.certificate().as_bytes());
    test_env.builder().transport(transport.build().unwrap()).build().unwrap()
}

#[tokio::test]
async fn data_22_delivered_post_is_not_repeated() {
    let test_env = TestEnv::new().await;
    let server = ResourceServer::start(HTTP1).await;
    let identity = trusting(&test_env, &server);
    // Two lost connections count as a refusal of the certificate, which is then replaced.
    for (token, most) in
        [(identity.token(RESOURCE).await.unwrap(), 2), (test_env.bound_token(&identity).await, 4)]
    {
        for (method, most) in [(Method::POST, 1), (Method::PATCH, 1), (Method::GET, most)] {
            let before = server.received().len();
            server.script([Reaction::Lose; 9]);
            let request = Request::builder().method(method.clone()).uri(server.url());
            let error = identity.call(&token, request.body(Bytes::new()).unwrap()).await.unwrap_err();
            server.clear_script();
            let count = server.received().len() - before;
            assert!((1..=most).contains(&count), "{} {method}: {count}", token.token_type());
            assert!(method.is_idempotent() || !error.is_transient(), "{method}: {error}");
        }
    }
}

#[tokio::test]
async fn data_22_deadline_is_a_minute() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let token = test_env.bound_token(&identity).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let call = tokio::spawn(async move { identity.call(&token, post(&url)).await });
    let _accepted = silent.accept().await.unwrap();
    let system = SharedClock::system();
    let pause = || system.sleep(Duration::from_millis(20));
    pause().await;
    test_env.manual_clock.advance(Duration::from_secs(59));
    pause().await;
    assert!(!call.is_finished());
    test_env.manual_clock.advance(Duration::from_secs(1));
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.code(), "timeout", "{error}");
}
