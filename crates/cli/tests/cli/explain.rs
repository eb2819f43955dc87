//! `symbolon explain`.

use symbolon_emulator::Fault;

use crate::run::{RunResult, TestEnv, symbolon};

fn explain(arguments: &[&str]) -> RunResult {
    RunResult::of(symbolon().arg("explain").args(arguments).output().unwrap())
}

#[test]
fn expl_01_meaning_and_advice_of_a_code() {
    for (code, expected) in [
        ("mtls_pop_not_supported_in_imds_v1", "Request a bearer token"),
        ("store_locked", "fuser -v"),
        ("managed_identity_request_failed", "the resource is misspelled"),
    ] {
        let ran = explain(&[code]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{code}");
        assert!(ran.stdout.starts_with(code), "{}", ran.stdout);
        for part in ["meaning ", "what to do ", expected] {
            assert!(ran.stdout.contains(part), "{code}: {}", ran.stdout);
        }
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    }
}

#[test]
fn expl_02_every_kind_of_an_ambiguous_code() {
    let ran = explain(&["transport_error"]);
    for kind in ["environment", "credential", "network"] {
        assert!(ran.stdout.contains(&format!("error kind  {kind}")), "{}", ran.stdout);
    }
}

#[test]
fn expl_03_aadsts_number() {
    let expected = explain(&["AADSTS700016"]).stdout;
    assert!(expected.contains("the tenant has no such application"), "{expected}");
    for number in ["aadsts700016", "700016"] {
        assert_eq!(explain(&[number]).stdout, expected);
    }
}

/// Every number that the page of the protocol lists, and so every number that the emulator sends.
#[test]
fn expl_03_every_documented_number() {
    let page = std::fs::read_to_string("../../docs/protocol/errors.md").unwrap();
    let (_, section) = page.split_once("\n## AADSTS codes\n").unwrap();
    let words = section.split(|character: char| !character.is_ascii_alphanumeric());
    let mut numbers: Vec<&str> =
        words.filter(|word| word.len() > 4 && word.bytes().all(|byte| byte.is_ascii_digit())).collect();
    numbers.extend(["50076", "65004"]);
    assert!(numbers.len() > 30, "{numbers:?}");
    for number in numbers {
        assert_eq!(explain(&[number]).code, 0, "{number}");
    }
}

#[test]
fn expl_04_json_members() {
    let ran = explain(&["managed_identity_request_failed", "--output", "json"]);
    let shown = &ran.json()[0];
    assert_eq!(shown["code"], "managed_identity_request_failed");
    let explanations = shown["explanations"].as_array().unwrap();
    let kinds: Vec<_> = explanations.iter().map(|explanation| &explanation["kind"]).collect();
    assert_eq!(kinds, ["environment", "service", "response"]);
    for explanation in explanations {
        let names: Vec<_> = explanation.as_object().unwrap().keys().collect();
        assert_eq!(names, ["advice", "cases", "kind", "meaning"]);
    }
    let case = &explanations[1]["cases"][0];
    let names: Vec<_> = case.as_object().unwrap().keys().collect();
    assert_eq!(names, ["advice", "case", "meaning"]);
    let expected = "any status, with \"the answer did not come from the metadata service\"";
    assert_eq!(case["case"], expected);
}

#[test]
fn expl_05_unknown_code() {
    for (code, expected) in [
        ("managed_identity_unreachble", "did you mean managed_identity_unreachable"),
        ("AADSTS700017", "'AADSTS700017'; read the message of the service in the error\n"),
        ("70012", "'AADSTS70012'; read the message of the service in the error\n"),
        ("xyzzy", "'xyzzy'"),
    ] {
        let ran = explain(&[code]);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (2, "", 1), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        let ran = explain(&[code, "--output", "json"]);
        assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")));
    }
}

#[test]
fn expl_06_errors_name_the_command() {
    for (fault, expected) in [
        (Fault::oauth_error("invalid_client", &[700_016]), "  help: symbolon explain AADSTS700016\n"),
        (Fault::oauth_error("unauthorized_client", &[1]), "  help: symbolon explain unauthorized_client\n"),
        (Fault::wrong_cnf(), "  help: symbolon explain invalid_response\n"),
    ] {
        let env = TestEnv::with(|emulator| emulator.fault(fault.always()));
        let ran = env.run(&["token", "--resource", "https://x.example", "--pop", "--key", "p-256"]);
        assert!(ran.code == 1 && ran.stderr.contains(expected), "{}", ran.stderr);
        let code = expected.split_whitespace().last().unwrap();
        assert_eq!(explain(&[code]).code, 0);
    }
    // A code that only the server explains has no help line.
    let fault = Fault::oauth_error("made_up_by_the_server", &[1]).always();
    let env = TestEnv::with(|emulator| emulator.fault(fault));
    let ran = env.run(&["token", "--resource", "https://x.example", "--pop", "--key", "p-256"]);
    assert!(ran.code == 1 && !ran.stderr.contains("symbolon explain"), "{}", ran.stderr);
}
