//! TLS configurations, one for each client identity.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ConfigBuilder, WantsVerifier};
use symbolon_types::{CertificatePin, ClientIdentity, SharedClock};

use crate::client::TlsClient;
use crate::client_key::CertificateResolver;
use crate::error::{ConfigError, TlsError, TlsErrorKind};
use crate::identity_map::IdentityMap;
use crate::pinned::PinnedServer;
use crate::trust::{ServerTrust, Trust};
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
        let client = self.client(Some(identity), None).await?;
        Ok(Arc::clone(client.config()))
    }

    /// Returns the TLS client that presents an identity, if one is given, and that accepts servers
    /// by their pin, or else by the root certificates.
    ///
    /// The first call without a pin loads the roots, on a blocking thread of the Tokio runtime.
    /// With a pin they are not read.
    ///
    /// # Errors
    /// [`TlsErrorKind::Roots`] if the root certificates cannot be loaded.
    pub async fn client(
        &self,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
    ) -> Result<Arc<TlsClient>, TlsError> {
        match pinned_server {
            Some(pin) => Ok(self.kept(identity, pinned_server, ServerVerifier::Pinned(pin))),
            None => Ok(self.client_with_roots(identity, &self.roots().await?)),
        }
    }

    pub(crate) fn client_with_roots(
        &self,
        identity: Option<&ClientIdentity>,
        roots: &ServerTrust,
    ) -> Arc<TlsClient> {
        self.kept(identity, None, ServerVerifier::Roots(roots.clone()))
    }

    fn kept(
        &self,
        identity: Option<&ClientIdentity>,
        pinned_server: Option<CertificatePin>,
        verifier: ServerVerifier,
    ) -> Arc<TlsClient> {
        let mut clients = self.clients();
        clients.drop_unowned();
        let make = || Arc::new(self.0.settings.client(identity, verifier));
        Arc::clone(clients.get_or_insert_with(identity, pinned_server, make))
    }

    /// Returns the verification of servers by the roots, or by a pin, for another TLS library.
    ///
    /// # Errors
    /// [`TlsErrorKind::Roots`] if the root certificates cannot be loaded.
    pub async fn server_verification(
        &self,
        pinned_server: Option<CertificatePin>,
    ) -> Result<ServerVerification, TlsError> {
        let settings = &self.0.settings;
        Ok(match pinned_server {
            Some(pin) => {
                let verifier = Arc::new(PinnedServer::new(pin, &settings.provider));
                ServerVerification { verifier, skipped_roots: None, clock: settings.clock.clone() }
            }
            None => {
                let ServerTrust { verifier, skipped } = self.roots().await?;
                ServerVerification { verifier, skipped_roots: skipped, clock: settings.clock.clone() }
            }
        })
    }

    /// Returns the accepted versions of TLS.
    #[must_use]
    pub fn versions(&self) -> RangeInclusive<TlsVersion> {
        self.0.settings.versions.clone()
    }

    pub(crate) async fn roots(&self) -> Result<ServerTrust, TlsError> {
        let roots = self.0.trust.verifier().await;
        roots.map_err(|error| TlsError::new(TlsErrorKind::Roots).with_source(error))
    }

    fn clients(&self) -> MutexGuard<'_, IdentityMap<Arc<TlsClient>>> {
        self.0.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The verification of server certificates.
enum ServerVerifier {
    Roots(ServerTrust),
    Pinned(CertificatePin),
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
        let (builder, skipped_roots) = match verifier {
            ServerVerifier::Roots(ServerTrust { verifier, skipped }) => {
                (builder.with_webpki_verifier(verifier), skipped)
            }
            ServerVerifier::Pinned(pin) => {
                let verifier = Arc::new(PinnedServer::new(pin, &self.provider));
                (builder.dangerous().with_custom_certificate_verifier(verifier), None)
            }
        };
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(CertificateResolver::of(identity))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn_protocols);
        TlsClient::new(config, identity.is_some(), skipped_roots)
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
