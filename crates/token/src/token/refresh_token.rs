//! Refresh tokens.

use std::time::SystemTime;

use symbolon_types::Secret;

use crate::oauth::Account;

/// A refresh token and its user.
#[derive(Clone, Debug)]
pub(crate) struct RefreshToken {
    pub(crate) secret: Secret,
    pub(crate) account: Option<Account>,
}

/// A refresh token, and the time at which it was issued.
#[derive(Clone, Debug)]
pub(crate) struct DatedRefreshToken {
    pub(crate) token: RefreshToken,
    pub(crate) issued_at: SystemTime,
}
