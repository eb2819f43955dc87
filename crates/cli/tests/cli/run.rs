//! Running the command.

use std::path::PathBuf;
#[cfg(unix)]
use std::process::Child;
use std::process::{Command, Output};

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
