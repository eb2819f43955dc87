//! Requests for tokens about a user.

use symbolon_types::{Error, Secret};

use super::authorization_request::AuthorizationRequest;
use super::request::TokenRequest;
use super::token_client::TokenClient;
use crate::credential::{Application, CredentialRequest};
use crate::oauth::{Account, Audience, AuthorizationCode, FederatedUser, Grant, Subject};

impl TokenClient {
    /// Requests a token on behalf of a user, with the token that a client of this service sent
    /// (`docs/protocol/token-request.md#on-behalf-of`). The result is cached under this assertion:
    /// another assertion of the same user leads to another token.
    pub fn on_behalf_of<'a>(&'a self, assertion: &Secret, scopes: &'a str) -> TokenRequest<'a> {
        let grant = Grant::OnBehalfOf { assertion: assertion.clone() };
        TokenRequest::for_user(&self.parts, Audience::scopes(scopes), grant, Subject::of_assertion(assertion))
    }

    /// Starts a long-running session on behalf of a user. Like
    /// [`on_behalf_of`](Self::on_behalf_of), but the tokens, the refresh token included, are stored
    /// under a key of yours, and the cache is not read.
    pub fn start_session<'a>(&'a self, key: &str, assertion: &Secret, scopes: &'a str) -> TokenRequest<'a> {
        let grant = Grant::OnBehalfOf { assertion: assertion.clone() };
        TokenRequest::for_user(&self.parts, Audience::scopes(scopes), grant, Subject::session(key))
            .force_refresh()
    }

    /// Requests a token of a session that was started before: from the cache, or with the session's
    /// refresh token. Without a refresh token, the error is `no_tokens_found`.
    pub fn session_token<'a>(&'a self, key: &str, scopes: &'a str) -> TokenRequest<'a> {
        let audience = Audience::scopes(scopes);
        TokenRequest::for_user(&self.parts, audience, Grant::StoredRefreshToken, Subject::session(key))
    }

    /// Ends a session: removes its refresh token, so that the session leads to no new tokens. Its
    /// access tokens stay valid until they expire. Returns `true` if there was a refresh token.
    ///
    /// # Errors
    /// Those of the credential.
    pub async fn end_session(&self, key: &str) -> Result<bool, Error> {
        let parts = &self.parts;
        let request = CredentialRequest {
            proof_of_possession: false,
            for_user: true,
            tenant: None,
            fmi_path: None,
            correlation_id: None,
            now: parts.cache.clock().steady_now(),
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

    /// Starts the sign-in of a user for these scopes, and builds the URL to send the browser to.
    /// `application` is the application that this client authenticates, and `redirect_uri` is
    /// registered for it.
    ///
    /// The scopes `openid`, `profile` and `offline_access` are added.
    pub fn authorization_request<'a>(
        &'a self,
        application: &'a Application,
        redirect_uri: &'a str,
        scopes: &'a str,
    ) -> AuthorizationRequest<'a> {
        AuthorizationRequest::new(&self.parts, application, redirect_uri, scopes)
    }

    /// Redeems the authorization code of a sign-in (RFC 6749 §4.1.3). Pass the token's
    /// [`account`](crate::Token::account) to [`token_for_account`](Self::token_for_account) later.
    pub fn redeem_code<'a>(&'a self, code: &AuthorizationCode, scopes: &'a str) -> TokenRequest<'a> {
        let subject = Subject::of_secret(&code.code);
        let grant = Grant::AuthorizationCode(Box::new(code.clone()));
        TokenRequest::for_user(&self.parts, Audience::scopes(scopes), grant, subject)
    }

    /// Requests a token about the user of an account: from the cache, or with the stored refresh
    /// token. Without a refresh token, the error is `no_tokens_found`, and the user must sign in.
    pub fn token_for_account<'a>(&'a self, account: &Account, scopes: &'a str) -> TokenRequest<'a> {
        let audience = Audience::scopes(scopes);
        TokenRequest::for_user(
            &self.parts,
            audience,
            Grant::StoredRefreshToken,
            Subject::account(account.id()),
        )
    }

    /// Requests a token about the user of an agent identity, with a federated identity credential
    /// (`docs/protocol/token-request.md#agent-identities`): a token of the agent identity, which
    /// this client authenticates, for `api://AzureADTokenExchange`. The cache is not read. Pass the
    /// token's [`account`](crate::Token::account) to
    /// [`token_for_account`](Self::token_for_account) later.
    ///
    /// The error is `invalid_parameter` if the user or the credential is empty.
    pub fn token_for_federated_user<'a>(
        &'a self,
        user: &FederatedUser,
        credential: &Secret,
        scopes: &'a str,
    ) -> TokenRequest<'a> {
        let (name, value) = user.parameter();
        let subject = Subject::of_secret(&Secret::new(format!("{name}\0{value}\0{}", credential.expose())));
        let grant = Grant::FederatedUser { user: user.clone(), credential: credential.clone() };
        TokenRequest::for_user(&self.parts, Audience::scopes(scopes), grant, subject)
    }

    /// Redeems a refresh token that another library stored.
    pub fn redeem_refresh_token<'a>(&'a self, token: &Secret, scopes: &'a str) -> TokenRequest<'a> {
        let grant = Grant::RefreshToken { token: token.clone() };
        TokenRequest::for_user(&self.parts, Audience::scopes(scopes), grant, Subject::of_secret(token))
    }
}
