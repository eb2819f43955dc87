//! The subject of a request, by which its tokens are cached.

use symbolon_types::{Secret, Thumbprint};

use super::account::Account;

/// The subject of a request: the party that its token is about.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// The client itself.
    Client,
    /// The user of the assertion with this name.
    Assertion(String),
    /// The user of a session that the application named.
    Session(String),
    /// The user of an account.
    Account(String),
    /// A user whom only the token response identifies, by a digest of the secret of the request. A
    /// token whose response names no user stays under it, apart from the tokens of the client.
    Unknown(String),
}

impl Subject {
    pub(crate) fn of_assertion(assertion: &Secret) -> Self {
        Self::Assertion(format!("assertion {}", Thumbprint::of(assertion.expose().as_bytes())))
    }

    pub(crate) fn session(key: &str) -> Self {
        Self::Session(format!("session {key}"))
    }

    /// Returns the subject of an authorization code or of another library's refresh token.
    pub(crate) fn of_secret(secret: &Secret) -> Self {
        Self::Unknown(format!("secret {}", Thumbprint::of(secret.expose().as_bytes())))
    }

    pub(crate) fn account(id: &str) -> Self {
        Self::Account(format!("account {id}"))
    }

    /// Returns the subject's part of the cache key.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Client => None,
            Self::Assertion(name) | Self::Session(name) | Self::Account(name) | Self::Unknown(name) => {
                Some(name)
            }
        }
    }

    /// Returns the subject's part of the cache key, now that the response identified `account`.
    pub(crate) fn about(&self, account: Option<&Account>) -> Option<String> {
        match (self, account) {
            (Self::Unknown(_), Some(account)) => Self::account(account.id()).name().map(str::to_owned),
            _ => self.name().map(str::to_owned),
        }
    }

    /// Returns whether a refresh token of the response is kept. It is dropped if the exchange can
    /// be repeated with the assertion (`docs/protocol/token-request.md#on-behalf-of`), and if no
    /// request could find it, because the response names no user.
    pub(crate) fn keeps_refresh_token(&self, account: Option<&Account>) -> bool {
        match self {
            Self::Client | Self::Assertion(_) => false,
            Self::Unknown(_) => account.is_some(),
            Self::Session(_) | Self::Account(_) => true,
        }
    }
}
