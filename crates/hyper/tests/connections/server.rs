//! An HTTP server over TLS with client certificates.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use symbolon_types::Thumbprint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, NAMES};

/// The behaviour of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Behaviour {
    /// Echoes the body as it arrives.
    Echo,
    /// Echoes one request for each connection, and then closes it.
    CloseAfterOne,
    /// Reads a request and closes the connection without a response.
    LoseAfterDelivery,
    /// Refuses every HTTP/2 stream.
    RefuseStreams,
    /// Ends the HTTP/2 connection before any stream.
    GoAway,
    /// Closes the connection after the handshake.
    CloseAfterHandshake,
    /// Sends interim responses without end.
    InterimOnly,
    /// Echoes with a header of 1 MiB.
    HugeHead,
    /// Sends status 413 after the head of a request, and closes without reading its body.
    RefuseUpload,
}

/// A running server. It ends with its runtime.
pub(crate) struct EchoServer {
    address: SocketAddr,
    record: Arc<ServerRecord>,
}

#[derive(Debug, Default)]
pub(crate) struct ServerRecord {
    pub(crate) connections: AtomicUsize,
    pub(crate) open: AtomicUsize,
    pub(crate) most_open: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    pub(crate) thumbprints: Mutex<Vec<Thumbprint>>,
}

impl EchoServer {
    /// Starts a server that speaks one protocol and requires certificates of the authority.
    pub(crate) async fn start(
        authority: &Authority,
        version: &'static SupportedProtocolVersion,
        protocol: &'static str,
        behaviour: Behaviour,
    ) -> Self {
        Self::trusting(authority, authority, version, protocol, behaviour).await
    }

    /// Starts a server that requires certificates of another authority than its own.
    pub(crate) async fn trusting(
        authority: &Authority,
        clients: &Authority,
        version: &'static SupportedProtocolVersion,
        protocol: &'static str,
        behaviour: Behaviour,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(clients.certificate()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = authority.server(&NAMES);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(ServerRecord::default());
        let server = Self { address, record: Arc::clone(&record) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, record) = (acceptor.clone(), Arc::clone(&record));
                tokio::spawn(async move {
                    record.connections.fetch_add(1, Ordering::SeqCst);
                    let open = record.open.fetch_add(1, Ordering::SeqCst) + 1;
                    record.most_open.fetch_max(open, Ordering::SeqCst);
                    serve(stream, acceptor, Arc::clone(&record), protocol, behaviour).await;
                    record.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/path?query=1", self.address.port())
    }

    pub(crate) fn record(&self) -> &ServerRecord {
        &self.record
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    record: Arc<ServerRecord>,
    protocol: &str,
    behaviour: Behaviour,
) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let leaf = stream.get_ref().1.peer_certificates().map(|chain| Thumbprint::of(&chain[0])).unwrap();
    match behaviour {
        Behaviour::CloseAfterHandshake => return,
        Behaviour::LoseAfterDelivery => {
            let mut buffer = [0; 4096];
            let _read = stream.read(&mut buffer).await;
            record.requests.fetch_add(1, Ordering::SeqCst);
            let _ended = stream.shutdown().await;
            return;
        }
        Behaviour::InterimOnly => {
            let _read = stream.read(&mut [0; 4096]).await;
            let some = "HTTP/1.1 102 Processing\r\n\r\n".repeat(40);
            while stream.write_all(some.as_bytes()).await.is_ok() {}
            return;
        }
        Behaviour::RefuseUpload => {
            let _read = stream.read(&mut [0; 1024]).await;
            let head = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlong";
            let _sent = stream.write_all(head.as_bytes()).await;
            let _ended = stream.shutdown().await;
            return;
        }
        Behaviour::RefuseStreams | Behaviour::GoAway => {
            refuse(stream, &record, behaviour).await;
            return;
        }
        Behaviour::Echo | Behaviour::CloseAfterOne | Behaviour::HugeHead => {}
    }
    let echo = service_fn(move |request: Request<Incoming>| {
        record.requests.fetch_add(1, Ordering::SeqCst);
        record.thumbprints.lock().unwrap().push(leaf);
        async move {
            if request.method() == Method::OPTIONS {
                std::future::pending::<()>().await;
            }
            let mut response = respond(request);
            if behaviour == Behaviour::HugeHead {
                let value = HeaderValue::from_bytes(&vec![b'x'; 1 << 20]).unwrap();
                response.headers_mut().insert("x-huge", value);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(stream);
    if protocol == "h2" {
        let _ended =
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, echo).await;
    } else {
        let keep_alive = behaviour != Behaviour::CloseAfterOne;
        let _ended = hyper::server::conn::http1::Builder::new()
            .keep_alive(keep_alive)
            .serve_connection(io, echo)
            .await;
    }
}

fn respond(request: Request<Incoming>) -> Response<BoxBody<Bytes, hyper::Error>> {
    let version = format!("{:?}", request.version());
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let has_host = request.headers().contains_key("host") || request.uri().host().is_some();
    let response = Response::builder().header("version", version).header("target", target);
    let response = response.header("has-host", has_host.to_string());
    let length = request.headers().get("content-length").cloned();
    let response = response.header("sent-length", length.unwrap_or(HeaderValue::from_static("none")));
    let body = match request.method().as_str() {
        "GET" => Full::from("hello").map_err(|never| match never {}).boxed(),
        "DELETE" => Empty::new().map_err(|never| match never {}).boxed(),
        _ => request.into_body().boxed(),
    };
    response.body(body).unwrap()
}

/// Speaks HTTP/2 below the level of hyper.
async fn refuse(
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    record: &ServerRecord,
    behaviour: Behaviour,
) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    if behaviour == Behaviour::GoAway {
        connection.graceful_shutdown();
        connection.abrupt_shutdown(h2::Reason::NO_ERROR);
    }
    while let Some(Ok((_request, mut response))) = connection.accept().await {
        record.requests.fetch_add(1, Ordering::SeqCst);
        response.send_reset(h2::Reason::REFUSED_STREAM);
    }
}
