//! A child process that is killed when its future is dropped.
//!
//! Dedicated threads wait for it, so that it works with any runtime and without one.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use symbolon_types::Secret;
use tokio::sync::oneshot;

/// Maximum length of stdout. A token of a user in many groups has about ten thousand characters.
const MAX_STDOUT: usize = 256 * 1024;
/// Maximum length of stderr that is kept.
const MAX_STDERR: usize = 16 * 1024;
/// Interval between checks for the exit of a child that has closed its stdout.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

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
        let stderr = thread::Builder::new().name("symbolon-tool-stderr".into()).spawn(move || {
            let mut text = Vec::new();
            if let Some(mut pipe) = stderr {
                // After a read error, the text up to the error is kept.
                let _result = pipe.by_ref().take(MAX_STDERR as u64).read_to_end(&mut text);
                let _result = io::copy(&mut pipe, &mut io::sink());
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        // With the full capacity, so that growth leaves no copy of a token behind.
        let mut text = Vec::with_capacity(MAX_STDOUT + 1);
        let read = match stdout {
            Some(pipe) => pipe.take(MAX_STDOUT as u64 + 1).read_to_end(&mut text),
            None => Ok(0),
        };
        let stdout = Secret::new(String::from_utf8(text).unwrap_or_default());
        let is_too_long = read.as_ref().is_ok_and(|length| *length > MAX_STDOUT);
        if is_too_long || read.is_err() || stderr.is_err() {
            self.kill();
        }
        let is_success = self.wait()?;
        read?;
        let stderr = stderr?.join().unwrap_or_default();
        Ok(ProcessOutput { is_success, stdout, is_too_long, stderr })
    }

    /// Waits for the exit of a child that has closed its stdout. Returns true if it succeeded.
    fn wait(&self) -> io::Result<bool> {
        loop {
            let mut state = self.state();
            let Some(child) = &mut state.child else { return Ok(false) };
            if let Some(status) = child.try_wait()? {
                state.child = None;
                return Ok(status.success());
            }
            drop(state);
            thread::park_timeout(POLL_INTERVAL);
        }
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
