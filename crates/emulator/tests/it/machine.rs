//! Tests of faults of the machine and its certificates, from code and from a file.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use rustls::AlertDescription;
use symbolon_emulator::{Emulator, EntryOutcome, Error, Fault, Step};
use symbolon_types::{ManualClock, SharedClock};

use crate::client::{Client, Identity, alert, cause};
use crate::csr::Key;
use crate::fixtures::{
    bound_request, bound_token, certified, platform_metadata, platform_request, v1_token_request,
};

#[tokio::test]
async fn handshake_ends_with_the_scripted_alert() {
    let emulator = Emulator::start().await.unwrap();
    let client = Client::new(&emulator, None);
    for (number, expected) in
        [(40, AlertDescription::HandshakeFailure), (80, AlertDescription::InternalError)]
    {
        emulator.inject(Fault::tls_alert(number));
        assert_eq!(alert(&*client.send(bound_request(&emulator)).await.err().unwrap()), Some(expected));
    }
    assert_eq!(client.send(bound_request(&emulator)).await.unwrap().status, 401);
    let journal = emulator.journal();
    let entry = journal.last(Step::Handshake).unwrap();
    assert_eq!((entry.outcome, entry.fault), (EntryOutcome::HandshakeFailed, Some("tls-alert")));
}

#[tokio::test]
async fn one_handshake_refuses_any_certificate() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let client = Client::new(&emulator, Some(&identity));
    assert_eq!(client.send(bound_request(&emulator)).await.unwrap().status, 200);
    let mut entries = emulator.subscribe();
    // The client has a session that it could resume.
    emulator.inject(Fault::refuse_certificate());
    let refused = alert(&*client.send(bound_request(&emulator)).await.err().unwrap());
    assert_eq!(refused, Some(AlertDescription::CertificateRevoked));
    let entry = entries.next().await.unwrap();
    assert_eq!(entry.step, Step::Handshake);
    assert_eq!((entry.outcome, entry.fault), (EntryOutcome::CertificateRefused, Some("refuse-certificate")));
    assert_eq!(client.send(bound_request(&emulator)).await.unwrap().status, 200);
    emulator.inject(Fault::refuse_certificate());
    assert_eq!(Client::new(&emulator, None).send(bound_request(&emulator)).await.unwrap().status, 401);
}

#[tokio::test]
async fn certificate_is_revoked_permanently() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let client = Client::new(&emulator, Some(&identity));
    emulator.inject(Fault::revoke_certificate(Step::Token));
    for fault in [Some("revoke-certificate"), None] {
        let answer = client.send(bound_request(&emulator)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (401, Some("invalid_client")));
        let entry = emulator.journal().last(Step::Token).unwrap().clone();
        assert_eq!((entry.reason, entry.fault), (Some("certificate_revoked"), fault));
    }
    let other = certified(&emulator, &Key::p256()).await;
    bound_token(&emulator, &other).await.unwrap();
}

#[tokio::test]
async fn renewal_keeps_the_key() {
    let emulator = Emulator::start().await.unwrap();
    for key in [Key::p256(), Key::rsa()] {
        let identity = certified(&emulator, &key).await;
        let renewed = emulator.renew(identity.thumbprint()).unwrap().unwrap();
        assert_ne!(renewed.thumbprint, identity.thumbprint());
        assert_eq!(renewed.tenant_id.as_deref(), Some(emulator.tenant_id()));
        let renewed = Identity { certificate: renewed.der.to_vec(), pkcs8: key.pkcs8() };
        bound_token(&emulator, &identity).await.unwrap();
        bound_token(&emulator, &renewed).await.unwrap();

        emulator.inject(Fault::renew_certificate(Step::Token));
        let answer = Client::new(&emulator, Some(&renewed)).send(bound_request(&emulator)).await.unwrap();
        assert_eq!(answer.status, 401);
        let latest = emulator.issued().last().unwrap().der.to_vec();
        bound_token(&emulator, &Identity { certificate: latest, pkcs8: key.pkcs8() }).await.unwrap();
    }
    let unknown = symbolon_emulator::Thumbprint::of(b"an unknown certificate");
    assert!(emulator.renew(unknown).unwrap().is_none());
}

#[tokio::test]
async fn reboot_refuses_earlier_certificates() {
    let emulator = Emulator::start().await.unwrap();
    let identity = certified(&emulator, &Key::p256()).await;
    let client = Client::new(&emulator, Some(&identity));
    let mut open = client.connect(emulator.token_url()).await.unwrap();
    assert_eq!(open.send(bound_request(&emulator)).await.unwrap().status, 200);
    let mut idle = Client::new(&emulator, None).connect(emulator.imds_url()).await.unwrap();
    assert_eq!(idle.send(platform_request(&emulator)).await.unwrap().status, 200);

    emulator.inject(Fault::reboot(Step::Token));
    let error = open.send(bound_request(&emulator)).await.err().unwrap();
    assert_eq!(cause::<io::Error>(&*error).map(io::Error::kind), Some(io::ErrorKind::ConnectionReset));
    assert_eq!(emulator.journal().last(Step::Token).unwrap().outcome, EntryOutcome::Reset);
    assert!(idle.send(platform_request(&emulator)).await.is_err());
    let refused = alert(&*client.send(bound_request(&emulator)).await.err().unwrap());
    assert_eq!(refused, Some(AlertDescription::CertificateRevoked));

    assert_eq!(platform_metadata(&emulator).await["clientId"], emulator.client_id());
    let after = certified(&emulator, &Key::p256()).await;
    bound_token(&emulator, &after).await.unwrap();
}

#[tokio::test]
async fn clock_skew_changes_dates_and_lifetimes() {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let builder = Emulator::builder().clock(SharedClock::new(clock.clone()));
    let emulator = builder.clock_skew(-600).start().await.unwrap();
    let client = Client::new(&emulator, None);
    for (skew, date, expires_on) in [
        (-600, "Sun, 17 Mar 2030 17:36:40 GMT", "1900002999"),
        (0, "Sun, 17 Mar 2030 17:46:40 GMT", "1900003599"),
        (3600, "Sun, 17 Mar 2030 18:46:40 GMT", "1900007199"),
    ] {
        emulator.set_clock_skew(skew);
        let answer = client.send(v1_token_request(&emulator, "https://x")).await.unwrap();
        assert_eq!((answer.header("date"), answer.json()["expires_on"].as_str()), (date, Some(expires_on)));
    }
    // The certificate expires when the clock advances.
    let identity = certified(&emulator, &Key::p256()).await;
    emulator.set_clock_skew(30 * 24 * 60 * 60);
    let answer = Client::new(&emulator, Some(&identity)).send(bound_request(&emulator)).await.unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(emulator.journal().last(Step::Token).unwrap().reason, Some("certificate_expired"));
}

#[tokio::test]
async fn file_sets_faults_and_settings() {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let file = r#"
        [host]
        tenant_id = "72f988bf-86f1-41af-91ab-2d7cd011db47"
        token_lifetime = "5m"

        [[fault]]
        kind = "gone"
        step = "metadata"
        lasting = "70s"
        headers = { retry-after = "10" }

        [[fault]]
        kind = "throttle"
        step = "imds-token"
        per_second = 2

        [[fault]]
        kind = "certificate"
        certificate = "lifetime"
        lifetime = 90
    "#;
    let builder = Emulator::builder().clock(SharedClock::new(clock.clone()));
    let emulator = builder.faults_toml(file).unwrap().start().await.unwrap();
    assert_eq!(emulator.tenant_id(), "72f988bf-86f1-41af-91ab-2d7cd011db47");
    let client = Client::new(&emulator, None);
    for (advance, status) in [(0, 410), (69, 410), (1, 200)] {
        clock.advance(Duration::from_secs(advance));
        let answer = client.send(platform_request(&emulator)).await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("retry-after"), if status == 410 { "10" } else { "" });
    }
    for (advance, status) in [(0, 200), (0, 200), (0, 429), (1, 200), (0, 200), (0, 429)] {
        clock.advance(Duration::from_secs(advance));
        let answer = client.send(v1_token_request(&emulator, "https://x")).await.unwrap();
        assert_eq!(answer.status, status);
        if status == 429 {
            assert_eq!(answer.header("retry-after"), "1");
        } else {
            assert_eq!(answer.json()["expires_in"], "300");
        }
    }
    certified(&emulator, &Key::p256()).await;
    let certificate = emulator.issued().pop().unwrap();
    let left = certificate.not_after.duration_since(UNIX_EPOCH).unwrap().as_secs() - 1_900_000_071;
    assert_eq!(left, 90);
}

#[test]
fn invalid_file_is_an_error_with_position() {
    let refused = Emulator::builder().faults_toml("[[fault]]\nkind = \"reset\"\nstep = \"tokn\"\n");
    let Err(Error::Faults { line, column, message }) = refused else { panic!("the file was accepted") };
    assert_eq!((line, column), (3, 8));
    assert!(message.starts_with("there is no step `tokn`"), "{message}");
}
