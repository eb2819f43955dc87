//! `symbolon exec`.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::Signal;

use crate::run::{RunResult, TestEnv, signal};

const SYMBOLON: &str = env!("CARGO_BIN_EXE_symbolon");

fn shell(env: &TestEnv, script: &str) -> RunResult {
    env.run(&["exec", "--", "/bin/sh", "-c", script])
}

#[test]
fn run_07_command_gets_tokens() {
    let env = TestEnv::new();
    let token_request = [SYMBOLON, "token", "--resource", "https://vault.azure.net", "--output", "json"];
    let ran = env.run(&[&["exec", "--allow", "https://vault.azure.net", "--"][..], &token_request].concat());
    assert_eq!(ran.json()[0]["client_id"], env.emulator.client_id());
    assert_eq!(ran.stderr, "", "stderr belongs to the command");
    let bound = env.run(&[&["exec", "--"][..], &token_request, &["--pop"]].concat());
    assert_eq!(
        (bound.code, bound.error()["code"].as_str()),
        (3, Some("mtls_pop_not_supported_for_environment"))
    );
}

#[test]
fn rejections_are_logged() {
    let env = TestEnv::new();
    let token_request = [SYMBOLON, "token", "--resource", "https://graph.microsoft.com"];
    let ran = env.run(&[&["exec", "--allow", "https://vault.azure.net", "--"][..], &token_request].concat());
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("Z refused https://graph.microsoft.com to 127.0.0.1:"), "{}", ran.stderr);
}

#[test]
fn variables_of_other_sources_are_removed() {
    let env = TestEnv::new();
    let mut command = env.symbolon();
    let others = [
        "IDENTITY_SERVER_THUMBPRINT",
        "IMDS_ENDPOINT",
        "MSI_ENDPOINT",
        "MSI_SECRET",
        "DEFAULT_IDENTITY_CLIENT_ID",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    ];
    for name in others {
        command.env(name, "http://127.0.0.1:1/");
    }
    command.env("MINE", "kept").args(["exec", "--", "/usr/bin/env"]);
    let ran = RunResult::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let has = |name: &str| ran.stdout.lines().any(|line| line.starts_with(&format!("{name}=")));
    assert!(others.iter().all(|name| !has(name)), "{}", ran.stdout);
    assert!(has("IDENTITY_ENDPOINT") && has("IDENTITY_HEADER") && has("MINE"), "{}", ran.stdout);
    assert!(!has("NO_PROXY"), "NO_PROXY is set only with a proxy");
}

#[test]
fn agent_is_exempt_from_proxies() {
    let env = TestEnv::new();
    let mut command = env.symbolon();
    command.env("http_proxy", "http://127.0.0.1:1").env("NO_PROXY", "internal.example");
    let ran = RunResult::of(command.args(["exec", "--", "/usr/bin/env"]).output().unwrap());
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines.contains(&"NO_PROXY=internal.example,127.0.0.1"), "{}", ran.stdout);
    assert!(lines.contains(&"no_proxy=127.0.0.1"), "{}", ran.stdout);
}

#[test]
fn run_08_exit_code_of_the_command() {
    let env = TestEnv::new();
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        assert_eq!(shell(&env, script).code, code, "{script}");
    }
}

#[test]
fn unusable_command_has_exit_code_of_shells() {
    let env = TestEnv::new();
    for (program, code) in
        [("/nonexistent/program", 127), ("no-such-program-anywhere", 127), ("/etc/passwd", 126)]
    {
        let ran = env.run(&["exec", "--", program]);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{program}");
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.starts_with(&format!("error: cannot run {program}: ")), "{}", ran.stderr);
    }
    let ran = env.run(&["exec"]);
    assert!(ran.code == 2 && ran.stderr.contains("<CMD>"), "{}", ran.stderr);
}

#[test]
fn run_08_agent_stops_with_the_command() {
    let env = TestEnv::new();
    let ran = shell(&env, "echo $IDENTITY_ENDPOINT");
    let address = ran.stdout.trim().strip_prefix("http://").unwrap().split('/').next().unwrap();
    assert!(TcpStream::connect(address).is_err(), "{address}");
}

#[test]
fn signals_are_forwarded() {
    let env = TestEnv::new();
    for (sent, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP")] {
        // A background shell ignores SIGINT and cannot trap it, Python can.
        let script = format!(
            "import os, signal, time\n\
             signal.signal(signal.SIG{name}, lambda *_: (os.write(1, b'signal\\n'), os._exit(7)))\n\
             os.write(1, b'ready\\n')\n\
             time.sleep(60)"
        );
        let mut command = env.symbolon();
        if let Some(path) = symbolon::Env::process().var("PATH") {
            command.env("PATH", path);
        }
        let mut child = command
            .args(["exec", "--", "python3", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        signal(&child, sent);
        assert_eq!(lines.next().unwrap().unwrap(), "signal", "{name}");
        assert_eq!(child.wait().unwrap().code(), Some(7), "{name}");
    }
}

#[test]
fn timeout_kills_the_command() {
    let env = TestEnv::new();
    let mut child = env
        .symbolon()
        .args(["exec", "--timeout", "0.5", "--", "/bin/sh", "-c", "echo $$; exec sleep 60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let id = lines.next().unwrap().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    // The pipe has no writer left, so the command has ended.
    assert!(lines.next().is_none(), "{id} still runs");
}
