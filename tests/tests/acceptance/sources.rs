//! Managed identity sources other than IMDS, and their logs.

use crate::test_env::TestEnv;
use symbolon::{ManagedIdentity, ManagedIdentityBuilder, ManagedIdentityId};
use symbolon_emulator::{Fault, Source, Step};
use symbolon_tests::RESOURCE;

const SECRETS: [&str; 2] = ["IDENTITY_HEADER", "MSI_SECRET"];

/// A managed identity on a host of this kind. Secrets in its variables must not be logged.
fn on(test_env: &TestEnv, source: Source) -> ManagedIdentityBuilder {
    let variables = test_env.emulator.environment_of(source);
    for (_, secret) in variables.iter().filter(|(name, _)| SECRETS.contains(name)) {
        test_env.watch(secret);
    }
    test_env.builder().context(test_env.context().with_env(variables.into_iter().collect()))
}

fn step(source: Source) -> Step {
    match source {
        Source::AppService => Step::AppService,
        Source::ServiceFabric => Step::ServiceFabric,
        Source::MachineLearning => Step::MachineLearning,
        Source::CloudShell => Step::CloudShell,
        Source::AzureArc => Step::AzureArc,
        _ => Step::ImdsToken,
    }
}

#[tokio::test]
async fn sources_log_no_secret() {
    let tokens = tempfile::tempdir().unwrap();
    let directory = tokens.path().canonicalize().unwrap();
    let test_env = TestEnv::with(|emulator| emulator.arc_tokens(&directory)).await;
    for source in Source::ALL {
        let identity = on(&test_env, source).azure_arc_tokens(&directory).build().unwrap();
        test_env.keep(identity.token(RESOURCE).await.unwrap());
        test_env.keep(identity.token(RESOURCE).force_refresh().await.unwrap());
        test_env.emulator.inject(Fault::status(step(source), 400).body(r#"{"error":"x"}"#));
        let error = identity.token(RESOURCE).force_refresh().await.unwrap_err();
        let shown = format!("{error} {error:?} {identity:?}");
        for (name, value) in test_env.emulator.environment_of(source) {
            assert!(!SECRETS.contains(&name) || !shown.contains(&value), "{source} {name}: {shown}");
        }
    }
}

#[tokio::test]
async fn azure_arc_key_is_not_logged() {
    let tokens = tempfile::tempdir().unwrap();
    let directory = tokens.path().canonicalize().unwrap();
    let test_env = TestEnv::with(|emulator| emulator.arc_tokens(&directory)).await;
    let key = directory.join("ours.key");
    // Long enough to be searched for in the logs; the agent refuses it.
    let text = "a-key-that-is-not-the-agents-but-is-read-and-sent";
    std::fs::write(&key, text).unwrap();
    test_env.watch(text);
    let realm = format!("Basic realm={}", key.display());
    test_env.emulator.inject(Fault::status(Step::AzureArc, 401).header("www-authenticate", &realm));
    test_env.emulator.inject(Fault::status(Step::AzureArc, 403).body(format!(r#"{{"error":"{text}"}}"#)));
    let identity = on(&test_env, Source::AzureArc).azure_arc_tokens(&directory).build().unwrap();
    let error = identity.token(RESOURCE).await.unwrap_err();
    assert_eq!(error.status(), Some(403));
    assert!(!format!("{error} {error:?}").contains(text));
    let journal = test_env.emulator.journal();
    assert_eq!(journal.last(Step::AzureArc).unwrap().authorization, Some("Basic"));
    assert!(!format!("{journal}").contains(text));
}

#[tokio::test]
async fn other_sources_refuse_bound_tokens() {
    let test_env = TestEnv::new().await;
    for source in Source::ALL.into_iter().filter(|source| *source != Source::Imds) {
        for id in [ManagedIdentityId::system_assigned(), ManagedIdentityId::client_id("1").unwrap()] {
            let identity: ManagedIdentity = on(&test_env, source).identity(id).build().unwrap();
            let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
            assert_eq!(error.code(), "mtls_pop_not_supported_for_environment", "{source}");
        }
    }
    assert_eq!(test_env.emulator.journal().entries().len(), 0);
}
