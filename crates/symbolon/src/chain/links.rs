//! The links of a chain.

use symbolon_binding::imds::IdentityMissing;
use symbolon_token::{Error, ErrorKind, Token, TokenClient};

use super::link::{ChainLink, LinkError, LinkRequest, cannot_bind};
use super::tool::DeveloperTool;
use crate::downgrade::Downgrade;
use crate::identity::ManagedIdentity;

/// A link, ready to request tokens.
#[derive(Debug)]
pub(super) enum Link {
    /// An error if the environment describes none, or describes it incompletely.
    WorkloadIdentity(Result<TokenClient, LinkError>),
    ManagedIdentity {
        identity: ManagedIdentity,
        /// Skips the link also if the source reports that this host does not have the identity.
        is_skipped_if_missing: bool,
    },
    Tool(Box<DeveloperTool>),
}

impl Link {
    pub(super) fn name(&self) -> ChainLink {
        match self {
            Self::WorkloadIdentity(_) => ChainLink::WorkloadIdentity,
            Self::ManagedIdentity { .. } => ChainLink::ManagedIdentity,
            Self::Tool(tool) => tool.name(),
        }
    }

    pub(super) fn managed_identity(&self) -> Option<&ManagedIdentity> {
        match self {
            Self::ManagedIdentity { identity, .. } => Some(identity),
            _ => None,
        }
    }

    /// Requests a token. With `check_host`, a managed identity is first checked for a source.
    pub(super) async fn token(
        &self,
        request: &LinkRequest<'_>,
        check_host: bool,
    ) -> Result<Token, LinkError> {
        match self {
            Self::WorkloadIdentity(client) => {
                let client = client.as_ref().map_err(LinkError::clone)?;
                if request.proof_of_possession {
                    return Err(LinkError::Failed(cannot_bind()));
                }
                let token = client.token_for_resource(request.resource).options(request.options);
                token.await.map_err(LinkError::Failed)
            }
            Self::ManagedIdentity { identity, is_skipped_if_missing } => {
                if check_host {
                    find_source(identity).await.map_err(LinkError::Unavailable)?;
                }
                managed_identity_token(identity, request).await.map_err(|error| {
                    if *is_skipped_if_missing && is_missing(&error) {
                        LinkError::Unavailable(error)
                    } else {
                        LinkError::Failed(error)
                    }
                })
            }
            Self::Tool(_) if request.proof_of_possession => Err(LinkError::Unavailable(cannot_bind())),
            Self::Tool(tool) => tool.token(request).await,
        }
    }
}

/// Probes for the metadata service, if the environment names no source.
async fn find_source(identity: &ManagedIdentity) -> Result<(), Error> {
    if identity.detection().is_named {
        return Ok(());
    }
    let host = identity.capabilities().await;
    if host.source.is_some() {
        return Ok(());
    }
    let probes = host.imds.map(|imds| imds.reasons.join("; ")).unwrap_or_default();
    let error = format!("{}, and {} ({probes})", host.detection.reason, host.reason);
    Err(Error::new(ErrorKind::Environment, "managed_identity_unavailable", error)
        .with_advice("run on an Azure host, or set IDENTITY_ENDPOINT to another source"))
}

fn is_missing(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<IdentityMissing>)
}

async fn managed_identity_token(
    identity: &ManagedIdentity,
    request: &LinkRequest<'_>,
) -> Result<Token, Error> {
    let mut token = identity.token(request.resource).options(request.options);
    token.proof_of_possession = request.proof_of_possession;
    // A chain never downgrades, whatever the policy of the identity.
    token.downgrade = Downgrade::Never;
    token.await
}
