//! A running server.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::accept::accept_connections;
use crate::handler::Handler;
use crate::listener::Listener;
#[cfg(unix)]
use crate::listener::SocketFile;
use crate::settings::ServerSettings;

/// A running server. Dropping it stops it at once; [`stop`](Self::stop) lets pending requests
/// finish.
#[derive(Debug)]
pub struct Server {
    address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    #[cfg(unix)]
    file: Option<SocketFile>,
}

impl Server {
    /// Starts serving in the current Tokio runtime.
    pub fn start(listener: Listener, handler: Arc<dyn Handler>, settings: ServerSettings) -> Self {
        let (stop, stopped) = watch::channel(false);
        let address = listener.address();
        #[cfg(unix)]
        let file = listener.file;
        let task = tokio::spawn(accept_connections(listener.socket, handler, settings, stopped));
        Self {
            address,
            stop,
            task,
            #[cfg(unix)]
            file,
        }
    }

    /// Returns the address; `None` for a Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Accepts no more connections, and returns when pending requests are answered, or after the
    /// [grace period](ServerSettings::grace_period).
    pub async fn stop(mut self) {
        // Sending fails if the task has already ended.
        let _sent = self.stop.send(true);
        // Joining fails if the task panicked, which ends it as well.
        let _ended = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        #[cfg(unix)]
        drop(self.file.take());
    }
}
