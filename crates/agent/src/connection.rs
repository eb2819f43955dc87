//! One HTTP/1.1 connection with limits on size and idle time.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use symbolon::SharedClock;
use tokio::sync::watch;

use crate::listener::ClientStream;
use crate::record::Peer;
use crate::service::AgentService;

/// Maximum time without a complete request, after connecting and after each response.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a request head: several times a resource id, a resource and a secret.
const MAX_HEAD_SIZE: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Serves one connection until the client closes it, it is idle too long, or the agent stops.
pub(crate) async fn serve_connection(
    stream: Box<dyn ClientStream>,
    peer: Peer,
    service: Arc<AgentService>,
    mut stopped: watch::Receiver<bool>,
) {
    let activity = Arc::new(Activity::default());
    let clock = service.clock.clone();
    let counter = Arc::clone(&activity);
    let handler = service_fn(move |request| {
        let (service, guard) = (Arc::clone(&service), counter.begin());
        async move {
            let response = service.respond(request, peer).await;
            drop(guard);
            Ok::<_, Infallible>(response)
        }
    });
    let http = http1::Builder::new()
        .max_buf_size(MAX_HEAD_SIZE)
        .max_header_size(MAX_HEAD_SIZE)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), handler);
    let mut http = pin!(http);
    tokio::select! {
        // Errors of a client's connection do not matter to the agent.
        _ended = &mut http => return,
        () = activity.wait_idle(&clock) => return,
        _stopped = stopped.wait_for(|stop| *stop) => http.as_mut().graceful_shutdown(),
    }
    let _ended = http.await;
}

/// A count of request starts and ends: odd while a request is being answered.
#[derive(Default)]
struct Activity(AtomicU64);

impl Activity {
    fn begin(self: &Arc<Self>) -> ActivityGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        ActivityGuard(Arc::clone(self))
    }

    /// Returns when no request has started or ended for [`IDLE_TIMEOUT`] and none is pending.
    async fn wait_idle(&self, clock: &SharedClock) {
        let is_pending = |count: u64| count % 2 == 1;
        loop {
            let before = self.0.load(Ordering::Relaxed);
            clock.sleep(IDLE_TIMEOUT).await;
            if self.0.load(Ordering::Relaxed) == before && !is_pending(before) {
                return;
            }
        }
    }
}

/// A guard that counts the end of a request when dropped, also after a panic or a disconnect.
struct ActivityGuard(Arc<Activity>);

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}
