//! A chain of credentials.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use symbolon_token::{Error, ErrorKind, Token, TokenCache};
use symbolon_transport::SharedTransport;
use symbolon_types::{Context, CorrelationId};

use super::link::{ChainLink, LinkError, LinkRequest, SkippedLink};
use super::links::Link;
#[cfg(feature = "client")]
use crate::identity::ManagedIdentity;

/// Credentials in an order of your own. The first one that has a token is used from then on. Clones
/// are cheap and share tokens, connections and that choice.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon::{AzureCli, CredentialChain, ManagedIdentity};
///
/// let chain = CredentialChain::builder()
///     .workload_identity()
///     .managed_identity(ManagedIdentity::builder().build()?)
///     .azure_cli(AzureCli::new())
///     .build()?;
/// let token = chain.token("https://vault.azure.net").await?;
/// println!("from {:?}; skipped: {:?}", chain.chosen(), chain.skipped());
/// # Ok(()) }
/// ```
///
/// # Skipped links
///
/// A link is skipped only if its identity does not exist on this host. A link that exists and fails
/// ends the request with its error, because the next link would be another identity.
///
/// | link | skipped if | an error |
/// |---|---|---|
/// | workload identity | `AZURE_FEDERATED_TOKEN_FILE` is not set | all other failures: another variable is missing, the file cannot be read, the token service refuses |
/// | managed identity | no variable names a source, and no metadata service responds within a second | all other failures: a source that the environment names fails, an identity is not assigned (unless [`skip_missing_identity`] is set) |
/// | Azure CLI, Azure Developer CLI | the program is not in `PATH`; no user is logged in | all other failures: a timeout, an expired session, an unknown tenant |
///
/// The metadata service is probed (see [`ManagedIdentity::capabilities`]) only if no variable names
/// a source and the chain has another link. A managed identity that is the only link is requested
/// as without a chain.
///
/// # Bound tokens
///
/// Only a managed identity has bound tokens. A request for one skips the tools without starting
/// them. It fails at a workload identity that is configured, and if another link was chosen before.
/// It never returns a bearer token.
///
/// # Developer tools
///
/// The tools run without a shell, with validated arguments, from the absolute folders of `PATH`.
/// After 13 seconds, or when the request is dropped, they are killed, on Unix together with the
/// processes that they started. A process that a tool leaves behind has a second to close the pipes
/// of the tool; then the output is used as it is.
///
/// A token of a tool is cached for as long as the files do not change in which the tool records its
/// account: `azureProfile.json` and `config` in `AZURE_CONFIG_DIR` or `~/.azure`, `auth.json` and
/// `config.json` in `AZD_CONFIG_DIR` or `~/.azd`. After a login as another user, the next request
/// runs the tool again. Without these files, every request runs the tool, and requests at the same
/// time share one run.
///
/// The Azure CLI was tested in version 2.91.0 without a login. The Azure Developer CLI was not
/// tested, nor was Windows, where the Azure CLI is the script `az.cmd`.
///
/// [`ManagedIdentity::capabilities`]: crate::ManagedIdentity::capabilities
/// [`skip_missing_identity`]: crate::CredentialChainBuilder::skip_missing_identity
#[derive(Clone, Debug)]
pub struct CredentialChain(Arc<ChainParts>);

#[derive(Debug)]
struct ChainParts {
    links: Vec<Link>,
    /// The index of the link that had a token first.
    chosen: OnceLock<usize>,
    /// The links that the last attempt skipped.
    skipped: Mutex<Vec<SkippedLink>>,
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only HTTP clients use it"))]
    context: Context,
    cache: TokenCache,
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only HTTP clients use it"))]
    transport: SharedTransport,
}

impl CredentialChain {
    pub(super) fn new(
        links: Vec<Link>,
        context: Context,
        cache: TokenCache,
        transport: SharedTransport,
    ) -> Self {
        let (chosen, skipped) = (OnceLock::new(), Mutex::default());
        Self(Arc::new(ChainParts { links, chosen, skipped, context, cache, transport }))
    }

    /// Returns the links, in the order in which they are tried.
    #[must_use]
    pub fn links(&self) -> Vec<ChainLink> {
        self.0.links.iter().map(Link::name).collect()
    }

    /// Returns the link that had a token first and is used since.
    #[must_use]
    pub fn chosen(&self) -> Option<ChainLink> {
        self.0.chosen.get().map(|index| self.0.links[*index].name())
    }

    /// Returns the links that were skipped when the links were last tried in order.
    #[must_use]
    pub fn skipped(&self) -> Vec<SkippedLink> {
        self.0.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes a token that a resource refused from the cache, so that the next request gets
    /// another. A newer token in its place stays. Returns true if the token was in a cache.
    pub fn invalidate(&self, token: &Token) -> bool {
        let was_cached = self.0.cache.invalidate(token);
        let identities = self.0.links.iter().filter_map(Link::managed_identity);
        identities.fold(was_cached, |was_cached, identity| identity.invalidate(token) || was_cached)
    }

    /// Returns the context of the chain.
    #[cfg(feature = "client")]
    pub(crate) fn context(&self) -> &Context {
        &self.0.context
    }

    /// Returns the transport of the links other than managed identities.
    #[cfg(feature = "client")]
    pub(crate) fn transport(&self) -> &SharedTransport {
        &self.0.transport
    }

    /// Returns the managed identity among the links, the only one with bound tokens.
    #[cfg(feature = "client")]
    pub(crate) fn managed_identity(&self) -> Option<&ManagedIdentity> {
        self.0.links.iter().find_map(Link::managed_identity)
    }

    pub(super) async fn acquire(&self, mut request: LinkRequest<'_>) -> Result<Token, Error> {
        let id = request.options.correlation_id().unwrap_or_else(CorrelationId::random);
        request.options = request.options.with_correlation_id(id);
        let result = match self.0.chosen.get() {
            Some(index) => {
                let link = &self.0.links[*index];
                let token = link.token(&request, false).await;
                token.map_err(|error| error.into_error().with_context(link.name()))
            }
            None => self.try_links(&request).await,
        };
        result.map_err(|error| error.with_correlation_id(id))
    }

    /// Returns the token of the first link that has one, and chooses that link.
    async fn try_links(&self, request: &LinkRequest<'_>) -> Result<Token, Error> {
        let check_host = self.0.links.len() > 1;
        let mut skipped = Vec::new();
        let mut result = None;
        for (index, link) in self.0.links.iter().enumerate() {
            match link.token(request, check_host).await {
                Ok(token) => {
                    tracing::debug!(link = %link.name(), "a link of the chain has a token");
                    // A concurrent request may already have chosen a link; its choice stays.
                    let _result = self.0.chosen.set(index);
                    result = Some(Ok(token));
                    break;
                }
                Err(LinkError::Failed(error)) => {
                    result = Some(Err(error.with_context(link.name())));
                    break;
                }
                Err(LinkError::Unavailable(error)) => {
                    tracing::debug!(link = %link.name(), code = error.code(), "a link of the chain was skipped");
                    skipped.push(SkippedLink { link: link.name(), reason: error.to_string() });
                }
            }
        }
        let result = result.unwrap_or_else(|| Err(no_credential_available(&skipped)));
        *self.0.skipped.lock().unwrap_or_else(PoisonError::into_inner) = skipped;
        result
    }
}

fn no_credential_available(skipped: &[SkippedLink]) -> Error {
    let reasons: Vec<String> =
        skipped.iter().map(|SkippedLink { link, reason }| format!("[{link}: {reason}]")).collect();
    let error = format!("no link of the credential chain is available on this host: {}", reasons.join(" "));
    Error::new(ErrorKind::Environment, "no_credential_available", error)
        .with_advice("set up one of the links, or build a chain of links that this host has")
}
