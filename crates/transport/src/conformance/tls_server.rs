//! A TLS server with an authority of its own, which refuses certificates, loses requests, and
//! records what it receives.

use std::collections::HashSet;
use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SigningKey as _,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};
use sha1::{Digest, Sha1};
use symbolon_types::{
    CertificatePin, ClientIdentity, SharedSigningKey, SignatureScheme, SigningError, SigningKey, Strength,
    Thumbprint,
};
use url::Url;

use super::server::{SILENCE, read_request};

/// The names of the trusted servers.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
/// The name of a server whose URL has another host.
pub(super) const OTHER_NAME: &str = "other.example";

pub(super) type Version = &'static SupportedProtocolVersion;
pub(super) type SuiteResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A certificate authority for servers and clients.
pub(super) struct SuiteAuthority(CertifiedIssuer<'static, KeyPair>);

impl SuiteAuthority {
    pub(super) fn new() -> SuiteResult<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "authority of the conformance suite");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues an identity with a new key.
    pub(super) fn identity(&self) -> SuiteResult<ClientIdentity> {
        self.identity_of(false)
    }

    /// Issues an identity whose key fails to sign.
    pub(super) fn failing_identity(&self) -> SuiteResult<ClientIdentity> {
        self.identity_of(true)
    }

    fn identity_of(&self, fails: bool) -> SuiteResult<ClientIdentity> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "client of the conformance suite");
        let pair = KeyPair::generate()?;
        let certificate = params.signed_by(&pair, &self.0)?;
        let public = pair.subject_public_key_info().into();
        let key = SharedSigningKey::new(SuiteKey { pair, public, fails });
        Ok(ClientIdentity::new(vec![certificate.der().clone()], key)?)
    }

    /// Issues a server certificate for these names.
    fn server(&self, names: &[&str]) -> SuiteResult<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(names.iter().copied().map(str::to_owned).collect::<Vec<_>>())?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok((certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into())))
    }
}

/// A P-256 key in memory.
#[derive(Debug)]
struct SuiteKey {
    pair: KeyPair,
    public: SubjectPublicKeyInfoDer<'static>,
    fails: bool,
}

impl SigningKey for SuiteKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.public
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::EcdsaP256Sha256]
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        if scheme != SignatureScheme::EcdsaP256Sha256 {
            return Err(SigningError::UnsupportedScheme(scheme));
        }
        if self.fails {
            return Err(SigningError::failed("this key of the suite signs nothing"));
        }
        self.pair.sign(message).map_err(SigningError::failed)
    }

    fn strength(&self) -> Strength {
        Strength::Software
    }
}

/// The certificate of a server.
pub(super) enum ServerCertificate<'a> {
    /// Issued by this authority, for the name in the URL.
    Trusted(&'a SuiteAuthority),
    /// Issued by this authority, for another name.
    OtherName(&'a SuiteAuthority),
    /// The certificate of another server, without its key.
    WithoutKey(&'a SuiteAuthority),
}

impl ServerCertificate<'_> {
    fn authority(&self) -> &SuiteAuthority {
        match self {
            Self::Trusted(authority) | Self::OtherName(authority) | Self::WithoutKey(authority) => authority,
        }
    }
}

/// The handling of client certificates, which are never required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    Never,
    Requested,
    /// No session is resumed.
    RequestedEachTime,
}

/// The handling of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handling {
    /// Each request is answered with an empty 200, and its connection kept.
    Answer,
    /// The connection is closed after a request.
    Lose,
    /// The body of the response ends with its connection, which is closed without `close_notify`.
    Truncate,
}

/// A request, as the server received it.
#[derive(Clone, Debug)]
pub(super) struct TlsRequest {
    /// The certificate of its connection.
    pub(super) certificate: Option<Thumbprint>,
    /// Its method and target.
    pub(super) line: String,
}

/// A running server.
pub(super) struct TlsServer {
    address: SocketAddr,
    pin: CertificatePin,
    state: Arc<TlsServerState>,
}

struct TlsServerState {
    config: Arc<ServerConfig>,
    handling: Mutex<Handling>,
    refused: Arc<Mutex<HashSet<Thumbprint>>>,
    requests: Mutex<Vec<TlsRequest>>,
    connections: Mutex<Vec<TcpStream>>,
    names: Arc<Mutex<Vec<Option<String>>>>,
}

impl TlsServer {
    /// Starts a server. Client certificates are those of the authority of its own certificate.
    pub(super) fn start(
        version: Version,
        certificate: &ServerCertificate<'_>,
        client_auth: ClientAuth,
    ) -> SuiteResult<Self> {
        let (certified, pin) = certificate.certified()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let refused = Arc::default();
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version])?;
        let builder = match client_auth {
            ClientAuth::Never => builder.with_no_client_auth(),
            ClientAuth::Requested | ClientAuth::RequestedEachTime => {
                let verifier =
                    RefusingVerifier::new(certificate.authority(), provider, Arc::clone(&refused))?;
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
        };
        let names = Arc::default();
        let certified = OneCertificate { certified: Arc::new(certified), names: Arc::clone(&names) };
        let mut config = builder.with_cert_resolver(Arc::new(certified));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if client_auth == ClientAuth::RequestedEachTime {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(TlsServerState {
            config: Arc::new(config),
            handling: Mutex::new(Handling::Answer),
            refused,
            requests: Mutex::default(),
            connections: Mutex::default(),
            names,
        });
        let weak = Arc::downgrade(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // `Drop` opens a connection to end the loop.
                let (Ok(stream), Some(state)) = (stream, weak.upgrade()) else { break };
                thread::spawn(move || {
                    let _ended = state.serve(stream);
                });
            }
        });
        Ok(Self { address, pin, state })
    }

    pub(super) fn url(&self) -> SuiteResult<Url> {
        Ok(format!("https://localhost:{}/path", self.address.port()).parse()?)
    }

    /// Returns the pin of the presented certificate.
    pub(super) fn pin(&self) -> CertificatePin {
        self.pin
    }

    /// Sets the handling of further requests.
    pub(super) fn handle(&self, handling: Handling) {
        *lock(&self.state.handling) = handling;
    }

    /// Refuses this certificate in further handshakes.
    pub(super) fn refuse(&self, certificate: Thumbprint) {
        lock(&self.state.refused).insert(certificate);
    }

    /// Returns the requests so far.
    pub(super) fn requests(&self) -> Vec<TlsRequest> {
        lock(&self.state.requests).clone()
    }

    /// Returns the names in the handshakes so far (RFC 6066 §3).
    pub(super) fn names(&self) -> Vec<Option<String>> {
        lock(&self.state.names).clone()
    }

    /// Returns the number of connections so far.
    pub(super) fn accepted(&self) -> usize {
        lock(&self.state.connections).len()
    }

    /// Closes all connections.
    pub(super) fn close_all(&self) {
        for connection in &*lock(&self.state.connections) {
            let _closed_before = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.close_all();
        let address = self.address;
        // After the state was dropped with this value.
        thread::spawn(move || TcpStream::connect(address));
    }
}

impl TlsServerState {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(SILENCE))?;
        lock(&self.connections).push(stream.try_clone()?);
        let mut connection = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        let ended = self.exchange(&mut connection, &mut stream);
        if *lock(&self.handling) != Handling::Truncate {
            connection.send_close_notify();
        }
        while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
        // Without a reset, which could overtake an alert.
        let _still_open = stream.shutdown(Shutdown::Write);
        let _drained = io::copy(&mut stream, &mut io::sink());
        ended
    }

    /// Performs the handshake, and receives requests until one is lost.
    fn exchange(&self, connection: &mut ServerConnection, stream: &mut TcpStream) -> io::Result<()> {
        while connection.is_handshaking() {
            connection.complete_io(stream)?;
        }
        let leaf = connection.peer_certificates().and_then(|chain| chain.first());
        let certificate = leaf.map(|leaf| Thumbprint::of(leaf));
        let mut tls = rustls::Stream::new(connection, stream);
        loop {
            let request = read_request(&mut tls)?;
            let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line).into_owned();
            lock(&self.requests).push(TlsRequest { certificate, line });
            match *lock(&self.handling) {
                Handling::Answer => tls.write_all(super::EMPTY_OK.as_bytes())?,
                Handling::Lose => return Ok(()),
                Handling::Truncate => {
                    tls.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npart")?;
                    return tls.flush();
                }
            }
            tls.flush()?;
        }
    }
}

impl ServerCertificate<'_> {
    fn certified(&self) -> SuiteResult<(CertifiedKey, CertificatePin)> {
        let (certificate, key) = match self {
            Self::Trusted(authority) => authority.server(&NAMES)?,
            Self::OtherName(authority) => authority.server(&[OTHER_NAME])?,
            Self::WithoutKey(authority) => (authority.server(&NAMES)?.0, authority.server(&NAMES)?.1),
        };
        let pin = CertificatePin::from_sha1(Sha1::digest(&certificate).into());
        let key = aws_lc_rs::sign::any_supported_type(&key)?;
        Ok((CertifiedKey::new(vec![certificate], key), pin))
    }
}

#[derive(Debug)]
struct OneCertificate {
    certified: Arc<CertifiedKey>,
    names: Arc<Mutex<Vec<Option<String>>>>,
}

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        lock(&self.names).push(client.server_name().map(str::to_owned));
        Some(Arc::clone(&self.certified))
    }
}

/// A verifier that accepts the certificates of an authority except refused ones.
#[derive(Debug)]
struct RefusingVerifier {
    webpki: Arc<dyn ClientCertVerifier>,
    refused: Arc<Mutex<HashSet<Thumbprint>>>,
}

impl RefusingVerifier {
    fn new(
        authority: &SuiteAuthority,
        provider: Arc<CryptoProvider>,
        refused: Arc<Mutex<HashSet<Thumbprint>>>,
    ) -> SuiteResult<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate())?;
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { webpki, refused })
    }
}

impl ClientCertVerifier for RefusingVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
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
        if lock(&self.refused).contains(&Thumbprint::of(end_entity)) {
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

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
