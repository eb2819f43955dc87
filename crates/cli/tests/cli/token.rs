//! `symbolon token`.

use symbolon_emulator::{Fault, Source, Step};

use crate::run::{Ran, World, symbolon};

const ASK: &[&str] =
    &["token", "--resource", "https://vault.azure.net", "--key", "p-256", "--output", "json"];

fn ask(world: &World, more: &[&str]) -> Ran {
    world.run(&[ASK, more].concat())
}

#[test]
fn a_bound_token_is_printed_with_its_binding() {
    let world = World::new();
    let ran = ask(&world, &["--pop"]);
    let [token] = &ran.json()[..] else { panic!("one line: {ran:?}") };
    let issued = world.emulator.issued();
    let binding = &token["binding"];
    assert_eq!(token["token_type"], "mtls_pop");
    assert_eq!(token["source"], "network");
    assert_eq!(token["resource"], "https://vault.azure.net");
    assert_eq!(token["client_id"], world.emulator.client_id());
    assert_eq!(token["tenant_id"], world.emulator.tenant_id());
    assert_eq!(binding["x5t#S256"], issued[0].thumbprint().to_string());
    assert_eq!(binding["strength"], "software");
    assert!(binding["certificate"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(token["expires_on"].is_u64() && token["refresh_on"].is_u64());
    assert!(binding["usable_until"].as_u64() < binding["not_after"].as_u64());
    let names: Vec<&str> = token.as_object().unwrap().keys().map(String::as_str).collect();
    let mut documented = [
        "token_type",
        "access_token",
        "expires_on",
        "refresh_on",
        "source",
        "resource",
        "client_id",
        "tenant_id",
        "correlation_id",
        "binding",
    ];
    documented.sort_unstable();
    assert_eq!(names, documented);
    assert!(ran.stdout.starts_with(r#"{"token_type":"mtls_pop","access_token":"#), "in the documented order");
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_bearer_token_has_no_binding() {
    let world = World::new();
    let ran = ask(&world, &[]);
    let token = &ran.json()[0];
    assert_eq!((&token["token_type"], &token["binding"]), (&"Bearer".into(), &serde_json::Value::Null));
    assert_eq!(world.emulator.journal().steps(), [Step::ImdsToken]);
}

#[test]
fn the_default_output_is_for_people_and_does_not_show_the_token() {
    let world = World::new();
    let ran = world.run(&["token", "--resource", "https://vault.azure.net", "--key", "p-256", "--pop"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("token type") && ran.stdout.contains("mtls_pop"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("eyJ") && !ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.len() <= 80), "{}", ran.stdout);
}

#[test]
fn the_header_is_ready_to_be_sent() {
    let world = World::new();
    let arguments =
        ["token", "--resource", "https://x.example", "--key", "p-256", "--pop", "--output", "header"];
    let ran = world.run(&arguments);
    assert!(
        ran.stdout.starts_with("Authorization: mtls_pop eyJ") && ran.stdout.lines().count() == 1,
        "{ran:?}"
    );
}

#[test]
fn every_kind_of_identity_is_asked_for_in_its_own_spelling() {
    let world = World::new();
    let ids = world.emulator.user_assigned();
    for (identity, parameter, value) in [
        (format!("client-id:{}", ids.client_id()), "client_id", ids.client_id()),
        (format!("object-id:{}", ids.object_id()), "object_id", ids.object_id()),
        (format!("resource-id:{}", ids.resource_id()), "mi_res_id", ids.resource_id()),
    ] {
        let ran = ask(&world, &["--pop", "--identity", &identity]);
        assert_eq!(ran.json()[0]["client_id"], ids.client_id(), "{identity}");
        let journal = world.emulator.journal();
        let request = journal.last(Step::IssueCredential).unwrap();
        assert_eq!(request.query(parameter), Some(value), "{identity}");
    }
}

#[test]
fn counted_tokens_come_one_a_line_and_from_one_mint() {
    let world = World::new();
    let ran = ask(&world, &["--pop", "--count", "20", "--concurrency", "5"]);
    assert_eq!(ran.json().len(), 20);
    assert_eq!((world.emulator.journal().count(Step::Token), world.emulator.issued().len()), (1, 1));
    let ran = ask(&world, &["--pop", "--count", "3", "--force-refresh"]);
    assert!(ran.json().iter().all(|token| token["source"] == "network"));
    assert_eq!((world.emulator.journal().count(Step::Token), world.emulator.issued().len()), (4, 2));
}

#[test]
fn claims_and_capabilities_reach_the_token_service() {
    let world = World::new();
    let claims = r#"{"access_token":{"nbf":{"value":"1"}}}"#;
    let client_claims = r#"{"access_token":{"xms_az_nwperimid":{"values":["p"]}}}"#;
    let more = ["--pop", "--claims", claims, "--client-claims", client_claims, "--capability", "cp1"];
    assert_eq!(ask(&world, &more).code, 0);
    let journal = world.emulator.journal();
    let sent: serde_json::Value =
        serde_json::from_str(journal.last(Step::Token).unwrap().form("claims").unwrap()).unwrap();
    let sent = &sent["access_token"];
    assert_eq!((&sent["nbf"]["value"], &sent["xms_cc"]["values"][0]), (&"1".into(), &"cp1".into()));
    assert_eq!(sent["xms_az_nwperimid"]["values"][0], "p");
}

#[test]
fn failures_have_the_documented_codes_and_exit_codes() {
    let with = |fault: Fault| World::with(|emulator| emulator.fault(fault));
    for (case, world, more, code, exit) in [
        (
            "refused",
            with(Fault::oauth_error("invalid_client", &[7_000_218]).always()),
            &["--pop"][..],
            "invalid_client",
            1,
        ),
        (
            "invalid",
            with(Fault::oauth_error("invalid_request", &[900_144])),
            &["--pop"],
            "invalid_request",
            1,
        ),
        ("downgraded", with(Fault::downgrade_to_bearer()), &["--pop"], "token_type_mismatch", 1),
        ("oversized", with(Fault::oversized_body(Step::Token)), &["--pop"], "response_too_large", 1),
        (
            "failed",
            with(Fault::status(Step::ImdsToken, 500).always()),
            &[],
            "managed_identity_request_failed",
            1,
        ),
        (
            "v1",
            World::with(symbolon_emulator::EmulatorBuilder::v1_only),
            &["--pop"],
            "mtls_pop_not_supported_in_imds_v1",
            3,
        ),
        ("floor", World::new(), &["--pop", "--min-strength", "keyguard"], "min_strength_not_met", 3),
        ("claims", World::new(), &["--pop", "--claims", "["], "invalid_claims", 2),
        ("claims of a bearer token", World::new(), &["--claims", "["], "invalid_claims", 2),
        ("stalled", with(Fault::stall(Step::Token)), &["--pop", "--timeout", "0.5"], "timeout", 1),
        (
            "wrong key",
            with(Fault::certificate(symbolon_emulator::CertificateFault::WrongKey)),
            &["--pop"],
            "invalid_certificate",
            1,
        ),
        (
            "http",
            with(Fault::certificate(symbolon_emulator::CertificateFault::InsecureEndpoint)),
            &["--pop"],
            "insecure_endpoint",
            1,
        ),
    ] {
        let ran = ask(&world, more);
        let error = ran.error();
        assert_eq!((error["code"].as_str(), ran.code), (Some(code), exit), "{case}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{case}: {}", ran.stderr);
    }
}

#[test]
fn an_oauth_error_is_reported_with_everything_that_support_asks_for() {
    let world = World::with(|emulator| emulator.fault(Fault::oauth_error("unauthorized_client", &[700_016])));
    let error = ask(&world, &["--pop"]).error();
    assert_eq!(error["status"], 400);
    assert_eq!(error["error_codes"], serde_json::json!([700_016]));
    assert_eq!(error["retryable"], false);
    assert_eq!(error["correlation_id"].as_str().map(str::len), Some(36));
}

#[test]
fn every_source_gives_a_token_by_its_variables_alone() {
    for source in Source::ALL {
        // Its agent's key files are where only root may write.
        if source == Source::AzureArc && !may_write_as_the_agent() {
            println!("skipped: {source} needs root");
            continue;
        }
        let world = World::with(|emulator| emulator.source(source));
        let ran = ask(&world, &[]);
        let token = &ran.json()[0];
        assert_eq!(
            (&token["token_type"], &token["source"]),
            (&"Bearer".into(), &"network".into()),
            "{source}"
        );
        assert_eq!(token["resource"], "https://vault.azure.net", "{source}");
        let count = if source == Source::AzureArc { 2 } else { 1 };
        assert_eq!(world.emulator.journal().entries().len(), count, "{source}");
    }
}

/// Whether a file can be made in the directory of the Azure Arc agent.
fn may_write_as_the_agent() -> bool {
    let directory = std::path::Path::new("/var/opt/azcmagent/tokens");
    std::fs::create_dir_all(directory).is_ok() && tempfile::tempfile_in(directory).is_ok()
}

#[test]
fn what_a_host_cannot_do_is_said_and_nothing_is_sent() {
    let claims = r#"{"access_token":{}}"#;
    for (source, more, code, exit) in [
        (Source::AppService, &["--pop"][..], "mtls_pop_not_supported_for_environment", 3),
        (Source::AzureArc, &["--pop"], "mtls_pop_not_supported_for_environment", 3),
        (Source::AppService, &["--claims", claims], "claims_not_supported", 2),
        (
            Source::CloudShell,
            &["--identity", "client-id:x"],
            "user_assigned_managed_identity_not_supported",
            3,
        ),
        (
            Source::ServiceFabric,
            &["--identity", "client-id:x"],
            "user_assigned_managed_identity_not_configurable_at_runtime",
            3,
        ),
        (Source::MachineLearning, &["--identity", "object-id:x"], "invalid_managed_identity_id_type", 3),
    ] {
        let world = World::with(|emulator| emulator.source(source));
        let ran = ask(&world, more);
        assert_eq!((ran.error()["code"].as_str(), ran.code), (Some(code), exit), "{source}");
        assert_eq!(world.emulator.journal().entries().len(), 0, "{source}");
    }
    let world = World::with(|emulator| emulator.source(Source::AppService));
    let mut command = world.symbolon();
    command.env("IDENTITY_ENDPOINT", "127.0.0.1:41564/msi/token");
    let ran = Ran::of(command.args(ASK).output().unwrap());
    assert_eq!((ran.error()["code"].as_str(), ran.code), (Some("invalid_managed_identity_endpoint"), 3));
}

#[test]
fn without_a_metadata_service_the_answer_is_quick_and_clear() {
    let mut command = symbolon();
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9").env("SYMBOLON_RETRY_SCALE", "0");
    let ran = Ran::of(command.args(ASK).output().unwrap());
    let error = ran.error();
    assert_eq!((error["code"].as_str(), ran.code), (Some("managed_identity_unreachable"), 1));
    assert_eq!(error["retryable"], true);
}

#[test]
fn trust_can_be_added_by_option() {
    let world = World::new();
    let run = |more: &[&str]| {
        let mut command = symbolon();
        command.envs(world.emulator.environment());
        Ran::of(command.args([ASK, &["--pop"], more].concat()).output().unwrap())
    };
    assert_eq!(run(&[]).error()["code"], "transport_error", "the emulator is not trusted by itself");
    let ca_file = world.ca_file.to_str().unwrap();
    assert_eq!(run(&["--ca-file", ca_file]).json().len(), 1);
}

#[test]
fn a_bearer_token_over_mtls_is_got_with_a_certificate_and_bound_to_none() {
    let world = World::new();
    let token = &ask(&world, &["--over-mtls"]).json()[0];
    assert_eq!((&token["token_type"], &token["binding"]), (&"Bearer".into(), &serde_json::Value::Null));
    let journal = world.emulator.journal();
    assert_eq!(
        journal.last(Step::Token).unwrap().certificate(),
        Some(world.emulator.issued()[0].thumbprint())
    );
    let both = ask(&world, &["--over-mtls", "--pop"]);
    assert_eq!(both.code, 2);
}

#[cfg(unix)]
#[test]
fn a_persisted_binding_is_there_for_the_next_run() {
    let world = World::new();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    for key in ["p-256", "rsa-2048"] {
        let ask = || {
            let arguments = ["token", "--resource", "https://x.example", "--pop", "--persist-binding"];
            let more = ["--key", key, "--output", "json"];
            let mut command = world.symbolon();
            command.env("SYMBOLON_STATE_DIR", &folder).args(arguments).args(more);
            Ran::of(command.output().unwrap()).json()[0]["binding"]["x5t#S256"].clone()
        };
        assert_eq!(ask(), ask(), "{key}");
    }
    assert_eq!(world.emulator.issued().len(), 2);
}

#[cfg(unix)]
#[test]
fn twenty_cold_runs_on_one_state_folder_have_one_certificate_issued() {
    let world = World::new();
    let parent = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = world.symbolon();
        command.env("XDG_STATE_HOME", parent.path()).args(ASK).args(["--pop", "--persist-binding"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let runs: Vec<_> = (0..20).map(|_| run()).collect();
    let bindings: std::collections::HashSet<String> = runs
        .into_iter()
        .map(|run| Ran::of(run.wait_with_output().unwrap()).json()[0]["binding"]["x5t#S256"].to_string())
        .collect();
    assert_eq!((bindings.len(), world.emulator.issued().len()), (1, 1));
    assert!(parent.path().join("symbolon").is_dir());
}

#[test]
fn what_is_wrong_with_the_request_is_one_line_and_has_no_id_that_nobody_logged() {
    let world = World::new();
    for wrong in [["--claims", "{bad"], ["--client-claims", "[]"]] {
        let arguments = ["token", "--resource", "https://x.example", "--pop", "--key", "p-256"];
        let ran = world.run(&[&arguments[..], &wrong].concat());
        assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{}", ran.stderr);
    }
    assert_eq!(world.emulator.journal().steps(), []);
}
