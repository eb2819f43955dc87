//! What is wrong with a command line, in one line, with exit code 2.

use crate::run::{Ran, symbolon};

#[test]
fn wrong_usage_says_what_is_wrong_where() {
    for (arguments, told) in [
        (&["token"][..], "--resource"),
        (&["token", "--resource", "x", "--bogus"], "--bogus"),
        (&["token", "--resource", "x", "--identity", "mine"], "client-id:ID"),
        (&["token", "--resource", "x", "--identity", "client-id:"], "is empty"),
        (&["token", "--resource", "x", "--count", "0"], "--count"),
        (&["token", "--resource", "x", "--timeout", "never"], "--timeout"),
        (&["token", "--resource", "x", "--timeout", "0"], "positive"),
        (&["token", "--resource", "x", "--key", "rsa-1024"], "rsa-2048"),
        (&["token", "--resource", "x", "--ca-file", "/nonexistent"], "/nonexistent"),
        (&["call", "not a url", "--resource", "x"], "not a url"),
        (&["call", "https://x", "--resource", "x", "-H", "no colon"], "Name: value"),
        (&["call", "https://x", "--resource", "x", "-H", "Authorization: mine"], "Authorization"),
        (&["demo", "--output", "header"], "header"),
        (&["serve", "--identity", "mine"], "client-id:ID"),
        (&["serve", "--listen", "somewhere"], "--listen"),
        (&["completions", "tcsh"], "bash"),
        (&["frobnicate"], "frobnicate"),
    ] {
        let ran = Ran::of(symbolon().args(arguments).output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.starts_with("error: "), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{arguments:?}");
    }
}

#[test]
fn wrong_usage_is_reported_to_programs_as_well() {
    let ran = Ran::of(symbolon().args(["token", "--output", "json"]).output().unwrap());
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")));
}

#[test]
fn wrong_variables_are_wrong_usage() {
    for (name, value, told) in [
        ("SYMBOLON_RETRY_SCALE", "fast", "SYMBOLON_RETRY_SCALE"),
        ("SYMBOLON_RETRY_SCALE", "-1", "SYMBOLON_RETRY_SCALE"),
        ("RUST_LOG", "a=b=c", "RUST_LOG"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "not a url", "AZURE_POD_IDENTITY_AUTHORITY_HOST"),
        ("HTTPS_PROXY", "socks5://127.0.0.1:1", "HTTPS_PROXY"),
    ] {
        let mut command = symbolon();
        command.env(name, value).args(["token", "--resource", "https://x.example"]);
        let ran = Ran::of(command.output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{name}={value}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{name}={value}: {}", ran.stderr);
    }
}

#[test]
fn help_and_version_are_results() {
    for arguments in
        [&["--help"][..], &["token", "--help"], &["serve", "--help"], &["exec", "-h"], &["--version"]]
    {
        let ran = Ran::of(symbolon().args(arguments).output().unwrap());
        assert!(ran.code == 0 && ran.stderr.is_empty() && !ran.stdout.is_empty(), "{arguments:?}");
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    }
}
