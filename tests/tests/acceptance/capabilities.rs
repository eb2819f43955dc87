//! Capabilities of hosts, and requests that a host cannot serve.

use std::time::Duration;

use crate::test_env::{Counts, TestEnv};
use symbolon::{Downgrade, Env, ImdsVersion, SharedClock, Source, Strength, TokenOrigin};
use symbolon_emulator::{Fault, Source as Host, Step};
use symbolon_tests::RESOURCE;

/// The variables of the emulator, and one more.
fn env_with(test_env: &TestEnv, name: &str, value: &str) -> Env {
    let more = [(name.to_owned(), value.to_owned())];
    test_env
        .emulator
        .environment()
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .chain(more)
        .collect()
}

/// The reason of a version that the emulator has.
const PRESENT: &str = "present (refuses a request without the Metadata header, as it should)";

#[tokio::test]
async fn imds_v2_is_probed_once() {
    let test_env = TestEnv::new().await;
    let identity = test_env.builder().build().unwrap();
    for _ in 0..3 {
        let found = identity.capabilities().await;
        assert_eq!((found.source, found.can_bind()), (Some(Source::Imds), true));
        let imds = found.imds.unwrap();
        assert_eq!((imds.version, imds.skew_seconds), (Some(ImdsVersion::V2), Some(0)));
        assert_eq!(imds.reasons, [format!("version 2: {PRESENT}")]);
        // The provider of keys has not been used yet.
        assert_eq!((found.strength, found.host_strength), (None, Some(Strength::Software)));
    }
    let journal = test_env.emulator.journal();
    assert_eq!(journal.steps(), [Step::PlatformMetadata]);
    assert_eq!(journal.last(Step::PlatformMetadata).unwrap().header("metadata"), None);
    test_env.bound_token(&identity).await;
    test_env.manual_clock.advance(Duration::from_secs(3600));
    assert_eq!(identity.capabilities().await.strength, Some(Strength::Software));
}

#[tokio::test]
async fn imds_v1_host_reports_its_capabilities() {
    let test_env = TestEnv::with(|emulator| emulator.v1_only()).await;
    let found = test_env.identity().capabilities().await;
    let imds = found.imds.as_ref().unwrap();
    assert_eq!(
        (found.source, imds.version, found.can_bind()),
        (Some(Source::Imds), Some(ImdsVersion::V1), false)
    );
    assert_eq!(
        imds.reasons,
        ["version 2: absent: answered with status 404".to_owned(), format!("version 1: {PRESENT}")]
    );
    assert_eq!((found.strength, found.host_strength), (None, None));
    assert_eq!(test_env.count(Step::ComputeMetadata), 1);
}

#[tokio::test]
async fn named_source_is_not_probed() {
    let test_env = TestEnv::new().await;
    for host in
        [Host::AppService, Host::ServiceFabric, Host::MachineLearning, Host::CloudShell, Host::AzureArc]
    {
        let env: Env = test_env.emulator.environment_of(host).into_iter().collect();
        let found = test_env
            .builder()
            .context(test_env.context().with_env(env))
            .build()
            .unwrap()
            .capabilities()
            .await;
        assert_eq!((found.imds.as_ref(), found.can_bind(), found.strength), (None, false, None), "{host:?}");
        assert_eq!(found.source, Some(found.detection.source), "{host:?}");
        assert!(found.reason.contains("issues no certificates"), "{}", found.reason);
    }
    assert_eq!(test_env.emulator.journal().steps(), []);
}

#[tokio::test]
async fn missing_service_is_probed_again_later() {
    let test_env = TestEnv::new().await;
    let nowhere: Env = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")].into_iter().collect();
    let found = test_env
        .builder()
        .context(test_env.context().with_env(nowhere))
        .build()
        .unwrap()
        .capabilities()
        .await;
    let imds = found.imds.unwrap();
    assert_eq!((found.source, imds.version), (None, None));
    assert_eq!(
        (&imds.reasons[..], &*imds.base),
        (&["version 2: could not be reached".to_owned()][..], "http://127.0.0.1:9")
    );

    test_env.emulator.inject(Fault::reset(Step::PlatformMetadata));
    let identity = test_env.identity();
    assert_eq!(identity.capabilities().await.source, None);
    test_env.manual_clock.advance(Duration::from_secs(119));
    assert_eq!(identity.capabilities().await.source, None);
    test_env.manual_clock.advance(Duration::from_secs(1));
    assert_eq!(identity.capabilities().await.source, Some(Source::Imds));
}

#[tokio::test]
async fn stalled_metadata_service_is_not_awaited() {
    let test_env = TestEnv::with_system_clock(|emulator| emulator).await;
    test_env.emulator.inject(Fault::stall(Step::PlatformMetadata).always());
    let clock = SharedClock::system();
    let began = clock.now();
    let found = test_env.identity().capabilities().await;
    let took = clock.now().duration_since(began).unwrap();
    assert_eq!(found.imds.unwrap().reasons, ["version 2: did not answer in time"]);
    // Not a measurement: the stall never ends by itself.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn kill_switch_turns_imds_v2_off() {
    for value in ["1", "true", "TRUE"] {
        let test_env = TestEnv::new().await;
        let identity = test_env
            .builder()
            .context(test_env.context().with_env(env_with(&test_env, "MSAL_MI_DISABLE_IMDS_V2", value)))
            .build()
            .unwrap();
        let found = identity.capabilities().await;
        assert_eq!((found.imds.as_ref().unwrap().version, found.can_bind()), (Some(ImdsVersion::V1), false));
        assert!(found.reason.contains("MSAL_MI_DISABLE_IMDS_V2"), "{}", found.reason);
        for request in [identity.token(RESOURCE).proof_of_possession(), identity.token(RESOURCE).over_mtls()]
        {
            assert_eq!(request.await.unwrap_err().code(), "mtls_pop_not_supported_in_imds_v1");
        }
        test_env.keep(identity.token(RESOURCE).await.unwrap());
        assert_eq!(test_env.counts(), Counts::of(0, 0, 0));
    }
    let test_env = TestEnv::new().await;
    let identity = test_env
        .builder()
        .context(test_env.context().with_env(env_with(&test_env, "MSAL_MI_DISABLE_IMDS_V2", "no")))
        .build()
        .unwrap();
    test_env.bound_token(&identity).await;
}

#[tokio::test]
async fn minimum_strength_is_checked_first() {
    let test_env = TestEnv::new().await;
    let app_service: Env = test_env.emulator.environment_of(Host::AppService).into_iter().collect();
    for env in [app_service, env_with(&test_env, "MSAL_MI_DISABLE_IMDS_V2", "1")] {
        let builder = test_env
            .builder()
            .context(test_env.context().with_env(env))
            .downgrade(Downgrade::ToBearerWhereUnsupported);
        let identity = builder.minimum_strength(Some(Strength::Software)).build().unwrap();
        let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
        assert_eq!(error.code(), "min_strength_not_met", "and it is no reason for a bearer token");
    }
    assert_eq!(test_env.emulator.journal().steps(), []);
}

#[tokio::test]
async fn downgrade_only_where_binding_is_unsupported() {
    let test_env = TestEnv::with(|emulator| emulator.v1_only()).await;
    let app_service: Env = test_env.emulator.environment_of(Host::AppService).into_iter().collect();
    for (env, code) in [
        (test_env.env(), "mtls_pop_not_supported_in_imds_v1"),
        (app_service, "mtls_pop_not_supported_for_environment"),
    ] {
        let strict = test_env.builder().context(test_env.context().with_env(env.clone())).build().unwrap();
        assert_eq!(strict.token(RESOURCE).proof_of_possession().await.unwrap_err().code(), code);
        let lenient = test_env
            .builder()
            .context(test_env.context().with_env(env))
            .downgrade(Downgrade::ToBearerWhereUnsupported)
            .build()
            .unwrap();
        for source in [TokenOrigin::Network, TokenOrigin::Cache] {
            let token = test_env.keep(lenient.token(RESOURCE).proof_of_possession().await.unwrap());
            assert_eq!(
                (token.token_type(), token.bound_to(), token.origin()),
                ("Bearer", None, source),
                "{code}"
            );
        }
        // A request over mTLS is never downgraded.
        assert_eq!(lenient.token(RESOURCE).over_mtls().await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn other_failures_do_not_downgrade() {
    for fault in [
        Fault::status(Step::IssueCredential, 403),
        Fault::status(Step::PlatformMetadata, 400),
        Fault::status(Step::PlatformMetadata, 404).header("server", "a proxy"),
        Fault::oauth_error("unauthorized_client", &[700_016]),
    ] {
        let test_env = TestEnv::new().await;
        let identity = test_env.builder().downgrade(Downgrade::ToBearerWhereUnsupported).build().unwrap();
        test_env.emulator.inject(fault.always());
        assert!(identity.token(RESOURCE).proof_of_possession().await.is_err());
        assert_eq!(test_env.count(Step::ImdsToken), 0);
    }
}
