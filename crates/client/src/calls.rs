//! The trait by which providers of tokens have a client.

use crate::builder::ClientBuilder;
use crate::client::Client;
use crate::provider::TokenProvider;

/// HTTP calls with the tokens of a provider.
///
/// ```no_run
/// # async fn example(tokens: symbolon_token::TokenClient) -> Result<(), symbolon_client::Error> {
/// use symbolon_client::HttpCalls;
///
/// let client = tokens.client("https://graph.microsoft.com").proof_of_possession().build()?;
/// let response = client.get("https://mtlstb.graph.microsoft.com/v1.0/organization").send().await?;
/// # Ok(()) }
/// ```
pub trait HttpCalls: TokenProvider + Clone {
    /// Returns a builder of an HTTP client that calls a resource, such as
    /// `https://vault.azure.net`, with tokens of this provider. For
    /// [`UserTokens`](crate::UserTokens), `resource` is a list of scopes.
    ///
    /// The client has connections of its own, with the variables and the clock of the provider.
    fn client(&self, resource: impl Into<String>) -> ClientBuilder {
        Client::builder(self.clone(), resource)
    }
}

impl<P: TokenProvider + Clone> HttpCalls for P {}
