//! TLS configurations, one for each client identity.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ConfigBuilder, WantsVerifier};
use symbolon_types::{CertificatePin, ClientIdentity, ServerAuth, SharedClock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

use crate::client::TlsClient;
use crate::client_key::CertificateResolver;
use crate::error::{ConfigError, RootsNote, TlsError, TlsErrorKind};
use crate::identity_map::IdentityMap;
use crate::pinned::PinnedServer;
use crate::trust::{ServerTrust, Trust, TrustError, private_verifier};
use crate::verification::ServerVerification;
use crate::version::TlsVersion;

/// The TLS configurations of client identities: one for each, with sessions of its own, made when
/// it is first needed and dropped with the identity.
///
/// Clones are cheap and share the configurations. At most 64 are kept; beyond that the least
/// recently used one is dropped.
///
/// ```no_run
/// # async fn example(identity: symbolon_types::ClientIdentity) -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon_rustls::ClientConfigs;
///
/// let configs = ClientConfigs::builder().build()?;
/// let config: std::sync::Arc<rustls::ClientConfig> = configs.config(&identity).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ClientConfigs(Arc<ConfigsParts>);

struct ConfigsParts {
    settings: TlsSettings,
    trust: Trust,
    clients: Mutex<IdentityMap<Arc<TlsClient>>>,
}

/// The common settings of all configurations.
pub(crate) struct TlsSettings {
    provider: Arc<CryptoProvider>,
    versions: RangeInclusive<TlsVersion>,
    alpn_protocols: Vec<Vec<u8>>,
    clock: SharedClock,
    /// With provider, clock and versions.
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
}

impl ClientConfigs {
    pub(crate) fn new(settings: TlsSettings, trust: Trust) -> Self {
        Self(Arc::new(ConfigsParts { settings, trust, clients: Mutex::default() }))
    }

    /// Returns the configuration of an identity.
    ///
    /// # Errors
    /// [`TlsErrorKind::Roots`] if the root certificates cannot be loaded.
    pub async fn config(&self, identity: &ClientIdentity) -> Result<Arc<ClientConfig>, TlsError> {
        let client = self.client(Some(identity), &ServerAuth::Roots).await?;
        Ok(Arc::clone(client.config()))
    }

    /// Returns the TLS client that presents an identity, if one is given, and that authenticates
    /// servers in this way. The name of a [`ServerAuth`] is up to the caller, who passes the name
    /// of the server to each handshake.
    ///
    /// The first call that needs the root certificates loads them, on a blocking thread of the
    /// Tokio runtime. With a pin, or with roots of the server's own, they are not read.
    ///
    /// # Errors
    /// [`TlsErrorKind::Roots`] if the root certificates cannot be loaded.
    pub async fn client(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
    ) -> Result<Arc<TlsClient>, TlsError> {
        let kept = {
            let mut clients = self.clients();
            clients.drop_unowned();
            clients.get(identity, server).map(Arc::clone)
        };
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let verifier = self.verifier(server).await?;
        Ok(self.kept(identity, server, verifier))
    }

    /// Performs a handshake with a proxy, for HTTP/1.1 and without a client certificate.
    ///
    /// # Errors
    /// [`TlsError`] if the handshake fails or the root certificates cannot be loaded.
    pub async fn connect_to_proxy<S>(
        &self,
        proxy: ServerName<'static>,
        port: u16,
        stream: S,
    ) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.client(None, &ServerAuth::Roots).await?.connect_to_proxy(proxy, port, stream).await
    }

    /// Returns the verifier of a server.
    async fn verifier(&self, server: &ServerAuth) -> Result<ServerVerifier, TlsError> {
        let private_roots = match server {
            ServerAuth::Pinned(pin) => return Ok(ServerVerifier::Pinned(*pin)),
            ServerAuth::Private(trust) => trust.roots(),
            _ => None,
        };
        match private_roots {
            Some(roots) => {
                let verifier = private_verifier(roots, &self.0.settings.provider);
                verifier.map(ServerVerifier::Private).map_err(roots_error)
            }
            None => Ok(ServerVerifier::Roots(self.roots().await?)),
        }
    }

    pub(crate) fn client_with_roots(
        &self,
        identity: Option<&ClientIdentity>,
        roots: &ServerTrust,
    ) -> Arc<TlsClient> {
        self.kept(identity, &ServerAuth::Roots, ServerVerifier::Roots(roots.clone()))
    }

    fn kept(
        &self,
        identity: Option<&ClientIdentity>,
        server: &ServerAuth,
        verifier: ServerVerifier,
    ) -> Arc<TlsClient> {
        let mut clients = self.clients();
        clients.drop_unowned();
        let make = || Arc::new(self.0.settings.client(identity, verifier));
        Arc::clone(clients.get_or_insert_with(identity, server, make))
    }

    /// Returns the verification of a server, for another TLS library.
    ///
    /// # Errors
    /// [`TlsErrorKind::Roots`] if the root certificates cannot be loaded.
    pub async fn server_verification(&self, server: &ServerAuth) -> Result<ServerVerification, TlsError> {
        let settings = &self.0.settings;
        let verifier = self.verifier(server).await?;
        let roots = verifier.roots_note();
        let verifier = verifier.into_verifier(&settings.provider);
        Ok(ServerVerification { verifier, roots, clock: settings.clock.clone() })
    }

    /// Returns the accepted versions of TLS.
    #[must_use]
    pub fn versions(&self) -> RangeInclusive<TlsVersion> {
        self.0.settings.versions.clone()
    }

    pub(crate) async fn roots(&self) -> Result<ServerTrust, TlsError> {
        let roots = self.0.trust.verifier().await;
        roots.map_err(roots_error)
    }

    fn clients(&self) -> MutexGuard<'_, IdentityMap<Arc<TlsClient>>> {
        self.0.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn roots_error(error: TrustError) -> TlsError {
    TlsError::new(TlsErrorKind::Roots).with_source(error)
}

/// The verification of server certificates.
enum ServerVerifier {
    Roots(ServerTrust),
    Pinned(CertificatePin),
    Private(Arc<WebPkiServerVerifier>),
}

impl ServerVerifier {
    /// Returns the facts about the roots that an error mentions.
    fn roots_note(&self) -> RootsNote {
        match self {
            Self::Roots(trust) => RootsNote { skipped: trust.skipped.clone(), are_private: false },
            Self::Pinned(_) => RootsNote::default(),
            Self::Private(_) => RootsNote { skipped: None, are_private: true },
        }
    }

    fn into_verifier(self, provider: &CryptoProvider) -> Arc<dyn ServerCertVerifier> {
        match self {
            Self::Roots(ServerTrust { verifier, .. }) | Self::Private(verifier) => verifier,
            Self::Pinned(pin) => Arc::new(PinnedServer::new(pin, provider)),
        }
    }
}

impl TlsSettings {
    /// Checks that the provider supports the allowed versions.
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        versions: RangeInclusive<TlsVersion>,
        alpn_protocols: Vec<Vec<u8>>,
        clock: SharedClock,
    ) -> Result<Self, ConfigError> {
        let builder = |versions: &[_]| {
            let clock = Arc::new(TlsClock(clock.clone()));
            let builder = ClientConfig::builder_with_details(Arc::clone(&provider), clock);
            builder.with_protocol_versions(versions).map_err(|_| ConfigError::UnsuitableCryptoProvider)
        };
        let supported = TlsVersion::supported(&versions);
        if supported.is_empty() {
            return Err(ConfigError::NoTlsVersion);
        }
        for version in &supported {
            builder(&[*version])?;
        }
        let builder = builder(&supported)?;
        Ok(Self { provider, versions, alpn_protocols, clock, builder })
    }

    fn client(&self, identity: Option<&ClientIdentity>, verifier: ServerVerifier) -> TlsClient {
        let builder = self.builder.clone();
        let roots = verifier.roots_note();
        let verifier = verifier.into_verifier(&self.provider);
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::clone(&verifier));
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(CertificateResolver::of(identity))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn_protocols);
        TlsClient::new(config, identity.is_some(), verifier, roots)
    }
}

symbolon_types::debug_fields!(ClientConfigs |this| versions: this.0.settings.versions);

/// Adapter from the context's clock to rustls.
#[derive(Debug)]
struct TlsClock(SharedClock);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}
