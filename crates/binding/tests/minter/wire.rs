//! Requests to the metadata service, and handling of its responses.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use symbolon_binding::{Error, ErrorKind, KeyProvider, ManagedIdentityId, Minter, SoftwareKeys};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{
    HttpClient, Request, Response, RetryPolicy, Route, SharedTransport, TransportError, TransportErrorKind,
    transport_fn,
};
use symbolon_types::pki_types::SubjectPublicKeyInfoDer;
use symbolon_types::{
    Context, CorrelationId, Jitter, ManualClock, SharedSigningKey, SignatureScheme, SigningError, SigningKey,
    Strength,
};
use tokio::sync::Barrier;

use crate::issuer::{CLIENT, DAY, OneKey, Plan, TENANT, TestEnv, answer, der_time, drive, metadata};

const IMDS: Option<&str> = Some("IMDS/150.870.65.1854");

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn mint_sends_two_requests() {
    let env = TestEnv::new().await;
    let id = ManagedIdentityId::resource_id("/subscriptions/a b").unwrap();
    let correlation_id = CorrelationId::random();
    let (binding, delays) = drive(&env.clock, env.minter.binding(&id, correlation_id)).await;
    assert!(binding.is_ok() && delays.is_empty());
    let requests = env.issuer.requests();
    let [first, second] = &requests[..] else { panic!("{requests:?}") };
    let query = "cred-api-version=2.0&mi_res_id=%2Fsubscriptions%2Fa%20b";
    let origin = "http://169.254.169.254/metadata/identity";
    assert_eq!(first.url().as_str(), format!("{origin}/getplatformmetadata?{query}"));
    assert_eq!(second.url().as_str(), format!("{origin}/issuecredential?{query}"));
    assert_eq!((first.method(), second.method()), (&Method::GET, &Method::POST));
    for request in [first, second] {
        assert_eq!(request.route(), Route::Local);
        assert!(request.identity().is_none());
        assert_eq!(header(request, "metadata"), Some("true"));
        assert_eq!(header(request, "accept"), Some("application/json"));
        assert_eq!(header(request, "x-ms-client-request-id"), Some(&*correlation_id.to_string()));
    }
    assert_eq!(header(first, "content-type"), None);
    assert_eq!(header(second, "content-type"), Some("application/json; charset=utf-8"));
    let body: Value = serde_json::from_slice(second.body()).unwrap();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["csr"]);
}

#[tokio::test]
async fn binding_has_endpoint_and_expiry() {
    let env = TestEnv::new().await;
    let end = env.now() + 7 * DAY;
    env.issuer.plan(Plan { token_not_after: Some(der_time(end)), ..Plan::default() });
    let binding = env.binding().await.unwrap();
    assert_eq!((binding.client_id(), binding.tenant_id()), (CLIENT, TENANT));
    let endpoint = format!("https://eastus.mtlsauth.microsoft.com/{TENANT}/oauth2/v2.0/token");
    assert_eq!(binding.token_endpoint().as_str(), endpoint);
    assert_eq!(binding.minted_at(), env.now());
    assert_eq!(binding.identity().usable_until(), end);
    assert_eq!(binding.identity().not_after(), env.now() + 14 * DAY);
    assert_eq!(binding.identity().thumbprint(), env.issuer.issued()[0]);
    let shown = format!("{binding:?} {:?}", env.minter);
    assert!(!shown.contains(CLIENT) && !shown.contains(TENANT), "{shown}");
}

#[tokio::test]
async fn unreadable_token_not_after_is_ignored() {
    let later = |env: &TestEnv| der_time(env.now() + 20 * DAY);
    let unreadable = |_: &TestEnv| b"\x0c\x03???".to_vec();
    for extension in [later as fn(&TestEnv) -> Vec<u8>, unreadable] {
        let env = TestEnv::new().await;
        env.issuer.plan(Plan { token_not_after: Some(extension(&env)), ..Plan::default() });
        let binding = env.binding().await.unwrap();
        assert_eq!(binding.identity().usable_until(), env.now() + 14 * DAY);
    }
}

/// Key provider that waits for the metadata request.
#[derive(Debug)]
struct BarrierKeys(Arc<Barrier>, SharedSigningKey);

impl KeyProvider for BarrierKeys {
    async fn key(&self) -> Result<SharedSigningKey, Error> {
        self.0.wait().await;
        Ok(self.1.clone())
    }
}

#[tokio::test]
async fn key_and_metadata_are_requested_together() {
    let barrier = Arc::new(Barrier::new(2));
    let key = SoftwareKeys::p256().key().await.unwrap();
    let clock = ManualClock::new();
    let transport = {
        let barrier = Arc::clone(&barrier);
        transport_fn(move |request: Request| {
            let barrier = Arc::clone(&barrier);
            async move {
                if request.method() == Method::POST {
                    return Ok(answer(400, IMDS, ""));
                }
                // Waits for the key provider: sequential requests would hang.
                barrier.wait().await;
                Ok(metadata())
            }
        })
    };
    let http = HttpClient::new(
        SharedTransport::new(transport),
        Context::default().with_clock(&clock).with_jitter(Jitter::fixed(0.5)),
    );
    let base = "http://169.254.169.254".parse().unwrap();
    let minter = Minter::builder(base, http).key_provider(BarrierKeys(barrier, key)).build().unwrap();
    let id = ManagedIdentityId::system_assigned();
    let (outcome, delays) = drive(&clock, minter.binding(&id, CorrelationId::random())).await;
    assert_eq!((outcome.unwrap_err().status(), delays), (Some(400), vec![]));
}

#[tokio::test]
async fn weak_key_is_refused() {
    let plain = SoftwareKeys::p256().key().await.unwrap();
    for (floor, strength, met) in [
        (None, Strength::Software, true),
        (Some(Strength::Software), Strength::Software, true),
        (Some(Strength::Hardware), Strength::Software, false),
        (Some(Strength::KeyGuard), Strength::Software, false),
        (Some(Strength::Software), Strength::Hardware, true),
        (Some(Strength::Hardware), Strength::Hardware, true),
        (Some(Strength::KeyGuard), Strength::Hardware, false),
        (None, Strength::KeyGuard, true),
        (Some(Strength::Software), Strength::KeyGuard, true),
        (Some(Strength::KeyGuard), Strength::KeyGuard, true),
    ] {
        let key = SharedSigningKey::new(KeyWithStrength(plain.clone(), strength));
        let env =
            TestEnv::with(|builder| builder.minimum_strength(floor).key_provider(OneKey(key.clone()))).await;
        match env.binding().await {
            Ok(binding) => {
                assert!(met, "{floor:?} {strength}");
                assert_eq!(binding.identity().strength(), strength);
            }
            Err(error) => {
                assert!(!met, "{floor:?} {strength}");
                assert_eq!((error.kind(), error.code()), (ErrorKind::Environment, "min_strength_not_met"));
                let (text, floor) = (error.to_string(), floor.unwrap().to_string());
                assert!(text.contains(strength.as_str()) && text.contains(&floor), "{text}");
                assert!(env.issuer.requests().iter().all(|request| request.method() == Method::GET));
            }
        }
    }
}

/// Key with a configurable strength.
#[derive(Debug)]
struct KeyWithStrength(SharedSigningKey, Strength);

impl SigningKey for KeyWithStrength {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        self.0.public_key()
    }
    fn schemes(&self) -> &[SignatureScheme] {
        self.0.schemes()
    }
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        self.0.sign(scheme, message)
    }
    fn strength(&self) -> Strength {
        self.1
    }
}

async fn outcome_of(answers: Vec<Result<Response, TransportError>>) -> (Error, usize, Vec<u64>) {
    let clock = ManualClock::new();
    let transport = ScriptedTransport::new(answers);
    let http = HttpClient::new(
        SharedTransport::new(transport.clone()),
        Context::default().with_clock(&clock).with_jitter(Jitter::fixed(0.5)),
    );
    let key = SoftwareKeys::p256().key().await.unwrap();
    let base = "http://169.254.169.254".parse().unwrap();
    let minter = Minter::builder(base, http).key_provider(OneKey(key)).build().unwrap();
    let id = ManagedIdentityId::system_assigned();
    let (outcome, delays) = drive(&clock, minter.binding(&id, CorrelationId::random())).await;
    (outcome.unwrap_err(), transport.requests().len(), delays)
}

#[tokio::test]
async fn imds_404_means_no_certificates() {
    let (error, requests, delays) = outcome_of(vec![Ok(answer(404, IMDS, ""))]).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Environment, "mtls_pop_not_supported_in_imds_v1"));
    assert_eq!((requests, delays, error.is_transient()), (1, vec![], false));

    for server in [None, Some("nginx"), Some("I_MDS/150.870.65.1854")] {
        let (error, requests, _) = outcome_of(vec![Ok(answer(404, server, ""))]).await;
        assert_eq!((error.kind(), error.code()), (ErrorKind::Service, "managed_identity_request_failed"));
        assert_eq!((requests, error.status()), (1, Some(404)), "{server:?}");
        assert!(error.advice().contains("did not come from the metadata service"), "{error}");
    }

    let answers = [Ok(metadata())].into_iter().chain((0..4).map(|_| Ok(answer(404, IMDS, ""))));
    let (error, requests, delays) = outcome_of(answers.collect()).await;
    assert_eq!((error.code(), requests), ("managed_identity_request_failed", 5));
    assert_eq!(delays, [1, 2, 4]);
}

#[tokio::test]
async fn metadata_must_come_from_imds() {
    let body = metadata().body().clone();
    let text = std::str::from_utf8(&body).unwrap();
    for server in [None, Some("nginx"), Some("I_MDS/150.870.65.1854")] {
        let (error, requests, _) = outcome_of(vec![Ok(answer(200, server, text))]).await;
        assert_eq!((error.kind(), error.code()), (ErrorKind::Response, "invalid_response"), "{server:?}");
        assert_eq!(requests, 1);
    }
}

#[tokio::test]
async fn error_status_has_advice() {
    for (answers, advice, transient) in [
        (vec![answer(400, IMDS, "no such identity")], "assigned to this machine", false),
        (vec![answer(400, None, "bad gateway")], "did not come from the metadata service", false),
        (vec![metadata(), answer(400, IMDS, "attestation missing")], "must attest its keys", false),
        (vec![answer(403, IMDS, "")], "correlation id", false),
        (vec![answer(429, IMDS, ""); 4], "later", true),
    ] {
        let status = answers.last().unwrap().status().as_u16();
        let excerpt = String::from_utf8(answers.last().unwrap().body().to_vec()).unwrap();
        let (error, _, _) = outcome_of(answers.into_iter().map(Ok).collect()).await;
        assert_eq!((error.kind(), error.code()), (ErrorKind::Service, "managed_identity_request_failed"));
        assert_eq!((error.status(), error.excerpt()), (Some(status), Some(&*excerpt)));
        assert_eq!(error.is_transient(), transient, "{status}");
        assert!(error.advice().contains(advice), "{error}");
        assert!(excerpt.is_empty() || !error.to_string().contains(&excerpt), "{error}");
    }
}

#[tokio::test]
async fn transient_errors_are_retried() {
    for (statuses, delays) in [
        (&[500][..], &[1][..]),
        (&[503, 502, 500], &[1, 2, 4]),
        (&[429, 408], &[1, 2]),
        (&[410; 7], &[10; 7]),
        (&[410, 500], &[10, 2]),
    ] {
        // For both requests: the metadata request, then the certificate request.
        let env = TestEnv::new().await;
        env.issuer.fail(statuses.iter().map(|status| Ok(answer(*status, IMDS, ""))));
        let (outcome, taken) = env.timed_binding().await;
        assert!(outcome.is_ok(), "{statuses:?}");
        assert_eq!(taken, delays, "{statuses:?}");

        let env = TestEnv::new().await;
        env.issuer.fail([Ok(metadata())]);
        env.issuer.fail(statuses.iter().map(|status| Ok(answer(*status, IMDS, ""))));
        let (outcome, taken) = env.timed_binding().await;
        assert!(outcome.is_ok(), "{statuses:?}");
        assert_eq!(taken, delays, "{statuses:?}");
    }
}

#[tokio::test]
async fn retry_policies_can_be_replaced() {
    let env = TestEnv::with(|builder| {
        builder
            .metadata_retry_policy(RetryPolicy::once())
            .issuance_retry_policy(RetryPolicy::managed_identity())
    })
    .await;
    env.issuer.fail([Ok(answer(500, IMDS, ""))]);
    let (outcome, delays) = env.timed_binding().await;
    assert_eq!((outcome.unwrap_err().status(), delays), (Some(500), vec![]));
    env.issuer.fail([Ok(metadata()), Ok(answer(500, IMDS, "")), Ok(answer(500, IMDS, ""))]);
    let (outcome, delays) = env.timed_binding().await;
    assert!(outcome.is_ok());
    assert_eq!(delays, [1, 1]);
}

#[tokio::test]
async fn transport_errors_are_mapped() {
    use TransportErrorKind as Transport;
    for (failure, kind, code, transient) in [
        (Transport::Connect, ErrorKind::Network, "managed_identity_unreachable", true),
        (Transport::Interrupted, ErrorKind::Network, "managed_identity_unreachable", true),
        (Transport::Timeout, ErrorKind::Network, "timeout", true),
        (Transport::TooLarge, ErrorKind::Response, "response_too_large", false),
        (Transport::Protocol, ErrorKind::Response, "invalid_response", false),
    ] {
        let (error, requests, _) = outcome_of((0..4).map(|_| Err(failure.into())).collect()).await;
        assert_eq!((error.kind(), error.code(), error.is_transient()), (kind, code, transient));
        assert_eq!(requests, if transient { 4 } else { 1 }, "{failure:?}");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[tokio::test]
async fn silent_service_times_out() {
    let env = TestEnv::new().await;
    env.issuer.hold(true);
    let (outcome, delays) = env.timed_binding().await;
    assert_eq!(outcome.unwrap_err().code(), "timeout");
    assert_eq!(delays, [10, 1, 10, 2, 10, 4, 10]);
}

#[tokio::test]
async fn retry_after_is_returned() {
    let mut headers = answer(503, IMDS, "").headers().clone();
    headers.insert("retry-after", http::HeaderValue::from_static("17"));
    let unwell = answer(503, IMDS, "").with_headers(headers);
    let (error, _, _) = outcome_of(vec![Ok(unwell); 4]).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
}

#[tokio::test]
async fn mint_needs_no_runtime() {
    // Clock, keys and cache work without a runtime.
    let TestEnv { minter, id, .. } = TestEnv::new().await;
    let minted = std::thread::spawn(move || {
        let mut binding = Box::pin(minter.binding(&id, CorrelationId::random()));
        loop {
            if let Some(outcome) = futures_util::FutureExt::now_or_never(&mut binding) {
                break outcome.is_ok();
            }
            std::thread::yield_now();
        }
    });
    assert!(minted.join().unwrap());
}

#[tokio::test]
async fn invalid_configuration_is_refused() {
    let http = || {
        let transport = SharedTransport::new(ScriptedTransport::new([]));
        HttpClient::new(transport, Context::default())
    };
    for base in ["data:text/plain,x", "file:///x", "ftp://169.254.169.254"] {
        let error = Minter::builder(base.parse().unwrap(), http()).build().unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_configuration"), "{base}");
    }
    let base = "http://169.254.169.254".parse().unwrap();
    let error = Minter::builder(base, http()).trusted_token_hosts(["*.example.com/"]).build().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Request, "invalid_configuration"));
}
