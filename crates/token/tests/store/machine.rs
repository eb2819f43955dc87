//! Tokens that do not leave their machine.

use http::StatusCode;
use symbolon_token::{
    CacheKey, CacheStore as _, ClientAuth, CredentialRejection, CredentialRequest, CredentialSource, Error,
    Expiry, IssuedToken, MemoryStore, Partition, Precondition, Token, TokenCache, TokenClient, TokenEndpoint,
    TokenSource,
};
use symbolon_transport::testing::{PublicHalf, ScriptedTransport};
use symbolon_transport::{Response, TransportError};
use symbolon_types::{ClientIdentity, Context, CorrelationId, Secret, SharedSigningKey};

use crate::world::{HOUR, World, shown};

async fn obtained(cache: &TokenCache, partition: &Partition, secret: &'static str) -> Token {
    let fetched = IssuedToken::bearer(Secret::new(secret), Expiry::after(HOUR), CorrelationId::random());
    let key = CacheKey::bearer(partition, "a");
    cache.obtain(&key, || async { Ok(fetched) }).await.unwrap()
}

#[tokio::test]
async fn a_managed_identitys_token_stays_on_its_machine() {
    let partition = Partition::machine_bound("mi\0system");
    let mut world = World::new();
    obtained(&world.cache(), &partition, "mine").await;
    assert_eq!(shown(&obtained(&world.cache(), &partition, "x").await), ("mine", TokenSource::Cache));
    // Of the same name, but not of this machine.
    assert_eq!(obtained(&world.cache(), &Partition::new("mi\0system"), "y").await.secret().expose(), "y");

    world.store = MemoryStore::new(world.clock.clone()).as_if_shared();
    obtained(&world.cache(), &partition, "mine").await;
    assert!(world.store.is_empty());
    // Nor is one read that somebody put there.
    let local = World::new();
    obtained(&local.cache(), &partition, "planted").await;
    let key = local.store.keys().remove(0);
    let entry = local.store.get(&key).await.unwrap().unwrap();
    world.store.put(&key, entry.bytes(), HOUR, Precondition::None).await.unwrap();
    assert_eq!(shown(&obtained(&world.cache(), &partition, "own").await), ("own", TokenSource::Network));
}

fn identity() -> ClientIdentity {
    let issued = rcgen::generate_simple_self_signed(["client.example".to_owned()]).unwrap();
    let public_key = rcgen::PublicKeyData::subject_public_key_info(&issued.signing_key);
    let key = SharedSigningKey::new(PublicHalf::new(public_key));
    ClientIdentity::new(vec![issued.cert.der().clone()], key).unwrap()
}

/// One application with one of its certificates.
#[derive(Debug)]
struct Bound(ClientIdentity);

impl CredentialSource for Bound {
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
async fn a_bound_token_is_stored_on_its_machine_only_and_comes_back_with_its_certificate_only() {
    let (first, second) = (identity(), identity());
    for is_local in [true, false] {
        let mut world = World::new();
        if !is_local {
            world.store = world.store.as_if_shared();
        }
        let ask = async |identity: &ClientIdentity, answers: &[&str]| {
            let transport = ScriptedTransport::new(answers.iter().map(|token| bound(token)));
            let client = TokenClient::builder(Bound(identity.clone()), transport)
                .context(Context::default().with_clock(world.clock.clone()))
                .cache(world.cache())
                .build();
            client.token("a").proof_of_possession().await.unwrap()
        };
        assert_eq!(shown(&ask(&first, &["of the first"]).await), ("of the first", TokenSource::Network));
        assert_eq!(shown(&ask(&second, &["of the second"]).await), ("of the second", TokenSource::Network));
        assert_eq!(world.store.len(), if is_local { 2 } else { 0 });
        let again = ask(&first, if is_local { &[] } else { &["anew"] }).await;
        let expected =
            if is_local { ("of the first", TokenSource::Cache) } else { ("anew", TokenSource::Network) };
        assert_eq!(shown(&again), expected);
        assert_eq!(again.bound_to(), Some(&first));
        assert_eq!(again.token_type(), "mtls_pop");
    }
}
