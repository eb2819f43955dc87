//! The accept loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::connection::serve_connection;
use crate::listener::Listener;
use crate::service::AgentService;

/// Maximum number of concurrent connections; further clients wait in the listen queue.
const MAX_CONNECTIONS: usize = 256;
/// Time that pending requests get when the agent stops.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// Pause after a failed `accept`, which fails for example without free file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves connections until `stopped` is true, then waits for pending requests.
pub(crate) async fn serve(
    listener: Listener,
    service: Arc<AgentService>,
    mut stopped: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // The semaphore is never closed.
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            biased;
            // An error means that the agent was dropped, which stops the server as well.
            _stopped = stopped.wait_for(|stop| *stop) => break,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let (service, stopped) = (Arc::clone(&service), stopped.clone());
                connections.spawn(async move {
                    serve_connection(stream, peer, service, stopped).await;
                    drop(slot);
                });
            }
            Err(_) => service.clock.sleep(ACCEPT_BACKOFF).await,
        }
    }
    // New connections are refused while pending requests finish.
    drop(listener);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = service.clock.sleep(GRACE_PERIOD) => {}
    }
}
