//! Tokens about a user.

use symbolon_types::{Error, Secret};

use super::authorization_request::AuthorizationRequest;
use super::request::TokenRequest;
use super::token_client::TokenClient;
use crate::credential::{Application, CredentialRequest};
use crate::oauth::{Account, Audience, AuthorizationCode, Grant, Subject};

impl TokenClient {
    /// Asks for a token on behalf of the user whose token another client sent us (Entra's
    /// on-behalf-of flow). Cached under the assertion: the same assertion hits, another one of the
    /// same user does not.
    pub fn on_behalf_of<'a>(&'a self, assertion: &Secret, scopes: &'a str) -> TokenRequest<'a> {
        let grant = Grant::OnBehalfOf { assertion: assertion.clone() };
        TokenRequest::for_user(&self.parts, Audience::scopes(scopes), grant, Subject::of_assertion(assertion))
    }

    /// Starts a long-running session on behalf of a user: the exchange of
    /// [`on_behalf_of`](Self::on_behalf_of), whose tokens, the refresh token included, are kept
    /// under a key of yours. The cache is not read.
    pub fn start_session<'a>(&'a self, key: &str, assertion: &Secret, scopes: &'a str) -> TokenRequest<'a> {
        let grant = Grant::OnBehalfOf { assertion: assertion.clone() };
        TokenRequest::for_user(&self.parts, Audience::scopes(scopes), grant, Subject::session(key))
            .force_refresh()
    }

    /// Asks for a token of a session that was started before: from the cache, or by the session's
    /// refresh token. Without one, the error is `no_tokens_found`.
    pub fn session_token<'a>(&'a self, key: &str, scopes: &'a str) -> TokenRequest<'a> {
        let audience = Audience::scopes(scopes);
        TokenRequest::for_user(&self.parts, audience, Grant::StoredRefreshToken, Subject::session(key))
    }

    /// Ends a session: its refresh token is forgotten, so it gets no more tokens; those that it has
    /// end by themselves. Tells whether there was one.
    ///
    /// # Errors
    /// Those of the credential.
    pub async fn end_session(&self, key: &str) -> Result<bool, Error> {
        let parts = &self.parts;
        let request = CredentialRequest {
            proof_of_possession: false,
            for_user: true,
            tenant: None,
            correlation_id: None,
            now: parts.cache.clock().now(),
            http: &parts.http,
        };
        let partition = match parts.credential.cache_identity_erased(&request) {
            Some(identity) => identity.partition(),
            None => parts.credential.authenticate_erased(&request).await?.partition().clone(),
        };
        let subject = Subject::session(key);
        let subject = subject.name().unwrap_or_default();
        Ok(parts.cache.forget_refresh_token(&partition, subject, None).await)
    }

    /// Asks a user to sign in, for these scopes: makes the URL to send their browser to. `application` is
    /// the one whose credential this client has; the redirect URI is registered there.
    ///
    /// Asked for beside the scopes are `openid`, `profile` and `offline_access`.
    pub fn authorization_request<'a>(
        &'a self,
        application: &'a Application,
        redirect_uri: &'a str,
        scopes: &'a str,
    ) -> AuthorizationRequest<'a> {
        AuthorizationRequest::new(&self.parts, application, redirect_uri, scopes)
    }

    /// Redeems the authorization code with which a user came back (RFC 6749 §4.1.3). The token's
    /// [`account`](crate::Token::account) names the user for [`token_for_account`](Self::token_for_account).
    pub fn redeem_code<'a>(&'a self, code: &AuthorizationCode, scopes: &'a str) -> TokenRequest<'a> {
        let subject = Subject::of_secret(&code.code);
        let grant = Grant::AuthorizationCode(Box::new(code.clone()));
        TokenRequest::for_user(&self.parts, Audience::scopes(scopes), grant, subject)
    }

    /// Asks for a token about the user of an account: from the cache, or by their refresh token.
    /// Without one, the error is `no_tokens_found`, and the user must sign in again.
    pub fn token_for_account<'a>(&'a self, account: &Account, scopes: &'a str) -> TokenRequest<'a> {
        let audience = Audience::scopes(scopes);
        TokenRequest::for_user(
            &self.parts,
            audience,
            Grant::StoredRefreshToken,
            Subject::account(account.id()),
        )
    }

    /// Redeems a refresh token that another library kept.
    pub fn redeem_refresh_token<'a>(&'a self, token: &Secret, scopes: &'a str) -> TokenRequest<'a> {
        let grant = Grant::RefreshToken { token: token.clone() };
        TokenRequest::for_user(&self.parts, Audience::scopes(scopes), grant, Subject::of_secret(token))
    }
}
