//! Running the command.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use symbolon_emulator::{Emulator, EmulatorBuilder};
use tempfile::TempDir;

/// The members of an error in JSON, in their order.
pub(crate) const ERROR_MEMBERS: [&str; 9] = [
    "causes",
    "code",
    "correlation_id",
    "error_codes",
    "message",
    "retry_after",
    "retryable",
    "service_message",
    "status",
];

/// Returns the command with an empty environment.
pub(crate) fn symbolon() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    command.env_clear();
    command
}

/// Returns `symbolon emulate`, which keeps its files in this folder.
pub(crate) fn emulate(folder: &Path) -> Command {
    let mut command = symbolon();
    command.envs(emulator_folder(folder)).arg("emulate");
    command
}

/// Returns variables by which `symbolon emulate` keeps its files in this folder. The command
/// creates the folder for caches, with mode 0700 whatever the umask is.
fn emulator_folder(folder: &Path) -> [(&'static str, PathBuf); 2] {
    [("XDG_CACHE_HOME", folder.join("cache")), ("LOCALAPPDATA", folder.to_owned())]
}

/// An emulator and a temporary folder.
pub(crate) struct TestEnv {
    pub(crate) emulator: Emulator,
    folder: TempDir,
}

impl TestEnv {
    pub(crate) fn new() -> Self {
        Self::with(|emulator| emulator)
    }

    pub(crate) fn with(setup: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let emulator = runtime.block_on(setup(Emulator::builder()).start()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { emulator, folder }
    }

    /// Returns the command with variables that select the emulator. Another emulator keeps its
    /// files in a temporary folder.
    pub(crate) fn symbolon(&self) -> Command {
        let mut command = symbolon();
        command.envs(self.emulator.environment()).env("SYMBOLON_RETRY_SCALE", "0");
        command.envs(emulator_folder(self.folder.path()));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> RunResult {
        RunResult::of(self.symbolon().args(arguments).output().unwrap())
    }
}

/// A running command that is killed on drop.
pub(crate) struct RunningCommand(pub(crate) Child);

impl RunningCommand {
    /// Starts a command and returns the first lines of its stdout.
    pub(crate) fn start(command: &mut Command, lines: usize) -> (Vec<String>, Self) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap());
        let running = Self(child);
        (printed.lines().take(lines).map(Result::unwrap).collect(), running)
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Runs a command on a terminal created by script(1), without any input.
pub(crate) fn at_terminal(command: &Command) -> Option<RunResult> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env_clear();
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("SHELL", "/bin/sh").env("TERM", "xterm");
    let ran = run_with_open_stdin(&mut script);
    if ran.is_none() {
        skip_without("script");
    }
    ran
}

/// Runs a command with an open stdin and no input. `None` if there is no such program.
pub(crate) fn run_with_open_stdin(command: &mut Command) -> Option<RunResult> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{error}"),
    };
    let stdin = child.stdin.take();
    let ran = RunResult::of(child.wait_with_output().unwrap());
    drop(stdin);
    Some(ran)
}

/// Reports that a test is skipped because a program is missing. In continuous integration it fails.
pub(crate) fn skip_without(what: &str) {
    assert!(symbolon::Env::process().var("CI").is_none(), "missing: {what}");
    println!("skipped: missing {what}");
}

/// Sends a signal to a child process.
#[cfg(unix)]
pub(crate) fn signal(child: &Child, signal: Signal) {
    let id = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

/// The output and exit code of a command.
#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl RunResult {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Returns the lines of stdout as JSON. Panics if the command failed.
    pub(crate) fn json(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the error in the last line of stderr. Panics if the command succeeded.
    pub(crate) fn error(&self) -> Value {
        assert!(self.code != 0 && self.stdout.is_empty(), "{self:?}");
        let last: Value = serde_json::from_str(self.stderr.lines().last().unwrap()).unwrap();
        last["error"].clone()
    }
}
