//! A resource over real TLS that reacts as scripted. It does not verify tokens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, TRAILER};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use symbolon::Thumbprint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A challenge with the claims `{"access_token":{}}`.
const CHALLENGE: &str = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ==""#;

/// The reaction to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// 200 with the body of the request, as it arrives.
    Echo,
    /// As `Echo`, with the header and the trailers of gRPC. HTTP/2 only.
    EchoGrpc,
    /// As `Echo`, with a trailer and its announcement.
    EchoWithTrailer,
    /// The request is read, and answered with this status, these fields and a short body.
    Answer(u16, &'static [(&'static str, &'static str)]),
    /// HTTP/1.1 only: 101, and then the octets of the client.
    Upgrade,
    /// The request is read, and answered with this status and a `Retry-After` of so many seconds.
    Status(u16, Option<u64>),
    /// 401 with a claims challenge at once; its body ends after that of the request. HTTP/2 only.
    Challenge,
    /// The request is read, and the connection closed.
    Lose,
    /// The request is read, and nothing follows.
    Stall,
    /// 200 with a part of a body, and nothing follows.
    StallBody,
    /// 200 with a part of a body, and the connection is closed.
    TearBody,
    /// HTTP/2 only: the stream is reset with `REFUSED_STREAM`.
    RefuseStream,
    /// HTTP/2 only: the request is read, and the stream reset with `INTERNAL_ERROR`.
    ResetStream,
    /// HTTP/2 only: GOAWAY that leaves out the stream, and the connection is closed.
    GoAway,
}

/// A request, as the server received it.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) uri: http::Uri,
    pub(crate) headers: HeaderMap,
    /// The certificate of the connection.
    pub(crate) certificate: Option<Thumbprint>,
    /// The number of the connection.
    pub(crate) connection: usize,
}

impl ReceivedRequest {
    /// The scheme of the `Authorization` header.
    pub(crate) fn scheme(&self) -> Option<&str> {
        self.headers.get(AUTHORIZATION)?.to_str().ok()?.split(' ').next()
    }
}

/// The TLS of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerTls {
    pub(crate) protocols: &'static [&'static str],
    pub(crate) requests_certificate: bool,
}

/// HTTP/1.1 only.
pub(crate) const HTTP1: ServerTls = ServerTls { protocols: &["http/1.1"], requests_certificate: true };
/// HTTP/2 or HTTP/1.1.
pub(crate) const HTTP2: ServerTls = ServerTls { protocols: &["h2", "http/1.1"], requests_certificate: true };

/// A running server, which ends when this is dropped.
pub(crate) struct ResourceServer {
    url: String,
    certificate: String,
    shared: Arc<ServerState>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct ServerState {
    script: Mutex<VecDeque<Reaction>>,
    received: Mutex<Vec<ReceivedRequest>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl ResourceServer {
    /// Starts a server that echoes bodies.
    pub(crate) async fn start(tls: ServerTls) -> Self {
        Self::start_with(tls, rustls::DEFAULT_VERSIONS).await
    }

    /// Like [`start`](Self::start), with these versions of TLS only.
    pub(crate) async fn start_with(tls: ServerTls, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let (config, certificate) = server_config(tls, versions);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let shared = Arc::new(ServerState::default());
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&shared)));
        Self { url, certificate, shared, task }
    }

    /// The base URL, without a trailing slash.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The certificate (PEM), which clients must trust.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Adds reactions to the next requests. After them, bodies are echoed.
    pub(crate) fn script(&self, reactions: impl IntoIterator<Item = Reaction>) {
        self.shared.script.lock().unwrap().extend(reactions);
    }

    /// Removes the reactions that are left.
    pub(crate) fn clear_script(&self) {
        self.shared.script.lock().unwrap().clear();
    }

    /// The requests so far.
    pub(crate) fn received(&self) -> Vec<ReceivedRequest> {
        self.shared.received.lock().unwrap().clone()
    }

    /// The number of connections that were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// The number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The largest number of connections that were open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }
}

impl Drop for ResourceServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The configuration of a server at localhost that accepts any client certificate, and its own
/// certificate (PEM).
pub(crate) fn server_config(
    tls: ServerTls,
    versions: &[&'static SupportedProtocolVersion],
) -> (ServerConfig, String) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let chain = vec![key.cert.der().clone()];
    let private = PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let builder = match tls.requests_certificate {
        true => builder.with_client_cert_verifier(Arc::new(AnyCertificate(provider))),
        false => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, private).unwrap();
    config.alpn_protocols = tls.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (config, key.cert.pem())
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<ServerState>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let number = state.accepted.fetch_add(1, Ordering::SeqCst);
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
            state.most_open.fetch_max(open, Ordering::SeqCst);
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, number, &state).await;
            }
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn serve(mut stream: TlsStream<TcpStream>, connection: usize, state: &Arc<ServerState>) {
    let (_, tls) = stream.get_ref();
    let certificate = tls.peer_certificates().map(|chain| Thumbprint::of(&chain[0]));
    let is_http2 = tls.alpn_protocol() == Some(b"h2");
    let receive = move |head: http::request::Parts, state: &ServerState| {
        state.received.lock().unwrap().push(ReceivedRequest {
            method: head.method,
            version: head.version,
            uri: head.uri,
            headers: head.headers,
            certificate,
            connection,
        });
        state.script.lock().unwrap().pop_front().unwrap_or(Reaction::Echo)
    };
    if !is_http2 {
        let state = Arc::clone(state);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let upgrade = hyper::upgrade::on(&mut request);
            let (head, body) = request.into_parts();
            let trailer = head.headers.get(TRAILER).cloned();
            let response = react_http1(receive(head, &state), body, upgrade);
            async move {
                let mut response = response.await?;
                // The trailers of an echo are those of the request.
                response.headers_mut().extend(trailer.map(|announced| (TRAILER, announced)));
                Ok::<_, std::io::Error>(response)
            }
        });
        let http = hyper::server::conn::http1::Builder::new();
        let _ended = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        return;
    }
    if state.script.lock().unwrap().front() == Some(&Reaction::GoAway) {
        state.script.lock().unwrap().pop_front();
        go_away(&mut stream).await;
        return;
    }
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let (lose, mut lost) = tokio::sync::mpsc::unbounded_channel::<()>();
    loop {
        let (request, respond) = tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok(accepted)) => accepted,
                _ => return,
            },
            _ = lost.recv() => return,
        };
        let (head, body) = request.into_parts();
        tokio::spawn(react_http2(receive(head, state), body, respond, lose.clone()));
    }
}

/// The trailer of [`Reaction::EchoWithTrailer`].
fn trailer() -> (http::HeaderName, http::HeaderValue) {
    (http::HeaderName::from_static("x-sum"), http::HeaderValue::from_static("7"))
}

fn answer(status: u16, fields: &[(&'static str, &'static str)]) -> http::response::Builder {
    fields
        .iter()
        .fold(Response::builder().status(status), |response, (name, value)| response.header(*name, *value))
}

type ServerBody = UnsyncBoxBody<Bytes, std::io::Error>;

fn closed() -> std::io::Error {
    std::io::Error::other("the connection is closed, as scripted")
}

async fn react_http1(
    reaction: Reaction,
    body: Incoming,
    upgrade: hyper::upgrade::OnUpgrade,
) -> Result<Response<ServerBody>, std::io::Error> {
    let text = |text: &'static str| Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    Ok(match reaction {
        Reaction::Echo | Reaction::EchoGrpc => {
            Response::new(body.map_err(std::io::Error::other).boxed_unsync())
        }
        Reaction::EchoWithTrailer => {
            let trailers = async { Some(Ok([trailer()].into_iter().collect())) };
            let body = body.map_err(std::io::Error::other).with_trailers(trailers).boxed_unsync();
            Response::builder().header("trailer", "x-sum").body(body).unwrap()
        }
        Reaction::Answer(status, fields) => {
            let _body = body.collect().await;
            answer(status, fields).body(text("scripted").boxed_unsync()).unwrap()
        }
        Reaction::Upgrade => {
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
                let _copied = tokio::io::copy(&mut read, &mut write).await;
            });
            let fields = [("connection", "upgrade"), ("upgrade", "websocket"), ("x-kept", "1")];
            answer(101, &fields).body(text("").boxed_unsync()).unwrap()
        }
        Reaction::Status(status, retry_after) => {
            let _body = body.collect().await;
            let mut response = Response::new(text("scripted").boxed_unsync());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", seconds.into());
            }
            response
        }
        Reaction::Stall => {
            let _body = body.collect().await;
            std::future::pending().await
        }
        Reaction::StallBody | Reaction::TearBody => {
            let part = futures_util::stream::iter([Ok(Frame::data(Bytes::from("part")))]);
            let end = futures_util::stream::once(async move {
                // The part is written first.
                symbolon::SharedClock::system().sleep(std::time::Duration::from_millis(50)).await;
                match reaction {
                    Reaction::StallBody => std::future::pending().await,
                    _ => Err(closed()),
                }
            });
            Response::new(StreamBody::new(futures_util::StreamExt::chain(part, end)).boxed_unsync())
        }
        Reaction::Challenge
        | Reaction::Lose
        | Reaction::RefuseStream
        | Reaction::ResetStream
        | Reaction::GoAway => {
            let _body = body.collect().await;
            return Err(closed());
        }
    })
}

/// Sends data as fast as the client reads it. h2 alone would buffer all of it.
async fn send_as_read(send: &mut h2::SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        if send.capacity() == 0
            && !matches!(poll_fn(|context| send.poll_capacity(context)).await, Some(Ok(_)))
        {
            return;
        }
        let part = data.split_to(send.capacity().min(data.len()));
        // h2 ends a connection with a hundred empty frames.
        if !part.is_empty() {
            let _sent = send.send_data(part, false);
        }
    }
}

async fn react_http2(
    reaction: Reaction,
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    lose: tokio::sync::mpsc::UnboundedSender<()>,
) {
    if reaction == Reaction::RefuseStream {
        return respond.send_reset(h2::Reason::REFUSED_STREAM);
    }
    let status = match reaction {
        Reaction::Status(status, _) => status,
        Reaction::Challenge => 401,
        _ => 200,
    };
    let response = Response::builder().status(status);
    let response = match reaction {
        Reaction::EchoGrpc => response.header("content-type", "application/grpc"),
        Reaction::EchoWithTrailer => response.header("trailer", "x-sum"),
        Reaction::Answer(status, fields) => answer(status, fields),
        Reaction::Challenge => response.header("www-authenticate", CHALLENGE),
        _ => response,
    };
    let response = response.body(()).unwrap();
    if matches!(reaction, Reaction::Echo | Reaction::EchoGrpc | Reaction::EchoWithTrailer) {
        let mut send = respond.send_response(response, false).unwrap();
        while let Some(Ok(data)) = body.data().await {
            let size = data.len();
            send_as_read(&mut send, data).await;
            let _released = body.flow_control().release_capacity(size);
        }
        let _ended = match reaction {
            Reaction::EchoGrpc => send.send_trailers(
                [(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))]
                    .into_iter()
                    .collect(),
            ),
            Reaction::EchoWithTrailer => send.send_trailers([trailer()].into_iter().collect()),
            _ => send.send_data(Bytes::new(), true),
        };
        return;
    }
    if reaction == Reaction::Challenge {
        let _open = respond.send_response(response, false);
        while let Some(Ok(data)) = body.data().await {
            let _released = body.flow_control().release_capacity(data.len());
        }
        return;
    }
    while let Some(Ok(data)) = body.data().await {
        let _released = body.flow_control().release_capacity(data.len());
    }
    match reaction {
        Reaction::Lose => {
            let _lost = lose.send(());
        }
        Reaction::ResetStream => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        Reaction::Stall => std::future::pending().await,
        Reaction::StallBody | Reaction::TearBody => {
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data(Bytes::from("part"), false).unwrap();
            symbolon::SharedClock::system().sleep(std::time::Duration::from_millis(50)).await;
            if reaction == Reaction::StallBody {
                std::future::pending::<()>().await;
            }
            let _lost = lose.send(());
        }
        Reaction::Answer(304, _) | Reaction::Answer(_, [("content-length", _), ..]) => {
            let _sent = respond.send_response(response, true);
        }
        _ => {
            let mut send = respond.send_response(response, false).unwrap();
            let _sent = send.send_data(Bytes::from("scripted"), true);
        }
    }
}

/// Sends GOAWAY with the last stream id 0 (RFC 9113 §6.8) when the first request arrives.
async fn go_away(stream: &mut TlsStream<TcpStream>) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    let _sent = stream.write_all(&SETTINGS).await;
    let mut read = Vec::new();
    loop {
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut frames = read.get(PREFACE..).unwrap_or_default();
        while let [a, b, c, kind, ..] = *frames {
            if kind == HEADERS {
                let _sent = stream.write_all(&GOAWAY).await;
                let _closed = stream.shutdown().await;
                return;
            }
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            frames = frames.get(9 + length..).unwrap_or_default();
        }
    }
}

/// Accepts every client certificate whose key signs the handshake.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
