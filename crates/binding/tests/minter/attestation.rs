//! Attestation of keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::future::{join_all, pending};
use serde_json::Value;
use symbolon_binding::{
    Attestation, AttestationRequest, Attester, Error, ErrorKind, ManagedIdentityId, SoftwareKeys,
};
use symbolon_test_logs::CapturedLogs;
use symbolon_types::{CorrelationId, Secret, SigningKey};

use crate::issuer::{CLIENT, DAY, HOUR, OTHER_CLIENT, TestEnv, answer, drive, metadata};

const TOKEN: &str = "header.statement-that-no-log-shows.signature";

/// Result of an attestation.
#[derive(Clone, Debug)]
enum AttestationResult {
    /// A token with its lifetime.
    Token(&'static str, Duration),
    Nothing,
    Fails,
}

/// Attester that counts its calls.
#[derive(Clone, Debug)]
struct Service {
    result: Arc<Mutex<AttestationResult>>,
    asked: Arc<AtomicUsize>,
    now: Arc<Mutex<SystemTime>>,
}

impl Service {
    fn that(result: AttestationResult) -> Self {
        let now = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH));
        Self { result: Arc::new(Mutex::new(result)), asked: Arc::default(), now }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Returns a minter with this attester, which uses the same clock.
    async fn env(&self) -> TestEnv {
        let env = TestEnv::with(|builder| builder.attester(self.clone())).await;
        self.now(&env);
        env
    }

    fn now(&self, env: &TestEnv) {
        *self.now.lock().unwrap() = env.now();
    }
}

impl Attester for Service {
    async fn attest(&self, request: &AttestationRequest<'_>) -> Result<Attestation, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let now = *self.now.lock().unwrap();
        assert!(
            ["https://attest.example/", "https://attest.example/moved"].contains(&request.endpoint.as_str())
        );
        assert!([CLIENT, OTHER_CLIENT].contains(&request.client_id));
        assert!(!request.key.public_key().is_empty());
        assert_eq!(request.deadline, now + Duration::from_secs(30));
        let says = self.result.lock().unwrap().clone();
        // Attesting takes a while.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        match says {
            AttestationResult::Token(text, lifetime) => {
                Ok(Attestation::new(Secret::new(text), now + lifetime))
            }
            AttestationResult::Nothing => pending().await,
            AttestationResult::Fails => {
                Err(Error::new(ErrorKind::Environment, "vendor_code", "the evidence is rejected"))
            }
        }
    }
}

/// Returns the `attestation_token` of each certificate request.
fn sent(env: &TestEnv) -> Vec<Option<String>> {
    let requests = env.issuer.requests();
    let bodies = requests.iter().filter(|request| !request.body().is_empty());
    bodies
        .map(|request| {
            let body: Value = serde_json::from_slice(request.body()).unwrap();
            body.get("attestation_token").map(|token| token.as_str().unwrap().to_owned())
        })
        .collect()
}

#[tokio::test]
async fn attestation_is_cached_until_it_expires() {
    let service = Service::that(AttestationResult::Token(TOKEN, 9 * DAY));
    let env = service.env().await;
    env.binding().await.unwrap();
    assert_eq!((sent(&env), service.asked()), (vec![Some(TOKEN.to_owned())], 1));
    // A renewal, and a second identity, with the same key.
    env.clock.advance(8 * DAY);
    env.binding().await.unwrap();
    env.settle().await;
    assert_eq!((sent(&env).len(), service.asked()), (2, 1));
    env.clock.advance(DAY - Duration::from_secs(301));
    let refused = env.minter.held(&env.id).unwrap().identity().thumbprint();
    assert!(env.minter.report_refusal(&env.id, refused));
    env.binding().await.unwrap();
    assert_eq!((sent(&env).len(), service.asked()), (3, 1));
    env.clock.advance(Duration::from_secs(2));
    service.now(&env);
    let other = ManagedIdentityId::client_id("other").unwrap();
    drive(&env.clock, env.minter.binding(&other, CorrelationId::random())).await.0.unwrap();
    assert_eq!((sent(&env).len(), service.asked()), (4, 2));
}

#[tokio::test]
async fn no_attestation_without_an_attester() {
    let env = TestEnv::new().await;
    env.binding().await.unwrap();
    assert_eq!(sent(&env), [None]);
}

#[tokio::test]
async fn failed_attestation_fails_the_mint() {
    for (result, why) in [
        (AttestationResult::Fails, "the attester failed"),
        (AttestationResult::Token("", HOUR), "an empty token"),
        (AttestationResult::Token("   ", HOUR), "an empty token"),
        (AttestationResult::Token(TOKEN, Duration::ZERO), "has expired"),
        (AttestationResult::Nothing, "did not respond in time"),
    ] {
        let service = Service::that(result.clone());
        let env = service.env().await;
        let error = env.binding().await.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("attestation_failed", ErrorKind::Environment),
            "{result:?}"
        );
        assert!(error.to_string().contains(why), "{result:?}: {error}");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause.is_some_and(|cause| cause.contains("evidence")), why == "the attester failed");
        assert_eq!((env.mints(), env.issuer.requests().len()), (0, 1), "{result:?}");
        // The failure is not cached.
        *service.result.lock().unwrap() = AttestationResult::Token(TOKEN, HOUR);
        service.now(&env);
        env.binding().await.unwrap();
        assert_eq!(env.mints(), 1, "{result:?}");
    }
}

#[tokio::test]
async fn attestation_needs_a_valid_endpoint() {
    let naming = |endpoint: &str| {
        let body = format!(r#"{{"clientId":"{CLIENT}","tenantId":"t","cuId":{{"vmId":"v"}}{endpoint}}}"#);
        Ok(answer(200, Some("IMDS/1"), &body))
    };
    for endpoint in [
        "",
        r#","attestationEndpoint":"""#,
        r#","attestationEndpoint":"attest.example""#,
        r#","attestationEndpoint":"http://attest.example""#,
        r#","attestationEndpoint":"https://user@attest.example""#,
        r#","attestationEndpoint":"https://attest.example?to=x""#,
        r#","attestationEndpoint":"https://attest.example#x""#,
    ] {
        let env = Service::that(AttestationResult::Token(TOKEN, HOUR)).env().await;
        env.issuer.fail([naming(endpoint)]);
        assert_eq!(env.binding().await.unwrap_err().code(), "invalid_response", "{endpoint}");
        assert_eq!(env.mints(), 0, "{endpoint}");
    }
}

#[tokio::test]
async fn identities_share_the_attestation_of_a_key() {
    let service = Service::that(AttestationResult::Token(TOKEN, HOUR));
    let env = service.env().await;
    let names = [ManagedIdentityId::system_assigned(), ManagedIdentityId::object_id("object").unwrap()];
    let asked = names.iter().map(|name| env.minter.binding(name, CorrelationId::random()));
    for binding in drive(&env.clock, join_all(asked)).await.0 {
        binding.unwrap();
    }
    assert_eq!(service.asked(), 1);

    let service = Service::that(AttestationResult::Token(TOKEN, DAY));
    let keys = SoftwareKeys::p256();
    let env = TestEnv::with(|builder| builder.attester(service.clone()).key_provider(keys)).await;
    service.now(&env);
    for asked in 1..=2 {
        // New keys are created on other threads.
        let binding = env.minter.binding(&env.id, CorrelationId::random()).await.unwrap();
        assert_eq!(service.asked(), asked);
        assert!(asked == 2 || env.minter.report_refusal(&env.id, binding.identity().thumbprint()));
    }
}

#[tokio::test]
async fn concurrent_mints_attest_once() {
    let service = Service::that(AttestationResult::Token(TOKEN, HOUR));
    let env = service.env().await;
    let names = [CLIENT, "other"].map(|name| ManagedIdentityId::client_id(name).unwrap());
    let asked = names.iter().map(|name| env.minter.binding(name, CorrelationId::random()));
    for binding in drive(&env.clock, join_all(asked)).await.0 {
        binding.unwrap();
    }
    assert_eq!((env.mints(), service.asked()), (2, 1));
    assert_eq!(sent(&env), [Some(TOKEN.to_owned()), Some(TOKEN.to_owned())]);
}

#[tokio::test]
async fn attestations_are_per_service() {
    let service = Service::that(AttestationResult::Token(TOKEN, DAY));
    let env = service.env().await;
    let minted = env.binding().await.unwrap();
    assert!(env.minter.report_refusal(&env.id, minted.identity().thumbprint()));
    let moved =
        std::str::from_utf8(metadata().body()).unwrap().replace("attest.example", "attest.example/moved");
    env.issuer.fail([Ok(answer(200, Some("IMDS/1"), &moved))]);
    env.binding().await.unwrap();
    assert_eq!((env.mints(), service.asked()), (2, 2));
}

#[tokio::test]
async fn rejected_attestation_is_replaced() {
    let service = Service::that(AttestationResult::Token(TOKEN, DAY));
    let env = service.env().await;
    let minted = env.binding().await.unwrap();
    env.minter.forget_attestations();
    assert!(env.minter.report_refusal(&env.id, minted.identity().thumbprint()));
    env.binding().await.unwrap();
    assert_eq!(service.asked(), 2);
}

#[tokio::test]
async fn attestation_is_never_logged() {
    let logs = CapturedLogs::begin();
    let service = Service::that(AttestationResult::Token(TOKEN, DAY));
    let env = service.env().await;
    env.binding().await.unwrap();
    *service.result.lock().unwrap() = AttestationResult::Token(TOKEN, Duration::ZERO);
    env.minter.forget_attestations();
    env.clock.advance(14 * DAY);
    service.now(&env);
    let error = env.binding().await.unwrap_err();
    let text = logs.text();
    assert!(text.contains("the key was attested") && text.contains("the key could not be attested"));
    for shown in [text, format!("{error} {error:?}"), format!("{:?}", env.minter)] {
        assert!(!shown.contains("statement-that-no-log-shows"), "{shown}");
    }
}
