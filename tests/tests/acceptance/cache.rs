//! CACHE: which requests share a token.

use std::time::Duration;

use symbolon::{ClientIdentity, Context, TokenSource};
use symbolon_emulator::{CertifiedKey, Fault, Step};
use symbolon_tests::{OpaqueKey, OpaqueKeys, RESOURCE, World};
use symbolon_token::{
    ClientAuth, ClientCertificate, CredentialRequest, CredentialSource, MemoryStore, Partition, Refusal,
    Resolution, TokenCache, TokenClient, TokenEndpoint,
};
use symbolon_types::pki_types::CertificateDer;
use symbolon_types::pki_types::pem::PemObject as _;

const HALF_A_DAY: Duration = Duration::from_secs(12 * 60 * 60);

#[tokio::test]
async fn cache_01_the_same_request_is_a_hit_with_a_usable_binding() {
    let world = World::new().await;
    let identity = world.identity();
    let first = world.bound(&identity).await;
    let second = world.bound(&identity).await;
    assert_eq!((first.source(), second.source()), (TokenSource::Network, TokenSource::Cache));
    assert_eq!(first.secret().expose(), second.secret().expose());
    assert_eq!(world.call(&identity, &second).await.status(), 200);
}

#[tokio::test]
async fn cache_02_a_certificate_renewed_for_the_same_key_is_a_miss() {
    // Tokens that outlive the half-life of the certificate.
    let world = World::with(|emulator| {
        emulator.certificate_lifetime(2 * HALF_A_DAY).token_not_after(None).token_lifetime(2 * HALF_A_DAY)
    })
    .await;
    let keys = OpaqueKeys::always(OpaqueKey::rsa_2048());
    let identity = world.builder().key_provider(keys).build().unwrap();
    let before = world.bound(&identity).await;
    world.hands.advance(HALF_A_DAY + Duration::from_secs(10 * 60));
    // Still served under the old certificate, while the new one is minted in the background.
    world.bound(&identity).await;
    world.settle(|| world.emulator.issued().len() == 2).await;
    world.settle(|| world.counts().metadata == 2).await;
    // The emulator has issued it; the client may still be reading the answer.
    let clock = symbolon::SharedClock::system();
    let mut after = world.bound(&identity).await;
    for _ in 0..500 {
        if after.bound_to() != before.bound_to() {
            break;
        }
        clock.sleep(Duration::from_millis(10)).await;
        after = world.bound(&identity).await;
    }
    assert_ne!(after.bound_to(), before.bound_to(), "the new certificate is in use within five seconds");
    assert_eq!(after.source(), TokenSource::Network);
    let key = |token: &symbolon::Token| {
        use symbolon_types::SigningKey;
        token.bound_to().map(|identity| identity.key().public_key().as_ref().to_vec())
    };
    assert_eq!(key(&before), key(&after), "the same key");
    assert_eq!(world.call(&identity, &after).await.status(), 200);
}

/// A client with a certificate of its own, as the core sees it.
#[derive(Debug)]
struct Certificate {
    identity: ClientIdentity,
    endpoint: TokenEndpoint,
    client_id: String,
}

impl Certificate {
    fn new(world: &World, issued: &CertifiedKey) -> Self {
        Self {
            identity: OpaqueKey::identity(issued.certificate().der(), issued.pkcs8()),
            endpoint: TokenEndpoint::parse(&world.emulator.token_endpoint()).unwrap(),
            client_id: issued.certificate().client_id().to_owned(),
        }
    }
}

impl CredentialSource for Certificate {
    fn resolve<'a>(&'a self, _request: &'a CredentialRequest<'a>) -> Resolution<'a> {
        let auth =
            ClientAuth::new(&*self.client_id, self.endpoint.clone(), Partition::new("the same application"));
        Resolution::ready(Ok(auth.with_proof_of_possession(self.identity.clone())))
    }

    async fn refused(&self, _used: &ClientAuth, _why: &Refusal) -> bool {
        false
    }
}

#[tokio::test]
async fn cache_03_different_certificates_of_one_application_stay_apart() {
    let world = World::new().await;
    let issued = [(), ()].map(|()| world.emulator.issue_client_certificate("client").unwrap());
    let transport = world.transport();
    let client = |issued| {
        TokenClient::builder(Certificate::new(&world, issued), transport.clone())
            .context(Context::default().with_clock(world.clock()))
    };
    let first = client(&issued[0]).build();
    let second = client(&issued[1]).cache(first.cache().clone()).build();
    for round in [TokenSource::Network, TokenSource::Cache] {
        for (client, issued) in [(&first, &issued[0]), (&second, &issued[1])] {
            let token = world.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
            assert_eq!(token.source(), round);
            let thumbprint = issued.certificate().thumbprint();
            assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(thumbprint));
            let answer = client.call(&token, world.resource_request()).await.unwrap();
            assert_eq!(answer.status(), 200, "the connection presents the token's own certificate");
        }
    }
    let journal = world.emulator.journal();
    let connections: std::collections::HashSet<_> =
        journal.entries().map(|entry| (entry.connection(), entry.certificate())).collect();
    assert_eq!(connections.len(), 4, "one connection for each certificate and server");
}

#[tokio::test]
async fn cache_04_the_same_leaf_with_other_issuers_is_a_hit() {
    let world = World::new().await;
    let alone = world.certificate();
    let issuer = CertificateDer::from_pem_slice(world.emulator.ca_pem().as_bytes()).unwrap();
    let with_issuer = vec![alone.chain()[0].clone(), issuer];
    let with_issuer = ClientIdentity::new(with_issuer, alone.key().clone()).unwrap();
    let first = world.certificate_client(alone);
    let credential = ClientCertificate::new(world.application(), with_issuer).unwrap();
    let second = world.client_builder(credential).cache(first.cache().clone()).build();
    let token = world.keep(first.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    let hit = world.keep(second.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    assert_eq!((token.source(), hit.source()), (TokenSource::Network, TokenSource::Cache));
    assert_eq!(second.call(&hit, world.resource_request()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn cache_05_a_failed_downgrade_writes_nothing() {
    let world = World::new().await;
    let identity = world.identity();
    world.emulator.inject(Fault::downgrade_to_bearer().times(2));
    for _ in 0..2 {
        let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
        assert_eq!(error.code(), "token_type_mismatch");
    }
    assert_eq!(world.counts().tokens, 2);
    let bearer = world.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!((bearer.token_type(), bearer.source()), ("Bearer", TokenSource::Network));
}

#[tokio::test]
async fn cache_06_two_certificates_with_one_store_never_get_each_others_tokens() {
    let world = World::new().await;
    let store = MemoryStore::new(world.clock());
    let certificates = [world.certificate(), world.certificate()];
    for source in [TokenSource::Network, TokenSource::Cache] {
        for certificate in &certificates {
            // As two processes: each with a memory of its own, which the store outlives.
            let cache = TokenCache::new(10, &world.context()).with_store(store.clone());
            let credential = ClientCertificate::new(world.application(), certificate.clone()).unwrap();
            let client = world.client_builder(credential).cache(cache).build();
            let token = world.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
            assert_eq!((token.source(), token.bound_to()), (source, Some(certificate)));
            assert_eq!(client.call(&token, world.resource_request()).await.unwrap().status(), 200);
        }
    }
    assert_eq!((store.len(), world.count(Step::Token)), (2, 2));
}

#[tokio::test]
async fn cache_07_a_hit_keeps_the_token_type_and_the_binding() {
    let world = World::new().await;
    let identity = world.identity();
    let first = world.bound(&identity).await;
    let hit = world.bound(&identity).await;
    assert_eq!((hit.source(), hit.token_type()), (TokenSource::Cache, "mtls_pop"));
    assert_eq!(hit.bound_to(), first.bound_to());
    assert_eq!(hit.expires_on(), first.expires_on());
}

#[tokio::test]
async fn a_refused_token_of_a_managed_identity_is_forgotten_in_memory_and_in_the_store() {
    let world = World::new().await;
    let store = MemoryStore::new(world.clock());
    let cache = || TokenCache::new(10, &world.context()).with_store(store.clone());
    let identity = world.builder().cache(cache()).build().unwrap();
    let refused = [world.keep(identity.token(RESOURCE).await.unwrap()), world.bound(&identity).await];
    assert_eq!(store.len(), 2);
    for token in &refused {
        assert!(identity.invalidate(token));
        assert!(!identity.invalidate(token), "it is gone");
    }
    world.settle(|| store.is_empty()).await;
    let renewed = [world.keep(identity.token(RESOURCE).await.unwrap()), world.bound(&identity).await];
    assert_eq!(renewed.map(|token| token.source()), [TokenSource::Network; 2]);
    // Another process of the machine; it can use a bearer token, but has no key for a bound one.
    let other = world.builder().cache(cache()).build().unwrap();
    assert_eq!(world.keep(other.token(RESOURCE).await.unwrap()).source(), TokenSource::Cache);
    assert_eq!(world.bound(&other).await.source(), TokenSource::Network);
}

#[tokio::test]
async fn tokens_of_a_managed_identity_go_into_no_store_that_other_machines_read() {
    let world = World::new().await;
    let store = MemoryStore::new(world.clock()).as_if_shared();
    let cache = TokenCache::new(10, &world.context()).with_store(store.clone());
    let identity = world.builder().cache(cache).build().unwrap();
    world.keep(identity.token(RESOURCE).await.unwrap());
    world.bound(&identity).await;
    assert!(store.is_empty());
}
