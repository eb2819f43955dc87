//! CFG, REQ, SNI: certificates and assertions of confidential clients.

use crate::clients::CLIENT_ID;
use crate::test_env::TestEnv;
use symbolon::{ClientIdentity, ErrorKind, Secret, TokenOrigin};
use symbolon_emulator::{JournalEntry, Step, TlsVersion};
use symbolon_tests::RESOURCE;
use symbolon_token::{
    ClientAssertion, ClientCertificate, ClientSecret, SignedAssertion, TokenClient, assertion_fn,
};
use symbolon_types::{IdentityError, SharedSigningKey};

fn names(request: &JournalEntry) -> Vec<&str> {
    request.form_names().collect()
}

#[tokio::test]
async fn cfg_01_certificate_gets_a_bound_token() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let test_env = TestEnv::with(|emulator| emulator.tls_version(version)).await;
        let certificate = test_env.certificate();
        let client = test_env.certificate_client(certificate.clone());
        let token = test_env.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
        assert_eq!(token.bound_to(), Some(&certificate));
        assert_eq!(test_env.last_token_request().certificate(), Some(certificate.thumbprint()));
    }
}

#[tokio::test]
async fn expired_certificate_authenticates_nowhere() {
    let test_env = TestEnv::new().await;
    let certificate = test_env.certificate();
    let signing = || ClientCertificate::new(test_env.application(), certificate.clone()).unwrap();
    let left = certificate.not_after().duration_since(test_env.clock().now()).unwrap();
    test_env.manual_clock.advance(left - std::time::Duration::from_secs(1));
    let client = test_env.client_builder(signing()).build();
    test_env.keep(client.token_for_resource(RESOURCE).await.unwrap());
    test_env.manual_clock.advance(std::time::Duration::from_secs(1));
    let requests = test_env.counts().tokens;
    for credential in [signing(), signing().send_x5c(), signing().over_mtls()] {
        let client = test_env.client_builder(credential).build();
        for request in
            [client.token_for_resource(RESOURCE), client.token_for_resource(RESOURCE).proof_of_possession()]
        {
            let error = request.await.unwrap_err();
            assert_eq!((error.code(), error.kind()), ("invalid_certificate", ErrorKind::Credential));
            assert!(error.to_string().contains("expired") && error.advice().contains("clock"), "{error}");
        }
    }
    assert_eq!(test_env.counts().tokens, requests, "nothing was sent");
}

#[tokio::test]
async fn cfg_02_bound_assertion_gets_a_bound_token() {
    let test_env = TestEnv::new().await;
    let client = test_env.assertion_client(&test_env.identity());
    let token = test_env.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    let request = test_env.last_token_request();
    assert_eq!(
        request.form("client_assertion_type"),
        Some("urn:ietf:params:oauth:client-assertion-type:jwt-pop")
    );
    assert_eq!(request.certificate(), token.bound_to().map(ClientIdentity::thumbprint));
    assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(test_env.last_certificate()));
    let hit = test_env.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    assert_eq!(hit.origin(), TokenOrigin::Cache, "the next lookup uses the certificate");
}

#[tokio::test]
async fn cfg_04_secret_is_refused_for_pop() {
    let test_env = TestEnv::new().await;
    let credential = ClientSecret::new(test_env.application(), Secret::new("a secret")).unwrap();
    let client = test_env.client_builder(credential).build();
    let error = client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("mtls_certificate_not_provided", ErrorKind::Request));
    assert_eq!(test_env.emulator.journal().entries().len(), 0);
}

#[tokio::test]
async fn cfg_05_unbound_assertion_is_refused_for_pop() {
    let test_env = TestEnv::new().await;
    let source = assertion_fn(|_| async { Ok(SignedAssertion::new(Secret::new("an assertion"))) });
    let client = test_env.client_builder(ClientAssertion::new(test_env.application(), source)).build();
    let error = client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("mtls_certificate_not_provided", ErrorKind::Request));
    assert_eq!(test_env.emulator.journal().entries().len(), 0);
}

#[tokio::test]
async fn cfg_07_unusable_chain_is_refused_each_time() {
    let test_env = TestEnv::new().await;
    let certificate = test_env.certificate();
    let leaf = certificate.chain()[0].clone();
    let trailing: Vec<u8> = leaf.iter().copied().chain([0]).collect();
    let key = || -> SharedSigningKey { certificate.key().clone() };
    for (case, chain, expected) in [
        ("empty", vec![], IdentityError::EmptyChain),
        (
            "not a certificate",
            vec![vec![0x30, 0].into()],
            IdentityError::MalformedCertificate { position: 0 },
        ),
        ("a byte too many", vec![trailing.into()], IdentityError::MalformedCertificate { position: 0 }),
        (
            "a malformed issuer",
            vec![leaf.clone(), vec![1, 2, 3].into()],
            IdentityError::MalformedCertificate { position: 1 },
        ),
    ] {
        for _ in 0..2 {
            assert_eq!(ClientIdentity::new(chain.clone(), key()).unwrap_err(), expected, "{case}");
        }
    }
    assert_eq!(test_env.emulator.journal().entries().len(), 0);
}

#[tokio::test]
async fn req_03_bound_assertion_is_sent_as_jwt_pop() {
    let test_env = TestEnv::new().await;
    let client = test_env.assertion_client(&test_env.identity());
    test_env.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    let request = test_env.last_token_request();
    assert_eq!(
        names(&request),
        ["client_id", "client_assertion_type", "client_assertion", "scope", "grant_type", "token_type"]
    );
    assert_eq!((request.form("client_id"), request.form("token_type")), (Some(CLIENT_ID), Some("mtls_pop")));
}

fn with_x5c(test_env: &TestEnv, certificate: ClientIdentity) -> TokenClient {
    let credential = ClientCertificate::new(test_env.application(), certificate).unwrap().send_x5c();
    test_env.client_builder(credential).build()
}

#[tokio::test]
async fn sni_01_certificate_only_signs_without_pop() {
    let test_env = TestEnv::new().await;
    let client = with_x5c(&test_env, test_env.certificate());
    let token = test_env.keep(client.token_for_resource(RESOURCE).await.unwrap());
    let request = test_env.last_token_request();
    assert_eq!(
        names(&request),
        ["client_id", "client_assertion_type", "client_assertion", "scope", "grant_type"]
    );
    assert_eq!(request.certificate(), None);
    assert_eq!((token.token_type(), token.bound_to()), ("Bearer", None));
}

#[tokio::test]
async fn sni_02_to_03_bearer_and_bound_entries_differ() {
    for bound_first in [true, false] {
        let test_env = TestEnv::new().await;
        let client = with_x5c(&test_env, test_env.certificate());
        let mut sources = Vec::new();
        for is_bound in [bound_first, !bound_first, bound_first, !bound_first] {
            let request = client.token_for_resource(RESOURCE);
            let token = if is_bound { request.proof_of_possession().await } else { request.await };
            let token = test_env.keep(token.unwrap());
            assert_eq!(token.bound_to().is_some(), is_bound);
            sources.push(token.origin());
        }
        use TokenOrigin::{Cache, Network};
        assert_eq!(sources, [Network, Network, Cache, Cache]);
    }
}

#[tokio::test]
async fn sni_01_mtls_bearer_presents_the_certificate() {
    let test_env = TestEnv::new().await;
    let certificate = test_env.certificate();
    let credential = ClientCertificate::new(test_env.application(), certificate.clone()).unwrap().over_mtls();
    let client = test_env.client_builder(credential).build();
    let token = test_env.keep(client.token_for_resource(RESOURCE).await.unwrap());
    assert_eq!(token.token_type(), "Bearer");
    let request = test_env.last_token_request();
    assert_eq!(request.certificate(), Some(certificate.thumbprint()));
    assert_eq!(request.form("token_type"), None);
}

#[tokio::test]
async fn sni_01_an_assertion_is_never_sent_twice() {
    let test_env = TestEnv::new().await;
    test_env.emulator.inject(symbolon_emulator::Fault::status(Step::Token, 503).times(2));
    let credential = ClientCertificate::new(test_env.application(), test_env.certificate()).unwrap();
    let client = test_env.client_builder(credential).build();
    test_env.keep(client.token_for_resource(RESOURCE).await.unwrap());
    assert_eq!(test_env.count(Step::Token), 3, "the emulator refuses a jti that it has seen");

    // The kept connection is lost with the request.
    test_env.emulator.inject(symbolon_emulator::Fault::reset(Step::Token));
    let token = test_env.keep(client.token_for_resource("https://other.example").await.unwrap());
    assert_eq!(token.attempts(), 2, "a new request with another assertion");
}
