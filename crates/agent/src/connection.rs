//! One connection: what it may hold, and for how long.

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

use crate::Peer;
use crate::listener::Stream;
use crate::serve::Desk;

/// How long a connection may go without a whole request, at its start and after each answer.
const IDLE: Duration = Duration::from_secs(10);
/// An identity's resource id, a resource and a secret fit many times.
const HEADERS_SIZE: usize = 16 * 1024;
const HEADERS: usize = 64;

pub(crate) async fn converse(
    stream: Box<dyn Stream>,
    peer: Peer,
    desk: Arc<Desk>,
    mut stopped: watch::Receiver<bool>,
) {
    let steps = Arc::new(Steps::default());
    let clock = desk.clock.clone();
    let counted = Arc::clone(&steps);
    let service = service_fn(move |request| {
        let (desk, step) = (Arc::clone(&desk), counted.begin());
        async move {
            let answer = desk.answer(request, peer).await;
            drop(step);
            Ok::<_, Infallible>(answer)
        }
    });
    let http = http1::Builder::new()
        .max_buf_size(HEADERS_SIZE)
        .max_header_size(HEADERS_SIZE)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut http = pin!(http);
    tokio::select! {
        // How a client ends its connection is no concern of the agent.
        _ended = &mut http => return,
        () = steps.stand_still(&clock) => return,
        _told = stopped.wait_for(|stop| *stop) => http.as_mut().graceful_shutdown(),
    }
    let _ended = http.await;
}

/// Counts the beginnings and the ends of requests: odd while one is being answered.
#[derive(Default)]
struct Steps(AtomicU64);

impl Steps {
    fn begin(self: &Arc<Self>) -> Step {
        self.0.fetch_add(1, Ordering::Relaxed);
        Step(Arc::clone(self))
    }

    /// Returns when no request has begun or ended for as long as a connection may be idle.
    async fn stand_still(&self, clock: &SharedClock) {
        let is_answering = |steps: u64| steps % 2 == 1;
        loop {
            let before = self.0.load(Ordering::Relaxed);
            clock.sleep(IDLE).await;
            if self.0.load(Ordering::Relaxed) == before && !is_answering(before) {
                return;
            }
        }
    }
}

/// A request that is being answered, however that ends.
struct Step(Arc<Steps>);

impl Drop for Step {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}
