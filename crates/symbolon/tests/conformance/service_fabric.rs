//! Service Fabric: a server that is known by its certificate.

use symbolon::{Env, TokenSource};
use symbolon_emulator::{Fault, Source, Step};

use crate::lab::{Lab, RESOURCE, VAULT};

fn with_variable(lab: &Lab, name: &str, value: &str) -> Env {
    let variables = lab.emulator.environment_of(Source::ServiceFabric).into_iter();
    variables.map(|(own, text)| (own, if own == name { value.to_owned() } else { text })).collect()
}

/// GSF-01, GSF-03 as far as the name is concerned, SF-04: the certificate is for no name that was asked for, and
/// nobody issued it.
#[tokio::test]
async fn the_pinned_certificate_is_enough() {
    let lab = Lab::new().await;
    let identity = lab.on(Source::ServiceFabric);
    assert_eq!(identity.token(RESOURCE).await.unwrap().source(), TokenSource::Network);
    assert_eq!(identity.token(RESOURCE).await.unwrap().source(), TokenSource::Cache);
    let entry = lab.last(Source::ServiceFabric);
    assert_eq!((entry.query("api-version"), entry.query("resource")), (Some("2020-05-01"), Some(RESOURCE)));
    assert!(entry.tls_version().is_some());
    assert_eq!(lab.emulator.journal().entries().len(), 1);
}

/// GSF-02, SF-04, §7.7.11, DEV-6.
#[tokio::test]
async fn another_certificate_gets_no_secret() {
    let lab = Lab::new().await;
    let token_service = format!("{}/metadata/identity/oauth2/token", lab.emulator.token_url());
    for (variable, value) in [
        ("IDENTITY_SERVER_THUMBPRINT", "0".repeat(40)),
        // A certificate that an authority vouches for, whom the transport trusts.
        ("IDENTITY_ENDPOINT", token_service),
    ] {
        let env = with_variable(&lab, variable, &value);
        let identity = lab
            .builder(Source::ServiceFabric)
            .context(lab.context(Source::ServiceFabric).with_env(env))
            .build()
            .unwrap();
        let error = identity.token(RESOURCE).await.unwrap_err();
        assert_eq!((error.code(), error.status()), ("managed_identity_unreachable", None), "{variable}");
        assert!(error.to_string().contains("nothing was sent"), "{error}");
        assert!(error.advice().contains("IDENTITY_SERVER_THUMBPRINT"));
        let journal = lab.emulator.journal();
        assert!(journal.entries().all(|entry| entry.step() == Step::Handshake), "{journal}");
    }
}

/// §7.7.11: the host replaces its certificate, and its variables with it.
#[tokio::test]
async fn a_replaced_certificate_is_known_by_its_new_thumbprint_only() {
    let lab = Lab::new().await;
    let old = lab.on(Source::ServiceFabric);
    old.token(RESOURCE).await.unwrap();
    lab.emulator.replace_service_fabric_certificate().unwrap();
    let new = lab.on(Source::ServiceFabric);
    new.token(RESOURCE).await.unwrap();
    // A connection that was opened before knows nothing of it; a new client of the old pin has none.
    let variables = lab.emulator.environment_of(Source::ServiceFabric);
    lab.emulator.replace_service_fabric_certificate().unwrap();
    let stale = lab
        .builder(Source::ServiceFabric)
        .context(lab.context(Source::ServiceFabric).with_env(variables.into_iter().collect()))
        .build()
        .unwrap();
    assert_eq!(stale.token(VAULT).await.unwrap_err().code(), "managed_identity_unreachable");
}

/// GSF-05, DEV-3.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let lab = Lab::new().await;
    for source in Source::ALL {
        let elsewhere = format!("{}/elsewhere", lab.emulator.imds_url());
        lab.emulator.inject(Fault::redirect(crate::lab::step(source), &elsewhere));
        let error = lab.on(source).token(RESOURCE).await.unwrap_err();
        assert_eq!(
            (error.code(), error.status()),
            ("managed_identity_request_failed", Some(307)),
            "{source}"
        );
        assert_eq!(lab.emulator.journal().count(Step::Unknown), 0, "{source}");
    }
}
