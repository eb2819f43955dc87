//! The accept loop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::connection::serve_connection;
use crate::limits::ConnectionLimits;
use crate::listener::Listener;
use crate::service::AgentService;

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
    let limits = ConnectionLimits::new();
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let (stream, peer) = listener.accept().await?;
            Ok::<_, io::Error>((stream, peer, limits.admit().await))
        };
        let accepted = tokio::select! {
            biased;
            // An error means that the agent was dropped, which stops the server as well.
            _stopped = stopped.wait_for(|stop| *stop) => break,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer, slot)) => {
                let (service, stopped) = (Arc::clone(&service), stopped.clone());
                connections.spawn(serve_connection(stream, peer, slot, service, stopped));
            }
            Err(_) => {
                let _reclaimed = limits.reclaim();
                service.clock.sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    // New connections are refused while pending requests finish.
    drop(listener);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = service.clock.sleep(GRACE_PERIOD) => {}
    }
}
