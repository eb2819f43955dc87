//! The TLS client of one identity.

use std::sync::Arc;

use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client_auth::{ClientAuthRecord, NoSessions, RecordedSessions};
use crate::error::{TlsError, TlsErrorKind};

/// Capacity of a session store: rustls counts eight TLS 1.3 tickets for each server, and a client
/// has one token service and a few resources.
const SESSIONS: usize = 8 * 16;

/// The TLS configuration and sessions of one client identity, or of none.
#[derive(Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    /// The sessions of [`connect`](Self::connect). They are not shared with `config`: a session of
    /// another library may have been created without the certificate.
    sessions: Arc<ClientSessionMemoryCache>,
    has_identity: bool,
}

impl TlsClient {
    pub(crate) fn new(mut config: ClientConfig, has_identity: bool) -> Self {
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        let sessions = Arc::new(ClientSessionMemoryCache::new(SESSIONS));
        Self { config: Arc::new(config), sessions, has_identity }
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
    /// the certificate. It resumes no session.
    #[must_use]
    pub fn recorded_config(&self) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::store(Arc::new(NoSessions));
        config
    }

    /// Returns true if this client presents a certificate.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.has_identity
    }

    /// Performs a handshake. With a certificate, it succeeds only if the server requested it, in
    /// this handshake or in the resumed session.
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
        stream: S,
        record: &ClientAuthRecord,
    ) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(self.config_of(record));
        let handshake = record.observe(connector.connect(server, stream)).await;
        let stream = handshake.map_err(|error| TlsError::of_handshake(error, record))?;
        if self.has_identity {
            if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                record.set_presented();
            }
            if !record.is_presented() {
                return Err(TlsError::new(TlsErrorKind::IdentityNotRequested));
            }
        }
        Ok(stream)
    }

    /// Returns the configuration for one connection.
    fn config_of(&self, record: &ClientAuthRecord) -> Arc<ClientConfig> {
        if !self.has_identity {
            return Arc::clone(&self.config);
        }
        let sessions = RecordedSessions { shared: Arc::clone(&self.sessions), record: record.clone() };
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::store(Arc::new(sessions));
        Arc::new(config)
    }
}
