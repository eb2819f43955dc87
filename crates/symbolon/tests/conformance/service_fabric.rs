//! Service Fabric: the pinned server certificate.

use symbolon::{Env, TokenOrigin};
use symbolon_emulator::{Fault, Source, Step};

use crate::test_env::{RESOURCE, SourceTestEnv, VAULT};

fn with_variable(test_env: &SourceTestEnv, name: &str, value: &str) -> Env {
    let variables = test_env.emulator.environment_of(Source::ServiceFabric).into_iter();
    variables.map(|(own, text)| (own, if own == name { value.to_owned() } else { text })).collect()
}

/// The certificate is self-signed and has another host name.
#[tokio::test]
async fn pinned_certificate_is_trusted() {
    let test_env = SourceTestEnv::new().await;
    let identity = test_env.on(Source::ServiceFabric);
    assert_eq!(identity.token(RESOURCE).await.unwrap().origin(), TokenOrigin::Network);
    assert_eq!(identity.token(RESOURCE).await.unwrap().origin(), TokenOrigin::Cache);
    let entry = test_env.last(Source::ServiceFabric);
    assert_eq!((entry.query("api-version"), entry.query("resource")), (Some("2020-05-01"), Some(RESOURCE)));
    assert!(entry.tls_version().is_some());
    assert_eq!(test_env.emulator.journal().entries().len(), 1);
}

#[tokio::test]
async fn other_certificates_get_no_secret() {
    let test_env = SourceTestEnv::new().await;
    let token_service = format!("{}/metadata/identity/oauth2/token", test_env.emulator.token_url());
    for (variable, value) in [
        ("IDENTITY_SERVER_THUMBPRINT", "0".repeat(40)),
        // A certificate of an authority that the transport trusts.
        ("IDENTITY_ENDPOINT", token_service),
    ] {
        let env = with_variable(&test_env, variable, &value);
        let identity = test_env
            .builder(Source::ServiceFabric)
            .context(test_env.context(Source::ServiceFabric).with_env(env))
            .build()
            .unwrap();
        let error = identity.token(RESOURCE).await.unwrap_err();
        assert_eq!((error.code(), error.status()), ("managed_identity_unreachable", None), "{variable}");
        assert!(error.to_string().contains("nothing was sent"), "{error}");
        assert!(error.advice().contains("IDENTITY_SERVER_THUMBPRINT"));
        let journal = test_env.emulator.journal();
        assert!(journal.entries().all(|entry| entry.step == Step::Handshake), "{journal}");
    }
}

/// The host replaces its certificate together with its variables.
#[tokio::test]
async fn replaced_certificate_needs_new_thumbprint() {
    let test_env = SourceTestEnv::new().await;
    let old = test_env.on(Source::ServiceFabric);
    old.token(RESOURCE).await.unwrap();
    test_env.emulator.replace_service_fabric_certificate().unwrap();
    let new = test_env.on(Source::ServiceFabric);
    new.token(RESOURCE).await.unwrap();
    // Existing connections keep working, so a new client is needed to see the change.
    let variables = test_env.emulator.environment_of(Source::ServiceFabric);
    test_env.emulator.replace_service_fabric_certificate().unwrap();
    let stale = test_env
        .builder(Source::ServiceFabric)
        .context(test_env.context(Source::ServiceFabric).with_env(variables.into_iter().collect()))
        .build()
        .unwrap();
    assert_eq!(stale.token(VAULT).await.unwrap_err().code(), "managed_identity_unreachable");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let test_env = SourceTestEnv::new().await;
    for source in Source::ALL {
        let elsewhere = format!("{}/elsewhere", test_env.emulator.imds_url());
        test_env.emulator.inject(Fault::redirect(crate::test_env::step(source), &elsewhere));
        let error = test_env.on(source).token(RESOURCE).await.unwrap_err();
        assert_eq!(
            (error.code(), error.status()),
            ("managed_identity_request_failed", Some(307)),
            "{source}"
        );
        assert_eq!(test_env.emulator.journal().count(Step::Unknown), 0, "{source}");
    }
}
