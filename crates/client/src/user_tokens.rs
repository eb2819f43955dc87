//! Tokens about a user as the tokens of a client.

use symbolon_token::{Account, Token, TokenClient};
use symbolon_types::{Context, Error, Secret};

use crate::provider::{ProviderRequest, TokenProvider};

/// Tokens about one user, for a client whose resource is a list of scopes.
#[derive(Clone, Debug)]
pub struct UserTokens {
    client: TokenClient,
    grant: UserTokensGrant,
}

#[derive(Clone)]
enum UserTokensGrant {
    OnBehalfOf(Secret),
    Account(Account),
    Session(String),
}

// Hides the session key, which may name a user.
symbolon_types::debug_fields!(UserTokensGrant);

impl UserTokens {
    /// Returns the tokens on behalf of the user whose token a caller sent
    /// ([`TokenClient::on_behalf_of`]).
    #[must_use]
    pub fn on_behalf_of(client: TokenClient, assertion: Secret) -> Self {
        Self { client, grant: UserTokensGrant::OnBehalfOf(assertion) }
    }

    /// Returns the tokens of a user who signed in ([`TokenClient::token_for_account`]).
    #[must_use]
    pub fn of_account(client: TokenClient, account: Account) -> Self {
        Self { client, grant: UserTokensGrant::Account(account) }
    }

    /// Returns the tokens of a session that was started ([`TokenClient::session_token`]).
    #[must_use]
    pub fn of_session(client: TokenClient, key: impl Into<String>) -> Self {
        Self { client, grant: UserTokensGrant::Session(key.into()) }
    }
}

impl TokenProvider for UserTokens {
    async fn token(&self, request: &ProviderRequest<'_>) -> Result<Token, Error> {
        let scopes = request.resource();
        let token = match &self.grant {
            UserTokensGrant::OnBehalfOf(assertion) => self.client.on_behalf_of(assertion, scopes),
            UserTokensGrant::Account(account) => self.client.token_for_account(account, scopes),
            UserTokensGrant::Session(key) => self.client.session_token(key, scopes),
        };
        let token = token.options(request.options());
        if request.proof_of_possession() { token.proof_of_possession().await } else { token.await }
    }

    fn context(&self) -> Context {
        self.client.context().clone()
    }

    async fn certificate_refused(&self, token: &Token) -> bool {
        self.client.certificate_refused(token).await
    }
}
