//! CACHE: which requests share a token.

use std::time::Duration;

use crate::key::{OpaqueKey, OpaqueKeys};
use crate::test_env::TestEnv;
use symbolon::{ClientIdentity, Context, TokenOrigin};
use symbolon_emulator::{CertifiedKey, Fault, Step};
use symbolon_tests::RESOURCE;
use symbolon_token::{
    ClientAuth, ClientCertificate, CredentialRejection, CredentialRequest, CredentialSource, Error,
    MemoryStore, Partition, RefreshReason, TokenCache, TokenClient, TokenEndpoint,
};
use symbolon_types::pki_types::CertificateDer;
use symbolon_types::pki_types::pem::PemObject as _;

const HALF_A_DAY: Duration = Duration::from_secs(12 * 60 * 60);

#[tokio::test]
async fn cache_01_same_request_is_a_hit() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let first = test_env.bound_token(&identity).await;
    let second = test_env.bound_token(&identity).await;
    assert_eq!((first.origin(), second.origin()), (TokenOrigin::Network, TokenOrigin::Cache));
    assert_eq!(first.secret().expose(), second.secret().expose());
    assert_eq!(test_env.call(&identity, &second).await.status(), 200);
}

#[tokio::test]
async fn cache_02_renewed_certificate_is_a_miss() {
    // Tokens that outlive the half-life of the certificate.
    let test_env = TestEnv::with(|emulator| {
        emulator.certificate_lifetime(2 * HALF_A_DAY).token_not_after(None).token_lifetime(2 * HALF_A_DAY)
    })
    .await;
    let keys = OpaqueKeys::always(OpaqueKey::rsa_2048());
    let identity = test_env.builder().key_provider(keys).build().unwrap();
    let before = test_env.bound_token(&identity).await;
    test_env.manual_clock.advance(HALF_A_DAY + Duration::from_secs(10 * 60));
    // Still served under the old certificate, while the new one is minted in the background.
    test_env.bound_token(&identity).await;
    test_env.wait_until(|| test_env.emulator.issued().len() == 2).await;
    test_env.wait_until(|| test_env.counts().metadata == 2).await;
    // The emulator has issued it; the client may still be reading the answer.
    let clock = symbolon::SharedClock::system();
    let mut after = test_env.bound_token(&identity).await;
    for _ in 0..500 {
        if after.bound_to() != before.bound_to() {
            break;
        }
        clock.sleep(Duration::from_millis(10)).await;
        after = test_env.bound_token(&identity).await;
    }
    assert_ne!(after.bound_to(), before.bound_to(), "the new certificate is in use within five seconds");
    let new = after.bound_to().map(ClientIdentity::thumbprint);
    let journal = test_env.emulator.journal();
    let exchanges = journal.of(Step::Token).filter(|request| request.certificate() == new).count();
    assert_eq!(exchanges, 1, "a miss");
    let key = |token: &symbolon::Token| {
        use symbolon_types::SigningKey;
        token.bound_to().map(|identity| identity.key().public_key().as_ref().to_vec())
    };
    assert_eq!(key(&before), key(&after), "the same key");
    assert_eq!(test_env.call(&identity, &after).await.status(), 200);
}

/// A credential that presents one certificate.
#[derive(Debug)]
struct Certificate {
    identity: ClientIdentity,
    endpoint: TokenEndpoint,
    client_id: String,
}

impl Certificate {
    fn new(test_env: &TestEnv, issued: &CertifiedKey) -> Self {
        Self {
            identity: OpaqueKey::identity(&issued.certificate.der, &issued.pkcs8),
            endpoint: TokenEndpoint::parse(&test_env.emulator.token_endpoint()).unwrap(),
            client_id: issued.certificate.client_id.to_owned(),
        }
    }
}

impl CredentialSource for Certificate {
    async fn authenticate(&self, _request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let auth =
            ClientAuth::new(&*self.client_id, self.endpoint.clone(), Partition::new("the same application"));
        Ok(auth.with_proof_of_possession(self.identity.clone()))
    }

    async fn refused(&self, _used: &ClientAuth, _why: &CredentialRejection) -> bool {
        false
    }
}

#[tokio::test]
async fn cache_03_certificates_of_one_app_stay_apart() {
    let test_env = TestEnv::new().await;
    let issued = [(), ()].map(|()| test_env.emulator.issue_client_certificate("client").unwrap());
    let transport = test_env.transport();
    let client = |issued| {
        TokenClient::builder(Certificate::new(&test_env, issued), transport.clone())
            .context(Context::default().with_clock(test_env.clock()))
    };
    let first = client(&issued[0]).build();
    let second = client(&issued[1]).cache(first.cache().clone()).build();
    for round in [TokenOrigin::Network, TokenOrigin::Cache] {
        for (client, issued) in [(&first, &issued[0]), (&second, &issued[1])] {
            let token =
                test_env.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
            assert_eq!(token.origin(), round);
            let thumbprint = issued.certificate.thumbprint;
            assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(thumbprint));
            let answer = client.call(&token, test_env.resource_request()).await.unwrap();
            assert_eq!(answer.status(), 200, "the connection presents the token's own certificate");
        }
    }
    let journal = test_env.emulator.journal();
    let connections: std::collections::HashSet<_> =
        journal.entries().map(|entry| (entry.connection, entry.certificate())).collect();
    assert_eq!(connections.len(), 4, "one connection for each certificate and server");
}

#[tokio::test]
async fn cache_04_same_leaf_is_a_hit() {
    let test_env = TestEnv::new().await;
    let alone = test_env.certificate();
    let issuer = CertificateDer::from_pem_slice(test_env.emulator.ca_pem().as_bytes()).unwrap();
    let with_issuer = vec![alone.chain()[0].clone(), issuer];
    let with_issuer = ClientIdentity::new(with_issuer, alone.key().clone()).unwrap();
    let first = test_env.certificate_client(alone);
    let credential = ClientCertificate::new(test_env.application(), with_issuer).unwrap();
    let second = test_env.client_builder(credential).cache(first.cache().clone()).build();
    let token = test_env.keep(first.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    let hit = test_env.keep(second.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    assert_eq!((token.origin(), hit.origin()), (TokenOrigin::Network, TokenOrigin::Cache));
    assert_eq!(second.call(&hit, test_env.resource_request()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn cache_05_downgrade_writes_nothing() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.emulator.inject(Fault::downgrade_to_bearer().times(2));
    for _ in 0..2 {
        let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
        assert_eq!(error.code(), "token_type_mismatch");
    }
    assert_eq!(test_env.counts().tokens, 2);
    let bearer = test_env.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!((bearer.token_type(), bearer.origin()), ("Bearer", TokenOrigin::Network));
}

#[tokio::test]
async fn cache_06_store_separates_certificates() {
    let test_env = TestEnv::new().await;
    let store = MemoryStore::new(test_env.clock());
    let certificates = [test_env.certificate(), test_env.certificate()];
    for source in [TokenOrigin::Network, TokenOrigin::Cache] {
        for certificate in &certificates {
            // Like two processes: each has its own memory, and both use the store.
            let cache = TokenCache::new(10, &test_env.context()).with_store(store.clone());
            let credential = ClientCertificate::new(test_env.application(), certificate.clone()).unwrap();
            let client = test_env.client_builder(credential).cache(cache).build();
            let token =
                test_env.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
            assert_eq!((token.origin(), token.bound_to()), (source, Some(certificate)));
            assert_eq!(client.call(&token, test_env.resource_request()).await.unwrap().status(), 200);
        }
    }
    assert_eq!((store.len(), test_env.count(Step::Token)), (2, 2));
}

#[tokio::test]
async fn cache_07_hit_keeps_type_and_binding() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let first = test_env.bound_token(&identity).await;
    let hit = test_env.bound_token(&identity).await;
    assert_eq!((hit.origin(), hit.token_type()), (TokenOrigin::Cache, "mtls_pop"));
    assert_eq!(hit.bound_to(), first.bound_to());
    assert_eq!(hit.expires_on(), first.expires_on());
}

#[tokio::test]
async fn refused_token_leaves_memory_and_store() {
    let test_env = TestEnv::new().await;
    let store = MemoryStore::new(test_env.clock());
    let cache = || TokenCache::new(10, &test_env.context()).with_store(store.clone());
    let identity = test_env.builder().cache(cache()).build().unwrap();
    let refused =
        [test_env.keep(identity.token(RESOURCE).await.unwrap()), test_env.bound_token(&identity).await];
    assert_eq!(store.len(), 2);
    for token in &refused {
        assert!(identity.invalidate(token));
        assert!(!identity.invalidate(token), "it is gone");
    }
    test_env.wait_until(|| store.is_empty()).await;
    let renewed =
        [test_env.keep(identity.token(RESOURCE).await.unwrap()), test_env.bound_token(&identity).await];
    assert_eq!(renewed.map(|token| token.origin()), [TokenOrigin::Network; 2]);
    // Another process of the machine can use a bearer token, but has no key for a bound one.
    let other = test_env.builder().cache(cache()).build().unwrap();
    assert_eq!(test_env.keep(other.token(RESOURCE).await.unwrap()).origin(), TokenOrigin::Cache);
    assert_eq!(test_env.bound_token(&other).await.origin(), TokenOrigin::Network);
}

#[tokio::test]
async fn shared_store_gets_no_identity_tokens() {
    let test_env = TestEnv::new().await;
    let store = MemoryStore::new(test_env.clock()).as_if_shared();
    let cache = TokenCache::new(10, &test_env.context()).with_store(store.clone());
    let identity = test_env.builder().cache(cache).build().unwrap();
    test_env.keep(identity.token(RESOURCE).await.unwrap());
    test_env.bound_token(&identity).await;
    assert!(store.is_empty());
}

#[tokio::test]
async fn cache_09_cache_without_memory() {
    let test_env = TestEnv::new().await;
    let client = |cache: TokenCache| {
        let credential = ClientCertificate::new(test_env.application(), test_env.certificate()).unwrap();
        test_env.client_builder(credential).cache(cache).build()
    };
    let cache = TokenCache::without_memory(&test_env.context());
    let without = client(cache.clone());
    for _ in 0..2 {
        let before = test_env.count(Step::Token);
        let token = test_env.keep(without.token_for_resource(RESOURCE).await.unwrap());
        assert_eq!((token.origin(), test_env.count(Step::Token)), (TokenOrigin::Network, before + 1));
        assert_eq!(token.metadata().refresh_reason, RefreshReason::CacheDisabled);
        // The header for Entra has the number of a missing token.
        let request = test_env.last_token_request();
        let telemetry = request.header("x-client-current-telemetry").unwrap();
        assert!(telemetry.starts_with("5|1004,2,"), "{telemetry}");
        let bound = without.token_for_resource(RESOURCE).proof_of_possession().await.unwrap();
        assert_eq!((test_env.keep(bound).origin(), cache.len()), (TokenOrigin::Network, 0));
    }
    let before = test_env.count(Step::Token);
    let callers = (0..10).map(|_| without.token_for_resource(RESOURCE).into_future());
    for token in futures_util::future::join_all(callers).await {
        test_env.keep(token.unwrap());
    }
    assert_eq!(test_env.count(Step::Token), before + 1);

    let store = MemoryStore::new(test_env.clock());
    let stored = || client(TokenCache::without_memory(&test_env.context()).with_store(store.clone()));
    let first = test_env.keep(stored().token_for_resource(RESOURCE).await.unwrap());
    assert_eq!(first.metadata().refresh_reason, RefreshReason::Missing);
    let (before, second) = (test_env.count(Step::Token), stored());
    for _ in 0..2 {
        let token = second.token_for_resource(RESOURCE).await.unwrap();
        assert_eq!(token.secret().expose(), first.secret().expose());
        assert_eq!((token.origin(), test_env.count(Step::Token)), (TokenOrigin::Cache, before));
    }
}

#[tokio::test]
async fn cache_10_part_of_the_key_is_not_sent() {
    let test_env = TestEnv::new().await;
    let client = test_env.certificate_client(test_env.certificate());
    let mut tokens = Vec::new();
    for tenant in ["one", "two"] {
        let request = || client.token_for_resource(RESOURCE).cache_key_part("customer", tenant);
        let token = test_env.keep(request().await.unwrap());
        assert_eq!(token.origin(), TokenOrigin::Network);
        let request_names: Vec<_> = test_env.last_token_request().form_names().map(str::to_owned).collect();
        assert!(!request_names.iter().any(|name| name.contains("customer")), "{request_names:?}");
        let again = request().await.unwrap();
        assert_eq!((again.origin(), again.secret().expose()), (TokenOrigin::Cache, token.secret().expose()));
        tokens.push(token);
    }
    assert_ne!(tokens[0].secret().expose(), tokens[1].secret().expose());
    let error = client.token_for_resource(RESOURCE).cache_key_part("", "x").await.unwrap_err();
    assert_eq!(error.code(), "invalid_parameter");
}
