//! The settings of an emulator.

use std::collections::HashMap;
use std::time::Duration;

use symbolon_types::Source;

use crate::pki::TlsVersion;

/// The `expires_in` that Entra usually grants.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3599);
/// About 14 days (docs/protocol/imdsv2.md#binding-lifetime).
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// About 7 days (docs/protocol/imdsv2.md#binding-lifetime).
const TOKEN_NOT_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The behavior of the emulated machine and services. [`EmulatorBuilder`](crate::EmulatorBuilder)
/// and the table `[host]` of a fault file set it.
pub(crate) struct EmulatorSettings {
    /// The host that [`Emulator::environment`](crate::Emulator::environment) describes.
    pub(crate) source: Source,
    /// The tenant; random if absent.
    pub(crate) tenant_id: Option<String>,
    pub(crate) scale_set: bool,
    pub(crate) clock_skew_seconds: i64,
    pub(crate) tls_versions: Vec<TlsVersion>,
    /// The Azure Arc agent supports user-assigned identities.
    pub(crate) arc_user_assigned: bool,
    pub(crate) v1_only: bool,
    pub(crate) attestation_required: bool,
    pub(crate) token_lifetime: Duration,
    pub(crate) refresh_in: Option<Duration>,
    pub(crate) certificate_lifetime: Duration,
    pub(crate) token_not_after: Option<Duration>,
    /// The only audience that the resource accepts; if absent, every audience of an issued token.
    pub(crate) audience: Option<String>,
    /// The start of the issuer of access tokens; if absent, the URL of the token service.
    pub(crate) access_token_issuer: Option<String>,
    /// The resource challenges a request without a valid token as Azure Key Vault does.
    pub(crate) key_vault_challenge: bool,
    /// Tenants, clients and resources that were not declared are refused.
    pub(crate) strict: bool,
    /// Declared tenants, besides the machine's.
    pub(crate) tenants: Vec<String>,
    /// Declared clients, besides the machine's identities and those below.
    pub(crate) clients: Vec<String>,
    /// Declared resources.
    pub(crate) resources: Vec<String>,
    /// Client secrets by client id.
    pub(crate) applications: HashMap<String, String>,
    /// Client ids that authenticate with tokens of this token service.
    pub(crate) federated: Vec<String>,
}

impl Default for EmulatorSettings {
    fn default() -> Self {
        Self {
            source: Source::Imds,
            tenant_id: None,
            scale_set: false,
            clock_skew_seconds: 0,
            tls_versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
            arc_user_assigned: true,
            v1_only: false,
            attestation_required: false,
            token_lifetime: TOKEN_LIFETIME,
            refresh_in: None,
            certificate_lifetime: CERTIFICATE_LIFETIME,
            token_not_after: Some(TOKEN_NOT_AFTER),
            audience: None,
            access_token_issuer: None,
            key_vault_challenge: false,
            strict: false,
            tenants: Vec::new(),
            clients: Vec::new(),
            resources: Vec::new(),
            applications: HashMap::new(),
            federated: Vec::new(),
        }
    }
}
