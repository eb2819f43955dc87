//! A link of the chain: who is asked, and whether it is there.

use std::fmt;

use symbolon_token::{Error, ErrorKind, Token, TokenClient};

use super::ChainRequest;
use super::tool::DeveloperTool;
use crate::{Downgrade, ManagedIdentity};

/// Who a chain asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChainLink {
    /// The federated identity of a workload, as Azure Workload Identity describes it in variables.
    WorkloadIdentity,
    /// A managed identity.
    ManagedIdentity,
    /// Whoever is logged in to the Azure CLI.
    AzureCli,
    /// Whoever is logged in to the Azure Developer CLI.
    AzureDeveloperCli,
}

impl ChainLink {
    /// The name in `AZURE_TOKEN_CREDENTIALS`: `WorkloadIdentityCredential`, `ManagedIdentityCredential`,
    /// `AzureCliCredential`, `AzureDeveloperCliCredential`.
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

/// For people.
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

/// A link that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedLink {
    /// The link.
    pub link: ChainLink,
    /// Why it was passed over, and what to do about it.
    pub reason: String,
}

/// A link with all that it takes to ask it.
#[derive(Debug)]
pub(super) enum Link {
    WorkloadIdentity(WorkloadLink),
    ManagedIdentity(ManagedIdentity),
    Tool(Box<DeveloperTool>),
}

/// The federated identity that the environment describes.
#[derive(Debug)]
pub(super) enum WorkloadLink {
    Configured(TokenClient),
    /// Nothing in the environment speaks of it.
    Absent(Error),
    /// It is described, but not whole.
    Broken(Error),
}

/// Why a link had no token.
#[derive(Debug)]
pub(super) enum Miss {
    /// It is not there: the next is asked.
    Skipped(Error),
    /// It is there and failed: the next would be somebody else.
    Failed(Error),
}

impl Miss {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Skipped(error) | Self::Failed(error) => error,
        }
    }
}

impl Link {
    pub(super) fn name(&self) -> ChainLink {
        match self {
            Self::WorkloadIdentity(_) => ChainLink::WorkloadIdentity,
            Self::ManagedIdentity(_) => ChainLink::ManagedIdentity,
            Self::Tool(tool) => tool.name(),
        }
    }

    pub(super) fn managed_identity(&self) -> Option<&ManagedIdentity> {
        match self {
            Self::ManagedIdentity(identity) => Some(identity),
            _ => None,
        }
    }

    /// `is_optional` says that another link could take its place.
    pub(super) async fn ask(&self, request: &ChainRequest<'_>, is_optional: bool) -> Result<Token, Miss> {
        match self {
            Self::WorkloadIdentity(workload) => workload.ask(request).await,
            Self::ManagedIdentity(identity) => managed(identity, request, is_optional).await,
            Self::Tool(_) if request.proof_of_possession => Err(Miss::Skipped(cannot_bind())),
            Self::Tool(tool) => tool.ask(request).await,
        }
    }
}

impl WorkloadLink {
    async fn ask(&self, request: &ChainRequest<'_>) -> Result<Token, Miss> {
        let client = match self {
            Self::Configured(client) => client,
            Self::Absent(error) => return Err(Miss::Skipped(error.clone())),
            Self::Broken(error) => return Err(Miss::Failed(error.clone())),
        };
        if request.proof_of_possession {
            return Err(Miss::Failed(cannot_bind()));
        }
        let mut token = client.token_for_resource(request.resource);
        if let Some(claims) = request.claims {
            token = token.claims(claims);
        }
        if request.force_refresh {
            token = token.force_refresh();
        }
        if let Some(id) = request.correlation_id {
            token = token.correlation_id(id);
        }
        token.await.map_err(Miss::Failed)
    }
}

async fn managed(
    identity: &ManagedIdentity,
    request: &ChainRequest<'_>,
    is_optional: bool,
) -> Result<Token, Miss> {
    if is_optional && !identity.detection().is_named {
        let found = identity.capabilities().await;
        if found.source.is_none() {
            let probed = found.imds.map(|imds| imds.reasons.join("; ")).unwrap_or_default();
            let error = format!("{}, and {} ({probed})", found.detection.reason, found.reason);
            return Err(Miss::Skipped(
                Error::new(ErrorKind::Environment, "managed_identity_unavailable", error)
                    .with_advice("run on an Azure host, or where IDENTITY_ENDPOINT names another source"),
            ));
        }
    }
    let mut token = identity.token(request.resource);
    if request.proof_of_possession {
        token = token.proof_of_possession();
    }
    if let Some(claims) = request.claims {
        token = token.claims(claims);
    }
    if request.force_refresh {
        token = token.force_refresh();
    }
    if let Some(id) = request.correlation_id {
        token = token.correlation_id(id);
    }
    // Its own policy may allow a downgrade; a chain never does.
    token.downgrade = Downgrade::Never;
    token.await.map_err(Miss::Failed)
}

fn cannot_bind() -> Error {
    let error = "its tokens cannot be bound to a key; it was not asked";
    Error::new(ErrorKind::Environment, "mtls_pop_not_supported_for_environment", error)
        .with_advice("ask for a bearer token, or a managed identity where the metadata service has version 2")
}
