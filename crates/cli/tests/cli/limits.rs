//! Output that cannot be written, and limits of the process.

use std::fs::{self, File};
use std::io::pipe;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::run::{RunResult, TestEnv, skip_without, symbolon};

const RESOURCE: &str = "https://vault.azure.net";
/// The client that the emulator knows, and its secret.
const CLIENT: (&str, &str) = ("d3adb33f-c0de-ed0c-c0de-deadb33fc0d3", "p@ss&word");
const JWT: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.";

/// Returns the command lines of all commands that print a result.
fn printing_commands(env: &TestEnv) -> Vec<Vec<String>> {
    let url = env.emulator.resource_url();
    let authority = format!("{}/{}", env.emulator.token_url(), env.emulator.tenant_id());
    let token = ["token", "--resource", RESOURCE, "--key", "p-256"];
    let secret = [
        "--client-id",
        CLIENT.0,
        "--scope",
        "https://vault.azure.net/.default",
        "--client-secret-env",
        "SECRET",
    ];
    let app_token = [&["app-token", "--authority", &authority][..], &secret].concat();
    let lines: &[&[&str]] = &[
        &token,
        &[&token[..], &["--output", "header"]].concat(),
        &app_token,
        &["call", url, "--resource", RESOURCE, "--key", "p-256", "--include"],
        &["demo"],
        &["doctor"],
        &["inspect", JWT],
        &["explain", "invalid_client"],
        &["emulate"],
        &["emulate", "--print-env"],
        &["serve"],
        &["proxy", "--to", url, "--resource", RESOURCE],
    ];
    let json = lines.iter().map(|line| [*line, &["--output", "json"]].concat());
    let lines = lines.iter().map(|line| line.to_vec()).chain(json.filter(|line| !line.contains(&"header")));
    lines.map(|line| line.into_iter().map(str::to_owned).collect()).collect()
}

fn at_emulator(env: &TestEnv) -> Command {
    let mut command = env.symbolon();
    // A closed port, so that no request leaves this machine.
    command.env("SECRET", CLIENT.1).env("HTTPS_PROXY", "http://127.0.0.1:9");
    command
}

/// Runs a command; asserts that its exit code is documented and that it printed no panic.
fn run(command: &mut Command) -> RunResult {
    let ran = RunResult::of(command.stderr(Stdio::piped()).output().unwrap());
    assert!(matches!(ran.code, 0..=3 | 141), "{command:?} {ran:?}");
    for text in ["panicked at", "RUST_BACKTRACE", "internal error"] {
        assert!(!ran.stderr.contains(text), "{command:?} {}", ran.stderr);
    }
    ran
}

#[test]
fn cli_15_output_that_cannot_be_written() {
    let env = TestEnv::with(|emulator| emulator.application(CLIENT.0, CLIENT.1));
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let closed = || {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let help = [&["--help"][..], &["--version"], &["token", "--help"], &["completions", "bash"]];
    for line in printing_commands(&env) {
        let ran = run(at_emulator(&env).args(&line).stdout(full()));
        assert_eq!(ran.code, 1, "{line:?} {ran:?}");
        assert!(ran.stderr.contains("could not be written to stdout; "), "{line:?} {}", ran.stderr);
        assert!(ran.stderr.contains("free some space"), "{line:?} {}", ran.stderr);
        if line.contains(&"json".to_owned()) {
            let last: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
            assert_eq!(last["error"]["code"], "local_error", "{line:?}");
        }
        // The reader has what it needs, as with `symbolon doctor | head -1`.
        let ran = run(at_emulator(&env).args(&line).stdout(closed()));
        assert_eq!(ran.code, 141, "{line:?} {ran:?}");
        assert!(!ran.stderr.contains("error") && !ran.stderr.contains("stdout"), "{line:?} {}", ran.stderr);
    }
    for line in help {
        let ran = run(symbolon().args(line).stdout(full()));
        assert_eq!(ran.code, 1, "{line:?} {ran:?}");
        assert!(ran.stderr.contains("could not be written to stdout; "), "{line:?} {}", ran.stderr);
        let ran = run(symbolon().args(line).stdout(closed()));
        assert_eq!((ran.code, ran.stderr.as_str()), (141, ""), "{line:?}");
    }
    // Without stderr, the exit code is all that is left.
    for (line, code) in [(&["explain", "nothing"][..], 2), (&["--nothing"], 2), (&["inspect", JWT], 0)] {
        for log in ["off", "trace"] {
            let mut command = symbolon();
            command.args(line).env("RUST_LOG", log).stderr(full()).stdout(Stdio::null());
            assert_eq!(command.status().unwrap().code(), Some(code), "{line:?}");
        }
    }
}

#[test]
fn cli_16_closed_stdin_is_empty() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" inspect - --output json <&-", env!("CARGO_BIN_EXE_symbolon")]);
    let ran = run(&mut shell);
    assert_eq!((ran.code, &ran.error()["code"]), (2, &"invalid_token".into()));
}

#[test]
fn cli_17_few_descriptors() {
    let env = TestEnv::with(|emulator| emulator.application(CLIENT.0, CLIENT.1));
    for limit in [4, 6, 8, 10, 16] {
        for line in printing_commands(&env) {
            let is_text = !line.contains(&"json".to_owned());
            if !is_text || !["token", "demo", "doctor", "inspect"].contains(&line[0].as_str()) {
                continue;
            }
            let command = at_emulator(&env);
            let mut shell = Command::new("sh");
            shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
            run(shell.args(["-c", &script, env!("CARGO_BIN_EXE_symbolon")]).args(&line));
        }
    }
}

/// The limit does not apply to root, which runs the command as another user.
#[test]
fn cli_18_no_more_threads() {
    let env = TestEnv::with(|emulator| emulator.application(CLIENT.0, CLIENT.1));
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.path().join("symbolon");
    fs::copy(env!("CARGO_BIN_EXE_symbolon"), &program).unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::copy(env.emulator.ca_file(), &ca_file).unwrap();
    fs::set_permissions(&ca_file, PermissionsExt::from_mode(0o644)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    for line in printing_commands(&env) {
        if ["emulate", "proxy", "serve"].contains(&line[0].as_str()) {
            continue;
        }
        let command = at_emulator(&env);
        let mut limited = if is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "prlimit"]);
            command
        } else {
            Command::new("prlimit")
        };
        limited.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        limited.env("PATH", "/usr/bin:/bin").env("SSL_CERT_FILE", &ca_file);
        limited.args(["--nproc=1", "--"]).arg(&program);
        if Command::new(limited.get_program()).arg("--version").output().is_err() {
            return skip_without("setpriv or prlimit");
        }
        let ran = run(limited.args(&line));
        if line[0] == "inspect" || line[0] == "explain" {
            assert_eq!(ran.code, 0, "{line:?} {ran:?}");
        }
    }
}
