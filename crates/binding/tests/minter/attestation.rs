//! Keys that are attested before they are certified.

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

use crate::issuer::{CLIENT, DAY, HOUR, House, OTHER_CLIENT, answer, drive, metadata};

const TOKEN: &str = "header.statement-that-no-log-shows.signature";

/// What an attestation service says.
#[derive(Clone, Debug)]
enum Says {
    /// This token, good for so long.
    Token(&'static str, Duration),
    Nothing,
    Fails,
}

/// Counts who asks.
#[derive(Clone, Debug)]
struct Service {
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
    now: Arc<Mutex<SystemTime>>,
}

impl Service {
    fn that(says: Says) -> Self {
        let now = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH));
        Self { says: Arc::new(Mutex::new(says)), asked: Arc::default(), now }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// A house with this service, which reads the time off its clock.
    async fn house(&self) -> House {
        let house = House::with(|builder| builder.attester(self.clone())).await;
        self.now(&house);
        house
    }

    fn now(&self, house: &House) {
        *self.now.lock().unwrap() = house.now();
    }
}

impl Attester for Service {
    async fn attest(&self, request: &AttestationRequest<'_>) -> Result<Attestation, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let now = *self.now.lock().unwrap();
        assert!(
            ["https://attest.example/", "https://attest.example/moved"]
                .contains(&request.endpoint().as_str())
        );
        assert!([CLIENT, OTHER_CLIENT].contains(&request.client_id()));
        assert!(!request.key().public_key().is_empty());
        assert_eq!(request.deadline(), now + Duration::from_secs(30));
        let says = self.says.lock().unwrap().clone();
        // It takes a while.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        match says {
            Says::Token(text, lifetime) => Ok(Attestation::new(Secret::new(text), now + lifetime)),
            Says::Nothing => pending().await,
            Says::Fails => Err(Error::new(ErrorKind::Environment, "vendor_code", "the evidence is rejected")),
        }
    }
}

/// The `attestation_token` of each request for a certificate.
fn sent(house: &House) -> Vec<Option<String>> {
    let requests = house.issuer.requests();
    let bodies = requests.iter().filter(|request| !request.body().is_empty());
    bodies
        .map(|request| {
            let body: Value = serde_json::from_slice(request.body()).unwrap();
            body.get("attestation_token").map(|token| token.as_str().unwrap().to_owned())
        })
        .collect()
}

#[tokio::test]
async fn the_statement_goes_along_and_is_used_until_five_minutes_before_its_end() {
    let service = Service::that(Says::Token(TOKEN, 9 * DAY));
    let house = service.house().await;
    house.binding().await.unwrap();
    assert_eq!((sent(&house), service.asked()), (vec![Some(TOKEN.to_owned())], 1));
    // A renewal, and a second identity, with the same key.
    house.clock.advance(8 * DAY);
    house.binding().await.unwrap();
    house.settle().await;
    assert_eq!((sent(&house).len(), service.asked()), (2, 1));
    house.clock.advance(DAY - Duration::from_secs(301));
    let refused = house.minter.held(&house.id).unwrap().identity().thumbprint();
    assert!(house.minter.report_refusal(&house.id, refused));
    house.binding().await.unwrap();
    assert_eq!((sent(&house).len(), service.asked()), (3, 1));
    house.clock.advance(Duration::from_secs(2));
    service.now(&house);
    let other = ManagedIdentityId::client_id("other").unwrap();
    drive(&house.clock, house.minter.binding(&other, CorrelationId::random())).await.0.unwrap();
    assert_eq!((sent(&house).len(), service.asked()), (4, 2));
}

#[tokio::test]
async fn without_an_attester_nothing_goes_along() {
    let house = House::new().await;
    house.binding().await.unwrap();
    assert_eq!(sent(&house), [None]);
}

#[tokio::test]
async fn without_a_statement_no_certificate_is_asked_for() {
    for (says, why) in [
        (Says::Fails, "the attester failed"),
        (Says::Token("", HOUR), "an empty token"),
        (Says::Token("   ", HOUR), "an empty token"),
        (Says::Token(TOKEN, Duration::ZERO), "has expired"),
        (Says::Nothing, "did not respond in time"),
    ] {
        let service = Service::that(says.clone());
        let house = service.house().await;
        let error = house.binding().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("attestation_failed", ErrorKind::Environment), "{says:?}");
        assert!(error.to_string().contains(why), "{says:?}: {error}");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause.is_some_and(|cause| cause.contains("evidence")), why == "the attester failed");
        assert_eq!((house.mints(), house.issuer.requests().len()), (0, 1), "{says:?}");
        // It is not latched.
        *service.says.lock().unwrap() = Says::Token(TOKEN, HOUR);
        service.now(&house);
        house.binding().await.unwrap();
        assert_eq!(house.mints(), 1, "{says:?}");
    }
}

#[tokio::test]
async fn metadata_that_names_no_usable_attestation_service_fails_only_those_who_need_one() {
    let naming = |endpoint: &str| {
        let body = format!(r#"{{"clientId":"{CLIENT}","tenantId":"t","cuId":{{"vmId":"v"}}{endpoint}}}"#);
        Ok(answer(200, Some("IMDS/1"), &body))
    };
    for endpoint in [
        "",
        r#","attestationEndpoint":"""#,
        r#","attestationEndpoint":"attest.example""#,
        r#","attestationEndpoint":"http://attest.example""#,
    ] {
        let house = Service::that(Says::Token(TOKEN, HOUR)).house().await;
        house.issuer.fail([naming(endpoint)]);
        assert_eq!(house.binding().await.unwrap_err().code(), "invalid_response", "{endpoint}");
        assert_eq!(house.mints(), 0, "{endpoint}");
    }
}

#[tokio::test]
async fn identities_with_one_key_share_its_statement_and_another_key_has_its_own() {
    let service = Service::that(Says::Token(TOKEN, HOUR));
    let house = service.house().await;
    let names = [ManagedIdentityId::system_assigned(), ManagedIdentityId::object_id("object").unwrap()];
    let asked = names.iter().map(|name| house.minter.binding(name, CorrelationId::random()));
    for binding in drive(&house.clock, join_all(asked)).await.0 {
        binding.unwrap();
    }
    assert_eq!(service.asked(), 1);

    let service = Service::that(Says::Token(TOKEN, DAY));
    let keys = SoftwareKeys::p256();
    let house = House::with(|builder| builder.attester(service.clone()).key_provider(keys)).await;
    service.now(&house);
    for asked in 1..=2 {
        // New keys are made on other threads.
        let binding = house.minter.binding(&house.id, CorrelationId::random()).await.unwrap();
        assert_eq!(service.asked(), asked);
        assert!(asked == 2 || house.minter.report_refusal(&house.id, binding.identity().thumbprint()));
    }
}

#[tokio::test]
async fn identities_that_mint_at_once_with_one_key_have_it_attested_once() {
    let service = Service::that(Says::Token(TOKEN, HOUR));
    let house = service.house().await;
    let names = [CLIENT, "other"].map(|name| ManagedIdentityId::client_id(name).unwrap());
    let asked = names.iter().map(|name| house.minter.binding(name, CorrelationId::random()));
    for binding in drive(&house.clock, join_all(asked)).await.0 {
        binding.unwrap();
    }
    assert_eq!((house.mints(), service.asked()), (2, 1));
    assert_eq!(sent(&house), [Some(TOKEN.to_owned()), Some(TOKEN.to_owned())]);
}

#[tokio::test]
async fn a_statement_of_one_service_is_not_shown_for_another_one() {
    let service = Service::that(Says::Token(TOKEN, DAY));
    let house = service.house().await;
    let minted = house.binding().await.unwrap();
    assert!(house.minter.report_refusal(&house.id, minted.identity().thumbprint()));
    let moved =
        std::str::from_utf8(metadata().body()).unwrap().replace("attest.example", "attest.example/moved");
    house.issuer.fail([Ok(answer(200, Some("IMDS/1"), &moved))]);
    house.binding().await.unwrap();
    assert_eq!((house.mints(), service.asked()), (2, 2));
}

#[tokio::test]
async fn a_statement_that_was_not_believed_is_asked_for_again() {
    let service = Service::that(Says::Token(TOKEN, DAY));
    let house = service.house().await;
    let minted = house.binding().await.unwrap();
    house.minter.forget_attestations();
    assert!(house.minter.report_refusal(&house.id, minted.identity().thumbprint()));
    house.binding().await.unwrap();
    assert_eq!(service.asked(), 2);
}

#[tokio::test]
async fn no_log_and_no_error_shows_a_statement() {
    let logs = CapturedLogs::begin();
    let service = Service::that(Says::Token(TOKEN, DAY));
    let house = service.house().await;
    house.binding().await.unwrap();
    *service.says.lock().unwrap() = Says::Token(TOKEN, Duration::ZERO);
    house.minter.forget_attestations();
    house.clock.advance(14 * DAY);
    service.now(&house);
    let error = house.binding().await.unwrap_err();
    let text = logs.text();
    assert!(text.contains("the key was attested") && text.contains("the key could not be attested"));
    for shown in [text, format!("{error} {error:?}"), format!("{:?}", house.minter)] {
        assert!(!shown.contains("statement-that-no-log-shows"), "{shown}");
    }
}
