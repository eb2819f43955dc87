//! REQ: the request that the token service receives, and its responses.

use crate::test_env::TestEnv;
use symbolon::ClientIdentity;
use symbolon_emulator::{Fault, Step, TlsVersion};
use symbolon_tests::RESOURCE;

#[tokio::test]
async fn req_04_certificate_is_in_the_handshake() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let test_env = TestEnv::with(|emulator| emulator.tls_version(version)).await;
        let identity = test_env.identity();
        let token = test_env.bound_token(&identity).await;
        let request = test_env.last_token_request();
        assert_eq!(request.tls_version(), Some(version));
        assert_eq!(request.certificate(), token.bound_to().map(ClientIdentity::thumbprint));
        let names: Vec<&str> = request.form_names().collect();
        assert_eq!(
            names,
            ["client_id", "scope", "grant_type", "token_type"],
            "and nothing else is in the body"
        );
        assert_eq!(request.form("token_type"), Some("mtls_pop"));
        assert_eq!(request.form("grant_type"), Some("client_credentials"));
    }
}

#[tokio::test]
async fn req_05_a_bearer_answer_to_a_bound_request_is_refused() {
    let test_env = TestEnv::new().await;
    test_env.emulator.inject(Fault::downgrade_to_bearer());
    let identity = test_env.identity();
    let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), "token_type_mismatch");
    assert!(!error.is_transient() && error.excerpt().is_none());
    let token = test_env.bound_token(&identity).await;
    assert_eq!(token.origin(), symbolon::TokenOrigin::Network, "the refused answer was not kept");
}

#[tokio::test]
async fn req_06_token_of_another_certificate_is_refused() {
    let test_env = TestEnv::new().await;
    test_env.emulator.inject(Fault::wrong_cnf());
    let identity = test_env.identity();
    let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), "invalid_response");
    let token = test_env.bound_token(&identity).await;
    assert_eq!(token.origin(), symbolon::TokenOrigin::Network, "the refused answer was not kept");
    assert_eq!(test_env.call(&identity, &token).await.status(), 200);
}

#[tokio::test]
async fn req_07_resource_keeps_its_slash() {
    const SCOPE: &str = "https://database.windows.net//.default";
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    for request in [identity.token(SCOPE).proof_of_possession(), identity.token(SCOPE).over_mtls()] {
        let token = test_env.keep(request.await.unwrap());
        assert_eq!(token.audience(), "https://database.windows.net/");
        assert_eq!(test_env.last_token_request().form("scope"), Some(SCOPE));
    }
    test_env.keep(identity.token(SCOPE).await.unwrap());
    let journal = test_env.emulator.journal();
    let bearer = journal.last(Step::ImdsToken).unwrap();
    assert_eq!(bearer.query("resource"), Some("https://database.windows.net/"));
}
