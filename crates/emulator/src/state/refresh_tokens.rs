//! The refresh tokens issued so far.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::calendar::after;
use crate::protocol::TokenError;
use crate::state::user::TenantUser;

/// Ninety days, Entra's default.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The maximum number of stored tokens. The oldest are dropped first.
const CAPACITY: usize = 10_000;
/// Octets of a token.
const LENGTH: usize = 32;

/// The refresh tokens issued so far. A used token stays valid, because Entra replaces refresh
/// tokens without revoking them.
#[derive(Default)]
pub(crate) struct RefreshTokens(Mutex<VecDeque<StoredRefreshToken>>);

struct StoredRefreshToken {
    token: String,
    client_id: String,
    grant: RefreshGrant,
    expires: SystemTime,
}

/// The user and the scope that a refresh token stands for.
#[derive(Clone)]
pub(crate) struct RefreshGrant {
    pub(crate) user: TenantUser,
    /// The scope of the request that it was issued for.
    pub(crate) scope: String,
}

impl RefreshTokens {
    /// Issues a token. Returns `None` if the operating system provides no randomness.
    pub(crate) fn issue(&self, client_id: &str, grant: RefreshGrant, now: SystemTime) -> Option<String> {
        let mut secret = [0; LENGTH];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        let token = Base64UrlUnpadded::encode_string(&secret);
        let mut issued = self.issued();
        if issued.len() == CAPACITY {
            issued.pop_front();
        }
        issued.push_back(StoredRefreshToken {
            token: token.clone(),
            client_id: client_id.to_owned(),
            grant,
            expires: after(now, LIFETIME),
        });
        Some(token)
    }

    /// Returns the grant of this client's refresh token.
    pub(crate) fn redeem(
        &self,
        token: &str,
        client_id: &str,
        now: SystemTime,
    ) -> Result<RefreshGrant, TokenError> {
        let issued = self.issued();
        let found = issued.iter().rev().find(|stored| stored.token == token);
        let found = found.ok_or(TokenError::REFRESH_TOKEN)?;
        if found.client_id != client_id {
            return Err(TokenError::REFRESH_TOKEN_CLIENT);
        }
        if found.expires <= now {
            return Err(TokenError::REFRESH_TOKEN_EXPIRED);
        }
        Ok(found.grant.clone())
    }

    fn issued(&self) -> MutexGuard<'_, VecDeque<StoredRefreshToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_refresh_tokens_are_dropped_first() {
        let tokens = RefreshTokens::default();
        let now = SystemTime::UNIX_EPOCH;
        let user = TenantUser { object_id: "o".to_owned(), name: "n".to_owned() };
        let issue =
            || tokens.issue("c", RefreshGrant { user: user.clone(), scope: "a/b".to_owned() }, now).unwrap();
        let (first, second) = (issue(), issue());
        (2..CAPACITY).for_each(|_| drop(issue()));
        let last = issue();
        let found =
            |token| tokens.redeem(token, "c", now).map(|grant| grant.scope).map_err(|error| error.code);
        assert_eq!(found(&first), Err(70_000));
        assert_eq!((found(&second), found(&last)), (Ok("a/b".to_owned()), Ok("a/b".to_owned())));
    }
}
