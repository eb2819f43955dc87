//! The token client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use symbolon_transport::SharedTransport;
use symbolon_types::{Context, Error};

use super::exchange::rejection;
use super::parts::ClientParts;
use super::request::TokenRequest;
use crate::cache::TokenCache;
use crate::credential::CredentialRequest;
use crate::oauth::{Audience, CredentialRejection};
use crate::token::Token;

/// A client that requests tokens with one credential and caches them. Clones are cheap and share
/// everything.
///
/// ```no_run
/// # use symbolon_token::{Application, ClientSecret, TokenClient, authority::Authority};
/// # use symbolon_types::Secret;
/// # use symbolon_transport::Transport;
/// # async fn example(transport: impl Transport) -> Result<(), symbolon_token::Error> {
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
    /// Requests a token for these scopes, separated by spaces. Their order has no meaning.
    #[inline]
    pub fn token<'a>(&'a self, scopes: &'a str) -> TokenRequest<'a> {
        TokenRequest::new(&self.parts, Audience::scopes(scopes))
    }

    /// Requests a token for this resource, such as `https://vault.azure.net`, with or without
    /// `/.default`. The token is cached under the resource; the request sends `/.default` with it.
    #[inline]
    pub fn token_for_resource<'a>(&'a self, resource: &'a str) -> TokenRequest<'a> {
        TokenRequest::new(&self.parts, Audience::resource(resource))
    }

    /// Returns the token cache.
    pub fn cache(&self) -> &TokenCache {
        &self.parts.cache
    }

    /// Returns the transport of the client.
    pub fn transport(&self) -> &SharedTransport {
        self.parts.http.transport()
    }

    /// Returns the environment variables, the clock and the randomness of the client.
    pub fn context(&self) -> &Context {
        self.parts.http.context()
    }

    /// Removes a token that a resource refused, so that the next request leads to a new one. A
    /// newer token in its place stays. Returns `true` if the token was in the cache.
    pub fn invalidate(&self, token: &Token) -> bool {
        self.parts.cache.invalidate(token)
    }

    /// Handles the refusal of the certificate of a bound token by a resource, although the token
    /// service accepts it: its tokens are no longer served in place of those of a successor.
    /// Returns `true` if a request for a token may lead to one with another certificate: the
    /// credential has replaced it already, or replaces it because of this refusal.
    pub async fn certificate_refused(&self, token: &Token) -> bool {
        let Some(used) = token.bound_to() else { return false };
        self.parts.refuse_certificate(used.thumbprint());
        let request = CredentialRequest {
            proof_of_possession: true,
            for_user: token.account().is_some(),
            tenant: None,
            fmi_path: None,
            correlation_id: None,
            now: self.parts.cache.clock().steady_now(),
            http: &self.parts.http,
        };
        let credential = &self.parts.credential;
        match credential.authenticate_erased(&request).await {
            Ok(auth) if auth.identity() == Some(used) => {
                credential.refused_erased(&auth, &CredentialRejection::Tls).await
            }
            Ok(auth) => auth.identity().is_some(),
            Err(_) => false,
        }
    }

    /// Calls a resource with a token over the transport of this client: see [`Token::call`]. If the
    /// resource refuses the certificate on TLS, its tokens are no longer served in place of those
    /// of a successor.
    ///
    /// # Errors
    /// Those of [`Token::call`].
    pub async fn call(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        self.call_within(token, request, Token::CALL_DEADLINE).await
    }

    /// Like [`call`](Self::call), with a deadline for the complete response.
    ///
    /// # Errors
    /// Those of [`Token::call`].
    pub async fn call_within(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
        deadline: Duration,
    ) -> Result<http::Response<Bytes>, Error> {
        let called = token.call_within(&self.parts.http, request, deadline).await;
        if let (Err(error), Some(identity)) = (&called, token.bound_to())
            && let Some(cause) = std::error::Error::source(error).and_then(|cause| cause.downcast_ref())
            && rejection(cause).is_some_and(|rejection| rejection.withdraws_tokens())
        {
            self.parts.refuse_certificate(identity.thumbprint());
        }
        called
    }
}
