//! Signals that end a command.

#[cfg(unix)]
use rustix::process::Signal;
use symbolon::Error;
#[cfg(unix)]
use tokio::signal::unix::{self, SignalKind};

use crate::failure;

const NOT_CAUGHT: &str = "the command cannot listen for signals";

/// A listener for SIGINT, SIGTERM and SIGHUP, or for Ctrl-C on Windows.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: unix::Signal,
    #[cfg(unix)]
    terminate: unix::Signal,
    #[cfg(unix)]
    hang_up: unix::Signal,
    #[cfg(not(unix))]
    ctrl_c: tokio::signal::windows::CtrlC,
}

impl Signals {
    /// Starts listening. From now on, the signals do not end the process by themselves.
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Self, Error> {
        let listen = |kind| unix::signal(kind).map_err(|error| failure::local(NOT_CAUGHT, error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }

    /// Returns true for SIGHUP.
    #[cfg(unix)]
    pub(crate) fn is_hang_up(signal: &Signal) -> bool {
        *signal == Signal::HUP
    }

    /// Returns at the next signal other than SIGHUP.
    pub(crate) async fn next_end(&mut self) {
        while Self::is_hang_up(&self.next().await) {}
    }

    #[cfg(not(unix))]
    pub(crate) fn is_hang_up((): &()) -> bool {
        false
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> Result<Self, Error> {
        let ctrl_c = tokio::signal::windows::ctrl_c();
        Ok(Self { ctrl_c: ctrl_c.map_err(|error| failure::local(NOT_CAUGHT, error))? })
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        self.ctrl_c.recv().await;
    }
}
