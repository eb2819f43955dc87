//! The state that all servers of an emulator share.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use symbolon_types::{SharedClock, Source, Thumbprint};

use crate::calendar::{after, before};
use crate::error::Error;
use crate::faults::FaultQueue;
use crate::journal::Recorder;
use crate::pki::{
    BACKDATED, CertificateAuthority, CertifiedKey, FabricCertificate, IssuedCertificate, LeafContents,
    RefusedCertificates,
};
use crate::protocol::TokenSigner;
use crate::random::guid_of;
use crate::settings::EmulatorSettings;
use crate::state::arc_challenges::ArcChallenges;
use crate::state::connections::Connections;
use crate::state::declarations::Declarations;
use crate::state::machine::Machine;
use crate::state::refresh_tokens::RefreshTokens;
use crate::state::skewed_clock::SkewedClock;

/// The state of a running emulator.
pub(crate) struct EmulatorState {
    /// The clock of all lifetimes and checks.
    pub(crate) clock: SharedClock,
    /// The same clock, with its skew adjustable.
    pub(crate) skew: SkewedClock,
    pub(crate) machine: Machine,
    pub(crate) settings: EmulatorSettings,
    pub(crate) urls: ServiceUrls,
    /// The URL of the admin page, with its secret.
    pub(crate) admin_url: Option<String>,
    pub(crate) ca: CertificateAuthority,
    pub(crate) signer: TokenSigner,
    pub(crate) fabric: Arc<FabricCertificate>,
    /// The seed of [`Self::host_secret`].
    pub(crate) secret_seed: String,
    pub(crate) challenges: ArcChallenges,
    pub(crate) faults: FaultQueue,
    pub(crate) recorder: Recorder,
    pub(crate) connections: Connections,
    pub(crate) refused_in_tls: Arc<RefusedCertificates>,
    /// The configuration of handshakes that refuse every client certificate.
    pub(crate) refusing_tls: Arc<ServerConfig>,
    /// The certificates that the endpoints, not TLS, refuse.
    pub(crate) revoked: SharedSet<Thumbprint>,
    pub(crate) refresh_tokens: RefreshTokens,
    /// The audiences of the tokens issued so far.
    pub(crate) audiences: SharedSet<String>,
}

impl EmulatorState {
    pub(crate) fn declarations(&self) -> Declarations<'_> {
        Declarations::new(&self.settings, &self.machine)
    }

    /// Returns the issuer of this tenant's access tokens.
    pub(crate) fn access_token_issuer(&self, tenant: &str) -> String {
        match &self.settings.access_token_issuer {
            Some(issuer) => format!("{issuer}/{tenant}/"),
            None => self.urls.issuer(tenant),
        }
    }

    /// Issues another certificate with the same key and the same lifetime. Returns `None` for a
    /// certificate of another authority.
    pub(crate) fn renew(&self, certificate: Thumbprint) -> Result<Option<Arc<IssuedCertificate>>, Error> {
        let Some(old) = self.ca.find(certificate) else { return Ok(None) };
        let now = self.clock.now();
        let lifetime = |until: SystemTime| until.duration_since(old.not_before).unwrap_or_default();
        let leaf = LeafContents {
            tenant_id: old.tenant_id.as_deref(),
            client_id: &old.client_id,
            not_before: now,
            not_after: after(now, lifetime(old.not_after)),
            token_not_after: old.token_not_after.map(|until| after(now, lifetime(until))),
        };
        self.ca.issue_for_key_of(&old, &leaf).map(Some)
    }

    /// Issues a certificate for a client, with a new key.
    pub(crate) fn issue_client_certificate(&self, client_id: &str) -> Result<CertifiedKey, Error> {
        self.ca.issue_with_key(&self.application_leaf(client_id))
    }

    /// Issues a certificate for a client's key, a SubjectPublicKeyInfo in DER.
    pub(crate) fn certify(&self, client_id: &str, spki: &[u8]) -> Result<Arc<IssuedCertificate>, Error> {
        self.ca.issue_for_spki(spki, &self.application_leaf(client_id))
    }

    fn application_leaf<'a>(&self, client_id: &'a str) -> LeafContents<'a> {
        let now = self.clock.now();
        LeafContents {
            tenant_id: None,
            client_id,
            not_before: before(now, BACKDATED),
            not_after: after(now, self.settings.certificate_lifetime),
            token_not_after: None,
        }
    }

    /// Returns the secret that a host of this kind gives its processes. It protects nothing outside
    /// of the emulator.
    pub(crate) fn host_secret(&self, source: Source) -> String {
        guid_of(&format!("{} {source}", self.secret_seed))
    }

    /// Resets all connections and refuses all client certificates issued so far.
    pub(crate) fn reboot(&self) {
        for certificate in self.ca.issued() {
            self.refused_in_tls.refuse(certificate.thumbprint);
        }
        self.challenges.clear();
        self.connections.reset_all();
    }
}

/// The base URLs of the servers, without a trailing slash.
#[derive(Clone, Debug)]
pub(crate) struct ServiceUrls {
    pub(crate) imds: String,
    pub(crate) token: String,
    pub(crate) resource: String,
    pub(crate) hosts: String,
    pub(crate) fabric: String,
}

impl ServiceUrls {
    /// Returns the issuer of this tenant's ID tokens.
    pub(crate) fn issuer(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.token)
    }
}

/// A set that the servers add to concurrently.
pub(crate) struct SharedSet<T>(Mutex<HashSet<T>>);

impl<T: Eq + Hash> SharedSet<T> {
    pub(crate) fn insert(&self, item: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(item);
    }

    pub(crate) fn contains(&self, item: &T) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(item)
    }
}

impl<T> Default for SharedSet<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
