//! CFG, REQ, SNI: certificates and assertions of confidential clients.

use symbolon::{ClientIdentity, ErrorKind, Secret, TokenSource};
use symbolon_emulator::{Entry, Step, TlsVersion};
use symbolon_tests::{CLIENT_ID, RESOURCE, World};
use symbolon_token::{
    ClientAssertion, ClientCertificate, ClientSecret, SignedAssertion, TokenClient, assertion_fn,
};
use symbolon_types::{IdentityError, SharedSigningKey};

fn names(request: &Entry) -> Vec<&str> {
    request.form_names().collect()
}

#[tokio::test]
async fn cfg_01_a_certificate_gets_a_bound_token_and_is_on_tls() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let world = World::with(|emulator| emulator.tls_version(version)).await;
        let certificate = world.certificate();
        let client = world.certificate_client(certificate.clone());
        let token = world.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
        assert_eq!(token.bound_to(), Some(&certificate));
        assert_eq!(world.last_token_request().certificate(), Some(certificate.thumbprint()));
    }
}

#[tokio::test]
async fn cfg_02_an_assertion_with_its_certificate_gets_a_bound_token() {
    let world = World::new().await;
    let client = world.assertion_client(&world.identity());
    let token = world.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    let request = world.last_token_request();
    assert_eq!(
        request.form("client_assertion_type"),
        Some("urn:ietf:params:oauth:client-assertion-type:jwt-pop")
    );
    assert_eq!(request.certificate(), token.bound_to().map(ClientIdentity::thumbprint));
    assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(world.last_certificate()));
    let hit = world.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    assert_eq!(hit.source(), TokenSource::Cache, "the next look-up knows the certificate");
}

#[tokio::test]
async fn cfg_04_a_secret_is_refused_for_pop_before_any_request() {
    let world = World::new().await;
    let credential = ClientSecret::new(world.application(), Secret::new("a secret")).unwrap();
    let client = world.client_builder(credential).build();
    let error = client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("mtls_certificate_not_provided", ErrorKind::Request));
    assert_eq!(world.emulator.journal().entries().len(), 0);
}

#[tokio::test]
async fn cfg_05_an_assertion_without_a_certificate_is_refused_for_pop_before_any_request() {
    let world = World::new().await;
    let source = assertion_fn(|_| async { Ok(SignedAssertion::new(Secret::new("an assertion"))) });
    let client = world.client_builder(ClientAssertion::new(world.application(), source)).build();
    let error = client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("mtls_certificate_not_provided", ErrorKind::Request));
    assert_eq!(world.emulator.journal().entries().len(), 0);
}

#[tokio::test]
async fn cfg_07_an_unusable_chain_is_refused_before_any_request_with_the_same_error_each_time() {
    let world = World::new().await;
    let certificate = world.certificate();
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
    assert_eq!(world.emulator.journal().entries().len(), 0);
}

#[tokio::test]
async fn req_03_an_assertion_with_its_certificate_is_sent_as_jwt_pop() {
    let world = World::new().await;
    let client = world.assertion_client(&world.identity());
    world.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    let request = world.last_token_request();
    assert_eq!(
        names(&request),
        ["client_id", "client_assertion_type", "client_assertion", "scope", "grant_type", "token_type"]
    );
    assert_eq!((request.form("client_id"), request.form("token_type")), (Some(CLIENT_ID), Some("mtls_pop")));
}

fn with_x5c(world: &World, certificate: ClientIdentity) -> TokenClient {
    let credential = ClientCertificate::new(world.application(), certificate).unwrap().send_x5c();
    world.client_builder(credential).build()
}

#[tokio::test]
async fn sni_01_without_pop_the_certificate_signs_and_is_not_on_tls() {
    let world = World::new().await;
    let client = with_x5c(&world, world.certificate());
    let token = world.keep(client.token_for_resource(RESOURCE).await.unwrap());
    let request = world.last_token_request();
    assert_eq!(
        names(&request),
        ["client_id", "client_assertion_type", "client_assertion", "scope", "grant_type"]
    );
    assert_eq!(request.certificate(), None);
    assert_eq!((token.token_type(), token.bound_to()), ("Bearer", None));
}

#[tokio::test]
async fn sni_02_to_03_bearer_and_bound_tokens_of_one_certificate_are_kept_apart() {
    for bound_first in [true, false] {
        let world = World::new().await;
        let client = with_x5c(&world, world.certificate());
        let mut sources = Vec::new();
        for is_bound in [bound_first, !bound_first, bound_first, !bound_first] {
            let request = client.token_for_resource(RESOURCE);
            let token = if is_bound { request.proof_of_possession().await } else { request.await };
            let token = world.keep(token.unwrap());
            assert_eq!(token.bound_to().is_some(), is_bound);
            sources.push(token.source());
        }
        use TokenSource::{Cache, Network};
        assert_eq!(sources, [Network, Network, Cache, Cache]);
    }
}

#[tokio::test]
async fn sni_01_over_mtls_a_bearer_token_comes_with_the_certificate_on_tls() {
    let world = World::new().await;
    let certificate = world.certificate();
    let credential = ClientCertificate::new(world.application(), certificate.clone()).unwrap().over_mtls();
    let client = world.client_builder(credential).build();
    let token = world.keep(client.token_for_resource(RESOURCE).await.unwrap());
    assert_eq!(token.token_type(), "Bearer");
    let request = world.last_token_request();
    assert_eq!(request.certificate(), Some(certificate.thumbprint()));
    assert_eq!(request.form("token_type"), None);
}

#[tokio::test]
async fn sni_01_an_assertion_is_never_sent_twice() {
    let world = World::new().await;
    world.emulator.inject(symbolon_emulator::Fault::status(Step::Token, 503).times(2));
    let credential = ClientCertificate::new(world.application(), world.certificate()).unwrap();
    let client = world.client_builder(credential).build();
    world.keep(client.token_for_resource(RESOURCE).await.unwrap());
    assert_eq!(world.count(Step::Token), 3, "the emulator refuses a jti that it has seen");
}
