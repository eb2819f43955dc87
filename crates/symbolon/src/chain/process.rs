//! A child process that is killed when nobody waits for it.
//!
//! It is waited for on threads of its own, so that it needs no runtime, and none of a certain kind.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use symbolon_types::Secret;
use tokio::sync::oneshot;

/// The most that is read of what it prints: tokens of users in many groups have some ten thousand characters.
const LONGEST_OUTPUT: usize = 256 * 1024;
/// The most that is kept of what it says about errors.
const LONGEST_ERRORS: usize = 16 * 1024;
/// How often it is looked whether it has ended, once it has closed what it writes to.
const LOOK: Duration = Duration::from_millis(2);

/// What a child left.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) is_success: bool,
    pub(super) output: Secret,
    /// There was more output than is read; it was killed.
    pub(super) is_too_long: bool,
    pub(super) errors: String,
}

/// Runs a program to its end. Dropping the future kills it, on Unix with all its children that stayed in
/// its group.
pub(super) async fn run(command: Command) -> io::Result<Ended> {
    let running = Running::default();
    let _killed = KilledOnDrop(running.clone());
    let (done, ended) = oneshot::channel();
    thread::Builder::new().name("symbolon-tool".into()).spawn(move || {
        // Nobody may be waiting any more.
        let _unheard = done.send(running.run(command));
    })?;
    ended.await.unwrap_or_else(|_| Err(io::Error::other("the thread that waited for it is gone")))
}

/// A child, from before it is started until after it was waited for.
#[derive(Clone, Debug, Default)]
struct Running(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// There from its start until it was waited for: that long, its id is nobody else's.
    child: Option<Child>,
    is_unwanted: bool,
}

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut command: Command) -> io::Result<Ended> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let (output, errors) = {
            let mut state = self.state();
            if state.is_unwanted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let mut child = command.spawn()?;
            let pipes = (child.stdout.take(), child.stderr.take());
            state.child = Some(child);
            pipes
        };
        let errors = thread::Builder::new().name("symbolon-tool-errors".into()).spawn(move || {
            let mut kept = Vec::new();
            if let Some(mut pipe) = errors {
                // What could be read is all there is to tell.
                let _partly = pipe.by_ref().take(LONGEST_ERRORS as u64).read_to_end(&mut kept);
                let _rest = io::copy(&mut pipe, &mut io::sink());
            }
            String::from_utf8_lossy(&kept).into_owned()
        });
        // With room for all of it, no copy is left behind by growing.
        let mut kept = Vec::with_capacity(LONGEST_OUTPUT + 1);
        let read = match output {
            Some(pipe) => pipe.take(LONGEST_OUTPUT as u64 + 1).read_to_end(&mut kept),
            None => Ok(0),
        };
        let output = Secret::new(String::from_utf8(kept).unwrap_or_default());
        let is_too_long = read.as_ref().is_ok_and(|length| *length > LONGEST_OUTPUT);
        if is_too_long || read.is_err() || errors.is_err() {
            self.kill();
        }
        let status = self.wait()?;
        read?;
        let errors = errors?.join().unwrap_or_default();
        Ok(Ended { is_success: status, output, is_too_long, errors })
    }

    /// Whether it ended well. It has closed its output: what is left of it is a moment, or until it is killed.
    fn wait(&self) -> io::Result<bool> {
        loop {
            let mut state = self.state();
            let Some(child) = &mut state.child else { return Ok(false) };
            if let Some(status) = child.try_wait()? {
                state.child = None;
                return Ok(status.success());
            }
            drop(state);
            thread::park_timeout(LOOK);
        }
    }

    fn kill(&self) {
        let mut state = self.state();
        state.is_unwanted = true;
        if let Some(child) = &mut state.child {
            #[cfg(unix)]
            let _gone = rustix::process::kill_process_group(
                rustix::process::Pid::from_child(child),
                rustix::process::Signal::KILL,
            );
            // It may have ended already.
            let _gone = child.kill();
        }
    }
}

/// Kills the child with whoever waits for it.
#[derive(Debug)]
struct KilledOnDrop(Running);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}
