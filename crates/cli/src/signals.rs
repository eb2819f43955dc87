//! The signals that ask a command to end.

use symbolon::Error;

use crate::failure;

#[cfg(unix)]
pub(crate) use self::unix::Signals;
#[cfg(not(unix))]
pub(crate) use self::windows::Signals;

#[cfg(unix)]
mod unix {
    use rustix::process::Signal;
    use tokio::signal::unix::{self, SignalKind};

    use super::{Error, not_caught};

    /// SIGINT, SIGTERM, and a terminal that is closed.
    pub(crate) struct Signals {
        interrupt: unix::Signal,
        terminate: unix::Signal,
        hang_up: unix::Signal,
    }

    impl Signals {
        /// From here on they end nothing by themselves.
        pub(crate) fn listen() -> Result<Self, Error> {
            let listen = |kind| unix::signal(kind).map_err(not_caught);
            Ok(Self {
                interrupt: listen(SignalKind::interrupt())?,
                terminate: listen(SignalKind::terminate())?,
                hang_up: listen(SignalKind::hangup())?,
            })
        }

        pub(crate) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.hang_up.recv() => Signal::HUP,
            }
        }
    }
}

#[cfg(not(unix))]
mod windows {
    use super::{Error, not_caught};

    /// Ctrl-C.
    pub(crate) struct Signals(tokio::signal::windows::CtrlC);

    impl Signals {
        pub(crate) fn listen() -> Result<Self, Error> {
            tokio::signal::windows::ctrl_c().map(Self).map_err(not_caught)
        }

        pub(crate) async fn next(&mut self) {
            self.0.recv().await;
        }
    }
}

fn not_caught(error: std::io::Error) -> Error {
    failure::local("signals cannot be caught", error)
}
