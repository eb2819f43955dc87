//! `symbolon inspect`.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::run::{RunResult, TestEnv, symbolon};

fn inspect(arguments: &[&str], stdin: &str) -> RunResult {
    let mut command = symbolon();
    command.arg("inspect").args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The command may close the pipe before it has read everything.
    let _written = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    RunResult::of(child.wait_with_output().unwrap())
}

/// Returns the JSON of a bound token.
fn bound_token() -> Value {
    let env = TestEnv::new();
    let token_request =
        ["token", "--resource", "https://x.example", "--pop", "--key", "p-256", "--output", "json"];
    env.run(&token_request).json().remove(0)
}

#[test]
fn ins_01_to_02_token_from_argument_or_stdin() {
    let token = bound_token();
    let text = token["access_token"].as_str().unwrap();
    let with_scheme = format!("mtls_pop {text}");
    let header = format!("Authorization: mtls_pop {text}\n");
    for (arguments, stdin) in [
        (&[text][..], ""),
        (&[&with_scheme], ""),
        (&["mtls_pop", text], ""),
        (&[], text),
        (&["-"], &with_scheme),
        (&["-"], &header),
    ] {
        let ran = inspect(arguments, stdin);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        let thumbprint = token["binding"]["x5t#S256"].as_str().unwrap();
        for expected in ["https://x.example", "RS256", "key id (kid)", thumbprint, "x5t#S256"] {
            assert!(ran.stdout.contains(expected), "{expected}: {}", ran.stdout);
        }
        let (front, signature) = text.rsplit_once('.').unwrap();
        assert!(!ran.stdout.contains(signature) && !ran.stdout.contains(front), "{}", ran.stdout);
    }
}

#[test]
fn ins_01_json_members() {
    let token = bound_token();
    let ran = inspect(&["--output", "json"], token["access_token"].as_str().unwrap());
    let shown = &ran.json()[0];
    assert_eq!(shown["scheme"], Value::Null);
    assert_eq!(shown["header"]["alg"], "RS256");
    assert_eq!(shown["payload"]["aud"], "https://x.example");
    assert_eq!(shown["payload"]["cnf"]["x5t#S256"], token["binding"]["x5t#S256"]);
    assert!(!ran.stdout.contains("eyJ"), "{}", ran.stdout);
}

#[test]
fn ins_03_times_are_dates() {
    // {"exp":1700003600,"iat":1700000000,"nbf":1699999700}
    let token = "eyJhbGciOiJub25lIn0.eyJleHAiOjE3MDAwMDM2MDAsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNjk5OTk5NzAwfQ.";
    let (text, json) = (inspect(&[token], ""), inspect(&[token, "--output", "json"], ""));
    let shown = &json.json()[0];
    for (claim, unix, date) in [
        ("exp", 1_700_003_600, "2023-11-14T23:13:20Z"),
        ("iat", 1_700_000_000, "2023-11-14T22:13:20Z"),
        ("nbf", 1_699_999_700, "2023-11-14T22:08:20Z"),
    ] {
        let line = text.stdout.lines().find(|line| line.contains(&format!("({claim})"))).unwrap();
        assert!(line.contains(date) && line.contains(" ago"), "{line}");
        let time = &shown["times"][claim];
        assert_eq!((&time["utc"], &time["unix"]), (&date.into(), &unix.into()));
        assert!(time["in_seconds"].as_i64().unwrap() < 0, "{time}");
    }
}

#[test]
fn ins_04_nothing_is_verified() {
    let issued = bound_token()["access_token"].as_str().unwrap().to_owned();
    let (front, _) = issued.rsplit_once('.').unwrap();
    let forged = format!("{front}.c2ln");
    for token in [issued.as_str(), &forged, "eyJhbGciOiJub25lIn0.e30."] {
        assert!(inspect(&[token], "").stdout.starts_with("Nothing is verified: "));
        assert_eq!(inspect(&[token, "--output", "json"], "").json()[0]["verified"], false);
    }
}

#[test]
fn errors_do_not_quote_the_token() {
    let long = "e".repeat(64 * 1024 + 1);
    for (arguments, stdin, expected) in [
        (&["EwAoA8l6BAAUsecret"][..], "", "opaque"),
        (&["eyJsecret.e30"], "", "2 parts"),
        (&["eyJsecret!.e30.c2ln"], "", "the header is not base64url: character 10"),
        (&["eyJzZWNyZXQi.e30.c2ln"], "", "the header is not JSON"),
        (&["Bearer", "eyJsecret", "eyJsecret"], "", "expected one token"),
        (&[], "", "no token"),
        (&[], &long, "longer than 64 KiB"),
    ] {
        let ran = inspect(arguments, stdin);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{expected}");
        assert!(
            ran.stderr.starts_with("error: ") && ran.stderr.contains(expected),
            "{expected}: {}",
            ran.stderr
        );
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    let ran = inspect(&["--output", "json", "opaque"], "");
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_token")));
}

#[test]
fn ins_05_json_of_a_token() {
    let token = bound_token();
    let thumbprint = token["binding"]["x5t#S256"].as_str().unwrap();
    let line = token.to_string();
    let pretty = serde_json::to_string_pretty(&token).unwrap();
    let cli = serde_json::json!({ "accessToken": token["access_token"], "tokenType": "Bearer" }).to_string();
    for (stdin, scheme) in [
        (line.clone(), Some("mtls_pop")),
        (pretty, Some("mtls_pop")),
        (format!("{line}\n{line}\n"), Some("mtls_pop")),
        (format!("\u{feff}{line}\r\n"), Some("mtls_pop")),
        (format!("{}\n", token["access_token"]), None),
        (format!("\u{feff}{}", token["access_token"].as_str().unwrap()), None),
        (serde_json::json!({ "id_token": token["access_token"], "expires_in": 1 }).to_string(), None),
        (cli, Some("Bearer")),
    ] {
        let ran = inspect(&["--output", "json"], &stdin);
        let shown = &ran.json()[0];
        assert_eq!(
            (&shown["payload"]["cnf"]["x5t#S256"], shown["scheme"].as_str()),
            (&thumbprint.into(), scheme)
        );
    }
    let secret = "eyJsecret";
    for (stdin, expected) in [
        (format!(r#"{{"access_token":"{secret}"#), "the JSON is malformed"),
        (format!(r#"{{"error":{{"code":"{secret}"}}}}"#), "no member `access_token`"),
        (format!(r#"{{"access_token":["{secret}"]}}"#), "no member `access_token`"),
        (format!(r#""{secret}"#), "the JSON is malformed"),
        // The text of `token` without --output.
        (format!("token type      Bearer\nresource        {secret}\n"), "--output raw, json or header"),
    ] {
        let ran = inspect(&[], &stdin);
        assert!(ran.code == 2 && ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(!ran.stderr.contains(secret), "{}", ran.stderr);
    }
}
