//! Several identities, asked in an order that the caller wrote down.

mod azure_cli;
mod azure_developer_cli;
mod builder;
mod link;
mod process;
mod request;
mod tool;
mod variable;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use symbolon_token::{Error, ErrorKind, Token, TokenCache};
use symbolon_transport::{SharedTransport, Transport};
use symbolon_types::CorrelationId;

pub use self::azure_cli::AzureCli;
pub use self::azure_developer_cli::AzureDeveloperCli;
pub use self::builder::CredentialChainBuilder;
pub use self::link::{ChainLink, SkippedLink};
use self::link::{Link, Miss};
pub use self::request::{ChainFuture, ChainRequest};

/// Identities in an order of your own: the first that is there is asked, and from its first token on it
/// alone. Clones are cheap and share tokens, connections and that choice.
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
/// println!("from {:?}; passed over: {:?}", chain.chosen(), chain.skipped());
/// # Ok(()) }
/// ```
///
/// # What is skipped, and what is not
///
/// A link is skipped only where its identity is not there at all. One that is there and fails ends
/// the request with its error: the next would be somebody else.
///
/// | link | skipped | an error |
/// |---|---|---|
/// | workload identity | `AZURE_FEDERATED_TOKEN_FILE` is not set | anything else: another variable is missing, the file cannot be read, the token service refuses |
/// | managed identity | nothing names a source, and no metadata service answers within a second | anything else: a source that the environment names and that fails, an identity that is not assigned |
/// | Azure CLI, Azure Developer CLI | not in `PATH`; nobody is logged in | anything else: it does not end in time, the session has expired, an unknown tenant |
///
/// The metadata service is looked for (see [`ManagedIdentity::capabilities`]) only where nothing
/// names a source and the chain has another link; a managed identity that stands alone was asked
/// for, and is asked as patiently as without a chain.
///
/// # Bound tokens
///
/// Only the managed identity has them. A request for one passes over the tools without starting them,
/// and fails at a workload identity that is configured, and where another link was chosen
/// before. It never yields a bearer token.
///
/// # Tools of developers
///
/// They are run without a shell, with arguments that were checked, found in the absolute folders of
/// `PATH`, given up after 13 seconds, and killed with whatever they started (on Unix) when nobody waits any more. Their tokens are
/// kept like all others: who logs in as somebody else is noticed when the token is renewed. The
/// Azure CLI was tried in version 2.91.0 where nobody was logged in; the Azure Developer CLI, and Windows, where the Azure CLI is the script
/// `az.cmd`, were not tried.
///
/// [`ManagedIdentity::capabilities`]: crate::ManagedIdentity::capabilities
#[derive(Clone, Debug)]
pub struct CredentialChain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    links: Vec<Link>,
    /// The link that had a token.
    chosen: OnceLock<usize>,
    /// What the last walk passed over.
    skipped: Mutex<Vec<SkippedLink>>,
    cache: TokenCache,
    transport: SharedTransport,
}

impl CredentialChain {
    /// Starts a chain without links.
    #[must_use]
    pub fn builder() -> CredentialChainBuilder {
        CredentialChainBuilder::new()
    }

    /// The chain that `AZURE_TOKEN_CREDENTIALS` of this process names; see
    /// [`named_by_environment`](CredentialChainBuilder::named_by_environment).
    ///
    /// # Errors
    /// As [`CredentialChainBuilder::build`].
    pub fn from_environment() -> Result<Self, Error> {
        Self::builder().named_by_environment().build()
    }

    /// Asks for a token for a resource, for example `https://vault.azure.net`.
    pub fn token<'a>(&'a self, resource: &'a str) -> ChainRequest<'a> {
        ChainRequest::new(self, resource)
    }

    /// The links, in the order in which they are asked.
    #[must_use]
    pub fn links(&self) -> Vec<ChainLink> {
        self.0.links.iter().map(Link::name).collect()
    }

    /// The link that had a token first, and is asked alone since.
    #[must_use]
    pub fn chosen(&self) -> Option<ChainLink> {
        self.0.chosen.get().map(|index| self.0.links[*index].name())
    }

    /// What was passed over when the links were last asked one after the other, and why.
    #[must_use]
    pub fn skipped(&self) -> Vec<SkippedLink> {
        self.0.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls a resource with a token. For a bound token, header and certificate travel together or
    /// not at all. The answer is returned whatever its status; nothing is retried.
    ///
    /// # Errors
    /// `insecure_endpoint` if the URL is not `https`, and when there is no answer.
    pub async fn call(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        let bound =
            self.0.links.iter().find_map(Link::managed_identity).filter(|_| token.bound_to().is_some());
        if let Some(identity) = bound {
            return identity.call(token, request).await;
        }
        let sent = self.0.transport.send(token.authorize(request)?).await;
        let response = sent.map_err(|error| error.into_error("the resource could not be called"))?;
        let mut answer = http::Response::new(response.body().clone());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer)
    }

    /// Forgets a token that a resource refused, so that the next request gets another. A newer
    /// token in its place stays. Tells whether it was there.
    pub fn invalidate(&self, token: &Token) -> bool {
        let own = self.0.cache.invalidate(token);
        let identities = self.0.links.iter().filter_map(Link::managed_identity);
        identities.fold(own, |was_there, identity| identity.invalidate(token) || was_there)
    }

    async fn ask(&self, request: ChainRequest<'_>) -> Result<Token, Error> {
        let id = request.correlation_id.unwrap_or_else(CorrelationId::random);
        let asked = request.correlation_id(id);
        let outcome = match self.0.chosen.get() {
            Some(index) => {
                let link = &self.0.links[*index];
                link.ask(&asked, false).await.map_err(|miss| miss.into_error().with_context(link.name()))
            }
            None => self.walk(&asked).await,
        };
        outcome.map_err(|error| error.with_correlation_id(id))
    }

    /// The first token that a link has.
    async fn walk(&self, request: &ChainRequest<'_>) -> Result<Token, Error> {
        let mut skipped = Vec::new();
        let mut outcome = None;
        for (index, link) in self.0.links.iter().enumerate() {
            match link.ask(request, self.0.links.len() > 1).await {
                Ok(token) => {
                    tracing::debug!(link = %link.name(), "a link of the chain has a token");
                    // Whoever was faster has the same right.
                    let _first = self.0.chosen.set(index);
                    outcome = Some(Ok(token));
                    break;
                }
                Err(Miss::Failed(error)) => {
                    outcome = Some(Err(error.with_context(link.name())));
                    break;
                }
                Err(Miss::Skipped(error)) => {
                    tracing::debug!(link = %link.name(), code = error.code(), "a link of the chain was skipped");
                    skipped.push(SkippedLink { link: link.name(), reason: error.to_string() });
                }
            }
        }
        let outcome = outcome.unwrap_or_else(|| Err(nobody(&skipped)));
        *self.0.skipped.lock().unwrap_or_else(PoisonError::into_inner) = skipped;
        outcome
    }
}

/// All links were skipped.
fn nobody(skipped: &[SkippedLink]) -> Error {
    let reasons: Vec<String> =
        skipped.iter().map(|SkippedLink { link, reason }| format!("[{link}: {reason}]")).collect();
    let error = format!("no link of the credential chain is usable here: {}", reasons.join(" "));
    Error::new(ErrorKind::Environment, "no_credential_available", error)
        .with_advice("set one of them up, or build a chain of what this host has")
}
