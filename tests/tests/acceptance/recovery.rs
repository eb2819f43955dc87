//! DEL: what is done about a refused certificate, and about everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use symbolon::{ClientIdentity, Error, KeyProvider, SoftwareKeys, Strength, TokenSource};
use symbolon_binding::REMINT_COOLDOWN;
use symbolon_emulator::{Entry, Fault, Step, TlsVersion};
use symbolon_tests::{Counts, RESOURCE, World};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SharedSigningKey, SignatureScheme, SigningError, SigningKey};

#[tokio::test]
async fn del_04_a_refused_certificate_is_forgotten_and_minted_once_more() {
    let world = World::new().await;
    let identity = world.identity();
    world.emulator.inject(Fault::oauth_error("invalid_client", &[1_000_610]));
    let token = world.bound(&identity).await;
    assert_eq!(world.counts(), Counts::of(2, 2, 2));
    let journal = world.emulator.journal();
    let requests: Vec<_> = journal.of(Step::IssueCredential).filter_map(Entry::csr).collect();
    assert_ne!(requests[0], requests[1], "a new certificate request");
    assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(world.last_certificate()));
    assert_eq!(world.bound(&identity).await.source(), TokenSource::Cache);
    assert_eq!(world.call(&identity, &token).await.status(), 200);
}

#[tokio::test]
async fn del_05_an_identity_that_is_always_refused_mints_once_more_and_not_at_every_call() {
    let world = World::new().await;
    let identity = world.identity();
    world.emulator.inject(Fault::oauth_error("invalid_client", &[7_000_218]).always());
    for call in 1..=5 {
        let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
        assert_eq!((error.code(), error.server_codes()), ("invalid_client", &[7_000_218][..]));
        assert_eq!(world.counts(), Counts::of(2, 2, 1 + call), "call {call}");
    }
    world.hands.advance(REMINT_COOLDOWN);
    assert!(identity.token(RESOURCE).proof_of_possession().await.is_err());
    assert_eq!(world.counts().issuances, 3, "after the pause it is tried once more");
}

#[tokio::test]
async fn del_06_a_certificate_that_tls_rejects_is_forgotten_and_minted_once_more() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let world = World::with(|emulator| emulator.tls_version(version)).await;
        let identity = world.identity();
        let first = world.bound(&identity).await;
        let rejected = world.last_certificate();
        world.emulator.reject_in_tls(rejected);
        world.emulator.reset_connections_of(rejected);
        let second = world.keep(identity.token("https://other.example").proof_of_possession().await.unwrap());
        assert_ne!(first.bound_to(), second.bound_to(), "{version}");
        assert_eq!(world.counts().issuances, 2, "{version}");
    }
}

#[tokio::test]
async fn del_06_the_loss_of_a_fresh_connection_that_presented_the_certificate_is_a_rejection() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        // Before the certificate was shown, a reset says nothing about it, and is retried.
        for (step, mints) in [(Step::Token, 2), (Step::Handshake, 1)] {
            let world = World::with(|emulator| emulator.tls_version(version)).await;
            let identity = world.identity();
            world.emulator.inject(Fault::reset(step));
            world.bound(&identity).await;
            assert_eq!(world.counts().issuances, mints, "{version} {step}");
        }
    }
}

#[tokio::test]
async fn del_06_a_certificate_whose_key_is_gone_is_minted_again() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for (losses, mints) in [(1, 2), (2, 2)] {
            let world = World::with(|emulator| emulator.tls_version(version)).await;
            let keys = LosingKeys { left: Arc::new(AtomicUsize::new(losses)) };
            let identity = world.builder().key_provider(keys).build().unwrap();
            let asked = identity.token(RESOURCE).proof_of_possession().await;
            assert_eq!(world.counts().issuances, mints, "{version}");
            match asked {
                Ok(token) => {
                    world.keep(token);
                    assert_eq!(losses, 1, "{version}");
                }
                Err(error) => assert_eq!((error.code(), losses), ("transport_error", 2), "{version}"),
            }
        }
    }
}

/// Yields so many keys that sign a certificate request and are gone then, and lasting ones after.
#[derive(Debug)]
struct LosingKeys {
    left: Arc<AtomicUsize>,
}

impl KeyProvider for LosingKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        let key = SoftwareKeys::p256().key().await?;
        let is_left = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_left) {
            Ok(_) => Ok(SharedSigningKey::new(OneSignature { key, is_used: AtomicBool::new(false) })),
            Err(_) => Ok(key),
        }
    }
}

#[derive(Debug)]
struct OneSignature {
    key: SharedSigningKey,
    is_used: AtomicBool,
}

impl SigningKey for OneSignature {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        self.key.public_key()
    }

    fn schemes(&self) -> &[SignatureScheme] {
        self.key.schemes()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        if self.is_used.swap(true, Ordering::Relaxed) {
            return Err(SigningError::gone("deleted"));
        }
        self.key.sign(scheme, message)
    }

    fn strength(&self) -> Strength {
        self.key.strength()
    }
}

#[tokio::test]
async fn del_07_trouble_of_the_metadata_service_is_retried_and_costs_no_binding() {
    let world = World::new().await;
    let identity = world.identity();
    world.emulator.inject(Fault::status(Step::PlatformMetadata, 503).times(2));
    // While it is being updated, an endpoint that it has answers 404.
    for status in [503, 404] {
        world.emulator.inject(Fault::status(Step::IssueCredential, status));
    }
    world.bound(&identity).await;
    assert_eq!(world.counts(), Counts::of(3, 3, 1));
    assert_eq!(world.emulator.issued().len(), 1);
    world.emulator.inject(Fault::reset(Step::PlatformMetadata).always());
    world.emulator.inject(Fault::reset(Step::IssueCredential).always());
    world.keep(identity.token("https://other.example").proof_of_possession().await.unwrap());
    assert_eq!(world.emulator.issued().len(), 1, "the healthy binding is used");

    for status in [503, 404] {
        world.emulator.inject(Fault::status(Step::ImdsToken, status));
    }
    world.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!(world.count(Step::ImdsToken), 3, "and so it is for bearer tokens");
}

#[tokio::test]
async fn del_08_a_hundred_callers_that_are_refused_at_once_cause_one_mint() {
    let world = World::new().await;
    let identity = world.identity();
    world.bound(&identity).await;
    world.emulator.revoke(world.last_certificate());
    let resources: Vec<String> = (0..10).map(|number| format!("https://{number}.example")).collect();
    let callers =
        (0..100).map(|caller| identity.token(&resources[caller % 10]).proof_of_possession().into_future());
    let tokens = futures_util::future::join_all(callers).await;
    for token in tokens {
        let token = world.keep(token.unwrap());
        assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(world.last_certificate()));
    }
    assert_eq!(world.emulator.issued().len(), 2);
    let journal = world.emulator.journal();
    let granted = journal.of(Step::Token).filter(|entry| entry.status() == Some(200)).count();
    assert_eq!(granted, 1 + 10, "one exchange for each resource");
}

#[tokio::test]
async fn del_13_other_errors_of_the_token_endpoint_mint_nothing() {
    for (case, fault, code, requests) in [
        ("unauthorized", Fault::oauth_error("unauthorized_client", &[700_016]), "unauthorized_client", 1),
        ("unavailable", Fault::status(Step::Token, 503).times(3), "invalid_response", 3),
        (
            "throttled",
            Fault::oauth_error("temporarily_unavailable", &[90_033]).with_status(429).times(3),
            "temporarily_unavailable",
            3,
        ),
        ("downgraded", Fault::downgrade_to_bearer(), "token_type_mismatch", 1),
        ("mistyped", Fault::without_token_type(Step::Token), "token_type_mismatch", 1),
        ("redirected", Fault::redirect(Step::Token, "https://127.0.0.1:9/"), "invalid_response", 1),
        ("torn", Fault::torn_body(Step::Token).times(3), "transport_error", 3),
        ("oversized", Fault::oversized_body(Step::Token), "response_too_large", 1),
    ] {
        let world = World::new().await;
        let identity = world.identity();
        world.emulator.inject(fault);
        let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
        assert_eq!(error.code(), code, "{case}: {error}");
        assert_eq!(world.counts(), Counts::of(1, 1, requests), "{case}");
        assert_eq!(world.bound(&identity).await.source(), TokenSource::Network, "{case}: nothing was kept");
        assert_eq!(world.counts().issuances, 1, "{case}: the binding was kept");
    }
}

#[tokio::test]
async fn del_14_a_certificate_that_gets_no_more_tokens_counts_as_expired() {
    let world = World::new().await;
    let identity = world.identity();
    world.emulator.inject(Fault::oauth_error("invalid_request", &[1_000_901]));
    world.bound(&identity).await;
    assert_eq!(world.counts(), Counts::of(2, 2, 2), "by the server's word");

    let day = Duration::from_secs(24 * 60 * 60);
    let world =
        World::with(|emulator| emulator.certificate_lifetime(14 * day).token_not_after(Some(7 * day))).await;
    let identity = world.identity();
    let before = world.bound(&identity).await;
    let binding = before.bound_to().unwrap();
    assert_eq!(binding.not_after().duration_since(binding.usable_until()).unwrap(), 7 * day);
    world.hands.advance(7 * day);
    let after = world.bound(&identity).await;
    assert_ne!(before.bound_to(), after.bound_to(), "by its own extension");
    assert_eq!(world.counts(), Counts::of(2, 2, 2));
}
