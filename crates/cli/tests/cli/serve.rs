//! `symbolon serve`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use symbolon_emulator::Step;

use crate::run::{Ran, World, signal, symbolon};

/// An agent that runs, and the variables that it printed.
struct Serving {
    child: Child,
    variables: HashMap<String, String>,
}

impl Serving {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap());
        let variables = printed.lines().take(2).map(|line| {
            let line = line.unwrap();
            let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('\'').to_owned())
        });
        let variables = variables.collect();
        Self { child, variables }
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

    /// Ends it as an operator does, and returns how it ended and what it logged.
    fn stop(mut self, with: Signal) -> (Option<i32>, String) {
        signal(&self.child, with);
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn serve(world: &World, arguments: &[&str]) -> Serving {
    let mut command = world.symbolon();
    command.arg("serve").args(arguments);
    Serving::start(command)
}

/// The command itself as a client that knows nothing but the printed variables.
fn ask(serving: &Serving, more: &[&str]) -> Ran {
    let ask = ["token", "--resource", "https://vault.azure.net", "--output", "json"];
    let mut command = symbolon();
    command.envs(&serving.variables).env("SYMBOLON_RETRY_SCALE", "0").args(ask).args(more);
    Ran::of(command.output().unwrap())
}

#[test]
fn run_04_the_printed_variables_are_all_that_a_client_needs_and_the_log_says_what_it_got() {
    for with in [Signal::TERM, Signal::INT] {
        let world = World::new();
        let serving = serve(&world, &[]);
        let tokens: Vec<Value> = (0..2).map(|_| ask(&serving, &[]).json().remove(0)).collect();
        assert_eq!(tokens[0]["access_token"], tokens[1]["access_token"]);
        assert_eq!(tokens[0]["client_id"], world.emulator.client_id());
        assert_eq!(world.emulator.journal().count(Step::ImdsToken), 1);
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
fn run_06_every_run_has_a_secret_of_its_own_without_which_there_is_no_token() {
    let world = World::new();
    let (first, second) = (serve(&world, &[]), serve(&world, &[]));
    assert_ne!(first.secret(), second.secret());
    let ask = ["token", "--resource", "https://vault.azure.net", "--output", "json"];
    let with = |secret: &str| {
        let mut command = symbolon();
        command.envs(&first.variables).env("IDENTITY_HEADER", secret).args(ask);
        Ran::of(command.output().unwrap())
    };
    for secret in [second.secret(), "guessed"] {
        let ran = with(secret);
        assert_eq!((ran.code, ran.error()["status"].as_u64()), (1, Some(401)), "{}", ran.stderr);
    }
    assert_eq!(with(first.secret()).json().len(), 1);
    assert!(first.address().starts_with("127.0.0.1:"));
}

#[test]
fn only_what_is_allowed_is_given_out() {
    let world = World::new();
    let user_assigned = world.emulator.user_assigned().client_id().to_owned();
    let named = format!("client-id:{user_assigned}");
    let serving = serve(&world, &["--allow", "https://vault.azure.net", "--identity", &named]);
    for more in [&[][..], &["--identity", &named]] {
        assert_eq!(ask(&serving, more).json()[0]["client_id"], user_assigned);
    }
    let other = format!("client-id:{}", world.emulator.client_id());
    for (more, told) in
        [(["--identity", &other], "--identity"), (["--resource", "https://graph.microsoft.com"], "--allow")]
    {
        let mut command = symbolon();
        command.envs(&serving.variables).args(["token", "--output", "json"]);
        if more[0] != "--resource" {
            command.args(["--resource", "https://vault.azure.net"]);
        }
        let ran = Ran::of(command.args(more).output().unwrap());
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
fn over_mtls_the_agent_gets_its_bearer_tokens_with_a_certificate() {
    let world = World::new();
    let serving = serve(&world, &["--over-mtls", "--key", "p-256"]);
    assert_eq!(ask(&serving, &[]).json()[0]["token_type"], "Bearer");
    assert!(world.emulator.journal().last(Step::Token).unwrap().certificate().is_some());
}

#[test]
fn a_bound_token_is_refused_with_what_to_do() {
    let world = World::new();
    let serving = serve(&world, &[]);
    let ran = ask(&serving, &["--pop"]);
    assert_eq!((ran.code, ran.error()["code"].as_str()), (3, Some("mtls_pop_not_supported_for_environment")));
}

#[test]
fn health_is_told_to_anybody_and_the_wrong_host_nothing() {
    let world = World::new();
    let serving = serve(&world, &[]);
    let get = |path: &str, host: &str| {
        let mut stream = TcpStream::connect(serving.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/healthz", serving.address()).starts_with("HTTP/1.1 200 "));
    assert!(get("/healthz", "attacker.example").starts_with("HTTP/1.1 421 "));
    assert!(get("/msi/token", serving.address()).starts_with("HTTP/1.1 401 "));
    assert_eq!(world.emulator.journal().entries().len(), 0, "nobody was asked");
}

#[test]
fn for_programs_the_variables_are_one_line_of_json() {
    let world = World::new();
    let mut child = world
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
fn run_05_a_unix_socket_is_this_users_alone_and_gone_afterwards() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let serving = serve(&world, &["--unix", path.to_str().unwrap()]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    let secret = serving.secret();
    write!(
        stream,
        "GET /msi/token?api-version=2019-08-01&resource=x HTTP/1.1\r\nHost: localhost\r\n\
         X-IDENTITY-HEADER: {secret}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("eyJ"), "{answer}");

    let second = world.run(&["serve", "--unix", path.to_str().unwrap(), "--output", "json"]);
    assert_eq!((second.code, second.error()["code"].as_str()), (2, Some("invalid_configuration")));
    let (code, log) = serving.stop(Signal::TERM);
    assert_eq!((code, path.exists()), (Some(0), false), "{log}");
    assert!(log.contains("of user "), "{log}");
}

#[test]
fn it_listens_on_loopback_only_and_in_one_place() {
    for arguments in
        [&["--listen", "0.0.0.0:0"][..], &["--listen", "127.0.0.1:0", "--unix", "/x"], &["--pop"]]
    {
        let ran = Ran::of(symbolon().arg("serve").args(arguments).output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn a_timeout_bounds_it_as_it_bounds_every_command() {
    let ran = Ran::of(symbolon().args(["serve", "--timeout", "0.2", "--output", "json"]).output().unwrap());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.lines().last().unwrap().contains(r#""code":"timeout""#), "{}", ran.stderr);
}
