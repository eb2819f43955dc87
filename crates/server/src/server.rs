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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::Full;
    use symbolon_types::{ManualClock, SharedClock};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::handler::{ClientConnection, RequestBody, ResponseFuture, server_body};

    /// A handler that answers when it has a permit.
    struct SlowHandler {
        requests: AtomicUsize,
        permits: Semaphore,
    }

    impl SlowHandler {
        fn new(permits: usize) -> Arc<Self> {
            Arc::new(Self { requests: AtomicUsize::new(0), permits: Semaphore::new(permits) })
        }
    }

    impl Handler for SlowHandler {
        fn respond(
            self: Arc<Self>,
            _request: http::Request<RequestBody>,
            _connection: &Arc<ClientConnection>,
        ) -> ResponseFuture {
            Box::pin(async move {
                self.requests.fetch_add(1, Ordering::SeqCst);
                let _permit = self.permits.acquire().await;
                http::Response::new(server_body(Full::from("answered")))
            })
        }
    }

    async fn start(handler: &Arc<SlowHandler>) -> (Server, SocketAddr) {
        let listener = Listener::tcp("the server", ([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.address().unwrap();
        let settings = ServerSettings::new(SharedClock::from(&ManualClock::new()));
        (Server::start(listener, Arc::<SlowHandler>::clone(handler), settings), address)
    }

    async fn request(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stream
    }

    async fn response(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn stop_serves_who_waits_for_a_slot() {
        let handler = SlowHandler::new(0);
        let (server, address) = start(&handler).await;
        let mut streams = Vec::new();
        // Until a connection gets no slot.
        loop {
            streams.push(request(address).await);
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            if handler.requests.load(Ordering::SeqCst) < streams.len() {
                break;
            }
        }
        let stopped = tokio::spawn(server.stop());
        tokio::task::yield_now().await;
        handler.permits.add_permits(1);
        for stream in streams {
            let text = response(stream).await;
            assert!(text.ends_with("answered"), "{text:?}");
        }
        stopped.await.unwrap();
    }

    #[tokio::test]
    async fn half_closed_client_is_answered() {
        let handler = SlowHandler::new(0);
        let (_server, address) = start(&handler).await;
        let mut stream = request(address).await;
        stream.shutdown().await.unwrap();
        while handler.requests.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        handler.permits.add_permits(1);
        let text = response(stream).await;
        assert!(text.ends_with("answered"), "{text:?}");
    }

    // The client reads the response when it has sent its body.
    #[tokio::test]
    async fn response_before_a_long_body_is_read() {
        let (_server, address) = start(&SlowHandler::new(1)).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let body = vec![b'x'; 16 << 20];
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.expect("the body is sent");
        let text = response(stream).await;
        assert!(text.ends_with("answered"), "{text:?}");
    }
}
