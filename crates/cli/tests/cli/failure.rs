//! How failures end: exit codes, the error line, codes.

use serde_json::{Value, json};
use symbolon_emulator::{CertificateFault, EmulatorBuilder, Fault, Source, Step};

use crate::run::{Ran, World, missing, symbolon};

const ASK: &[&str] =
    &["token", "--resource", "https://vault.azure.net", "--key", "p-256", "--output", "json"];

fn with(fault: Fault) -> World {
    World::with(|emulator| emulator.fault(fault))
}

fn ask(world: &World, more: &[&str]) -> Ran {
    world.run(&[ASK, more].concat())
}

/// Where a variable says that there is a metadata service, and nobody answers.
fn ask_nobody(more: &[&str]) -> Ran {
    let mut command = symbolon();
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9").env("SYMBOLON_RETRY_SCALE", "0");
    Ran::of(command.args([ASK, more].concat()).output().unwrap())
}

#[track_caller]
fn assert_failed(ran: &Ran, code: &str, exit: i32) {
    assert_eq!((ran.error()["code"].as_str(), ran.code), (Some(code), exit), "{}", ran.stderr);
}

#[test]
fn exit_01_a_success_is_0() {
    let world = World::new();
    assert_eq!((ask(&world, &[]).code, ask(&world, &["--pop"]).code), (0, 0));
    assert_eq!((world.run(&["--help"]).code, world.run(&["--version"]).code), (0, 0));
}

#[test]
fn exit_02_a_request_that_failed_is_1() {
    for (fault, more) in [
        (Fault::status(Step::ImdsToken, 400).always(), &[][..]),
        (Fault::status(Step::PlatformMetadata, 500).always(), &["--pop"]),
        (Fault::status(Step::IssueCredential, 400).always(), &["--pop"]),
        (Fault::oauth_error("unauthorized_client", &[]).always(), &["--pop"]),
        (Fault::wrong_cnf(), &["--pop"]),
    ] {
        let world = with(fault);
        let ran = ask(&world, more);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
    }
    let ran = ask(&World::new(), &["--identity", "client-id:nobody"]);
    assert_failed(&ran, "managed_identity_request_failed", 1);
}

#[test]
fn exit_03_a_wrong_command_line_is_2() {
    let world = World::new();
    for more in [&["--bogus"][..], &["--claims", "["], &["--ca-file", "/nonexistent"], &["--timeout", "0"]] {
        assert_eq!(ask(&world, more).code, 2, "{more:?}");
    }
    assert_eq!(world.emulator.journal().entries().len(), 0);
}

/// In a network namespace of its own, which reaches nobody; no variable says that there is anybody.
#[cfg(target_os = "linux")]
#[test]
fn exit_04_a_machine_without_an_identity_is_3() {
    use std::process::Command;

    // Root may have a namespace; another user needs one of users, too, which not every kernel lets them have.
    let isolated = [&["--net"][..], &["--net", "--map-root-user"]].into_iter().find(|options| {
        Command::new("unshare").args(*options).arg("true").status().is_ok_and(|status| status.success())
    });
    let Some(options) = isolated else {
        return missing("a network namespace");
    };
    // One variable of two names nobody.
    for (more, variable) in
        [(&[][..], None), (&["--pop"], None), (&["--over-mtls"], None), (&[], Some("IDENTITY_ENDPOINT"))]
    {
        let mut command = Command::new("unshare");
        command.args(options).arg(symbolon().get_program()).args(ASK).args(more);
        command.env_clear().envs(variable.map(|name| (name, "http://127.0.0.1:9/")));
        let output = command.env("SYMBOLON_RETRY_SCALE", "0").output().unwrap();
        assert_failed(&Ran::of(output), "managed_identity_unreachable", 3);
    }
}

#[test]
fn exit_05_a_machine_that_binds_no_tokens_is_3() {
    for world in [
        World::with(EmulatorBuilder::v1_only),
        World::with(|emulator| emulator.source(Source::AppService)),
        World::with(|emulator| emulator.source(Source::CloudShell)),
    ] {
        assert_eq!(ask(&world, &["--pop"]).code, 3);
    }
}

#[test]
fn exit_06_a_key_that_is_kept_too_weakly_is_3() {
    for floor in ["hardware", "keyguard"] {
        assert_eq!(ask(&World::new(), &["--pop", "--min-strength", floor]).code, 3);
    }
}

#[test]
fn err_01_to_02_the_last_line_of_stderr_is_one_object_with_these_members() {
    let world = with(Fault::oauth_error("unauthorized_client", &[700_016]).always());
    for (more, log) in [
        (&["--pop"][..], None),
        (&["--bogus"], None),
        (&["--claims", "["], None),
        (&["--pop"], Some("trace")),
    ] {
        let mut command = world.symbolon();
        command.envs(log.map(|log| ("RUST_LOG", log))).args([ASK, more].concat());
        let ran = Ran::of(command.output().unwrap());
        let last = ran.stderr.lines().last().unwrap();
        let begin = r#"{"error":{"code":"#;
        assert!(last.starts_with(begin) && ran.stderr.ends_with("}}\n"), "{more:?} {last}");
        assert_eq!(ran.stderr.matches(begin).count(), 1, "{more:?}");
        let last: Value = serde_json::from_str(last).unwrap();
        assert_eq!(last.as_object().unwrap().len(), 1, "{last}");
        let names: Vec<_> = last["error"].as_object().unwrap().keys().collect();
        let documented = ["code", "correlation_id", "error_codes", "message", "retryable", "status"];
        assert_eq!(names, documented, "{more:?}");
    }
}

#[test]
fn err_03_the_message_is_what_people_are_told() {
    for (world, more) in [
        (with(Fault::oauth_error("unauthorized_client", &[700_016])), &["--pop"][..]),
        (World::new(), &["--bogus"]),
        (World::with(EmulatorBuilder::v1_only), &["--pop"]),
    ] {
        let ran = ask(&world, more);
        let message = ran.error()["message"].as_str().unwrap().to_owned();
        assert_eq!(ran.stderr.lines().next(), Some(&*format!("error: {message}")));
    }
}

#[test]
fn err_04_to_06_an_oauth_error_is_reported_with_everything_that_support_asks_for() {
    let world = with(Fault::oauth_error("unauthorized_client", &[700_016, 53_003]));
    let error = ask(&world, &["--pop"]).error();
    assert_eq!((&error["status"], &error["error_codes"]), (&400.into(), &json!([700_016, 53_003])));
    let journal = world.emulator.journal();
    let sent = journal.last(Step::Token).unwrap().header("client-request-id").unwrap();
    assert_eq!((&error["correlation_id"], sent.len()), (&sent.into(), 36));
}

#[test]
fn err_04_to_06_what_nobody_told_is_null_or_empty() {
    for ran in [ask(&World::new(), &["--bogus"]), ask(&World::new(), &["--pop", "--claims", "["])] {
        let error = ran.error();
        assert_eq!((&error["status"], &error["error_codes"]), (&Value::Null, &json!([])));
        assert_eq!(error["correlation_id"], Value::Null);
    }
    // Nobody answered, and still it may be in somebody's log.
    let error = ask_nobody(&[]).error();
    assert_eq!((&error["status"], &error["error_codes"]), (&Value::Null, &json!([])));
    assert_eq!(error["correlation_id"].as_str().map(str::len), Some(36));
}

#[test]
fn err_07_it_says_whether_the_same_may_succeed_later() {
    for (fault, more, retryable) in [
        (Fault::status(Step::ImdsToken, 503).always(), &[][..], true),
        (Fault::oauth_error("temporarily_unavailable", &[]).with_status(503).always(), &["--pop"], true),
        (Fault::stall(Step::ImdsToken), &["--timeout", "0.3"], true),
        (Fault::status(Step::ImdsToken, 400), &[], false),
        (Fault::oauth_error("unauthorized_client", &[]), &["--pop"], false),
        (Fault::downgrade_to_bearer(), &["--pop"], false),
    ] {
        let name = format!("{fault:?}");
        assert_eq!(ask(&with(fault), more).error()["retryable"], retryable, "{name}");
    }
}

#[test]
fn err_08_people_are_not_told_in_json() {
    let world = with(Fault::oauth_error("unauthorized_client", &[]).always());
    for more in
        [&["--pop"][..], &["--bogus"], &["--pop", "--output", "text"], &["--pop", "--output", "header"]]
    {
        let ran =
            world.run(&[&["token", "--resource", "https://x.example", "--key", "p-256"], more].concat());
        assert!(ran.code != 0 && ran.stderr.starts_with("error: "), "{}", ran.stderr);
        assert!(!ran.stderr.contains(r#"{"error""#), "{}", ran.stderr);
    }
}

#[test]
fn code_01_a_metadata_service_without_version_2() {
    let world = World::with(EmulatorBuilder::v1_only);
    assert_failed(&ask(&world, &["--pop"]), "mtls_pop_not_supported_in_imds_v1", 3);
    assert_eq!(world.emulator.journal().count(Step::Token), 0);
}

#[test]
fn code_02_what_a_host_cannot_do_is_said_and_nothing_is_sent() {
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
fn code_03_a_floor_that_is_not_met() {
    let world = World::new();
    assert_failed(&ask(&world, &["--pop", "--min-strength", "keyguard"]), "min_strength_not_met", 3);
    assert_eq!(world.emulator.journal().count(Step::IssueCredential), 0);
}

#[test]
fn code_04_a_key_that_has_to_be_attested_which_the_keys_of_the_command_cannot_be() {
    let world = World::with(EmulatorBuilder::attestation_required);
    let ran = ask(&world, &["--pop"]);
    assert_failed(&ran, "managed_identity_request_failed", 1);
    assert!(ran.error()["message"].as_str().unwrap().contains("must attest its keys"), "{}", ran.stderr);
    assert_eq!(world.emulator.journal().count(Step::Token), 0);
}

#[test]
fn code_05_a_certificate_that_is_not_fit() {
    for fault in [
        CertificateFault::WrongKey,
        CertificateFault::Garbage,
        CertificateFault::TrailingData,
        CertificateFault::Expired,
    ] {
        let world = with(Fault::certificate(fault).always());
        assert_failed(&ask(&world, &["--pop"]), "invalid_certificate", 1);
        assert_eq!(world.emulator.journal().count(Step::Token), 0, "{fault:?}");
    }
}

#[test]
fn code_06_a_source_that_answers_with_an_error() {
    for (source, step) in [(Source::Imds, Step::ImdsToken), (Source::AppService, Step::AppService)] {
        for status in [400, 500] {
            let fault = Fault::status(step, status).always();
            let world = World::with(|emulator| emulator.source(source).fault(fault));
            let ran = ask(&world, &[]);
            assert_failed(&ran, "managed_identity_request_failed", 1);
            assert_eq!(ran.error()["status"], status);
        }
    }
}

#[test]
fn code_07_a_source_that_does_not_answer_at_all() {
    assert_failed(&ask_nobody(&[]), "managed_identity_unreachable", 1);
    assert_failed(&ask_nobody(&["--pop"]), "managed_identity_unreachable", 1);
    let mut command = symbolon();
    command.env("IDENTITY_ENDPOINT", "http://127.0.0.1:9/").env("IDENTITY_HEADER", "secret");
    command.env("SYMBOLON_RETRY_SCALE", "0").args(ASK);
    assert_failed(&Ran::of(command.output().unwrap()), "managed_identity_unreachable", 1);
}

#[test]
fn code_08_a_bearer_token_in_place_of_a_bound_one() {
    assert_failed(&ask(&with(Fault::downgrade_to_bearer()), &["--pop"]), "token_type_mismatch", 1);
}

#[test]
fn code_09_claims_that_are_none() {
    for more in [&["--claims", "["][..], &["--claims", "["], &["--pop", "--client-claims", "7"]] {
        assert_failed(&ask(&World::new(), more), "invalid_claims", 2);
    }
}

#[test]
fn code_10_no_answer_in_time() {
    for (step, more) in [(Step::ImdsToken, &[][..]), (Step::Token, &["--pop"])] {
        let more = [more, &["--timeout", "0.3"]].concat();
        assert_failed(&ask(&with(Fault::stall(step).always()), &more), "timeout", 1);
    }
}

#[test]
fn code_11_a_token_service_that_cannot_be_called() {
    for fault in [Fault::tls_alert(80).always(), Fault::torn_body(Step::Token).always()] {
        let name = format!("{fault:?}");
        let ran = ask(&with(fault), &["--pop"]);
        assert_eq!(
            (ran.error()["code"].as_str(), ran.code),
            (Some("transport_error"), 1),
            "{name} {}",
            ran.stderr
        );
    }
}

#[test]
fn code_12_what_would_travel_without_tls() {
    let world = with(Fault::certificate(CertificateFault::InsecureEndpoint).always());
    assert_failed(&ask(&world, &["--pop"]), "insecure_endpoint", 1);
    let world = World::new();
    let call = ["call", "http://127.0.0.1:9/", "--resource", "https://vault.azure.net", "--output", "json"];
    assert_failed(&world.run(&call), "insecure_endpoint", 2);
    assert_eq!(world.emulator.journal().entries().len(), 0);
}

#[test]
fn code_13_an_answer_that_is_too_large() {
    for (step, more) in
        [(Step::Token, &["--pop"][..]), (Step::ImdsToken, &[]), (Step::IssueCredential, &["--pop"])]
    {
        assert_failed(&ask(&with(Fault::oversized_body(step).always()), more), "response_too_large", 1);
    }
}

#[test]
fn code_14_an_answer_that_is_none() {
    for (fault, more) in [
        (Fault::malformed_json(Step::Token).always(), &["--pop"][..]),
        (Fault::wrong_cnf(), &["--pop"]),
        (Fault::without_access_token(Step::Token).always(), &["--pop"]),
        (Fault::malformed_json(Step::ImdsToken).always(), &[]),
        (Fault::malformed_json(Step::IssueCredential).always(), &["--pop"]),
    ] {
        assert_failed(&ask(&with(fault), more), "invalid_response", 1);
    }
}

#[test]
fn code_15_an_oauth_error_keeps_its_code() {
    for code in
        ["invalid_client", "invalid_request", "unauthorized_client", "invalid_scope", "made_up_by_the_server"]
    {
        let world = with(Fault::oauth_error(code, &[900_144]).always());
        let ran = ask(&world, &["--pop"]);
        assert_failed(&ran, code, 1);
        assert_eq!(ran.error()["error_codes"], json!([900_144]));
    }
}
