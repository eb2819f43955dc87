//! What the servers share.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symbolon_types::{SharedClock, Thumbprint};

use crate::ca::CertificateAuthority;
use crate::connection::Connections;
use crate::fault::Script;
use crate::host::Secrets;
use crate::host::certificate::FabricCertificate;
use crate::host::challenge::Challenges;
use crate::identity::Machine;
use crate::journal::Recorder;
use crate::jwt::TokenSigner;
use crate::source::Source;
use crate::tls::Refusals;

/// Everything a running emulator knows.
pub(crate) struct State {
    pub(crate) clock: SharedClock,
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) urls: Urls,
    pub(crate) ca: CertificateAuthority,
    pub(crate) signer: TokenSigner,
    pub(crate) fabric: Arc<FabricCertificate>,
    pub(crate) secrets: Secrets,
    pub(crate) challenges: Challenges,
    pub(crate) script: Script,
    pub(crate) recorder: Recorder,
    pub(crate) connections: Connections,
    pub(crate) refusals: Arc<Refusals>,
    /// Certificates that the endpoints, not TLS, refuse.
    pub(crate) revoked: Names<Thumbprint>,
    /// Audiences of the tokens issued so far.
    pub(crate) audiences: Names<String>,
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
