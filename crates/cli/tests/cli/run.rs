//! Running the command.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use symbolon_emulator::{Emulator, EmulatorBuilder};
use tempfile::TempDir;

/// The command in an environment of its own.
pub(crate) fn symbolon() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    command.env_clear();
    command
}

/// An emulator, and a file with its certificate.
pub(crate) struct World {
    pub(crate) emulator: Emulator,
    pub(crate) ca_file: PathBuf,
    _folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|emulator| emulator)
    }

    pub(crate) fn with(setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let emulator = runtime.block_on(setup(Emulator::builder()).start()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = emulator.write_ca(folder.path()).unwrap();
        Self { emulator, ca_file, _folder: folder }
    }

    /// The command, pointed at the emulator by variables.
    pub(crate) fn symbolon(&self) -> Command {
        let mut command = symbolon();
        command.envs(self.emulator.environment_with_ca(&self.ca_file)).env("SYMBOLON_RETRY_SCALE", "0");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.symbolon().args(arguments).output().unwrap())
    }
}

/// A command that runs until it is told to end, which it is with the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts it, and returns the first lines of its stdout.
    pub(crate) fn start(command: &mut Command, lines: usize) -> (Vec<String>, Self) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap());
        let running = Self(child);
        (printed.lines().take(lines).map(Result::unwrap).collect(), running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The same command at a terminal, where script(1) can make one, and with somebody sitting there who says nothing.
pub(crate) fn at_terminal(command: &Command) -> Option<Ran> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env_clear();
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("SHELL", "/bin/sh").env("TERM", "xterm");
    let ran = with_a_silent_stdin(&mut script);
    if ran.is_none() {
        missing("script");
    }
    ran
}

/// Runs it with a stdin that stays open. None if there is no such program.
pub(crate) fn with_a_silent_stdin(command: &mut Command) -> Option<Ran> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{error}"),
    };
    let stdin = child.stdin.take();
    let ran = Ran::of(child.wait_with_output().unwrap());
    drop(stdin);
    Some(ran)
}

/// Says that a test is skipped, and what to install. In continuous integration, where it can be installed, it fails.
pub(crate) fn missing(what: &str) {
    assert!(symbolon::Env::process().var("CI").is_none(), "missing: {what}");
    println!("skipped: missing {what}");
}

/// Sends a signal to a process that a test started.
#[cfg(unix)]
pub(crate) fn signal(child: &Child, signal: Signal) {
    let id = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

/// What a run printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// stdout as lines of JSON, after a success.
    pub(crate) fn json(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The error in the last line of stderr, after a failure.
    pub(crate) fn error(&self) -> Value {
        assert!(self.code != 0 && self.stdout.is_empty(), "{self:?}");
        let last: Value = serde_json::from_str(self.stderr.lines().last().unwrap()).unwrap();
        last["error"].clone()
    }
}
