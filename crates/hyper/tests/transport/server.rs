//! A TLS server with scripted behaviour, which records its connections.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, HandshakeKind, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};
use symbolon_types::Thumbprint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::authority::{Authority, NAMES};

pub(crate) type Version = &'static SupportedProtocolVersion;

pub(crate) const VERSIONS: [Version; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// The server's handling of client certificates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ClientCertificates {
    Never,
    Optional,
    Required,
}

/// A fault on every connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// Reset after the TCP connection, or after a request on an older one.
    ResetAtOnce,
    /// Reset after the handshake.
    ResetAfterHandshake,
    /// Close after this many bytes of the response.
    HangUpAfter(usize),
    /// Close after the complete response, without announcing it.
    CloseAfterResponse,
    /// No reply to the ClientHello.
    Stall,
    /// No response to requests.
    Mute,
    /// A body of this many bytes is announced and not sent.
    Announce(usize),
    /// Interim responses without end.
    InterimOnly,
    /// Status 413 after the head of a request, then close without reading its body.
    RefuseUpload,
}

pub(crate) struct ServerOptions {
    pub(crate) version: Version,
    pub(crate) client_certificates: ClientCertificates,
    pub(crate) fault: Fault,
    pub(crate) resumes: bool,
    pub(crate) names: &'static [&'static str],
    pub(crate) body: String,
}

impl ServerOptions {
    pub(crate) fn new(version: Version, client_certificates: ClientCertificates) -> Self {
        Self {
            version,
            client_certificates,
            fault: Fault::None,
            resumes: true,
            names: &NAMES,
            body: "hello".to_owned(),
        }
    }

    pub(crate) fn fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    pub(crate) fn named(mut self, names: &'static [&'static str]) -> Self {
        self.names = names;
        self
    }

    pub(crate) fn without_resumption(mut self) -> Self {
        self.resumes = false;
        self
    }

    pub(crate) fn start(self, authority: &Authority) -> Server {
        Server::start(self, authority)
    }
}

pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    fault: Mutex<Fault>,
    /// Ends the fault after it has applied to one connection.
    is_once: AtomicBool,
    body: String,
    journal: Mutex<ServerRecord>,
    rejected: Mutex<HashSet<Thumbprint>>,
    /// The number of a connection, or `None` for all.
    closing: broadcast::Sender<Option<usize>>,
}

/// A record of connections, handshakes and requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerRecord {
    pub(crate) accepted: usize,
    /// Open connections, counted from TCP on.
    pub(crate) open: usize,
    pub(crate) handshakes: Vec<Handshake>,
    pub(crate) requests: Vec<Received>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Handshake {
    pub(crate) certificate: Option<Thumbprint>,
    pub(crate) is_resumed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) handshake: Handshake,
    /// The number of its connection.
    pub(crate) connection: usize,
    pub(crate) text: String,
}

impl Server {
    fn start(options: ServerOptions, authority: &Authority) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            fault: Mutex::new(options.fault),
            is_once: AtomicBool::new(false),
            body: options.body.clone(),
            journal: Mutex::default(),
            rejected: Mutex::default(),
            closing: broadcast::channel(1).0,
        });
        let config = Arc::new(config(&options, authority, &state));
        tokio::spawn(accept(listener, TlsAcceptor::from(config), Arc::clone(&state)));
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/token?a=b", self.address.port())
    }

    pub(crate) fn journal(&self) -> ServerRecord {
        lock(&self.state.journal).clone()
    }

    pub(crate) fn reject(&self, certificate: Thumbprint) {
        lock(&self.state.rejected).insert(certificate);
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        *lock(&self.state.fault) = fault;
    }

    /// Sets a loss of one connection.
    pub(crate) fn lose_one(&self, fault: Fault) {
        self.state.is_once.store(true, Ordering::SeqCst);
        self.set_fault(fault);
    }

    /// Closes all connections.
    pub(crate) fn close_all(&self) {
        let _unobserved = self.state.closing.send(None);
    }

    /// Closes one connection.
    pub(crate) fn close(&self, connection: usize) {
        let _unobserved = self.state.closing.send(Some(connection));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(options: &ServerOptions, authority: &Authority, state: &Arc<State>) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[options.version])
        .unwrap();
    let builder = if options.client_certificates == ClientCertificates::Never {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()).unwrap();
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let is_mandatory = options.client_certificates == ClientCertificates::Required;
        builder.with_client_cert_verifier(Arc::new(Verifier {
            webpki,
            is_mandatory,
            state: Arc::clone(state),
        }))
    };
    let (certificate, key) = authority.server(options.names);
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if !options.resumes {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        {
            let mut journal = lock(&state.journal);
            journal.accepted += 1;
            journal.open += 1;
        }
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let _ended = serve(stream, acceptor, &state).await;
            lock(&state.journal).open -= 1;
        });
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, state: &State) -> io::Result<()> {
    let fault = *lock(&state.fault);
    match fault {
        Fault::ResetAtOnce => return stream.set_zero_linger(),
        Fault::Stall => {
            let mut closing = state.closing.subscribe();
            let mut stream = stream;
            let mut buffer = [0; 4096];
            loop {
                tokio::select! {
                    read = stream.read(&mut buffer) => if read? == 0 { return Ok(()) },
                    _ = closing.recv() => return Ok(()),
                }
            }
        }
        _ => {}
    }
    let mut closing = state.closing.subscribe();
    let mut stream = acceptor.accept(stream).await?;
    let (tcp, tls) = stream.get_ref();
    let handshake = Handshake {
        certificate: tls.peer_certificates().and_then(|chain| chain.first()).map(|leaf| Thumbprint::of(leaf)),
        is_resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
    };
    let connection = {
        let mut journal = lock(&state.journal);
        journal.handshakes.push(handshake);
        journal.handshakes.len()
    };
    if fault == Fault::ResetAfterHandshake {
        state.lost_one();
        tcp.set_zero_linger()?;
    } else {
        tokio::select! {
            _ended = answer(&mut stream, handshake, connection, state) => {}
            () = told_to_close(&mut closing, connection) => {}
        }
        let _closed = stream.shutdown().await;
    }
    Ok(())
}

async fn told_to_close(closing: &mut broadcast::Receiver<Option<usize>>, connection: usize) {
    while let Ok(which) = closing.recv().await {
        if which.is_none_or(|one| one == connection) {
            return;
        }
    }
}

async fn answer(
    stream: &mut TlsStream<TcpStream>,
    handshake: Handshake,
    connection: usize,
    state: &State,
) -> io::Result<()> {
    loop {
        let text = read_head(stream).await?;
        let fault = *lock(&state.fault);
        if fault != Fault::RefuseUpload {
            stream.read_exact(&mut vec![0; content_length(&text)]).await?;
        }
        lock(&state.journal).requests.push(Received { handshake, connection, text });
        let body = &state.body;
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        match fault {
            Fault::Mute => {
                let _closed = stream.read_u8().await?;
                return Ok(());
            }
            Fault::Announce(length) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                stream.flush().await?;
                let _closed = stream.read_u8().await?;
                return Ok(());
            }
            Fault::InterimOnly => {
                let some = "HTTP/1.1 100 Continue\r\n\r\n".repeat(40);
                loop {
                    stream.write_all(some.as_bytes()).await?;
                    stream.flush().await?;
                }
            }
            Fault::RefuseUpload => {
                let head =
                    "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlong";
                stream.write_all(head.as_bytes()).await?;
                return stream.flush().await;
            }
            Fault::ResetAtOnce => return stream.get_ref().0.set_zero_linger(),
            Fault::HangUpAfter(length) => {
                state.lost_one();
                stream.write_all(&response.as_bytes()[..length]).await?;
                return stream.flush().await;
            }
            Fault::CloseAfterResponse => {
                stream.write_all(response.as_bytes()).await?;
                return stream.flush().await;
            }
            _ => {
                stream.write_all(response.as_bytes()).await?;
                stream.flush().await?;
            }
        }
    }
}

/// Reads the head of a request.
pub(crate) async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn content_length(head: &str) -> usize {
    let field = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    field.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// A verifier that accepts the authority's certificates except rejected ones.
#[derive(Debug)]
struct Verifier {
    webpki: Arc<dyn ClientCertVerifier>,
    is_mandatory: bool,
    state: Arc<State>,
}

impl State {
    fn lost_one(&self) {
        if self.is_once.swap(false, Ordering::SeqCst) {
            *lock(&self.fault) = Fault::None;
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if lock(&self.state.rejected).contains(&Thumbprint::of(end_entity)) {
            return Err(CertificateError::Revoked.into());
        }
        self.webpki.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
