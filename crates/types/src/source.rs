//! The managed identity sources: one table from which detection, diagnosis, the emulator and the
//! documentation follow.
//!
//! Adding a source touches four source files: a variant and a row here, its request in
//! `crates/symbolon/src/source/request.rs`, and in the emulator its step in `protocol/step.rs` and
//! its endpoint and variables in `services/hosts.rs`. Tests that iterate over [`Source::ALL`] fail
//! until all four agree. A source with several requests per token, such as Azure Arc, also has a
//! file of its own beside each of the two.

use std::fmt;

/// A service of the host that issues managed identity tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// Azure Service Fabric.
    ServiceFabric,
    /// Azure App Service, Functions, Container Apps and Automation.
    AppService,
    /// Azure Machine Learning.
    MachineLearning,
    /// Azure Cloud Shell.
    CloudShell,
    /// A machine outside of Azure with the Azure Arc agent.
    AzureArc,
    /// The instance metadata service of an Azure virtual machine.
    Imds,
}

/// The kind of id by which a managed identity is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdKind {
    /// No id: the identity of the host itself.
    SystemAssigned,
    /// The client id, also called application id.
    ClientId,
    /// The object id of the service principal, also called principal id.
    ObjectId,
    /// The Azure resource id, `/subscriptions/…`.
    ResourceId,
}

/// The facts about a source that more than one part of Symbolon uses.
#[derive(Debug)]
#[non_exhaustive]
pub struct SourceInfo {
    /// The source.
    pub source: Source,
    /// The machine-readable name, as in JSON.
    pub name: &'static str,
    /// The name in messages.
    pub display_name: &'static str,
    /// The products that have this source.
    pub products: &'static str,
    /// The variables that select the source if all are set. The first holds the endpoint.
    pub required_variables: &'static [&'static str],
    /// Further variables that the source reads.
    pub optional_variables: &'static [&'static str],
    /// The reason that detection states for the source.
    pub detected_reason: &'static str,
    /// The host's own identity, in the words of `doctor`.
    pub own_identity: &'static str,
    /// The kinds of id that select a user-assigned identity.
    pub id_kinds: &'static [IdKind],
    /// The `error.code` for another kind of id.
    pub id_error_code: &'static str,
    /// The advice for another kind of id.
    pub id_advice: &'static str,
    /// The advice after HTTP 401 or 403.
    pub unauthorized_advice: Option<&'static str>,
    /// True if the source can issue certificates, so that tokens can be bound to a key.
    pub issues_certificates: bool,
    /// True if a request can name the token that a resource refused, and the client's capabilities.
    pub replaces_refused_tokens: bool,
}

const ALL_IDS: &[IdKind] = &[IdKind::ClientId, IdKind::ObjectId, IdKind::ResourceId];
const STALE_HEADER: &str =
    "the secret in IDENTITY_HEADER was not accepted; restart the process if the host was restarted";

/// The facts that most sources share.
const COMMON: SourceInfo = SourceInfo {
    source: Source::Imds,
    name: "",
    display_name: "",
    products: "",
    required_variables: &[],
    optional_variables: &[],
    detected_reason: "",
    own_identity: "the host's own",
    id_kinds: ALL_IDS,
    id_error_code: "",
    id_advice: "",
    unauthorized_advice: None,
    issues_certificates: false,
    replaces_refused_tokens: false,
};

/// In order of detection: App Service also sets the variables of Azure Machine Learning.
/// (docs/protocol/sources.md#detection)
static SOURCES: [SourceInfo; 6] = [
    SourceInfo {
        source: Source::ServiceFabric,
        name: "service_fabric",
        display_name: "Service Fabric",
        products: "Service Fabric",
        required_variables: &["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"],
        detected_reason: "IDENTITY_ENDPOINT, IDENTITY_HEADER and IDENTITY_SERVER_THUMBPRINT are set",
        id_kinds: &[IdKind::ObjectId],
        id_error_code: "user_assigned_managed_identity_not_configurable_at_runtime",
        id_advice: "name the identity by its object id, or assign it in the application manifest",
        unauthorized_advice: Some(STALE_HEADER),
        replaces_refused_tokens: true,
        ..COMMON
    },
    SourceInfo {
        source: Source::AppService,
        name: "app_service",
        display_name: "App Service",
        products: "App Service, Functions, Container Apps, Automation",
        required_variables: &["IDENTITY_ENDPOINT", "IDENTITY_HEADER"],
        detected_reason: "IDENTITY_ENDPOINT and IDENTITY_HEADER are set",
        unauthorized_advice: Some(STALE_HEADER),
        ..COMMON
    },
    SourceInfo {
        source: Source::MachineLearning,
        name: "machine_learning",
        display_name: "Azure Machine Learning",
        products: "Azure Machine Learning",
        required_variables: &["MSI_ENDPOINT", "MSI_SECRET"],
        optional_variables: &["DEFAULT_IDENTITY_CLIENT_ID"],
        detected_reason: "MSI_ENDPOINT and MSI_SECRET are set",
        id_kinds: &[IdKind::ClientId],
        id_error_code: "invalid_managed_identity_id_type",
        id_advice: "name the identity by its client id",
        unauthorized_advice: Some("the secret in MSI_SECRET was not accepted"),
        ..COMMON
    },
    SourceInfo {
        source: Source::CloudShell,
        name: "cloud_shell",
        display_name: "Cloud Shell",
        products: "Cloud Shell",
        required_variables: &["MSI_ENDPOINT"],
        detected_reason: "MSI_ENDPOINT is set, and MSI_SECRET is not",
        own_identity: "that of the signed-in user",
        id_kinds: &[],
        id_error_code: "user_assigned_managed_identity_not_supported",
        id_advice: "use the system-assigned identity; in Cloud Shell it is the signed-in user",
        ..COMMON
    },
    SourceInfo {
        source: Source::AzureArc,
        name: "azure_arc",
        display_name: "Azure Arc",
        products: "Azure Arc",
        required_variables: &["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"],
        detected_reason: "IDENTITY_ENDPOINT and IMDS_ENDPOINT are set",
        unauthorized_advice: Some("the key of the Azure Arc agent was not accepted; try again"),
        ..COMMON
    },
    SourceInfo {
        source: Source::Imds,
        name: "imds",
        display_name: "the instance metadata service",
        products: "Virtual machines: the instance metadata service",
        optional_variables: &[Source::IMDS_VARIABLE],
        detected_reason: "nothing names another source",
        issues_certificates: true,
        ..COMMON
    },
];

impl Source {
    /// All sources, in order of detection.
    pub const ALL: [Self; 6] = [
        Self::ServiceFabric,
        Self::AppService,
        Self::MachineLearning,
        Self::CloudShell,
        Self::AzureArc,
        Self::Imds,
    ];

    /// The variable with the origin of the instance metadata service, for pod identity and
    /// emulators.
    pub const IMDS_VARIABLE: &'static str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

    /// Returns the facts about this source.
    #[must_use]
    pub fn info(self) -> &'static SourceInfo {
        &SOURCES[self as usize]
    }

    /// Returns the name in JSON: `service_fabric`, `app_service`, `machine_learning`,
    /// `cloud_shell`, `azure_arc` or `imds`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.info().name
    }

    /// Returns the variables of all sources, some more than once.
    pub fn variables() -> impl Iterator<Item = &'static str> {
        SOURCES.iter().flat_map(|info| info.required_variables.iter().chain(info.optional_variables)).copied()
    }
}

/// Writes the name for messages, such as `App Service`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.info().display_name)
    }
}

impl IdKind {
    /// Returns the name in messages and logs: `system-assigned`, `client id`, `object id` or
    /// `resource id`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SystemAssigned => "system-assigned",
            Self::ClientId => "client id",
            Self::ObjectId => "object id",
            Self::ResourceId => "resource id",
        }
    }
}

impl fmt::Display for IdKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_own_row() {
        assert_eq!(Source::ALL.len(), SOURCES.len());
        for source in Source::ALL {
            assert_eq!(source.info().source, source);
            let refuses_ids = source.info().id_kinds.len() < ALL_IDS.len();
            assert_eq!(refuses_ids, !source.info().id_error_code.is_empty(), "{source}");
        }
    }
}
