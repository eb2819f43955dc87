//! `symbolon binding renew --daemon`.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use symbolon_emulator::{Fault, Step};

use crate::binding::{HandoverEnv, assert_pair};
use crate::run::signal;

/// A running `binding renew --daemon`.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Daemon {
    pub(crate) fn start(env: &HandoverEnv, arguments: &[&str]) -> Self {
        let files = ["--cert", "tls/cert.pem", "--key", "tls/key.pem"];
        let mut command =
            env.symbolon(&["binding", "renew", "--daemon", "--key-type", "p-256", "--output", "json"]);
        command.args(files).args(arguments);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stdout, stderr }
    }

    /// Returns the next certificate that was written.
    pub(crate) fn next(&mut self) -> Value {
        serde_json::from_str(&self.stdout.next().unwrap().unwrap()).unwrap()
    }

    /// Reads the log up to a line with this text.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let mut seen = String::new();
        for line in &mut self.stderr {
            let line = line.unwrap();
            if line.contains(text) {
                return line;
            }
            seen += &line;
            seen.push('\n');
        }
        panic!("the log has no {text:?}:\n{seen}");
    }

    pub(crate) fn stop(mut self, with: Signal) -> Option<i32> {
        signal(&self.child, with);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn bnd_09_command_runs_once_for_each_certificate() {
    let env = HandoverEnv::new();
    let renew = |more: &[&str]| {
        env.binding(&[&["renew", "--cert", "tls/cert.pem", "--key", "tls/key.pem"], more].concat())
    };
    let command = "test -e ready && cat tls/cert.pem >> seen && echo on-stdout";
    let shell = ["--shell", "--exec", command];
    let failed = renew(&shell);
    assert_eq!((failed.code, failed.error()["code"].as_str()), (1, Some("reload_failed")));
    assert!(failed.stderr.contains("exit status: 1"), "{}", failed.stderr);
    fs::write(env.path("ready"), "").unwrap();
    for _ in 0..2 {
        let ran = renew(&shell);
        assert_eq!(ran.json()[0]["changed"], false);
        assert_eq!(env.read("seen"), env.read("tls/cert.pem"));
    }
    let first = env.read("seen");
    let forced = renew(&[&shell[..], &["--force"]].concat());
    assert_eq!((forced.code, forced.stdout.lines().count()), (0, 1), "{}", forced.stdout);
    assert_eq!(env.read("seen"), first + &env.read("tls/cert.pem"));
    // Without a shell, the words are arguments.
    let ran = renew(&["--exec", "cp tls/cert.pem copied"]);
    assert_eq!((ran.code, env.read("copied")), (0, env.read("tls/cert.pem")), "{}", ran.stderr);
    let ran = renew(&["--exec", "/nonexistent/program x"]);
    assert_eq!((ran.code, ran.error()["code"].as_str()), (1, Some("reload_failed")));
    assert!(ran.error()["causes"][0].as_str().unwrap().contains("No such file"), "{}", ran.stderr);
}

// Certificates of two seconds are due after one.
#[test]
fn bnd_10_renewal_at_half_of_the_lifetime() {
    let env = HandoverEnv::with(|emulator| {
        emulator.certificate_lifetime(Duration::from_secs(2)).token_not_after(None)
    });
    let check = "cmp -s tls/cert.pem last; cp tls/cert.pem last";
    let mut daemon = Daemon::start(&env, &["--shell", "--exec", check]);
    let first = daemon.next();
    daemon.wait_for("notified the program");
    let key = env.read("tls/key.pem");
    let second = daemon.next();
    daemon.wait_for("wrote the certificate");
    daemon.wait_for("notified the program");
    assert_ne!(first["x5t#S256"], second["x5t#S256"]);
    assert!(second["not_before"].as_u64() < first["not_after"].as_u64(), "it was renewed early");
    assert_eq!(env.read("tls/key.pem"), key);
    assert_pair(&env.path("tls/cert.pem"), &env.path("tls/key.pem"));
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
}

#[test]
fn bnd_11_failures_are_logged_and_retried() {
    let env =
        HandoverEnv::with(|emulator| emulator.fault(Fault::status(Step::IssueCredential, 400).times(3)));
    let mut daemon = Daemon::start(&env, &["--shell", "--exec", "test -e ready"]);
    let line = daemon.wait_for("the certificate was not renewed (there is none yet); retry in ");
    assert!(line.contains("issuecredential") || line.contains("HTTP 400"), "{line}");
    let first = daemon.next();
    let line = daemon.wait_for("the program was not notified; retry in ");
    let entry: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&entry["event"], &entry["code"]), (&"program_not_notified".into(), &"reload_failed".into()));
    assert!(line.contains("/bin/sh of --exec failed: exit status: 1"), "{line}");
    daemon.wait_for("the program was not notified");
    fs::write(env.path("ready"), "").unwrap();
    daemon.wait_for("notified the program of the certificate");
    // A renewal that fails changes no file.
    env.env.emulator.inject(Fault::status(Step::IssueCredential, 400));
    signal(&daemon.child, Signal::HUP);
    daemon.wait_for("the certificate was not renewed (the current one ends at 20");
    let second = daemon.next();
    assert_ne!(first["x5t#S256"], second["x5t#S256"]);
    assert_eq!(second["certificate"], env.read("tls/cert.pem"));
    assert_eq!(daemon.stop(Signal::INT), Some(0));
}

// A certificate that could not be written is written later, and not requested again.
#[test]
fn bnd_11_lost_folder() {
    let env = HandoverEnv::new();
    let mut daemon = Daemon::start(&env, &[]);
    let first = daemon.next();
    fs::rename(env.path("tls"), env.path("moved")).unwrap();
    signal(&daemon.child, Signal::HUP);
    daemon.wait_for("could not write ");
    fs::rename(env.path("moved"), env.path("tls")).unwrap();
    let second = daemon.next();
    assert_ne!(first["x5t#S256"], second["x5t#S256"]);
    assert_eq!((env.issued(), second["certificate"].as_str()), (2, Some(&*env.read("tls/cert.pem"))));
}

#[test]
fn bnd_12_signals_and_a_killed_daemon() {
    let env = HandoverEnv::new();
    for with in [Signal::TERM, Signal::INT] {
        let command = "echo started 1>&2; sleep 5; echo survived 1>&2";
        let mut daemon = Daemon::start(&env, &["--shell", "--exec", command]);
        daemon.wait_for("started");
        signal(&daemon.child, with);
        // The log ends when all processes of the command have ended.
        let rest: Vec<String> = daemon.stderr.by_ref().map(Result::unwrap).collect();
        assert!(rest.len() == 1 && rest[0].contains("\"event\":\"stopping\""), "{rest:?}");
        assert_eq!(daemon.child.wait().unwrap().code(), Some(0), "also while a command runs");
    }
    // Killed after the files were written, before the command has ended.
    let mut daemon = Daemon::start(&env, &["--shell", "--exec", "echo run >> runs; test -e ready"]);
    daemon.wait_for("the program was not notified");
    drop(daemon);
    let runs = env.read("runs").lines().count();
    fs::write(env.path("ready"), "").unwrap();
    let mut daemon = Daemon::start(&env, &["--shell", "--exec", "echo run >> runs; test -e ready"]);
    daemon.wait_for("notified the program");
    assert!(env.read("runs").lines().count() > runs);
    assert_eq!(env.issued(), 1);
    signal(&daemon.child, Signal::HUP);
    let replaced = daemon.next();
    assert_eq!(replaced["x5t#S256"], env.last_thumbprint());
    daemon.wait_for("notified the program");
    drop(daemon);
    // Nothing is left of an attempt, and a new process does not notify again.
    let runs = env.read("runs").lines().count();
    let mut daemon = Daemon::start(&env, &["--shell", "--exec", "echo run >> runs; test -e ready"]);
    signal_when_running(&mut daemon);
    assert_eq!(daemon.next()["changed"], true);
    daemon.wait_for("notified the program");
    assert_eq!(env.read("runs").lines().count(), runs + 1);
    let mut names: Vec<_> =
        fs::read_dir(env.path("tls")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["cert.pem", "key.pem"]);
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
}

/// Requests a replacement once the daemon handles signals. Until then, SIGHUP would end it.
fn signal_when_running(daemon: &mut Daemon) {
    let status = format!("/proc/{}/status", daemon.child.id());
    loop {
        let text = fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        if u64::from_str_radix(caught.trim(), 16).unwrap() & 1 != 0 {
            break;
        }
        std::thread::yield_now();
    }
    signal(&daemon.child, Signal::HUP);
}

#[test]
fn bnd_17_daemon_of_a_service_manager() {
    let env =
        HandoverEnv::with(|emulator| emulator.fault(Fault::status(Step::IssueCredential, 400).times(2)));
    let socket = std::os::unix::net::UnixDatagram::bind(env.path("notify")).unwrap();
    let renew = ["binding", "renew", "--daemon", "--cert", "tls/cert.pem", "--key-type", "p-256"];
    let mut command = env.symbolon(&renew);
    command.env("NOTIFY_SOCKET", env.path("notify")).env("WATCHDOG_USEC", "1000000");
    let mut daemon = Daemon::of(command);
    let mut messages = Vec::new();
    while messages.iter().all(|message: &String| !message.starts_with("READY=1")) {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    // It is ready with the first certificate, which was refused twice, and alive before.
    assert_eq!(messages[0], "WATCHDOG=1");
    assert!(messages.last().unwrap().contains("STATUS=the renewal is due at 20"), "{messages:?}");
    assert!(env.path("tls/cert.pem").exists());
    // As text, the log has lines, and stdout the properties of the certificate.
    let line = daemon.wait_for("wrote the certificate");
    assert!(line.starts_with("20") && line.contains("Z wrote the certificate "), "{line}");
    let first = daemon.stdout.next().unwrap().unwrap();
    assert_eq!(first, format!("certificate   x5t#S256 {}", env.last_thumbprint().as_str().unwrap()));
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
}
