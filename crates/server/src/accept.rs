//! The accept loop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::connection::serve_connection;
use crate::exchange::{Connections, HttpProtocols};
use crate::handler::Handler;
use crate::http1::MAX_WARM;
use crate::listener::{Accepted, ListeningSocket};
use crate::settings::ServerSettings;
use crate::slots::{ConnectionLimits, ConnectionSlot};

/// Pause after a failed `accept`, which fails for example without free file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves connections until `stopped` is true, then waits for pending requests.
pub(crate) async fn accept_connections(
    listener: ListeningSocket,
    handler: Arc<dyn Handler>,
    settings: ServerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    let clock = settings.clock.clone();
    let limits = ConnectionLimits::new(settings.max_connections, settings.idle_time, clock.clone());
    let shared = Arc::new(Connections {
        protocols: HttpProtocols::new(&settings),
        handler,
        metrics: settings.metrics.clone(),
        clock: clock.clone(),
        stopped: stopped.clone(),
        warm: Arc::new(Semaphore::new(MAX_WARM)),
    });
    let mut connections = JoinSet::new();
    // A connection that waits for a slot.
    let mut waiting = None;
    let serve =
        |accepted: Accepted, slot: ConnectionSlot| serve_connection(accepted, slot, Arc::clone(&shared));
    loop {
        let next = async {
            if waiting.is_none() {
                waiting = Some(listener.accept().await?);
            }
            Ok::<_, io::Error>(limits.admit().await)
        };
        let admitted = tokio::select! {
            biased;
            // An error means that the server was dropped, which stops it as well.
            _stopped = stopped.wait_for(|stop| *stop) => break,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        match admitted {
            Ok(slot) => {
                if let Some(accepted) = waiting.take() {
                    connections.spawn(serve(accepted, slot));
                }
            }
            Err(_) => {
                let _reclaimed = limits.reclaim();
                clock.sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    // New connections are refused while pending requests finish.
    let queued = listener.into_queued();
    let finish = async {
        for accepted in waiting.into_iter().chain(queued) {
            connections.spawn(serve(accepted, limits.admit().await));
        }
        while connections.join_next().await.is_some() {}
    };
    tokio::select! {
        () = finish => {}
        () = clock.sleep(settings.grace_period) => {}
    }
}
