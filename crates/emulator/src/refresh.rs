//! Refresh tokens: random, of one client and one user, and forgotten when the emulator ends.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::calendar::after;
use crate::oauth::Refusal;
use crate::refusals;
use crate::user::User;

/// Ninety days (Entra: refresh token lifetime).
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How many are kept; the oldest go first.
const KEPT: usize = 10_000;
/// Octets of one.
const LENGTH: usize = 32;

/// The refresh tokens issued so far. One that was used stays good: Entra replaces it, but does not revoke it.
#[derive(Default)]
pub(crate) struct RefreshTokens(Mutex<VecDeque<Issued>>);

struct Issued {
    token: String,
    client_id: String,
    offline: Offline,
    expires: SystemTime,
}

/// What a refresh token stands for.
#[derive(Clone)]
pub(crate) struct Offline {
    pub(crate) user: User,
    /// What was asked for when it was issued.
    pub(crate) scope: String,
}

impl RefreshTokens {
    /// A new one. `None` when the machine has no randomness to give.
    pub(crate) fn issue(&self, client_id: &str, offline: Offline, now: SystemTime) -> Option<String> {
        let mut secret = [0; LENGTH];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        let token = Base64UrlUnpadded::encode_string(&secret);
        let mut issued = self.issued();
        if issued.len() == KEPT {
            issued.pop_front();
        }
        let expires = after(now, LIFETIME);
        issued.push_back(Issued { token: token.clone(), client_id: client_id.to_owned(), offline, expires });
        Some(token)
    }

    /// What a client's refresh token stands for.
    pub(crate) fn redeem(&self, token: &str, client_id: &str, now: SystemTime) -> Result<Offline, Refusal> {
        let issued = self.issued();
        let found = issued.iter().rev().find(|one| one.token == token).ok_or(refusals::REFRESH_TOKEN)?;
        if found.client_id != client_id {
            return Err(refusals::REFRESH_TOKEN_CLIENT);
        }
        if found.expires <= now {
            return Err(refusals::REFRESH_TOKEN_EXPIRED);
        }
        Ok(found.offline.clone())
    }

    fn issued(&self) -> MutexGuard<'_, VecDeque<Issued>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let tokens = RefreshTokens::default();
        let now = SystemTime::UNIX_EPOCH;
        let user = User { object_id: "o".to_owned(), name: "n".to_owned() };
        let issue =
            || tokens.issue("c", Offline { user: user.clone(), scope: "a/b".to_owned() }, now).unwrap();
        let (first, second) = (issue(), issue());
        (2..KEPT).for_each(|_| drop(issue()));
        let last = issue();
        let found = |token| {
            tokens.redeem(token, "c", now).map(|offline| offline.scope).map_err(|refused| refused.code)
        };
        assert_eq!(found(&first), Err(70_000));
        assert_eq!((found(&second), found(&last)), (Ok("a/b".to_owned()), Ok("a/b".to_owned())));
    }
}
