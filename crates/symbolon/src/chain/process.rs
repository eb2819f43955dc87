//! A child process that is killed when its future is dropped.
//!
//! A dedicated thread waits for it, so that it works with any runtime and without one.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use symbolon_types::Secret;
use tokio::sync::oneshot;

use super::output_pipe::{OutputPipe, wait_for_output};

/// Maximum length of stdout. A token of a user in many groups has about ten thousand characters.
const MAX_STDOUT: usize = 256 * 1024;
/// Maximum length of stderr that is kept.
const MAX_STDERR: usize = 16 * 1024;
/// Interval between checks for the exit of a child.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Maximum number of such intervals, a second in all, for which the pipes are read after the exit
/// of the child. A process that it left behind, such as one that sends telemetry, can keep them
/// open for as long as it runs.
const ROUNDS_AFTER_EXIT: usize = 200;

/// The result of a child process that ended.
#[derive(Debug)]
pub(super) struct ProcessOutput {
    pub(super) is_success: bool,
    pub(super) stdout: Secret,
    /// The child printed more than the maximum and was killed.
    pub(super) is_too_long: bool,
    pub(super) stderr: String,
}

/// Runs a program to its end. Dropping the future kills it, on Unix with all children that are
/// still in its process group.
pub(super) async fn run(command: Command) -> io::Result<ProcessOutput> {
    let child = SharedChild::default();
    let _kill_on_drop = KillOnDrop(child.clone());
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("symbolon-tool".into()).spawn(move || {
        // The receiver may have been dropped.
        let _result = sender.send(child.run(command));
    })?;
    receiver
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the thread that waits for the child ended early")))
}

/// A child that can be killed at any time, also before it is started.
#[derive(Clone, Debug, Default)]
struct SharedChild(Arc<Mutex<ChildState>>);

#[derive(Debug, Default)]
struct ChildState {
    /// Present from start until exit. During that time its process id cannot be reused.
    child: Option<Child>,
    is_killed: bool,
}

impl SharedChild {
    fn state(&self) -> MutexGuard<'_, ChildState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut command: Command) -> io::Result<ProcessOutput> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let (stdout, stderr) = {
            let mut state = self.state();
            if state.is_killed {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let mut child = command.spawn()?;
            let pipes = (child.stdout.take(), child.stderr.take());
            state.child = Some(child);
            pipes
        };
        let stdout = OutputPipe::new(stdout, MAX_STDOUT + 1);
        let stderr = OutputPipe::new(stderr, MAX_STDERR);
        let result = stdout.and_then(|stdout| self.collect(stdout, stderr?));
        if !matches!(result, Ok(ProcessOutput { is_too_long: false, .. })) {
            self.kill();
            // It does not stay a zombie.
            while matches!(self.try_wait(), Ok(None)) && self.state().child.is_some() {
                thread::park_timeout(POLL_INTERVAL);
            }
        }
        result
    }

    /// Reads the output until the child has ended and its pipes are closed, or have been open for
    /// too long after the end.
    fn collect(&self, mut stdout: OutputPipe, mut stderr: OutputPipe) -> io::Result<ProcessOutput> {
        let mut status = None;
        let mut rounds_after_exit = 0;
        loop {
            wait_for_output(&[&stdout, &stderr], POLL_INTERVAL);
            stdout.read()?;
            // After a read error, the text up to the error is kept.
            let _result = stderr.read();
            let is_open = stdout.is_open() || stderr.is_open();
            let is_over = status.is_some() && (!is_open || rounds_after_exit == ROUNDS_AFTER_EXIT);
            if is_over || stdout.len() > MAX_STDOUT {
                break;
            }
            match status {
                Some(_) => rounds_after_exit += 1,
                None => status = self.try_wait()?,
            }
        }
        let is_too_long = stdout.len() > MAX_STDOUT;
        Ok(ProcessOutput {
            is_success: status.is_some_and(|status: ExitStatus| status.success()),
            stdout: Secret::new(String::from_utf8(stdout.into_text()).unwrap_or_default()),
            is_too_long,
            stderr: String::from_utf8_lossy(&stderr.into_text()).into_owned(),
        })
    }

    /// Returns the status of the child once it has ended.
    fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let mut state = self.state();
        let Some(child) = &mut state.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            state.child = None;
        }
        Ok(status)
    }

    fn kill(&self) {
        let mut state = self.state();
        state.is_killed = true;
        if let Some(child) = &mut state.child {
            #[cfg(unix)]
            let _result = rustix::process::kill_process_group(
                rustix::process::Pid::from_child(child),
                rustix::process::Signal::KILL,
            );
            // The child may have ended already.
            let _result = child.kill();
        }
    }
}

#[derive(Debug)]
struct KillOnDrop(SharedChild);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}
