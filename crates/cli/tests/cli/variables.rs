//! `--env-file` of `serve` and `proxy`.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::run::{RunResult, TestEnv, symbolon};

const RESOURCE: &str = "https://vault.azure.net";
const SECRETS: [(&str, &str); 2] = [("serve", "IDENTITY_HEADER"), ("proxy", "SYMBOLON_PROXY_SECRET")];

/// A running server whose variables are in a file.
struct FileServer(Child);

impl FileServer {
    /// Starts a server, and returns it with the content of the file once that was replaced.
    fn start(env: &TestEnv, name: &str, file: &Path) -> (HashMap<String, String>, Self) {
        let before = fs::metadata(file).ok().map(|found| found.modified().unwrap());
        let mut command = command(env, name, file);
        let mut server = Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        while fs::metadata(file).ok().map(|found| found.modified().unwrap()) == before {
            assert!(server.0.try_wait().unwrap().is_none(), "{name} ended");
            thread::yield_now();
        }
        let text = fs::read_to_string(file).unwrap();
        let pairs = text.lines().map(|line| line.split_once('=').unwrap());
        (pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), server)
    }

    /// Kills the server and returns what it printed.
    fn kill(mut self) -> String {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        std::io::read_to_string(self.0.stdout.take().unwrap()).unwrap()
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn command(env: &TestEnv, name: &str, file: &Path) -> Command {
    let mut command = env.symbolon();
    command.args([name, "--env-file"]).arg(file);
    if name == "proxy" {
        command.args(["--to", env.emulator.resource_url(), "--resource", RESOURCE, "--key", "p-256"]);
    }
    command
}

#[test]
fn vars_01_file_for_shells() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    for (name, secret) in SECRETS {
        let file = folder.path().join(name);
        let (variables, server) = FileServer::start(&env, name, &file);
        assert_eq!((variables.len(), variables[secret].len()), (2, 43), "{name}");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640, "{name}");
        if name == "serve" {
            let script = r#". "$1" && export IDENTITY_ENDPOINT IDENTITY_HEADER && exec "$2" token --output json --resource "$3""#;
            let mut shell = Command::new("/bin/sh");
            shell.env_clear().args(["-ec", script, "sh"]).arg(&file);
            shell.args([env!("CARGO_BIN_EXE_symbolon"), RESOURCE]);
            let ran = RunResult::of(shell.output().unwrap());
            assert_eq!(ran.json()[0]["client_id"], env.emulator.client_id());
        }
        assert_eq!(server.kill(), "", "{name}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn vars_01_socket_with_unusual_path() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let (socket, file) = (folder.path().join("it's a socket"), folder.path().join("env"));
    let mut command = command(&env, "proxy", &file);
    let child = command.arg("--unix").arg(&socket).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let server = FileServer(child.unwrap());
    while !file.exists() {
        thread::yield_now();
    }
    let script = r#". "$1" && printf %s "$SYMBOLON_PROXY_SOCKET""#;
    let printed = Command::new("/bin/sh").args(["-ec", script, "sh"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), socket.to_str().unwrap());
    drop(server);
}

#[test]
fn vars_02_secret_of_the_last_run() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    for (name, secret) in SECRETS {
        let file = folder.path().join(name);
        let start = || {
            let (variables, server) = FileServer::start(&env, name, &file);
            drop(server);
            variables[secret].clone()
        };
        let first = start();
        assert_eq!(start(), first, "{name}");
        for broken in [String::new(), format!("{secret}=short\n"), format!("{secret}={first}'\n")] {
            fs::write(&file, &broken).unwrap();
            let next = start();
            assert!(next.len() == 43 && next != first, "{name}: {broken}");
        }
        fs::remove_file(&file).unwrap();
        assert_ne!(start(), first, "{name}");
    }
}

#[test]
fn vars_03_file_of_another_user() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    let secret = "x".repeat(43);
    for (name, variable) in SECRETS {
        let refused = |file: &Path, reason: &str| {
            let ran = RunResult::of(command(&env, name, file).args(["--output", "json"]).output().unwrap());
            let message = ran.error()["message"].as_str().unwrap().to_owned();
            assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")), "{name}");
            assert!(message.contains(reason) && message.contains(file.to_str().unwrap()), "{message}");
            assert!(!ran.stderr.contains(&secret), "{}", ran.stderr);
        };
        let text = format!("{variable}={secret}\n");
        let written = |file: &str, mode: u32| {
            let file = folder.path().join(file);
            fs::write(&file, &text).unwrap();
            fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            file
        };
        refused(&written("group", 0o660), "other users can write to it");
        refused(&written("all", 0o602), "other users can write to it");
        refused(folder.path(), "not a file");
        refused(&folder.path().join("missing/file"), "No such file");
        let link = folder.path().join("link");
        let _earlier = fs::remove_file(&link);
        symlink(written("own", 0o600), &link).unwrap();
        refused(&link, "symbolic links");
        if rustix::process::geteuid().is_root() {
            let other = written("other", 0o600);
            chown(&other, Some(65_534), None).unwrap();
            refused(&other, "belongs to another user");
        }
        // An own file with this secret is used.
        let (variables, _server) = FileServer::start(&env, name, &own);
        assert_eq!(variables[variable], secret);
        let second = RunResult::of(symbolon().args([name, "--env-file"]).output().unwrap());
        assert_eq!(second.code, 2, "{}", second.stderr);
    }
}
