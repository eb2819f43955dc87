//! The refresh tokens of a token cache.

use std::time::Duration;

use symbolon_lease::{Lease, LeaseKey};
use symbolon_types::Secret;

use super::token_cache::TokenCache;
use crate::token::{CacheKey, DatedRefreshToken, Partition, RefreshToken, TokenKey};

/// The lifetime of a refresh token in memory: in practice until the token service refuses it.
const LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

impl TokenCache {
    /// Returns the newest refresh token of a user, from the store or from memory.
    pub(crate) async fn refresh_token(&self, partition: &Partition, subject: &str) -> Option<RefreshToken> {
        let key = key_of(partition, subject);
        if let Some(store) = &self.store
            && let Some(stored) = store.refresh_token(&key).await
        {
            if self.is_memory_off {
                return Some(stored.token);
            }
            self.hold_refresh_token(key.clone(), stored);
        }
        self.refresh_tokens.find(&key).map(|held| held.value.token)
    }

    /// Stores a refresh token that was issued now.
    pub(crate) async fn keep_refresh_token(&self, partition: &Partition, subject: &str, token: RefreshToken) {
        let dated = DatedRefreshToken { token, issued_at: self.clock.now() };
        self.keep_dated_refresh_token(partition, subject, dated).await;
    }

    pub(crate) async fn keep_dated_refresh_token(
        &self,
        partition: &Partition,
        subject: &str,
        dated: DatedRefreshToken,
    ) {
        let key = key_of(partition, subject);
        let newer = match &self.store {
            Some(store) => store.keep_refresh_token(&key, &dated).await,
            None => None,
        };
        self.hold_refresh_token(key, newer.unwrap_or(dated));
    }

    /// Removes a user's refresh token, or only this one. Returns `true` if there was one.
    pub(crate) async fn forget_refresh_token(
        &self,
        partition: &Partition,
        subject: &str,
        only: Option<&Secret>,
    ) -> bool {
        let key = key_of(partition, subject);
        let is_meant =
            |held: &DatedRefreshToken| only.is_none_or(|only| held.token.secret.expose() == only.expose());
        let was_held = self.refresh_tokens.remove_if(&key, is_meant);
        let was_stored = match &self.store {
            Some(store) => store.forget_refresh_token(&key, only).await,
            None => false,
        };
        was_held || was_stored
    }

    /// Returns the refresh tokens in memory.
    pub(crate) fn refresh_token_snapshot(&self) -> Vec<(TokenKey, Lease<DatedRefreshToken>)> {
        self.refresh_tokens.snapshot()
    }

    /// Puts a refresh token into memory, unless a newer one is there.
    fn hold_refresh_token(&self, key: TokenKey, dated: DatedRefreshToken) {
        if self.is_memory_off {
            return;
        }
        let is_older = |held: DatedRefreshToken| held.issued_at <= dated.issued_at;
        if self.refresh_tokens.find(&key).is_none_or(|held| is_older(held.value)) {
            self.refresh_tokens.insert(key, Lease::new(dated, self.clock.steady_now().plus(LIFE)));
        }
    }
}

fn key_of(partition: &Partition, subject: &str) -> TokenKey {
    CacheKey::bearer(partition, "").about(Some(subject)).to_key()
}
