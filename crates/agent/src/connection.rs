//! One HTTP/1.1 connection with limits on size and time.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

use crate::limits::ConnectionSlot;
use crate::listener::ClientStream;
use crate::record::Peer;
use crate::service::AgentService;

/// Maximum size of a request head: several times a resource id, a resource and a secret.
const MAX_HEAD_SIZE: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Serves one connection until the client closes it, its slot expires, or the agent stops.
pub(crate) async fn serve_connection(
    stream: Box<dyn ClientStream>,
    peer: Peer,
    slot: ConnectionSlot,
    service: Arc<AgentService>,
    mut stopped: watch::Receiver<bool>,
) {
    let clock = service.clock.clone();
    let slot = &slot;
    let handler = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move {
            let _pending = slot.begin();
            Ok::<_, Infallible>(service.respond(request, peer, slot).await)
        }
    });
    let http = http1::Builder::new()
        .max_buf_size(MAX_HEAD_SIZE)
        .max_header_size(MAX_HEAD_SIZE)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), handler);
    let mut http = pin!(http);
    tokio::select! {
        // A request that has already arrived is served.
        biased;
        // Errors of a client's connection do not matter to the agent.
        _ended = &mut http => return,
        () = slot.expired(&clock) => return,
        _stopped = stopped.wait_for(|stop| *stop) => http.as_mut().graceful_shutdown(),
    }
    let _ended = http.await;
}
