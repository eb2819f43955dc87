//! Environment variables.

use symbolon_emulator::{Fault, Source, Step};

use crate::run::{RunResult, TestEnv, symbolon};

const REQUEST: &[&str] =
    &["token", "--resource", "https://vault.azure.net", "--key", "p-256", "--output", "json"];

fn request_token(env: &TestEnv, more: &[&str]) -> RunResult {
    env.run(&[REQUEST, more].concat())
}

/// Runs the command with the variables of a source, some of them changed.
fn request_token_with(env: &TestEnv, source: Source, others: &[(&str, &str)]) -> RunResult {
    let mut command = symbolon();
    command.envs(env.emulator.environment_of(source)).envs(others.iter().copied());
    command.env("SYMBOLON_RETRY_SCALE", "0").args(REQUEST);
    RunResult::of(command.output().unwrap())
}

#[test]
fn env_01_address_of_the_metadata_service() {
    let (one, other) = (TestEnv::new(), TestEnv::new());
    for env in [&one, &other] {
        let mut command = symbolon();
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", env.emulator.imds_url()).args(REQUEST);
        let token = RunResult::of(command.output().unwrap()).json().remove(0);
        assert_eq!(token["client_id"], env.emulator.client_id());
    }
}

#[test]
fn env_02_to_06_variables_of_every_source() {
    for source in Source::ALL {
        // Only root can write the key files of its agent.
        if source == Source::AzureArc && !may_write_as_the_agent() {
            println!("skipped: {source} needs root");
            continue;
        }
        let env = TestEnv::with(|emulator| emulator.source(source));
        let ran = request_token(&env, &[]);
        let token = &ran.json()[0];
        assert_eq!(
            (&token["token_type"], &token["source"]),
            (&"Bearer".into(), &"network".into()),
            "{source}"
        );
        assert_eq!(token["resource"], "https://vault.azure.net", "{source}");
        let step = match source {
            Source::Imds => Step::ImdsToken,
            Source::AppService => Step::AppService,
            Source::ServiceFabric => Step::ServiceFabric,
            Source::MachineLearning => Step::MachineLearning,
            Source::CloudShell => Step::CloudShell,
            _ => Step::AzureArc,
        };
        assert!(env.emulator.journal().steps().iter().all(|requested| *requested == step), "{source}");
        let count = if source == Source::AzureArc { 2 } else { 1 };
        assert_eq!(env.emulator.journal().entries().len(), count, "{source}");
    }
}

/// Returns whether files can be created in the folder of the Azure Arc agent.
fn may_write_as_the_agent() -> bool {
    let directory = std::path::Path::new("/var/opt/azcmagent/tokens");
    std::fs::create_dir_all(directory).is_ok() && tempfile::tempfile_in(directory).is_ok()
}

#[test]
fn env_02_to_04_secret_of_the_host() {
    let env = TestEnv::new();
    for (source, secret) in [
        (Source::AppService, "IDENTITY_HEADER"),
        (Source::ServiceFabric, "IDENTITY_HEADER"),
        (Source::MachineLearning, "MSI_SECRET"),
    ] {
        let ran = request_token_with(&env, source, &[(secret, "of-another-run")]);
        let error = ran.error();
        assert_eq!(
            (error["code"].as_str(), ran.code),
            (Some("managed_identity_request_failed"), 1),
            "{source}"
        );
        assert!(matches!(error["status"].as_u64(), Some(400..=403)), "{source}: {error}");
        assert!(!ran.stderr.contains("of-another-run"), "{}", ran.stderr);
    }
}

#[test]
fn env_03_service_fabric_thumbprint() {
    let env = TestEnv::new();
    let other = "0".repeat(40);
    let ran = request_token_with(&env, Source::ServiceFabric, &[("IDENTITY_SERVER_THUMBPRINT", &other)]);
    assert_eq!(ran.error()["code"], "managed_identity_unreachable");
    assert!(ran.stderr.contains("IDENTITY_SERVER_THUMBPRINT"), "{}", ran.stderr);
    assert_eq!(env.emulator.journal().count(Step::ServiceFabric), 0);
}

#[test]
fn env_07_retry_delays_are_scaled() {
    let busy = || TestEnv::with(|emulator| emulator.fault(Fault::status(Step::ImdsToken, 503).times(2)));
    for (scale, delays) in [("0", [0, 0]), ("0.01", [10, 20]), ("0.001", [1, 2])] {
        let env = busy();
        let mut command = env.symbolon();
        command.env("SYMBOLON_RETRY_SCALE", scale).env("RUST_LOG", "symbolon_transport=debug").args(REQUEST);
        let ran = RunResult::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let delay = |line: &str| line.split_once("delay_ms=")?.1.split(' ').next()?.parse::<u64>().ok();
        let told: Vec<u64> = ran.stderr.lines().filter_map(delay).collect();
        assert_eq!(told, delays, "{scale}: {}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn env_08_folder_of_persisted_bindings() {
    use std::os::unix::fs::PermissionsExt;

    let env = TestEnv::new();
    let parent = tempfile::tempdir().unwrap();
    let request_token = |name: &str| {
        let folder = parent.path().join(name);
        let mut command = env.symbolon();
        command.env("SYMBOLON_STATE_DIR", &folder).env("HOME", parent.path().join("home"));
        let ran = RunResult::of(command.args(REQUEST).args(["--pop", "--persist-binding"]).output().unwrap());
        let mode = folder.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode, folder.read_dir().unwrap().next().is_some()), (0o700, true));
        ran.json()[0]["binding"]["x5t#S256"].to_string()
    };
    let one = request_token("one");
    assert_ne!(request_token("other"), one);
    assert_eq!(request_token("one"), one);
    assert!(!parent.path().join("home").exists());
}
