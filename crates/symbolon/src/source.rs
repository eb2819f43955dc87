//! The sources of bearer tokens: each is a request and what is peculiar about its answer. What they have in
//! common is here once.

pub(crate) mod app_service;
pub(crate) mod azure_arc;
pub(crate) mod cloud_shell;
mod endpoint;
pub(crate) mod exchange;
pub(crate) mod expiry;
pub(crate) mod imds_v1;
mod issued;
pub(crate) mod machine_learning;
mod refusal;
pub(crate) mod service_fabric;

use symbolon_binding::ManagedIdentityId;
use symbolon_types::CorrelationId;

use crate::Source;

/// The versions of the endpoints. Libraries disagree about all but the first (managed-identity sources
/// D-10, D-15); these are those of MSAL.NET.
mod api_version {
    pub(super) const APP_SERVICE: &str = "2019-08-01";
    pub(super) const SERVICE_FABRIC: &str = "2020-05-01";
    pub(super) const MACHINE_LEARNING: &str = "2017-09-01";
    pub(super) const AZURE_ARC: &str = "2020-06-01";
}

/// What a source is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) resource: &'a str,
    pub(crate) id: &'a ManagedIdentityId,
    /// What the client can handle, for a source that takes it.
    pub(crate) capabilities: &'a [String],
    /// The SHA-256, in hexadecimal digits, of the token that a resource refused, so that the source
    /// drops its own copy.
    pub(crate) refused: Option<&'a str>,
    pub(crate) correlation_id: CorrelationId,
}

/// Whether the source takes the claims of a challenge, and capabilities. No source takes the claims
/// themselves: what it can do is replace the token that was challenged.
/// (Managed-identity sources §4.5, D-21.)
pub(crate) fn takes_claims(source: Source) -> bool {
    source == Source::ServiceFabric
}
