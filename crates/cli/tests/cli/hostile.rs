//! Text that another party wrote, in every command and output format.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::json;
use symbolon_emulator::{Fault, Step};

use crate::run::{RunResult, RunningCommand, TestEnv, at_terminal, emulate, run_with_open_stdin, symbolon};

const RESOURCE: &str = "https://vault.azure.net";
/// A closed port.
const CLOSED: &str = "http://127.0.0.1:9";
/// A character of each kind that must not be shown. A forged line follows a line break.
const HOSTILE: &str = "x\u{1b}[2J\u{7}\u{8}\u{7f}\u{85}\u{9b}31m\u{ad}\u{61c}\u{200b}\u{200e}\u{2028}\u{2029}\
                       \u{202e}\u{2066}\u{2069}\u{3164}\u{fe0f}\u{feff}\u{e0041}\r\nFORGED";
/// The same without the characters that command lines of tests, HTTP headers or file names cannot
/// contain.
const HOSTILE_WORD: &str = "x\u{9b}31m\u{ad}\u{200b}\u{2028}\u{202e}\u{feff}\u{e0041}";

/// Returns the first character that must not be shown.
fn forbidden(text: &str) -> Option<char> {
    text.chars().find(|character| match *character {
        '\n' => false,
        character if character.is_control() => true,
        '\u{ad}' | '\u{61c}' | '\u{3164}' | '\u{feff}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    })
}

#[track_caller]
fn assert_clean(case: &str, text: &str) {
    assert_eq!(forbidden(text), None, "{case}: {text:?}");
    assert!(!text.lines().any(|line| line.trim_start().starts_with("FORGED")), "{case}: {text}");
}

/// Runs a command in both formats, with and without logs, and asserts that it shows a part of the
/// hostile text.
#[track_caller]
fn assert_shows_cleanly(case: &str, command: impl Fn() -> Command) {
    for format in ["text", "json"] {
        for log in [None, Some("trace")] {
            let mut command = command();
            command.envs(log.map(|log| ("RUST_LOG", log)));
            command.arg("--output").arg(format);
            let ran = run_with_open_stdin(&mut command).unwrap();
            let case = format!("{case}, {format}, {log:?}");
            assert_clean(&case, &ran.stdout);
            assert_clean(&case, &ran.stderr);
            let all = ran.stdout + &ran.stderr;
            assert!(all.contains("9b"), "{case} does not show the text: {all}");
        }
    }
}

/// Returns a response body whose members have hostile names and values.
fn error_body() -> String {
    json!({ "error": "server_error", "error_description": HOSTILE, "message": HOSTILE }).to_string()
}

/// Returns a token response with hostile members.
fn token_body() -> String {
    json!({ "access_token": "abc", "token_type": "Bearer", "expires_in": 3599, "client_id": HOSTILE })
        .to_string()
}

fn jwt() -> String {
    let part = |value| Base64UrlUnpadded::encode_string(serde_json::Value::to_string(&value).as_bytes());
    let header = part(json!({ "alg": HOSTILE, HOSTILE: 1 }));
    let payload = json!({ "aud": HOSTILE, "roles": [HOSTILE], HOSTILE: HOSTILE, "x": { HOSTILE: HOSTILE }, "cnf": { HOSTILE: [HOSTILE] } });
    format!("{header}.{}.c2ln", part(payload))
}

#[test]
fn cli_14_responses_of_services() {
    for (step, status, body) in [
        (Step::ImdsToken, 200, token_body()),
        (Step::ImdsToken, 400, error_body()),
        (Step::ImdsToken, 400, HOSTILE.to_owned()),
        (Step::ImdsToken, 400, json!({ "error": HOSTILE }).to_string()),
    ] {
        let env =
            TestEnv::with(|emulator| emulator.fault(Fault::status(step, status).body(body.clone()).always()));
        assert_shows_cleanly(&body, || {
            let mut command = env.symbolon();
            command.args(["token", "--resource", RESOURCE]);
            command
        });
    }
    for body in [error_body(), HOSTILE.to_owned()] {
        let env = TestEnv::with(|emulator| {
            emulator.fault(Fault::status(Step::Token, 400).body(body.clone()).always())
        });
        let authority = format!("{}/contoso.example", env.emulator.token_url());
        assert_shows_cleanly("app-token", || {
            let mut command = env.symbolon();
            command.env("SECRET", "s").args(["app-token", "--authority", &authority, "--client-id", "x"]);
            command.args(["--scope", "s", "--client-secret-env", "SECRET"]);
            command
        });
    }
}

#[test]
fn cli_14_arguments() {
    for arguments in [
        &["inspect", &jwt()][..],
        &["explain", HOSTILE],
        &[HOSTILE],
        &["token", "--resource", HOSTILE],
        &["token", "--resource", RESOURCE, "--identity", HOSTILE],
        &["token", HOSTILE],
        &["doctor", "--ca-file", HOSTILE],
        &["emulate", "--faults", HOSTILE],
        &["emulate", "--journal", &format!("/nowhere/{HOSTILE}")],
        &["serve", "--unix", &format!("/nowhere/{HOSTILE}")],
        &["man", "--out", &format!("/dev/null/{HOSTILE}")],
        &["exec", "--", &format!("/nowhere/{HOSTILE}")],
        &["call", HOSTILE, "--resource", RESOURCE],
    ] {
        assert_shows_cleanly(&format!("{arguments:?}"), || {
            let mut command = symbolon();
            // Options after `--` would belong to the command that `exec` runs.
            match arguments {
                ["exec", ..] => command.args(["--timeout", "60"]),
                _ => &mut command,
            };
            command.args(arguments);
            command
        });
    }
}

#[test]
fn cli_14_files() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = folder.path().join(HOSTILE);
    std::fs::create_dir(&hostile).unwrap();
    let file = |name: &str, content: &str| {
        let path = hostile.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let faults = file("faults.toml", "[[fault]]\nkind = \"reset\"\nstep = \"x\u{9b}\u{202e}\u{feff}\"\n");
    let certificate = file("certificate.pem", "not PEM");
    let app_token = ["app-token", "--authority", "https://x/y", "--client-id", "x", "--scope", "s"];
    for arguments in [
        &["emulate", "--faults", &faults][..],
        &[&app_token[..], &["--certificate", &certificate]].concat(),
        &["doctor", "--ca-file", &certificate],
    ] {
        assert_shows_cleanly(&format!("{arguments:?}"), || {
            let mut command = symbolon();
            command.args(arguments);
            command
        });
    }
    let env = TestEnv::new();
    let persisted = ["token", "--resource", RESOURCE, "--pop", "--key", "p-256", "--persist-binding"];
    let with_state = |state: &Path| {
        let mut command = env.symbolon();
        command.env("SYMBOLON_STATE_DIR", state).args(persisted);
        command
    };
    // A folder that is open to others, and one with damaged files.
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert_shows_cleanly("an unusable folder", || with_state(&folder.path().join("file").join(HOSTILE)));
    let state = folder.path().join(format!("state-{HOSTILE}"));
    assert_eq!(with_state(&state).output().unwrap().status.code(), Some(0));
    for entry in std::fs::read_dir(&state).unwrap() {
        std::fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    let mut damaged = with_state(&state);
    damaged.env("RUST_LOG", "trace");
    let ran = RunResult::of(damaged.output().unwrap());
    assert!(ran.stderr.contains("set aside") && ran.stderr.contains("9b"), "{}", ran.stderr);
    assert_clean("damaged files", &ran.stderr);
}

#[test]
fn cli_14_environment() {
    for (name, value) in [
        ("IDENTITY_ENDPOINT", format!("http://127.0.0.1:9/{HOSTILE_WORD}")),
        ("MSI_ENDPOINT", HOSTILE_WORD.to_owned()),
        ("HTTPS_PROXY", format!("http://{HOSTILE_WORD}:9")),
        ("AZURE_AUTHORITY_HOST", HOSTILE_WORD.to_owned()),
        ("AZURE_AUTHORITY_HOST", format!("https://127.0.0.1:9/{HOSTILE_WORD}")),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", HOSTILE_WORD.to_owned()),
        ("SSL_CERT_FILE", format!("/nowhere/{HOSTILE_WORD}")),
        ("RUST_LOG", HOSTILE_WORD.to_owned()),
        ("SYMBOLON_RETRY_SCALE", HOSTILE_WORD.to_owned()),
    ] {
        for command in [&["doctor"][..], &["token", "--resource", RESOURCE]] {
            for format in ["text", "json"] {
                let mut ran = symbolon();
                ran.env("HTTPS_PROXY", CLOSED).env("RUST_LOG", "trace").env("SYMBOLON_RETRY_SCALE", "0");
                ran.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", CLOSED).env("IDENTITY_HEADER", "secret");
                ran.env(name, &value).args(command).args(["--output", format]);
                let ran = RunResult::of(ran.output().unwrap());
                for shown in [&ran.stdout, &ran.stderr] {
                    assert_clean(&format!("{name}, {command:?}, {format}"), shown);
                }
            }
        }
    }
}

#[test]
fn call_10_response_on_a_terminal() {
    let fault = || Fault::status(Step::Resource, 200).header("x-evil", HOSTILE_WORD).body(HOSTILE.as_bytes());
    let env = TestEnv::with(|emulator| emulator.fault(fault().always()));
    let mut command = env.symbolon();
    command.args(["call", env.emulator.resource_url(), "--resource", RESOURCE, "--include"]);
    let unchanged = command.output().unwrap();
    assert!(unchanged.stdout.ends_with(HOSTILE.as_bytes()), "{unchanged:?}");
    let Some(ran) = at_terminal(&command) else { return };
    assert!(ran.code == 0 && ran.stdout.contains(r"x-evil: x\u{9b}31m"), "{ran:?}");
    // The terminal writes each line break as CR LF.
    let shown = ran.stdout.replace("\r\n", "\n");
    assert_eq!(forbidden(&shown), None, "{shown:?}");
}

/// Sends a request whose path, query, method and headers are hostile.
fn send(address: &str, path: &str) {
    let encoded: String = HOSTILE.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for (method, target) in [
        ("GET", format!("/{encoded}?{encoded}={encoded}")),
        ("GET", format!("/{HOSTILE_WORD}")),
        ("GET", format!("{path}?api-version=2018-02-01&resource={encoded}&client_id={encoded}&{encoded}=1")),
        ("POST", format!("{path}?resource=x&object_id={encoded}")),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        let form = format!("resource={encoded}&client_id={encoded}&{encoded}={encoded}");
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close");
        let headers =
            format!("user-agent: {HOSTILE_WORD}\r\nx-identity-header: {HOSTILE_WORD}\r\nmetadata: true");
        let content =
            format!("content-type: application/x-www-form-urlencoded\r\ncontent-length: {}", form.len());
        write!(stream, "{head}\r\n{headers}\r\n{content}\r\n\r\n{form}").unwrap();
        let mut response = Vec::new();
        // A refused request can reset the connection.
        let _read = stream.read_to_end(&mut response);
    }
}

#[test]
fn cli_14_requests_to_the_emulator() {
    let folder = tempfile::tempdir().unwrap();
    for source in ["imds", "app_service", "cloud_shell"] {
        let journal = folder.path().join(source);
        let mut command = emulate(folder.path());
        command.args(["--print-env", "--source", source, "--journal"]).arg(&journal);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut printed = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        while !printed.contains("SSL_CERT_FILE") {
            assert_ne!(stdout.read_line(&mut printed).unwrap(), 0, "{printed}");
        }
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let running = RunningCommand(child);
        let url = printed.split_once("='http://").unwrap().1.split(['/', '\'']).next().unwrap();
        let path = match source {
            "imds" => "/metadata/identity/oauth2/token",
            "app_service" => "/msi/token",
            _ => "/oauth2/token",
        };
        send(url, path);
        let mut page = String::new();
        log.read_line(&mut page).unwrap();
        // The log follows the journal file: the last request is logged when its line is written.
        let mut logged = String::new();
        while logged.lines().count() < 3 {
            log.read_line(&mut logged).unwrap();
        }
        let page = page.trim().strip_prefix("page: http://").unwrap();
        let (admin, folder) = page.split_once('/').unwrap();
        let mut stream = TcpStream::connect(admin).unwrap();
        let head = format!("GET /{folder}journal HTTP/1.1\r\nhost: {admin}\r\nconnection: close");
        write!(stream, "{head}\r\n\r\n").unwrap();
        let mut api = String::new();
        stream.read_to_string(&mut api).unwrap();
        drop(running);
        log.read_to_string(&mut logged).unwrap();
        let journal = std::fs::read_to_string(journal).unwrap();
        for (case, shown) in [("log", &logged), ("journal", &journal), ("api", &api.replace("\r\n", "\n"))] {
            assert_clean(&format!("{source}, {case}"), shown);
        }
        assert!(api.contains("9b"), "{api}");
        assert!(logged.contains("1b") && journal.contains("9b"), "{source}: {logged} {journal}");
    }
}

#[cfg(unix)]
#[test]
fn cli_14_requests_to_the_agent() {
    let env = TestEnv::with(|emulator| {
        emulator.fault(Fault::status(Step::ImdsToken, 400).body(error_body()).always())
    });
    let mut command = env.symbolon();
    command.arg("serve").env("RUST_LOG", "trace").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut printed = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    while !printed.contains("IDENTITY_HEADER") {
        stdout.read_line(&mut printed).unwrap();
    }
    let mut log = child.stderr.take().unwrap();
    let running = RunningCommand(child);
    let value = |name: &str| printed.split_once(name).unwrap().1.split('\'').nth(1).unwrap().to_owned();
    let address = value("IDENTITY_ENDPOINT").replace("http://", "").replace("/msi/token", "");
    send(&address, "/msi/token");
    let variables = ["IDENTITY_ENDPOINT", "IDENTITY_HEADER"].map(|name| (name, value(name)));
    assert_shows_cleanly("a client of the agent", || {
        let mut command = symbolon();
        command.envs(variables.clone()).env("SYMBOLON_RETRY_SCALE", "0").args([
            "token",
            "--resource",
            RESOURCE,
        ]);
        command
    });
    crate::run::signal(&running.0, rustix::process::Signal::TERM);
    let mut logged = String::new();
    log.read_to_string(&mut logged).unwrap();
    assert_clean("serve", &logged);
    assert!(logged.contains("the service said: ") && logged.contains("9b"), "{logged}");

    let ran = env.run(&["exec", "--", env!("CARGO_BIN_EXE_symbolon"), "token", "--resource", RESOURCE]);
    assert_clean("exec", &ran.stderr);
    assert!(ran.stderr.contains("9b"), "{}", ran.stderr);
}
