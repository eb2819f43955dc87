//! DEL: recovery from a refused certificate, and from other failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::test_env::{Counts, TestEnv};
use symbolon::{ClientIdentity, Error, ErrorKind, KeyProvider, SoftwareKeys, Strength, TokenOrigin};
use symbolon_binding::REMINT_COOLDOWN;
use symbolon_emulator::{Fault, Step, TlsVersion};
use symbolon_tests::RESOURCE;
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{SharedSigningKey, SignatureScheme, SigningError, SigningKey};

#[tokio::test]
async fn del_04_refused_certificate_is_replaced() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.emulator.inject(Fault::oauth_error("invalid_client", &[1_000_610]));
    let token = test_env.bound_token(&identity).await;
    assert_eq!(test_env.counts(), Counts::of(2, 2, 2));
    let journal = test_env.emulator.journal();
    let requests: Vec<_> =
        journal.of(Step::IssueCredential).filter_map(|entry| entry.csr.as_deref()).collect();
    assert_ne!(requests[0], requests[1], "a new certificate request");
    assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(test_env.last_certificate()));
    assert_eq!(test_env.bound_token(&identity).await.origin(), TokenOrigin::Cache);
    assert_eq!(test_env.call(&identity, &token).await.status(), 200);
}

#[tokio::test]
async fn del_05_permanent_refusal_mints_only_once_more() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.emulator.inject(Fault::oauth_error("invalid_client", &[7_000_218]).always());
    for call in 1..=100 {
        let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
        assert_eq!((error.code(), error.server_codes()), ("invalid_client", &[7_000_218][..]));
        assert_eq!(test_env.counts(), Counts::of(2, 2, 2), "call {call}");
    }
    // Each second for an hour: the pauses grow to five minutes, and those of a key to 30 seconds.
    for _ in 0..3600 {
        test_env.manual_clock.advance(Duration::from_secs(1));
        identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    }
    let Counts { issuances, tokens, .. } = test_env.counts();
    assert!((12..=24).contains(&issuances) && tokens <= 300, "{issuances} mints, {tokens} token requests");
    test_env.emulator.clear_faults();
    test_env.manual_clock.advance(Duration::from_secs(30));
    test_env.bound_token(&identity).await;
    assert!(test_env.counts().issuances <= issuances + 1);
}

#[tokio::test]
async fn del_17_second_revocation_is_recovered() {
    for gap in [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(120)] {
        let test_env = TestEnv::new().await;
        let identity = test_env.identity();
        let mut token = test_env.bound_token(&identity).await;
        for revocation in 1..=3 {
            // The pause before the third mint is longer.
            test_env.manual_clock.advance(gap * revocation);
            let revoked = token.bound_to().map(ClientIdentity::thumbprint).unwrap();
            test_env.emulator.revoke(revoked);
            let resource = format!("https://{revocation}.example");
            token = test_env.keep(identity.token(&resource).proof_of_possession().await.unwrap());
            assert_ne!(token.bound_to().map(ClientIdentity::thumbprint), Some(revoked), "{gap:?}");
            assert_eq!(test_env.counts().issuances, 1 + revocation as usize, "{gap:?}");
        }
    }
}

#[tokio::test]
async fn del_18_refused_credential_is_not_hammered() {
    let test_env = TestEnv::new().await;
    let client = test_env.certificate_client(test_env.certificate());
    test_env.emulator.inject(Fault::oauth_error("invalid_client", &[7_000_215]).always());
    let resources: Vec<_> = (0..10).map(|number| format!("https://{number}.example")).collect();
    let request = async |resource: &str, is_bound: bool| {
        let request = client.token_for_resource(resource);
        let request = if is_bound { request.proof_of_possession() } else { request };
        request.await.unwrap_err()
    };
    for _ in 0..60 * 4 {
        for resource in &resources {
            for is_bound in [false, true] {
                let error = request(resource, is_bound).await;
                assert_eq!((error.code(), error.server_codes()), ("invalid_client", &[7_000_215][..]));
            }
        }
        test_env.manual_clock.advance(Duration::from_millis(250));
    }
    // After 0, 1, 3, 7, 15 and 31 seconds.
    assert_eq!(test_env.counts().tokens, 10 * 2 * 6);
    let error = request(&resources[0], true).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)), "the pause ends after 61 seconds");
    let forced = client.token_for_resource(&resources[0]).proof_of_possession().force_refresh().await;
    assert_eq!((forced.unwrap_err().code(), test_env.counts().tokens), ("invalid_client", 10 * 2 * 6 + 1));
    test_env.emulator.clear_faults();
    test_env.manual_clock.advance(Duration::from_secs(30));
    test_env.keep(client.token_for_resource(&resources[0]).proof_of_possession().await.unwrap());
}

#[tokio::test]
async fn del_19_lost_connection_keeps_the_binding() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let test_env = TestEnv::with(|emulator| emulator.tls_version(version)).await;
        let identity = test_env.identity();
        let first = test_env.bound_token(&identity).await;
        let no_metadata = || Fault::status(Step::PlatformMetadata, 503).always();
        test_env.emulator.inject(Fault::reset(Step::Token).always());
        test_env.emulator.inject(no_metadata());
        for _ in 0..20 {
            let request = identity.token("https://other.example").proof_of_possession();
            assert_eq!(request.await.unwrap_err().code(), "transport_error", "{version}");
            test_env.manual_clock.advance(Duration::from_secs(10));
        }
        let metadata = test_env.counts().metadata;
        assert!((2..=1 + 20 * 4).contains(&metadata), "{version}: {metadata}");
        assert_eq!(test_env.bound_token(&identity).await.bound_to(), first.bound_to(), "{version}");
        // The token service is back, and the metadata service is not.
        test_env.emulator.clear_faults();
        test_env.emulator.inject(no_metadata());
        for resource in ["https://other.example", "https://third.example"] {
            let token = test_env.keep(identity.token(resource).proof_of_possession().await.unwrap());
            assert_eq!(token.bound_to(), first.bound_to(), "{version}");
        }
        // It is replaced as soon as that is possible.
        test_env.emulator.clear_faults();
        test_env.manual_clock.advance(REMINT_COOLDOWN);
        let request = identity.token("https://fourth.example").proof_of_possession();
        assert_ne!(test_env.keep(request.await.unwrap()).bound_to(), first.bound_to(), "{version}");
        assert_eq!(test_env.counts().issuances, 2, "{version}");
    }
}

#[tokio::test]
async fn del_06_certificate_rejected_by_tls_is_replaced() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let test_env = TestEnv::with(|emulator| emulator.tls_version(version)).await;
        let identity = test_env.identity();
        let first = test_env.bound_token(&identity).await;
        let rejected = test_env.last_certificate();
        test_env.emulator.reject_in_tls(rejected);
        test_env.emulator.reset_connections_of(rejected);
        let second =
            test_env.keep(identity.token("https://other.example").proof_of_possession().await.unwrap());
        assert_ne!(first.bound_to(), second.bound_to(), "{version}");
        assert_eq!(test_env.counts().issuances, 2, "{version}");
    }
}

#[tokio::test]
async fn del_06_lost_fresh_connection_is_a_rejection() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        // A reset before the certificate was presented is retried.
        for (step, losses, mints) in [(Step::Token, 1, 1), (Step::Token, 2, 2), (Step::Handshake, 1, 1)] {
            let test_env = TestEnv::with(|emulator| emulator.tls_version(version)).await;
            let identity = test_env.identity();
            test_env.emulator.inject(Fault::reset(step).times(losses));
            test_env.bound_token(&identity).await;
            assert_eq!(test_env.counts().issuances, mints, "{version} {step} {losses}");
        }
    }
}

#[tokio::test]
async fn del_06_lost_key_mints_again() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for (losses, mints) in [(1, 2), (2, 2)] {
            let test_env = TestEnv::with(|emulator| emulator.tls_version(version)).await;
            let keys = LosingKeys { left: Arc::new(AtomicUsize::new(losses)) };
            let identity = test_env.builder().key_provider(keys).build().unwrap();
            let asked = identity.token(RESOURCE).proof_of_possession().await;
            assert_eq!(test_env.counts().issuances, mints, "{version}");
            match asked {
                Ok(token) => {
                    test_env.keep(token);
                    assert_eq!(losses, 1, "{version}");
                }
                Err(error) => assert_eq!((error.code(), losses), ("transport_error", 2), "{version}"),
            }
        }
    }
}

/// Returns a number of keys that are lost after signing a certificate request, then lasting ones.
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
async fn del_07_metadata_errors_keep_the_binding() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.emulator.inject(Fault::status(Step::PlatformMetadata, 503).times(2));
    // During an update the metadata service answers 404 at a valid endpoint.
    for status in [503, 404] {
        test_env.emulator.inject(Fault::status(Step::IssueCredential, status));
    }
    test_env.bound_token(&identity).await;
    assert_eq!(test_env.counts(), Counts::of(3, 3, 1));
    assert_eq!(test_env.emulator.issued().len(), 1);
    test_env.emulator.inject(Fault::reset(Step::PlatformMetadata).always());
    test_env.emulator.inject(Fault::reset(Step::IssueCredential).always());
    test_env.keep(identity.token("https://other.example").proof_of_possession().await.unwrap());
    assert_eq!(test_env.emulator.issued().len(), 1, "the healthy binding is used");

    for status in [503, 404] {
        test_env.emulator.inject(Fault::status(Step::ImdsToken, status));
    }
    test_env.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!(test_env.count(Step::ImdsToken), 3, "and so it is for bearer tokens");
}

#[tokio::test]
async fn del_08_hundred_refused_callers_mint_once() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.bound_token(&identity).await;
    test_env.emulator.revoke(test_env.last_certificate());
    let resources: Vec<String> = (0..10).map(|number| format!("https://{number}.example")).collect();
    let callers =
        (0..100).map(|caller| identity.token(&resources[caller % 10]).proof_of_possession().into_future());
    let tokens = futures_util::future::join_all(callers).await;
    for token in tokens {
        let token = test_env.keep(token.unwrap());
        assert_eq!(token.bound_to().map(ClientIdentity::thumbprint), Some(test_env.last_certificate()));
    }
    assert_eq!(test_env.emulator.issued().len(), 2);
    let journal = test_env.emulator.journal();
    let granted = journal.of(Step::Token).filter(|entry| entry.status() == Some(200)).count();
    assert_eq!(granted, 1 + 10, "one exchange for each resource");
}

#[tokio::test]
async fn del_13_other_token_errors_mint_nothing() {
    for (case, fault, code, requests) in [
        ("unauthorized", Fault::oauth_error("unauthorized_client", &[700_016]), "unauthorized_client", 1),
        ("unavailable", Fault::status(Step::Token, 503).times(3), "temporarily_unavailable", 3),
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
        let test_env = TestEnv::new().await;
        let identity = test_env.identity();
        test_env.emulator.inject(fault);
        let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
        assert_eq!(error.code(), code, "{case}: {error}");
        assert_eq!(test_env.counts(), Counts::of(1, 1, requests), "{case}");
        assert_eq!(
            test_env.bound_token(&identity).await.origin(),
            TokenOrigin::Network,
            "{case}: nothing was kept"
        );
        assert_eq!(test_env.counts().issuances, 1, "{case}: the binding was kept");
    }
}

#[tokio::test]
async fn del_14_certificate_without_tokens_has_expired() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.emulator.inject(Fault::oauth_error("invalid_request", &[1_000_901]));
    test_env.bound_token(&identity).await;
    assert_eq!(test_env.counts(), Counts::of(2, 2, 2), "by the server's word");

    let day = Duration::from_secs(24 * 60 * 60);
    let test_env =
        TestEnv::with(|emulator| emulator.certificate_lifetime(14 * day).token_not_after(Some(7 * day)))
            .await;
    let identity = test_env.identity();
    let before = test_env.bound_token(&identity).await;
    let binding = before.bound_to().unwrap();
    assert_eq!(binding.not_after().duration_since(binding.usable_until()).unwrap(), 7 * day);
    test_env.manual_clock.advance(7 * day);
    let after = test_env.bound_token(&identity).await;
    assert_ne!(before.bound_to(), after.bound_to(), "by its own extension");
    assert_eq!(test_env.counts(), Counts::of(2, 2, 2));
}

#[tokio::test]
async fn del_16_other_refusals_keep_the_binding() {
    for code in [7_000_222, 7_000_215, 700_016, 7_000_112, 392_200] {
        let test_env = TestEnv::new().await;
        let identity = test_env.identity();
        let token = test_env.bound_token(&identity).await;
        test_env.emulator.inject(Fault::oauth_error("invalid_client", &[code]));
        let error = identity.token("https://other.example").proof_of_possession().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("invalid_client", ErrorKind::Credential));
        assert_eq!(error.server_codes(), [u32::try_from(code).unwrap()]);
        assert_eq!(test_env.bound_token(&identity).await.origin(), TokenOrigin::Cache);
        assert_eq!(identity.binding().unwrap().identity(), token.bound_to().unwrap());
        assert_eq!(test_env.counts(), Counts::of(1, 1, 2), "{code}");
    }
}
