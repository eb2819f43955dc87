//! The TLS client of one identity.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client_auth::{ClientAuthRecord, NoSessions, RecordedSessions, RecordedVerifier};
use crate::error::{RootsNote, TlsError, TlsErrorKind};

/// Capacity of a session store: rustls counts eight TLS 1.3 tickets for each server, and a client
/// has one token service and a few resources.
const SESSIONS: usize = 8 * 16;
/// Ports with sessions. Beyond that, all sessions are dropped.
const PORTS: usize = 64;

/// The TLS configuration and sessions of one client identity, or of none.
#[derive(Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    /// The sessions of [`connect`](Self::connect), by port: rustls distinguishes servers by name
    /// only. They are not shared with `config`: a session of another library may have been created
    /// without the certificate.
    sessions: Mutex<HashMap<u16, Arc<ClientSessionMemoryCache>>>,
    has_identity: bool,
    /// That of `config`.
    verifier: Arc<dyn ServerCertVerifier>,
    roots: RootsNote,
}

impl TlsClient {
    pub(crate) fn new(
        mut config: ClientConfig,
        has_identity: bool,
        verifier: Arc<dyn ServerCertVerifier>,
        roots: RootsNote,
    ) -> Self {
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Self { config: Arc::new(config), sessions: Mutex::default(), has_identity, verifier, roots }
    }

    /// Returns the configuration, for another library. It has a session store of its own.
    ///
    /// The library does not check if the server requests the certificate, as
    /// [`connect`](Self::connect) does.
    #[must_use]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Returns a configuration for another library whose handshakes
    /// [`ClientAuthRecord::observe`] drives: afterwards, the record states if the server requested
    /// the certificate, and the version of TLS. It resumes no session.
    #[must_use]
    pub fn recorded_config(&self) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::store(Arc::new(NoSessions));
        let verifier = RecordedVerifier(Arc::clone(&self.verifier));
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        config
    }

    /// Returns true if this client presents a certificate.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.has_identity
    }

    /// Performs a handshake. With a certificate, it succeeds only if the server requested it, in
    /// this handshake or in the resumed session. Sessions belong to a server and its port.
    ///
    /// `record` is a new [`ClientAuthRecord`]. It also serves to
    /// [classify](ClientAuthRecord::failure_kind) a failure after the handshake.
    ///
    /// # Errors
    /// [`TlsError`] if the handshake fails, or with
    /// [`IdentityNotRequested`](TlsErrorKind::IdentityNotRequested).
    pub async fn connect<S>(
        &self,
        server: ServerName<'static>,
        port: u16,
        stream: S,
        record: &ClientAuthRecord,
    ) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = format!("{}:{port}", server.to_str());
        let connector = TlsConnector::from(self.config_of(record, port));
        let handshake = record.observe(connector.connect(server, stream)).await;
        let stream = handshake.map_err(|error| self.handshake_error(error, record, &name))?;
        if self.has_identity {
            if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                record.set_presented();
            }
            if !record.is_presented() {
                return Err(TlsError::new(TlsErrorKind::IdentityNotRequested).of_server(&name));
            }
        }
        Ok(stream)
    }

    /// Performs a handshake with a proxy, for HTTP/1.1.
    pub(crate) async fn connect_to_proxy<S>(
        &self,
        proxy: ServerName<'static>,
        port: u16,
        stream: S,
    ) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = format!("{}:{port}", proxy.to_str());
        let record = ClientAuthRecord::default();
        let connector = TlsConnector::from(self.config_of(&record, port));
        let handshake = connector.with_alpn(vec![b"http/1.1".to_vec()]).connect(proxy, stream).await;
        handshake.map_err(|error| self.handshake_error(error, &record, &name))
    }

    /// Drops the sessions of [`connect`](Self::connect), so that its next handshake is a full one.
    pub fn forget_sessions(&self) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn handshake_error(&self, error: io::Error, record: &ClientAuthRecord, server: &str) -> TlsError {
        TlsError::of_handshake(error, record).of_server(server).with_roots(&self.roots)
    }

    /// Returns the configuration for one connection.
    fn config_of(&self, record: &ClientAuthRecord, port: u16) -> Arc<ClientConfig> {
        let shared = self.sessions_of(port);
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = match self.has_identity {
            true => Resumption::store(Arc::new(RecordedSessions { shared, record: record.clone() })),
            false => Resumption::store(shared),
        };
        Arc::new(config)
    }

    fn sessions_of(&self, port: u16) -> Arc<ClientSessionMemoryCache> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= PORTS && !sessions.contains_key(&port) {
            sessions.clear();
        }
        let of_port =
            sessions.entry(port).or_insert_with(|| Arc::new(ClientSessionMemoryCache::new(SESSIONS)));
        Arc::clone(of_port)
    }
}
