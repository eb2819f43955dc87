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

    use http_body_util::{BodyExt as _, Full};
    use symbolon_types::{ManualClock, SharedClock};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::handler::{ClientConnection, RequestBody, ResponseFuture, ServerBody, server_body};
    use crate::peer::Peer;
    use crate::transfer_coding::TransferCodingError;

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

        fn refuse(&self, error: TransferCodingError, _peer: Peer) -> http::Response<ServerBody> {
            panic!("{error}")
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

    /// A handler that answers before it reads the body, for which it needs a permit.
    struct EarlyHandler {
        requests: AtomicUsize,
        permits: Arc<Semaphore>,
    }

    impl Handler for EarlyHandler {
        fn respond(
            self: Arc<Self>,
            request: http::Request<RequestBody>,
            connection: &Arc<ClientConnection>,
        ) -> ResponseFuture {
            let (connection, permits) = (Arc::clone(connection), Arc::clone(&self.permits));
            Box::pin(async move {
                connection.authenticate().await.unwrap();
                self.requests.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let _permit = permits.acquire().await;
                    let _read = request.into_body().collect().await;
                });
                http::Response::new(server_body(Full::from("answered")))
            })
        }

        fn refuse(&self, error: TransferCodingError, _peer: Peer) -> http::Response<ServerBody> {
            panic!("{error}")
        }
    }

    // The end of the body is read when the next request has arrived.
    #[tokio::test]
    async fn end_of_a_body_decides_about_the_next() {
        for (end, served) in [("0\r\n\r\n", 2), ("0\r\nX: y\r\n\r\n", 1), ("0\r\nX: y\n\n", 1)] {
            let permits = Arc::new(Semaphore::new(0));
            let handler =
                Arc::new(EarlyHandler { requests: AtomicUsize::new(0), permits: Arc::clone(&permits) });
            let listener = Listener::tcp("the server", ([127, 0, 0, 1], 0).into()).await.unwrap();
            let address = listener.address().unwrap();
            let settings = ServerSettings::new(SharedClock::from(&ManualClock::new()));
            let _server = Server::start(listener, Arc::<EarlyHandler>::clone(&handler), settings);
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            let next = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            stream.write_all(format!("{end}{next}{next}").as_bytes()).await.unwrap();
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            permits.add_permits(10);
            let text = response(stream).await;
            assert_eq!(handler.requests.load(Ordering::SeqCst), served, "{end:?} {text:?}");
            assert_eq!(text.matches("answered").count(), served, "{end:?} {text:?}");
        }
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
