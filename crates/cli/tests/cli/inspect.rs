//! `symbolon inspect`.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::run::{Ran, World, symbolon};

fn inspect(arguments: &[&str], stdin: &str) -> Ran {
    let mut command = symbolon();
    command.arg("inspect").args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who has read enough may close the pipe.
    let _written = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    Ran::of(child.wait_with_output().unwrap())
}

/// A bound token of the emulator, and what `token` told of it.
fn bound_token() -> Value {
    let world = World::new();
    let ask = ["token", "--resource", "https://x.example", "--pop", "--key", "p-256", "--output", "json"];
    world.run(&ask).json().remove(0)
}

#[test]
fn a_token_is_shown_from_an_argument_and_from_stdin_with_and_without_its_scheme() {
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
        for told in [
            "Nothing is verified",
            "https://x.example",
            "RS256",
            "key id (kid)",
            "(exp)",
            thumbprint,
            "x5t#S256",
        ] {
            assert!(ran.stdout.contains(told), "{told}: {}", ran.stdout);
        }
        let (front, signature) = text.rsplit_once('.').unwrap();
        assert!(!ran.stdout.contains(signature) && !ran.stdout.contains(front), "{}", ran.stdout);
    }
}

#[test]
fn for_programs_there_are_header_payload_and_times() {
    let token = bound_token();
    let ran = inspect(&["--output", "json"], token["access_token"].as_str().unwrap());
    let shown = &ran.json()[0];
    assert_eq!((&shown["verified"], &shown["scheme"]), (&false.into(), &Value::Null));
    assert_eq!(shown["header"]["alg"], "RS256");
    assert_eq!(shown["payload"]["aud"], "https://x.example");
    assert_eq!(shown["payload"]["cnf"]["x5t#S256"], token["binding"]["x5t#S256"]);
    let expires = &shown["times"]["exp"];
    assert_eq!(expires["unix"], shown["payload"]["exp"]);
    assert!(expires["utc"].as_str().unwrap().ends_with('Z'), "{expires}");
    assert!(expires["in_seconds"].as_i64().unwrap() > 0, "{expires}");
    assert!(!ran.stdout.contains("eyJ"), "{}", ran.stdout);
}

#[test]
fn what_is_wrong_with_a_token_is_told_in_one_line_that_does_not_show_it() {
    let long = "e".repeat(64 * 1024 + 1);
    for (arguments, stdin, told) in [
        (&["EwAoA8l6BAAUsecret"][..], "", "opaque"),
        (&["eyJsecret.e30"], "", "2 parts"),
        (&["eyJsecret!.e30.c2ln"], "", "the header is not base64url: character 10"),
        (&["eyJzZWNyZXQi.e30.c2ln"], "", "the header is not JSON"),
        (&["Bearer", "eyJsecret", "eyJsecret"], "", "more than a scheme"),
        (&[], "", "no token"),
        (&[], &long, "longer than 64 KiB"),
    ] {
        let ran = inspect(arguments, stdin);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{told}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(told), "{told}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    let ran = inspect(&["--output", "json", "opaque"], "");
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_token")));
}
