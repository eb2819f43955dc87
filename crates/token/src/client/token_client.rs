//! The token client.

use std::sync::Arc;

use bytes::Bytes;
use symbolon_transport::Transport;
use symbolon_types::Error;

use super::parts::ClientParts;
use super::request::TokenRequest;
use crate::cache::TokenCache;
use crate::oauth::Audience;
use crate::token::Token;

/// Gets tokens for one credential and keeps them. Clones are cheap and share everything.
///
/// ```no_run
/// # use symbolon_token::{Application, ClientSecret, TokenClient, authority::Authority};
/// # use symbolon_types::Secret;
/// # async fn example(transport: impl symbolon_transport::Transport) -> Result<(), symbolon_token::Error> {
/// let authority = Authority::parse("https://login.microsoftonline.com/contoso.example")?;
/// let application = Application::new(authority, "6731de76-14a6-49ae-97bc-6eba6914391e")?;
/// let credential = ClientSecret::new(application, Secret::new("…"))?;
/// let client = TokenClient::builder(credential, transport).build();
/// let token = client.token("https://graph.microsoft.com/.default").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TokenClient {
    pub(super) parts: Arc<ClientParts>,
}

impl TokenClient {
    /// Asks for a token for these scopes, separated by spaces; their order has no meaning.
    #[inline]
    pub fn token<'a>(&'a self, scopes: &'a str) -> TokenRequest<'a> {
        TokenRequest::new(&self.parts, Audience::scopes(scopes))
    }

    /// Asks for a token for this resource: `https://vault.azure.net`, with or without
    /// `/.default`. It is cached under the resource, and `/.default` is put behind it on the wire.
    #[inline]
    pub fn token_for_resource<'a>(&'a self, resource: &'a str) -> TokenRequest<'a> {
        TokenRequest::new(&self.parts, Audience::resource(resource))
    }

    /// The tokens that the client keeps.
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        &self.parts.cache
    }

    /// Forgets a token that a resource refused, so that the next request gets another. A newer
    /// token in its place stays. Tells whether it was there.
    pub fn invalidate(&self, token: &Token) -> bool {
        self.parts.cache.invalidate(token)
    }

    /// Calls a resource with a token: scheme, header and certificate travel together or not at
    /// all. The answer is returned whatever its status; nothing is retried.
    ///
    /// # Errors
    /// As [`Token::authorize`], and when there is no answer.
    pub async fn call(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        let sent = self.parts.http.transport().send(token.authorize(request)?).await;
        let response = sent.map_err(|error| error.into_error("the resource could not be called"))?;
        let mut answer = http::Response::new(response.body().clone());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer)
    }
}
