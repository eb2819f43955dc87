//! Tokens that stay on their machine.

use http::StatusCode;
use symbolon_token::{
    AccessToken, CacheKey, CacheStore as _, ClientAuth, CredentialRejection, CredentialRequest,
    CredentialSource, Error, Expiry, IssuedToken, MemoryStore, Partition, Precondition, Token, TokenCache,
    TokenClient, TokenEndpoint, TokenOrigin,
};
use symbolon_transport::testing::{PublicHalf, ScriptedTransport};
use symbolon_transport::{Response, TransportError};
use symbolon_types::{ClientIdentity, Context, CorrelationId, Secret, SharedSigningKey};

use crate::env::{HOUR, TestEnv, shown};

async fn obtain(cache: &TokenCache, partition: &Partition, secret: &'static str) -> Token {
    let secret = AccessToken::parse(Secret::new(secret)).unwrap();
    let issued = IssuedToken::bearer(secret, Expiry::after(HOUR), CorrelationId::random());
    let key = CacheKey::bearer(partition, "a");
    cache.obtain(&key, || async { Ok(issued) }).await.unwrap()
}

#[tokio::test]
async fn managed_identity_token_stays_local() {
    let partition = Partition::machine_bound("mi\0system");
    let mut env = TestEnv::new();
    obtain(&env.cache(), &partition, "mine").await;
    assert_eq!(shown(&obtain(&env.cache(), &partition, "x").await), ("mine", TokenOrigin::Cache));
    // The same name without the binding to this machine.
    assert_eq!(obtain(&env.cache(), &Partition::new("mi\0system"), "y").await.secret().expose(), "y");

    env.store = MemoryStore::new(env.clock.clone()).as_if_shared();
    obtain(&env.cache(), &partition, "mine").await;
    assert!(env.store.is_empty());
    // A token planted in a shared store is not read.
    let local = TestEnv::new();
    obtain(&local.cache(), &partition, "planted").await;
    let key = local.store.keys().remove(0);
    let entry = local.store.get(&key).await.unwrap().unwrap();
    env.store.put(&key, entry.bytes(), HOUR, Precondition::None).await.unwrap();
    assert_eq!(shown(&obtain(&env.cache(), &partition, "own").await), ("own", TokenOrigin::Network));
}

fn identity() -> ClientIdentity {
    let issued = rcgen::generate_simple_self_signed(["client.example".to_owned()]).unwrap();
    let public_key = rcgen::PublicKeyData::subject_public_key_info(&issued.signing_key);
    let key = SharedSigningKey::new(PublicHalf::new(public_key));
    ClientIdentity::new(vec![issued.cert.der().clone()], key).unwrap()
}

/// A credential of one application with one certificate.
#[derive(Debug)]
struct BoundCredential(ClientIdentity);

impl CredentialSource for BoundCredential {
    async fn authenticate(&self, _: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let endpoint = TokenEndpoint::parse("https://login.example/token");
        endpoint.map(|endpoint| {
            ClientAuth::new("client", endpoint, Partition::new("the same application"))
                .with_proof_of_possession(self.0.clone())
        })
    }

    async fn refused(&self, _: &ClientAuth, _: &CredentialRejection) -> bool {
        false
    }
}

fn bound(token: &str) -> Result<Response, TransportError> {
    let body = format!(r#"{{"token_type":"mtls_pop","access_token":"{token}","expires_in":3600}}"#);
    Ok(Response::new(StatusCode::OK, body))
}

#[tokio::test]
async fn bound_token_stays_on_the_machine() {
    let (first, second) = (identity(), identity());
    for is_local in [true, false] {
        let mut env = TestEnv::new();
        if !is_local {
            env.store = env.store.as_if_shared();
        }
        let fetch = async |identity: &ClientIdentity, answers: &[&str]| {
            let transport = ScriptedTransport::new(answers.iter().map(|token| bound(token)));
            let client = TokenClient::builder(BoundCredential(identity.clone()), transport)
                .context(Context::default().with_clock(env.clock.clone()))
                .cache(env.cache())
                .build();
            client.token("a").proof_of_possession().await.unwrap()
        };
        assert_eq!(shown(&fetch(&first, &["of-the-first"]).await), ("of-the-first", TokenOrigin::Network));
        assert_eq!(shown(&fetch(&second, &["of-the-second"]).await), ("of-the-second", TokenOrigin::Network));
        assert_eq!(env.store.len(), if is_local { 2 } else { 0 });
        let again = fetch(&first, if is_local { &[] } else { &["anew"] }).await;
        let expected =
            if is_local { ("of-the-first", TokenOrigin::Cache) } else { ("anew", TokenOrigin::Network) };
        assert_eq!(shown(&again), expected);
        assert_eq!(again.bound_to(), Some(&first));
        assert_eq!(again.token_type(), "mtls_pop");
    }
}
