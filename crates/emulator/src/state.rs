//! What the servers share.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use symbolon_types::{SharedClock, Source, Thumbprint};

use crate::ca::{BACKDATED, CertificateAuthority, CertifiedKey, IssuedCertificate, Leaf};
use crate::calendar::{after, before};
use crate::connection::Connections;
use crate::error::Error;
use crate::host::Secrets;
use crate::host::certificate::FabricCertificate;
use crate::host::challenge::Challenges;
use crate::identity::Machine;
use crate::journal::Recorder;
use crate::jwt::TokenSigner;
use crate::refresh::RefreshTokens;
use crate::script::Script;
use crate::skew::SkewedClock;
use crate::tls::Refusals;

/// Everything a running emulator knows.
pub(crate) struct State {
    /// What all lifetimes and checks follow.
    pub(crate) clock: SharedClock,
    /// The same clock, to be set wrong.
    pub(crate) skew: SkewedClock,
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) urls: Urls,
    /// Where the page is, with its secret.
    pub(crate) admin_url: Option<String>,
    pub(crate) ca: CertificateAuthority,
    pub(crate) signer: TokenSigner,
    pub(crate) fabric: Arc<FabricCertificate>,
    pub(crate) secrets: Secrets,
    pub(crate) challenges: Challenges,
    pub(crate) script: Script,
    pub(crate) recorder: Recorder,
    pub(crate) connections: Connections,
    pub(crate) refusals: Arc<Refusals>,
    /// For handshakes that refuse whichever certificate comes.
    pub(crate) refusing_tls: Arc<ServerConfig>,
    /// Certificates that the endpoints, not TLS, refuse.
    pub(crate) revoked: Names<Thumbprint>,
    pub(crate) refresh_tokens: RefreshTokens,
    /// Audiences of the tokens issued so far.
    pub(crate) audiences: Names<String>,
}

impl State {
    /// From now on the endpoints refuse this certificate.
    pub(crate) fn revoke(&self, certificate: Thumbprint) {
        self.revoked.insert(certificate);
    }

    /// Another certificate for the same key, as long as the first; none where this authority knows no such
    /// certificate.
    pub(crate) fn renew(&self, certificate: Thumbprint) -> Result<Option<Arc<IssuedCertificate>>, Error> {
        let Some(old) = self.ca.find(certificate) else { return Ok(None) };
        let now = self.clock.now();
        let life = |until: SystemTime| until.duration_since(old.not_before()).unwrap_or_default();
        let leaf = Leaf {
            tenant_id: old.tenant_id(),
            client_id: old.client_id(),
            not_before: now,
            not_after: after(now, life(old.not_after())),
            token_not_after: old.token_not_after().map(|until| after(now, life(until))),
        };
        self.ca.issue_for_key_of(&old, &leaf).map(Some)
    }

    /// A certificate for a client that brings it along, with a new key.
    pub(crate) fn issue_client_certificate(&self, client_id: &str) -> Result<CertifiedKey, Error> {
        self.ca.issue_with_key(&self.leaf(client_id))
    }

    /// The same for a key that the client has: a SubjectPublicKeyInfo in DER.
    pub(crate) fn certify(&self, client_id: &str, spki: &[u8]) -> Result<Arc<IssuedCertificate>, Error> {
        self.ca.issue_for_spki(spki, &self.leaf(client_id))
    }

    fn leaf<'a>(&self, client_id: &'a str) -> Leaf<'a> {
        let now = self.clock.now();
        Leaf {
            tenant_id: None,
            client_id,
            not_before: before(now, BACKDATED),
            not_after: after(now, self.settings.certificate_lifetime),
            token_not_after: None,
        }
    }

    /// Resets all connections, and refuses all client certificates issued so far.
    pub(crate) fn reboot(&self) {
        for certificate in self.ca.issued() {
            self.refusals.refuse(certificate.thumbprint());
        }
        self.challenges.forget();
        self.connections.reset_all();
    }
}

/// Where the servers are, without a trailing slash.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    pub(crate) imds: String,
    pub(crate) token: String,
    pub(crate) resource: String,
    pub(crate) hosts: String,
    pub(crate) fabric: String,
}

impl Urls {
    /// The issuer of this tenant's tokens.
    pub(crate) fn issuer(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.token)
    }
}

/// What the builder decided.
pub(crate) struct Settings {
    /// Whose variables clients are given.
    pub(crate) source: Source,
    /// Whether the Azure Arc agent knows user-assigned identities.
    pub(crate) arc_knows_identities: bool,
    pub(crate) v1_only: bool,
    pub(crate) attestation_required: bool,
    pub(crate) token_lifetime: Duration,
    pub(crate) refresh_in: Option<Duration>,
    pub(crate) certificate_lifetime: Duration,
    pub(crate) token_not_after: Option<Duration>,
    /// The one audience of the resource; none for all that tokens were issued for.
    pub(crate) audience: Option<String>,
    /// Client secrets by client id.
    pub(crate) applications: HashMap<String, String>,
    /// Client ids that authenticate with tokens of this service.
    pub(crate) federated: Vec<String>,
}

/// A set that grows while the servers run.
pub(crate) struct Names<T>(Mutex<HashSet<T>>);

impl<T: Eq + Hash> Names<T> {
    pub(crate) fn insert(&self, name: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    pub(crate) fn contains(&self, name: &T) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
