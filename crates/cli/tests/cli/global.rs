//! Options and output of every command.

use std::fs;
use std::process::Command;

use serde_json::Value;
use symbolon_emulator::{Fault, Step};

use crate::run::{RunResult, RunningCommand, TestEnv, at_terminal, emulate, run_with_open_stdin, symbolon};

const RESOURCE: &str = "https://vault.azure.net";
const TOKEN: &[&str] = &["token", "--resource", RESOURCE, "--key", "p-256"];
const POP: &[&str] = &["token", "--resource", RESOURCE, "--key", "p-256", "--pop"];
/// A closed port, used as proxy so that no request leaves this machine.
const CLOSED: &str = "http://127.0.0.1:9";

fn token_of(env: &TestEnv) -> String {
    let token = env.run(&[POP, &["--output", "json"]].concat()).json().remove(0);
    token["access_token"].as_str().unwrap().to_owned()
}

/// Returns commands that end by themselves and print text.
fn text_commands(env: &TestEnv, token: &str) -> Vec<Command> {
    let commands = [&["demo"][..], TOKEN, POP, &["doctor"], &["inspect", token]];
    let command = |arguments: &&[&str]| {
        let mut command = env.symbolon();
        command.env("HTTPS_PROXY", CLOSED).args(*arguments);
        command
    };
    commands.iter().map(command).collect()
}

#[test]
fn cli_01_json_results_are_one_object_per_line() {
    let env = TestEnv::new();
    let token = token_of(&env);
    for mut command in text_commands(&env, &token) {
        let ran = RunResult::of(command.args(["--output", "json"]).output().unwrap());
        assert!(matches!(&ran.json()[..], [Value::Object(_)]), "{command:?} {}", ran.stdout);
    }
    for arguments in [&["emulate"][..], &["emulate", "--print-env"], &["serve"]] {
        let mut command = env.symbolon();
        let (printed, _running) =
            RunningCommand::start(command.args(arguments).args(["--output", "json"]), 1);
        let printed: Value = serde_json::from_str(&printed[0]).unwrap();
        assert!(printed.is_object(), "{arguments:?} {printed}");
    }
}

#[test]
fn cli_02_text_is_aligned_in_80_columns() {
    let env = TestEnv::new();
    for (arguments, column) in [(TOKEN, 16), (POP, 26), (&["doctor"], 18)] {
        for more in [&[][..], &["--output", "text"]] {
            let mut command = env.symbolon();
            let command = command.env("HTTPS_PROXY", CLOSED).args(arguments).args(more);
            let ran = RunResult::of(command.output().unwrap());
            assert!(ran.code == 0 && ran.stdout.lines().count() > 5, "{ran:?}");
            for line in ran.stdout.lines() {
                assert!(line.chars().count() <= 80, "{line}");
                assert_eq!(&line[column - 1..column], " ", "{arguments:?} {line}");
                // The endpoints of `doctor` have columns of their own.
                assert!(arguments == ["doctor"] || &line[column..=column] != " ", "{arguments:?} {line}");
            }
        }
    }
}

#[test]
fn cli_03_no_colours_without_a_terminal() {
    let env = TestEnv::new();
    let token = token_of(&env);
    for mut command in text_commands(&env, &token) {
        let ran = RunResult::of(command.env("TERM", "xterm").env("RUST_LOG", "debug").output().unwrap());
        assert_eq!(ran.code, 0, "{command:?} {}", ran.stderr);
        assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran:?}");
    }
}

#[test]
fn cli_04_to_05_colours_on_a_terminal() {
    for name in ["demo", "doctor"] {
        let mut command = symbolon();
        let command = command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", CLOSED).env("HTTPS_PROXY", CLOSED);
        let Some(ran) = at_terminal(command.arg(name)) else { return };
        assert!(ran.stdout.contains('\u{1b}'), "{name} {}", ran.stdout);
        let ran = at_terminal(command.env("NO_COLOR", "1").env("RUST_LOG", "debug")).unwrap();
        assert!(ran.stdout.contains("DEBUG") && !ran.stdout.contains('\u{1b}'), "{name} {}", ran.stdout);
    }
}

#[test]
fn cli_06_to_07_additional_root_certificates() {
    let env = TestEnv::new();
    let run = |more: &[&str], variable: Option<&str>| {
        let mut command = symbolon();
        command.envs(env.emulator.environment()).env("SYMBOLON_RETRY_SCALE", "0");
        command.env_remove("SSL_CERT_FILE").envs(variable.map(|file| ("SSL_CERT_FILE", file)));
        RunResult::of(command.args([POP, &["--output", "json"], more].concat()).output().unwrap())
    };
    let refused = run(&[], None);
    assert_eq!(refused.error()["code"], "transport_error", "the emulator is not trusted by default");
    let file = env.emulator.ca_file().to_str().unwrap();
    assert_eq!(run(&["--ca-file", file], None).json().len(), 1);
    assert_eq!(run(&[], Some(file)).json().len(), 1);
    // The option adds to the variable.
    let other = TestEnv::new();
    let other = other.emulator.ca_file().to_str().unwrap();
    assert_eq!(run(&["--ca-file", other], Some(file)).json().len(), 1);
    assert_eq!(run(&["--ca-file", file], Some(other)).json().len(), 1);
}

#[test]
fn cli_08_timeout_of_every_command() {
    let stalls = |step| TestEnv::with(|emulator| emulator.fault(Fault::stall(step).always()));
    let metadata = stalls(Step::ImdsToken);
    let tokens = stalls(Step::Token);
    let resource = stalls(Step::Resource);
    let probes = stalls(Step::PlatformMetadata);
    let authority = format!("{}/contoso.example", tokens.emulator.token_url());
    let app_token = [
        "app-token",
        "--authority",
        &authority,
        "--client-id",
        "x",
        "--scope",
        "s",
        "--client-secret-env",
        "SECRET",
    ];
    let call = ["call", resource.emulator.resource_url(), "--resource", RESOURCE];
    for (env, arguments) in [
        (&metadata, TOKEN),
        (&tokens, POP),
        (&tokens, &app_token),
        (&resource, &call),
        (&probes, &["doctor"]),
        // stdin stays empty.
        (&metadata, &["inspect", "-"]),
        (&metadata, &["serve"]),
        (&metadata, &["proxy", "--to", "https://x.example", "--resource", RESOURCE]),
        (&metadata, &["emulate"]),
        (&metadata, &["exec", "--", "/bin/sleep", "60"]),
    ] {
        let mut command = env.symbolon();
        command.env("SECRET", "s").env("HTTPS_PROXY", CLOSED);
        command.args(["--timeout", "0.3", "--output", "json"]).args(arguments);
        let ran = run_with_open_stdin(&mut command).unwrap();
        let last: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        assert_eq!((ran.code, &last["error"]["code"]), (1, &"timeout".into()), "{arguments:?} {ran:?}");
    }
}

#[test]
fn cli_09_logs_go_to_stderr() {
    let env = TestEnv::new();
    let names = |ran: &RunResult| ran.json()[0].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let run = |log: Option<&str>| {
        let mut command = env.symbolon();
        command.envs(log.map(|log| ("RUST_LOG", log))).args(POP).args(["--output", "json"]);
        RunResult::of(command.output().unwrap())
    };
    let (quiet, verbose) = (run(None), run(Some("symbolon_binding=debug")));
    assert_eq!((names(&quiet), quiet.stdout.lines().count()), (names(&verbose), 1));
    assert_eq!((quiet.stderr.as_str(), verbose.stdout.lines().count()), ("", 1));
    assert!(verbose.stderr.contains("DEBUG") && verbose.stderr.contains("symbolon_binding"), "{verbose:?}");
    assert!(!verbose.stderr.contains("symbolon_hyper"), "it is a filter: {}", verbose.stderr);
}

#[test]
fn cli_10_success_leaves_stderr_empty() {
    let env = TestEnv::new();
    let token = token_of(&env);
    for mut command in text_commands(&env, &token) {
        let ran = RunResult::of(command.output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{command:?}");
    }
    let url = env.emulator.resource_url();
    let ran = env.run(&["call", url, "--resource", RESOURCE]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn cli_11_failure_leaves_stdout_empty() {
    let env = TestEnv::with(|emulator| emulator.fault(Fault::status(Step::ImdsToken, 400).always()));
    for arguments in [
        TOKEN,
        &["token", "--resource", RESOURCE, "--output", "header"],
        &["token", "--resource", RESOURCE, "--output", "json", "--count", "3"],
        &["call", "https://vault.example/", "--resource", RESOURCE],
        &["app-token", "--authority", "https://x/y", "--client-id", "x", "--scope", "s"],
        &["inspect", "opaque"],
        &["doctor", "--ca-file", "/nonexistent"],
        &["emulate", "--faults", "/nonexistent"],
        &["serve", "--listen", "0.0.0.0:0"],
        &["exec", "--", "/nonexistent"],
    ] {
        let ran = env.run(arguments);
        assert!(ran.code != 0 && !ran.stderr.is_empty(), "{arguments:?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
}

#[test]
fn cli_12_no_questions() {
    let env = TestEnv::with(|emulator| emulator.fault(Fault::status(Step::Resource, 401).always()));
    let url = env.emulator.resource_url();
    // A second run finds the state of the first, and does not token_request either.
    let state = tempfile::tempdir().unwrap();
    let persisted = [POP, &["--persist-binding"]].concat();
    for (arguments, code) in [
        (&["demo"][..], 0),
        (POP, 0),
        (&persisted, 0),
        (&persisted, 0),
        (&["doctor"], 0),
        (&["call", url, "--resource", RESOURCE], 1),
        (&["token", "--resource", RESOURCE, "--identity", "client-id:nobody"], 1),
        (&["token"], 2),
        (&[], 2),
    ] {
        let mut command = env.symbolon();
        let folder = state.path().join("state");
        command.env("HTTPS_PROXY", CLOSED).env("SYMBOLON_STATE_DIR", folder);
        if !arguments.is_empty() {
            command.args(arguments).args(["--timeout", "60"]);
        }
        assert_eq!(run_with_open_stdin(&mut command).unwrap().code, code, "{arguments:?}");
        if let Some(ran) = at_terminal(&command) {
            assert_eq!(ran.code, code, "{arguments:?} {}", ran.stdout);
        }
    }
}

#[cfg(unix)]
#[test]
fn cli_13_no_browser() {
    use std::os::unix::fs::PermissionsExt;

    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let opened = folder.path().join("opened");
    let browser = format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\n", opened.display());
    for name in ["xdg-open", "open", "sensible-browser", "x-www-browser", "www-browser", "gio", "firefox"] {
        let file = folder.path().join(name);
        fs::write(&file, &browser).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let with_browser = |mut command: Command| {
        command.env("PATH", folder.path()).env("BROWSER", folder.path().join("firefox"));
        command.env("DISPLAY", ":0").env("WAYLAND_DISPLAY", "wayland-0");
        command
    };
    let token = token_of(&env);
    for command in text_commands(&env, &token) {
        let ran = RunResult::of(with_browser(command).output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let mut command = emulate(folder.path());
    command.arg("--print-env");
    let (printed, _running) = RunningCommand::start(&mut with_browser(command), 2);
    assert_eq!(printed.len(), 2);
    assert!(!opened.exists(), "{}", fs::read_to_string(opened).unwrap());
}

#[test]
fn cli_19_verbosity() {
    let env = TestEnv::new();
    let run = |more: &[&str], log: Option<&str>| {
        let mut command = env.symbolon();
        command.envs(log.map(|log| ("RUST_LOG", log))).args(POP).args(more);
        RunResult::of(command.output().unwrap())
    };
    for (more, log, levels) in [
        (&["-v"][..], None, &["INFO"][..]),
        (&["-vv"], None, &["INFO", "DEBUG"]),
        (&["-v", "-v", "--verbose"], None, &["INFO", "DEBUG"]),
        (&["-vv"], Some("off"), &[]),
    ] {
        let ran = run(more, log);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        for level in ["INFO", "DEBUG"] {
            assert_eq!(ran.stderr.contains(level), levels.contains(&level), "{more:?} {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("eyJ"), "{}", ran.stderr);
    }
    assert_eq!(run(&["-v", "--quiet"], None).code, 2);
}

/// The waits are 1, 2 and 4 seconds, with jitter.
#[test]
fn cli_20_to_21_waits_are_reported() {
    for (more, is_reported) in [(&[][..], true), (&["--quiet"], false)] {
        let fault = Fault::status(Step::ImdsToken, 503).times(3);
        let env = TestEnv::with(|emulator| emulator.fault(fault));
        let mut command = env.symbolon();
        command.env("SYMBOLON_RETRY_SCALE", "1").args(TOKEN).args(more);
        let ran = RunResult::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(ran.stderr.contains("response: HTTP 503; attempt 4 in "), is_reported, "{}", ran.stderr);
        assert!(
            !ran.stderr.contains("attempt 2 in ") && (is_reported || ran.stderr.is_empty()),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn cli_20_quiet_emulator_logs_no_requests() {
    let folder = tempfile::tempdir().unwrap();
    for (more, is_quiet) in [(&[][..], false), (&["--quiet"], true)] {
        let mut command = emulate(folder.path());
        command.args(["--output", "json", "--timeout", "3"]).args(more);
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        let variables: Value = serde_json::from_str(&line).unwrap();
        let mut token = symbolon();
        token.envs(
            variables.as_object().unwrap().iter().filter_map(|(name, value)| Some((name, value.as_str()?))),
        );
        assert_eq!(RunResult::of(token.args(TOKEN).output().unwrap()).code, 0);
        let ran = RunResult::of(child.wait_with_output().unwrap());
        assert_eq!(ran.stderr.contains("imds-token"), !is_quiet, "{}", ran.stderr);
    }
}
