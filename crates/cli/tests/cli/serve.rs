//! `symbolon serve`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use symbolon_emulator::Step;

use crate::run::{RunResult, TestEnv, skip_without, symbolon};
use crate::running::RunningCommand;

/// A running `serve` and the variables that it printed.
struct RunningAgent {
    command: RunningCommand,
    variables: HashMap<String, String>,
}

impl RunningAgent {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap());
        let variables = printed.lines().take(2).map(|line| {
            let line = line.unwrap();
            let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('\'').to_owned())
        });
        let variables = variables.collect();
        Self { command: RunningCommand(child), variables }
    }

    fn secret(&self) -> &str {
        &self.variables["IDENTITY_HEADER"]
    }

    fn address(&self) -> &str {
        self.variables["IDENTITY_ENDPOINT"]
            .strip_prefix("http://")
            .unwrap()
            .strip_suffix("/msi/token")
            .unwrap()
    }

    /// Stops it by a signal and returns its exit code and log.
    fn stop(self, with: Signal) -> (Option<i32>, String) {
        self.command.stop(with)
    }
}

fn serve(env: &TestEnv, arguments: &[&str]) -> RunningAgent {
    let mut command = env.symbolon();
    command.arg("serve").args(arguments);
    RunningAgent::start(command)
}

/// Requests a token with the printed variables only.
fn request_token(serving: &RunningAgent, more: &[&str]) -> RunResult {
    let token_request = ["token", "--resource", "https://vault.azure.net", "--output", "json"];
    let mut command = symbolon();
    command.envs(&serving.variables).env("SYMBOLON_RETRY_SCALE", "0").args(token_request).args(more);
    RunResult::of(command.output().unwrap())
}

#[test]
fn run_04_printed_variables_and_log() {
    for with in [Signal::TERM, Signal::INT] {
        let env = TestEnv::new();
        let serving = serve(&env, &[]);
        let tokens: Vec<Value> = (0..2).map(|_| request_token(&serving, &[]).json().remove(0)).collect();
        assert_eq!(tokens[0]["access_token"], tokens[1]["access_token"]);
        assert_eq!(tokens[0]["client_id"], env.emulator.client_id());
        assert_eq!(env.emulator.journal().count(Step::ImdsToken), 1);
        let secret = serving.secret().to_owned();
        let (code, log) = serving.stop(with);
        assert_eq!(code, Some(0), "{log}");
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines[0].contains("every resource is allowed"), "{log}");
        let served = "Z served https://vault.azure.net to 127.0.0.1:";
        assert!(
            lines[1].contains(served) && lines[1].contains("from the network; next refresh in "),
            "{log}"
        );
        assert!(lines[2].contains(served) && lines[2].contains("from the cache; next refresh in "), "{log}");
        assert!(lines[3].ends_with("stopping"), "{log}");
        assert!(!log.contains(&secret) && !log.contains("eyJ"), "{log}");
    }
}

#[test]
fn run_06_secret_of_each_run() {
    let env = TestEnv::new();
    let (first, second) = (serve(&env, &[]), serve(&env, &[]));
    assert_ne!(first.secret(), second.secret());
    let token_request = ["token", "--resource", "https://vault.azure.net", "--output", "json"];
    let with = |secret: &str| {
        let mut command = symbolon();
        command.envs(&first.variables).env("IDENTITY_HEADER", secret).args(token_request);
        RunResult::of(command.output().unwrap())
    };
    for secret in [second.secret(), "guessed"] {
        let ran = with(secret);
        assert_eq!((ran.code, ran.error()["status"].as_u64()), (1, Some(401)), "{}", ran.stderr);
    }
    assert_eq!(with(first.secret()).json().len(), 1);
    assert!(first.address().starts_with("127.0.0.1:"));
}

#[test]
fn only_allowed_requests_get_a_token() {
    let env = TestEnv::new();
    let user_assigned = env.emulator.user_assigned().client_id.clone();
    let named = format!("client-id:{user_assigned}");
    let serving = serve(&env, &["--allow", "https://vault.azure.net", "--identity", &named]);
    for more in [&[][..], &["--identity", &named]] {
        assert_eq!(request_token(&serving, more).json()[0]["client_id"], user_assigned);
    }
    let other = format!("client-id:{}", env.emulator.client_id());
    for (more, told) in
        [(["--identity", &other], "--identity"), (["--resource", "https://graph.microsoft.com"], "--allow")]
    {
        let mut command = symbolon();
        command.envs(&serving.variables).args(["token", "--output", "json"]);
        if more[0] != "--resource" {
            command.args(["--resource", "https://vault.azure.net"]);
        }
        let ran = RunResult::of(command.args(more).output().unwrap());
        assert_eq!((ran.code, ran.error()["status"].as_u64()), (1, Some(403)), "{more:?}");
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
    let (_, log) = serving.stop(Signal::TERM);
    assert!(
        !log.contains("every resource") && log.contains("403 resource") && log.contains("403 identity"),
        "{log}"
    );
}

#[test]
fn over_mtls_uses_a_certificate() {
    let env = TestEnv::new();
    let serving = serve(&env, &["--over-mtls", "--key", "p-256"]);
    assert_eq!(request_token(&serving, &[]).json()[0]["token_type"], "Bearer");
    assert!(env.emulator.journal().last(Step::Token).unwrap().certificate().is_some());
}

#[test]
fn bound_token_is_rejected() {
    let env = TestEnv::new();
    let serving = serve(&env, &[]);
    let ran = request_token(&serving, &["--pop"]);
    assert_eq!((ran.code, ran.error()["code"].as_str()), (3, Some("mtls_pop_not_supported_for_environment")));
}

#[test]
fn health_needs_the_right_host_only() {
    let env = TestEnv::new();
    let serving = serve(&env, &[]);
    let get = |path: &str, host: &str| {
        let mut stream = TcpStream::connect(serving.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    };
    assert!(get("/healthz", serving.address()).starts_with("HTTP/1.1 200 "));
    assert!(get("/healthz", "attacker.example").starts_with("HTTP/1.1 421 "));
    assert!(get("/msi/token", serving.address()).starts_with("HTTP/1.1 401 "));
    assert_eq!(env.emulator.journal().entries().len(), 0, "no request reached the host");
}

#[test]
fn json_output_is_one_line() {
    let env = TestEnv::new();
    let mut child = env
        .symbolon()
        .args(["serve", "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let _ended = child.kill();
    let _reaped = child.wait();
    let variables: Value = serde_json::from_str(&printed).unwrap();
    assert!(variables.as_object().unwrap().keys().eq(["IDENTITY_ENDPOINT", "IDENTITY_HEADER"]));
}

#[test]
fn run_05_unix_socket_is_private() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let serving = serve(&env, &["--unix", path.to_str().unwrap()]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    let secret = serving.secret();
    write!(
        stream,
        "GET /msi/token?api-version=2019-08-01&resource=x HTTP/1.1\r\nHost: localhost\r\n\
         X-IDENTITY-HEADER: {secret}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 ") && response.contains("eyJ"), "{response}");

    let second = env.run(&["serve", "--unix", path.to_str().unwrap(), "--output", "json"]);
    assert_eq!((second.code, second.error()["code"].as_str()), (2, Some("invalid_configuration")));
    let (code, log) = serving.stop(Signal::TERM);
    assert_eq!((code, path.exists()), (Some(0), false), "{log}");
    assert!(log.contains("of user "), "{log}");
}

#[test]
fn run_15_http2_with_prior_knowledge() {
    let env = TestEnv::new();
    let serving = serve(&env, &[]);
    let url = format!("http://{}/msi/token?api-version=2019-08-01", serving.address());
    for (option, version) in [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
        for (more, status) in [("&resource=https://vault.azure.net", "200"), ("", "400")] {
            let mut curl = Command::new("curl");
            curl.args(["-s", option, "-w", "\n%{http_version} %{http_code}"]).env_remove("http_proxy");
            curl.args(["-H", &format!("X-IDENTITY-HEADER: {}", serving.secret()), &format!("{url}{more}")]);
            let Ok(ran) = curl.output() else { return skip_without("curl") };
            let printed = String::from_utf8(ran.stdout).unwrap();
            assert!(printed.ends_with(&format!("\n{version} {status}")), "{printed}");
            assert_eq!(printed.contains("access_token"), status == "200", "{printed}");
        }
    }
}

#[test]
fn serve_listens_on_one_loopback_address() {
    for arguments in
        [&["--listen", "0.0.0.0:0"][..], &["--listen", "127.0.0.1:0", "--unix", "/x"], &["--pop"]]
    {
        let ran = RunResult::of(symbolon().arg("serve").args(arguments).output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn timeout_ends_serve() {
    let ran =
        RunResult::of(symbolon().args(["serve", "--timeout", "0.2", "--output", "json"]).output().unwrap());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.lines().last().unwrap().contains(r#""code":"timeout""#), "{}", ran.stderr);
}

// Clients that send nothing, or only health checks, take no descriptor that a token needs.
#[test]
fn run_09_few_descriptors() {
    let env = TestEnv::new();
    let mut command = Command::new("/bin/sh");
    command.env_clear().envs(env.emulator.environment());
    let limited = r#"ulimit -n 64; exec "$0" serve"#;
    command.args(["-c", limited, env!("CARGO_BIN_EXE_symbolon")]);
    let serving = RunningAgent::start(command);
    let health = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", serving.address());
    let mut clients = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(serving.address()).unwrap();
        if number % 2 == 0 {
            stream.write_all(health.as_bytes()).unwrap();
        }
        clients.push(stream);
    }
    assert_eq!(
        request_token(&serving, &["--timeout", "10"]).json()[0]["client_id"],
        env.emulator.client_id()
    );
    let mut last = TcpStream::connect(serving.address()).unwrap();
    last.write_all(health.as_bytes()).unwrap();
    let mut response = String::new();
    last.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[test]
fn empty_resource_is_not_allowed() {
    let ran = RunResult::of(symbolon().args(["serve", "--allow", ""]).output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
}
