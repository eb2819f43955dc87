//! Exit codes, the error line, and error codes.

use serde_json::{Value, json};
use symbolon_emulator::{CertificateFault, EmulatorBuilder, Fault, Source, Step};

use crate::run::{ERROR_MEMBERS, RunResult, TestEnv, skip_without, symbolon};

const REQUEST: &[&str] =
    &["token", "--resource", "https://vault.azure.net", "--key", "p-256", "--output", "json"];

fn with(fault: Fault) -> TestEnv {
    TestEnv::with(|emulator| emulator.fault(fault))
}

fn request_token(env: &TestEnv, more: &[&str]) -> RunResult {
    env.run(&[REQUEST, more].concat())
}

/// Requests a token from a metadata service that does not respond.
fn request_from_closed_port(more: &[&str]) -> RunResult {
    let mut command = symbolon();
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9").env("SYMBOLON_RETRY_SCALE", "0");
    RunResult::of(command.args([REQUEST, more].concat()).output().unwrap())
}

#[track_caller]
fn assert_failed(ran: &RunResult, code: &str, exit: i32) {
    assert_eq!((ran.error()["code"].as_str(), ran.code), (Some(code), exit), "{}", ran.stderr);
}

#[test]
fn exit_01_success() {
    let env = TestEnv::new();
    assert_eq!((request_token(&env, &[]).code, request_token(&env, &["--pop"]).code), (0, 0));
    assert_eq!((env.run(&["--help"]).code, env.run(&["--version"]).code), (0, 0));
}

#[test]
fn exit_02_failed_request() {
    for (fault, more) in [
        (Fault::status(Step::ImdsToken, 400).always(), &[][..]),
        (Fault::status(Step::PlatformMetadata, 500).always(), &["--pop"]),
        (Fault::status(Step::IssueCredential, 400).always(), &["--pop"]),
        (Fault::oauth_error("unauthorized_client", &[]).always(), &["--pop"]),
        (Fault::wrong_cnf(), &["--pop"]),
    ] {
        let env = with(fault);
        let ran = request_token(&env, more);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
    }
    let ran = request_token(&TestEnv::new(), &["--identity", "client-id:nobody"]);
    assert_failed(&ran, "managed_identity_request_failed", 1);
}

#[test]
fn exit_03_invalid_command_line() {
    let env = TestEnv::new();
    for more in [
        &["--bogus"][..],
        &["--claims", "["],
        &["--ca-file", "/nonexistent"],
        &["--ca-file", "/dev/zero"],
        &["--timeout", "0"],
    ] {
        assert_eq!(request_token(&env, more).code, 2, "{more:?}");
    }
    assert_eq!(env.emulator.journal().entries().len(), 0);
}

/// Runs in network namespaces, with no variable that selects a source: one without routes, one
/// whose packets to the metadata service are lost, and one where another server has its address.
/// The deadline ends before the retries of a service that is being restarted would.
#[cfg(target_os = "linux")]
#[test]
fn exit_04_machine_without_identity() {
    use std::process::Command;

    const NO_ROUTE: &str = r#"exec "$@""#;
    // Nothing reads the packets of this device.
    const LOST: &str = r#"ip tuntap add dev lost mode tun && ip address add 192.0.2.1/24 dev lost &&
        ip link set lost up && ip route add default dev lost && exec "$@""#;
    const OTHER_SERVER: &str = r#"ip link set lo up && ip address add 169.254.169.254/32 dev lo || exit
        python3 -m http.server 80 --bind 169.254.169.254 >&2 2>/dev/null & server=$!
        for _ in $(seq 100); do
            python3 -c 'import socket; socket.create_connection(("169.254.169.254", 80))' 2>/dev/null && break
            sleep 0.1
        done
        "$@"; code=$?; kill $server; exit $code"#;
    // Without root, a user namespace is needed as well, which some kernels disable.
    let isolated = [&["--net"][..], &["--net", "--map-root-user"]].into_iter().find(|options| {
        let lost = Command::new("unshare").args(*options).args(["sh", "-c", LOST, "sh", "true"]).output();
        lost.is_ok_and(|output| output.status.success())
    });
    let Some(options) = isolated else {
        return skip_without("a network namespace with a TUN device");
    };
    let call = &["call", "https://vault.example/", "--resource", "https://vault.azure.net"][..];
    for network in [NO_ROUTE, LOST, OTHER_SERVER] {
        // One of two variables does not select a source.
        for (words, more, variable) in [
            (REQUEST, &[][..], None),
            (REQUEST, &["--pop"], None),
            (REQUEST, &["--over-mtls"], None),
            (REQUEST, &[], Some("IDENTITY_ENDPOINT")),
            (call, &["--output", "json"], None),
            (call, &["--pop", "--key", "p-256", "--output", "json"], None),
        ] {
            let mut command = Command::new("unshare");
            command.args(options).args(["sh", "-c", network, "sh"]).arg(symbolon().get_program());
            command.args(words).args(more).args(["--timeout", "5"]);
            command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            command.envs(variable.map(|name| (name, "http://127.0.0.1:9/")));
            let ran = RunResult::of(command.output().unwrap());
            assert_failed(&ran, "managed_identity_unreachable", 3);
            assert!(ran.stderr.contains("no variable names a managed identity source"), "{}", ran.stderr);
        }
    }
}

#[test]
fn exit_05_bound_tokens_not_supported() {
    for env in [
        TestEnv::with(EmulatorBuilder::v1_only),
        TestEnv::with(|emulator| emulator.source(Source::AppService)),
        TestEnv::with(|emulator| emulator.source(Source::CloudShell)),
    ] {
        assert_eq!(request_token(&env, &["--pop"]).code, 3);
    }
}

#[test]
fn exit_06_key_is_too_weak() {
    for floor in ["hardware", "keyguard"] {
        assert_eq!(request_token(&TestEnv::new(), &["--pop", "--min-strength", floor]).code, 3);
    }
}

#[test]
fn err_01_to_02_error_line_and_its_members() {
    let env = with(Fault::oauth_error("unauthorized_client", &[700_016]).always());
    for (more, log) in [
        (&["--pop"][..], None),
        (&["--bogus"], None),
        (&["--claims", "["], None),
        (&["--pop"], Some("trace")),
    ] {
        let mut command = env.symbolon();
        command.envs(log.map(|log| ("RUST_LOG", log))).args([REQUEST, more].concat());
        let ran = RunResult::of(command.output().unwrap());
        let last = ran.stderr.lines().last().unwrap();
        let begin = r#"{"error":{"code":"#;
        assert!(last.starts_with(begin) && ran.stderr.ends_with("}}\n"), "{more:?} {last}");
        assert_eq!(ran.stderr.matches(begin).count(), 1, "{more:?}");
        let last: Value = serde_json::from_str(last).unwrap();
        assert_eq!(last.as_object().unwrap().len(), 1, "{last}");
        let names: Vec<_> = last["error"].as_object().unwrap().keys().collect();
        assert_eq!(names, ERROR_MEMBERS, "{more:?}");
    }
}

#[test]
fn err_03_message_equals_the_text() {
    for (env, more) in [
        (with(Fault::oauth_error("unauthorized_client", &[700_016])), &["--pop"][..]),
        (TestEnv::new(), &["--bogus"]),
        (TestEnv::with(EmulatorBuilder::v1_only), &["--pop"]),
    ] {
        let ran = request_token(&env, more);
        let message = ran.error()["message"].as_str().unwrap().to_owned();
        assert_eq!(ran.stderr.lines().next(), Some(&*format!("error: {message}")));
    }
}

#[test]
fn err_04_to_06_details_of_an_oauth_error() {
    let env = with(Fault::oauth_error("unauthorized_client", &[700_016, 53_003]));
    let error = request_token(&env, &["--pop"]).error();
    assert_eq!((&error["status"], &error["error_codes"]), (&400.into(), &json!([700_016, 53_003])));
    let journal = env.emulator.journal();
    let sent = journal.last(Step::Token).unwrap().header("client-request-id").unwrap();
    assert_eq!((&error["correlation_id"], sent.len()), (&sent.into(), 36));
}

#[test]
fn err_04_to_06_absent_values_are_null_or_empty() {
    for ran in [
        request_token(&TestEnv::new(), &["--bogus"]),
        request_token(&TestEnv::new(), &["--pop", "--claims", "["]),
    ] {
        let error = ran.error();
        assert_eq!((&error["status"], &error["error_codes"]), (&Value::Null, &json!([])));
        assert_eq!(error["correlation_id"], Value::Null);
    }
    // The request may be in a log although no response arrived.
    let error = request_from_closed_port(&[]).error();
    assert_eq!((&error["status"], &error["error_codes"]), (&Value::Null, &json!([])));
    assert_eq!(error["correlation_id"].as_str().map(str::len), Some(36));
}

#[test]
fn err_07_retryable() {
    for (fault, more, retryable) in [
        (Fault::status(Step::ImdsToken, 503).always(), &[][..], true),
        (Fault::oauth_error("temporarily_unavailable", &[]).with_status(503).always(), &["--pop"], true),
        (Fault::stall(Step::ImdsToken), &["--timeout", "0.3"], true),
        (Fault::status(Step::ImdsToken, 400), &[], false),
        (Fault::oauth_error("unauthorized_client", &[]), &["--pop"], false),
        (Fault::downgrade_to_bearer(), &["--pop"], false),
    ] {
        let name = format!("{fault:?}");
        assert_eq!(request_token(&with(fault), more).error()["retryable"], retryable, "{name}");
    }
}

#[test]
fn err_09_service_message() {
    let text = "AADSTS700213: no federated identity record for subject \
                'repo:contoso-organization/payment-service:ref:refs/heads/main' at \
                https://token.actions.githubusercontent.com, thumbprint \
                DA39A3EE5E6B4B0D3255BFEF95601890AFD80709";
    let hidden = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    for (step, source, more, body, expected) in [
        (
            Step::Token,
            Source::Imds,
            &["--pop"][..],
            json!({ "error": "invalid_request", "error_description": format!("{text} {hidden}") }),
            format!("{text} [redacted]"),
        ),
        (
            Step::Token,
            Source::Imds,
            &["--pop"],
            json!({ "error": "invalid_grant", "suberror": "bad_token", "error_description": "no" }),
            "suberror: bad_token; no".to_owned(),
        ),
        (
            Step::CloudShell,
            Source::CloudShell,
            &[],
            json!({ "error": { "code": "AudienceNotSupported", "message": text } }),
            format!("AudienceNotSupported; {text}"),
        ),
    ] {
        let fault = Fault::status(step, 400).body(body.to_string()).always();
        let env = TestEnv::with(|emulator| emulator.source(source).fault(fault));
        let ran = request_token(&env, more);
        assert_eq!(ran.error()["service_message"], expected.as_str(), "{body}");
        let shown = format!("  message of the service: {expected}\n");
        assert!(ran.stderr.contains(&shown), "{}", ran.stderr);
    }
    assert_eq!(request_from_closed_port(&[]).error()["service_message"], Value::Null);
}

#[test]
fn err_10_retry_after() {
    for (fault, more) in [
        (Fault::status(Step::ImdsToken, 429), &[][..]),
        (Fault::oauth_error("temporarily_unavailable", &[]).with_status(503), &["--pop"]),
    ] {
        let ran = request_token(&with(fault.clone().always()), more);
        assert_eq!(ran.error()["retry_after"], Value::Null);
        assert!(!ran.stderr.contains("retry after"), "{}", ran.stderr);
        let ran = request_token(&with(fault.header("retry-after", "7").always()), more);
        assert_eq!(ran.error()["retry_after"], 7);
        assert!(ran.stderr.contains("  retry after: 7 s\n"), "{}", ran.stderr);
    }
}

#[test]
fn err_11_causes() {
    let ran = request_from_closed_port(&[]);
    let causes = ran.error()["causes"].clone();
    let causes: Vec<&str> = causes.as_array().unwrap().iter().map(|cause| cause.as_str().unwrap()).collect();
    assert_eq!(causes[..2], ["127.0.0.1:9 could not be reached", "no TCP connection to 127.0.0.1:9"]);
    assert!(causes[2].contains("refused"), "{causes:?}");
    let shown: Vec<_> = ran.stderr.lines().filter_map(|line| line.strip_prefix("  caused by: ")).collect();
    assert_eq!(shown, causes);
    assert_eq!(request_token(&TestEnv::new(), &["--bogus"]).error()["causes"], json!([]));
}

#[test]
fn err_08_no_json_in_text_output() {
    let env = with(Fault::oauth_error("unauthorized_client", &[]).always());
    for more in
        [&["--pop"][..], &["--bogus"], &["--pop", "--output", "text"], &["--pop", "--output", "header"]]
    {
        let ran = env.run(&[&["token", "--resource", "https://x.example", "--key", "p-256"], more].concat());
        assert!(ran.code != 0 && ran.stderr.starts_with("error: "), "{}", ran.stderr);
        assert!(!ran.stderr.contains(r#"{"error""#), "{}", ran.stderr);
    }
}

#[test]
fn code_01_metadata_service_without_version_2() {
    let env = TestEnv::with(EmulatorBuilder::v1_only);
    assert_failed(&request_token(&env, &["--pop"]), "mtls_pop_not_supported_in_imds_v1", 3);
    assert_eq!(env.emulator.journal().count(Step::Token), 0);
}

#[test]
fn code_02_unsupported_requests_are_not_sent() {
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
        let env = TestEnv::with(|emulator| emulator.source(source));
        let ran = request_token(&env, more);
        assert_eq!((ran.error()["code"].as_str(), ran.code), (Some(code), exit), "{source}");
        assert_eq!(env.emulator.journal().entries().len(), 0, "{source}");
    }
    let env = TestEnv::with(|emulator| emulator.source(Source::AppService));
    let mut command = env.symbolon();
    command.env("IDENTITY_ENDPOINT", "127.0.0.1:41564/msi/token");
    let ran = RunResult::of(command.args(REQUEST).output().unwrap());
    assert_eq!((ran.error()["code"].as_str(), ran.code), (Some("invalid_managed_identity_endpoint"), 3));
}

/// The refusal of a bearer token over mTLS does not speak of bound tokens.
#[test]
fn code_02_over_mtls_in_its_own_words() {
    let hosted = TestEnv::with(|emulator| emulator.source(Source::AppService));
    for (env, variable, expected) in [
        (hosted, None, "issues no certificates for requests over mTLS"),
        (TestEnv::with(EmulatorBuilder::v1_only), None, "without mTLS"),
        (
            TestEnv::new(),
            Some("MSAL_MI_DISABLE_IMDS_V2"),
            "disables the certificates for requests over mTLS; nothing was sent; unset the variable, or request the \
             token without mTLS",
        ),
    ] {
        let mut command = env.symbolon();
        command.envs(variable.map(|name| (name, "true"))).args(REQUEST).arg("--over-mtls");
        let ran = RunResult::of(command.output().unwrap());
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        let message = ran.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(expected), "{message}");
        for other in ["bind", "bound", "proof"] {
            assert!(!message.contains(other), "{message}");
        }
    }
}

#[test]
fn code_03_key_below_minimum_strength() {
    let env = TestEnv::new();
    assert_failed(&request_token(&env, &["--pop", "--min-strength", "keyguard"]), "min_strength_not_met", 3);
    assert_eq!(env.emulator.journal().count(Step::IssueCredential), 0);
}

#[test]
fn code_04_attestation_required() {
    let env = TestEnv::with(EmulatorBuilder::attestation_required);
    let ran = request_token(&env, &["--pop"]);
    assert_failed(&ran, "managed_identity_request_failed", 1);
    assert!(ran.error()["message"].as_str().unwrap().contains("must attest its keys"), "{}", ran.stderr);
    assert_eq!(env.emulator.journal().count(Step::Token), 0);
}

#[test]
fn code_05_unusable_certificate() {
    for fault in [
        CertificateFault::WrongKey,
        CertificateFault::Garbage,
        CertificateFault::TrailingData,
        CertificateFault::Expired,
    ] {
        let env = with(Fault::certificate(fault).always());
        assert_failed(&request_token(&env, &["--pop"]), "invalid_certificate", 1);
        assert_eq!(env.emulator.journal().count(Step::Token), 0, "{fault:?}");
    }
}

#[test]
fn code_06_source_returns_an_error() {
    for (source, step) in [(Source::Imds, Step::ImdsToken), (Source::AppService, Step::AppService)] {
        for status in [400, 500] {
            let fault = Fault::status(step, status).always();
            let env = TestEnv::with(|emulator| emulator.source(source).fault(fault));
            let ran = request_token(&env, &[]);
            assert_failed(&ran, "managed_identity_request_failed", 1);
            assert_eq!(ran.error()["status"], status);
        }
    }
}

#[test]
fn code_07_source_does_not_respond() {
    assert_failed(&request_from_closed_port(&[]), "managed_identity_unreachable", 1);
    assert_failed(&request_from_closed_port(&["--pop"]), "managed_identity_unreachable", 1);
    let mut command = symbolon();
    command.env("IDENTITY_ENDPOINT", "http://127.0.0.1:9/").env("IDENTITY_HEADER", "secret");
    command.env("SYMBOLON_RETRY_SCALE", "0").args(REQUEST);
    assert_failed(&RunResult::of(command.output().unwrap()), "managed_identity_unreachable", 1);
}

#[test]
fn code_08_bearer_token_instead_of_bound() {
    assert_failed(&request_token(&with(Fault::downgrade_to_bearer()), &["--pop"]), "token_type_mismatch", 1);
}

#[test]
fn code_09_claims_are_not_an_object() {
    for more in [&["--claims", "["][..], &["--claims", "["], &["--pop", "--client-claims", "7"]] {
        assert_failed(&request_token(&TestEnv::new(), more), "invalid_claims", 2);
    }
}

#[test]
fn code_10_response_is_late() {
    for (step, more) in [(Step::ImdsToken, &[][..]), (Step::Token, &["--pop"])] {
        let env = with(Fault::stall(step).always());
        for quiet in [&[][..], &["--quiet"]] {
            let ran = request_token(&env, &[more, &["--timeout", "0.3"], quiet].concat());
            assert_failed(&ran, "timeout", 1);
            let urls = [env.emulator.imds_url(), env.emulator.token_url()];
            let named = urls.map(|url| url.split_once("//").unwrap().1).into_iter().any(|server| {
                ran.stderr.contains(&format!("; the last request went to {server}; check that"))
            });
            assert!(named, "{}", ran.stderr);
        }
    }
}

#[test]
fn code_11_connection_to_token_service_fails() {
    for fault in [Fault::tls_alert(80).always(), Fault::torn_body(Step::Token).always()] {
        let name = format!("{fault:?}");
        let ran = request_token(&with(fault), &["--pop"]);
        assert_eq!(
            (ran.error()["code"].as_str(), ran.code),
            (Some("transport_error"), 1),
            "{name} {}",
            ran.stderr
        );
    }
}

#[test]
fn code_12_endpoint_without_tls() {
    let env = with(Fault::certificate(CertificateFault::InsecureEndpoint).always());
    assert_failed(&request_token(&env, &["--pop"]), "insecure_endpoint", 1);
    let env = TestEnv::new();
    let call = ["call", "http://127.0.0.1:9/", "--resource", "https://vault.azure.net", "--output", "json"];
    assert_failed(&env.run(&call), "insecure_endpoint", 2);
    assert_eq!(env.emulator.journal().entries().len(), 0);
}

#[test]
fn code_13_response_is_too_large() {
    for (step, more) in
        [(Step::Token, &["--pop"][..]), (Step::ImdsToken, &[]), (Step::IssueCredential, &["--pop"])]
    {
        assert_failed(
            &request_token(&with(Fault::oversized_body(step).always()), more),
            "response_too_large",
            1,
        );
    }
}

#[test]
fn code_14_response_is_invalid() {
    for (fault, more) in [
        (Fault::malformed_json(Step::Token).always(), &["--pop"][..]),
        (Fault::wrong_cnf(), &["--pop"]),
        (Fault::without_access_token(Step::Token).always(), &["--pop"]),
        (Fault::malformed_json(Step::ImdsToken).always(), &[]),
        (Fault::malformed_json(Step::IssueCredential).always(), &["--pop"]),
    ] {
        assert_failed(&request_token(&with(fault), more), "invalid_response", 1);
    }
}

#[test]
fn code_15_oauth_code_is_unchanged() {
    for code in
        ["invalid_client", "invalid_request", "unauthorized_client", "invalid_scope", "made_up_by_the_server"]
    {
        let env = with(Fault::oauth_error(code, &[900_144]).always());
        let ran = request_token(&env, &["--pop"]);
        assert_failed(&ran, code, 1);
        assert_eq!(ran.error()["error_codes"], json!([900_144]));
    }
}
