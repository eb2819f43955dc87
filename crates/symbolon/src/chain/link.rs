//! The names of links, and the requests and errors that links share.

use std::fmt;

use symbolon_token::{Error, ErrorKind, RequestOptions};

/// The name of a link of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChainLink {
    /// The federated identity of a workload, which Azure Workload Identity describes in variables.
    WorkloadIdentity,
    /// A managed identity.
    ManagedIdentity,
    /// The user who is logged in to the Azure CLI.
    AzureCli,
    /// The user who is logged in to the Azure Developer CLI.
    AzureDeveloperCli,
}

impl ChainLink {
    /// Returns the name in `AZURE_TOKEN_CREDENTIALS`: `WorkloadIdentityCredential`,
    /// `ManagedIdentityCredential`, `AzureCliCredential` or `AzureDeveloperCliCredential`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorkloadIdentity => "WorkloadIdentityCredential",
            Self::ManagedIdentity => "ManagedIdentityCredential",
            Self::AzureCli => "AzureCliCredential",
            Self::AzureDeveloperCli => "AzureDeveloperCliCredential",
        }
    }
}

/// Writes the name for messages, such as `Azure CLI`.
impl fmt::Display for ChainLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::WorkloadIdentity => "workload identity",
            Self::ManagedIdentity => "managed identity",
            Self::AzureCli => "Azure CLI",
            Self::AzureDeveloperCli => "Azure Developer CLI",
        })
    }
}

/// A link that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedLink {
    /// The link.
    pub link: ChainLink,
    /// The reason for skipping it, and advice.
    pub reason: String,
}

/// A request to a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkRequest<'a> {
    pub(super) resource: &'a str,
    pub(super) proof_of_possession: bool,
    pub(super) options: RequestOptions<'a>,
}

/// The failure of a link.
#[derive(Clone, Debug)]
pub(super) enum LinkError {
    /// The link's identity does not exist here. The next link is tried.
    Unavailable(Error),
    /// The link failed. The next link would be another identity, so the request ends.
    Failed(Error),
}

impl LinkError {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Unavailable(error) | Self::Failed(error) => error,
        }
    }
}

/// Returns the error of a link that has bearer tokens only.
pub(super) fn cannot_bind() -> Error {
    let error = "its tokens cannot be bound to a key; no token was requested";
    Error::new(ErrorKind::Environment, "mtls_pop_not_supported_for_environment", error).with_advice(
        "request a bearer token, or use a managed identity on a host whose metadata service has version 2",
    )
}
