//! Whose tokens they are.

use symbolon_types::{Secret, Thumbprint};

use super::account::Account;

/// Whom a request is about, and so under whom its tokens are kept.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// The client itself.
    Client,
    /// The user of an assertion that another client sent; the tokens are of no use without it.
    Assertion(String),
    /// The user of a session that the caller names.
    Session(String),
    /// The user of an account.
    Account(String),
    /// Whoever the token service says it is; with what tells two such requests apart.
    Unknown(String),
}

impl Subject {
    pub(crate) fn of_assertion(assertion: &Secret) -> Self {
        Self::Assertion(format!("assertion {}", Thumbprint::of(assertion.expose().as_bytes())))
    }

    pub(crate) fn session(key: &str) -> Self {
        Self::Session(format!("session {key}"))
    }

    /// The user whom this code or refresh token is about.
    pub(crate) fn of_secret(secret: &Secret) -> Self {
        Self::Unknown(Thumbprint::of(secret.expose().as_bytes()).to_string())
    }

    pub(crate) fn account(id: &str) -> Self {
        Self::Account(format!("account {id}"))
    }

    /// The name that keys the cache.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Client | Self::Unknown(_) => None,
            Self::Assertion(name) | Self::Session(name) | Self::Account(name) => Some(name),
        }
    }

    /// The name under which an answer about this account is kept.
    pub(crate) fn about(&self, account: Option<&Account>) -> Option<String> {
        match (self, account) {
            (Self::Unknown(_), Some(account)) => Self::account(account.id()).name().map(str::to_owned),
            _ => self.name().map(str::to_owned),
        }
    }

    /// The refresh token of an exchange that can be repeated with its assertion is not kept.
    pub(crate) fn keeps_refresh_token(&self) -> bool {
        !matches!(self, Self::Client | Self::Assertion(_))
    }
}
