//! The one cache.

use std::sync::Arc;
use std::time::Duration;

use symbolon_types::lease::{Lease, LeaseCache, LeaseKey, Loaded, Obtained, Origin};
use symbolon_types::{ClientIdentity, CorrelationId, Error, Jitter, Secret, SharedClock};

use crate::key::TokenKey;
use crate::token::Issued;
use crate::{Account, CacheKey, Expiry, Partition, Scheme, Token, TokenSource};

/// A refresh token is kept until the token service refuses it, or room is needed.
const REFRESH_TOKEN_LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Tokens under everything that makes them differ; clones share the tokens.
///
/// Bounded in entries; when full, expired tokens go first, then the one that expires next. A token
/// is served until shortly before it expires, and renewed before that in the background; a renewal
/// that fails keeps it. Misses of one key share one fetch; other keys never wait for it. Refresh
/// tokens are kept beside, under their user, within the same bound.
#[derive(Clone, Debug)]
pub struct TokenCache {
    leases: LeaseCache<TokenKey, Token>,
    refresh_tokens: LeaseCache<TokenKey, RefreshToken>,
    clock: SharedClock,
    jitter: Jitter,
}

/// A refresh token and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct RefreshToken {
    pub(crate) secret: Secret,
    pub(crate) account: Option<Account>,
}

impl TokenCache {
    /// How many tokens a cache holds unless told otherwise: at 2 kB each, 20 MB.
    pub const DEFAULT_CAPACITY: usize = 10_000;

    /// An empty cache of at most `capacity` tokens.
    #[must_use]
    pub fn new(capacity: usize, clock: SharedClock, jitter: Jitter) -> Self {
        let leases = LeaseCache::new(capacity, clock.clone());
        Self { leases, refresh_tokens: LeaseCache::new(capacity, clock.clone()), clock, jitter }
    }

    /// How many access tokens there are, expired ones that were not yet evicted included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there are no access tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Forgets every token, refresh tokens included.
    pub fn clear(&self) {
        self.leases.clear();
        self.refresh_tokens.clear();
    }

    /// Forgets a token that a resource refused, so that the next request gets another. A newer
    /// token in its place stays. Tells whether it was there.
    pub fn invalidate(&self, token: &Token) -> bool {
        self.leases.remove_if(&token.key().borrowed(), |held| held.is_same(token))
    }

    /// The token under a key, unless it has ended or should be renewed now. Never waits, and
    /// allocates nothing.
    #[must_use]
    pub fn find(&self, key: &CacheKey<'_>) -> Option<Token> {
        let found = self.leases.find(key)?;
        (!found.is_due).then(|| found.value.from(TokenSource::Cache))
    }

    pub(crate) fn find_even_if_due(&self, key: &CacheKey<'_>) -> Option<Token> {
        Some(self.leases.find(key)?.value.from(TokenSource::Cache))
    }

    /// The token under a key, fetched if there is none, renewed in the background if it is time.
    ///
    /// # Errors
    /// Those of the fetch, if there is no token to serve.
    pub async fn obtain<F, R>(&self, key: &CacheKey<'_>, fetch: F) -> Result<Token, Error>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<Fetched, Error>> + Send + 'static,
    {
        self.leases.obtain(key, || self.load(key.to_key(), fetch())).await.map(served)
    }

    /// The token under a key as it is fetched now, whatever is in the cache. Fetches that ask for
    /// the same `variant` at the same time are one.
    ///
    /// # Errors
    /// Those of the fetch. A token in the cache stays.
    pub async fn renew<F, R>(&self, key: &CacheKey<'_>, variant: &str, fetch: F) -> Result<Token, Error>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<Fetched, Error>> + Send + 'static,
    {
        self.leases.renew(key, variant, || self.load(key.to_key(), fetch())).await.map(served)
    }

    fn load<R>(
        &self,
        asked: TokenKey,
        fetch: R,
    ) -> impl Future<Output = Result<Loaded<TokenKey, Token>, Error>> + Send + 'static + use<R>
    where
        R: Future<Output = Result<Fetched, Error>> + Send + 'static,
    {
        let (clock, jitter) = (self.clock.clone(), self.jitter.clone());
        async move {
            let fetched = fetch.await?;
            let bound_until = fetched.scheme.bound_to().map(ClientIdentity::not_after);
            let deadlines = fetched.expiry.deadlines(clock.now(), bound_until, &jitter);
            let key = fetched.key.unwrap_or_else(|| asked.clone());
            let token = Token::new(Issued {
                secret: fetched.secret,
                scheme: fetched.scheme,
                audience: key.shared_audience(),
                client_id: fetched.client_id,
                tenant_id: fetched.tenant_id,
                account: fetched.account,
                expires_on: deadlines.expires_on,
                refresh_on: deadlines.refresh_on,
                correlation_id: fetched.correlation_id,
                attempts: fetched.attempts,
                duration: fetched.duration,
                key: key.clone(),
            });
            let lease = Lease::new(token, deadlines.served_until).refreshed_at(Some(deadlines.refresh_on));
            Ok(if key == asked { Loaded::new(lease) } else { Loaded::under(lease, key) })
        }
    }

    pub(crate) fn refresh_token(&self, partition: &Partition, subject: &str) -> Option<RefreshToken> {
        let key = CacheKey::bearer(partition, "").about(Some(subject));
        self.refresh_tokens.find(&key).map(|found| found.value)
    }

    pub(crate) fn keep_refresh_token(&self, partition: &Partition, subject: &str, token: RefreshToken) {
        let key = CacheKey::bearer(partition, "").about(Some(subject)).to_key();
        self.refresh_tokens.insert(key, Lease::new(token, self.clock.now() + REFRESH_TOKEN_LIFE));
    }

    /// Forgets a refresh token; a newer one stays if one is named.
    pub(crate) fn forget_refresh_token(
        &self,
        partition: &Partition,
        subject: &str,
        only: Option<&Secret>,
    ) -> bool {
        let key = CacheKey::bearer(partition, "").about(Some(subject));
        self.refresh_tokens
            .remove_if(&key, |held| only.is_none_or(|only| held.secret.expose() == only.expose()))
    }
}

fn served(obtained: Obtained<Token>) -> Token {
    obtained.value.from(match obtained.origin {
        Origin::Cache => TokenSource::Cache,
        Origin::Joined => TokenSource::Joined,
        _ => TokenSource::Network,
    })
}

/// What a fetch brings.
#[derive(Clone, Debug)]
pub struct Fetched {
    secret: Secret,
    expiry: Expiry,
    scheme: Scheme,
    client_id: Option<Arc<str>>,
    tenant_id: Option<Arc<str>>,
    account: Option<Account>,
    correlation_id: CorrelationId,
    attempts: usize,
    duration: Duration,
    key: Option<TokenKey>,
}

impl Fetched {
    /// A bearer token, issued for the request of this id.
    #[must_use]
    pub fn bearer(secret: Secret, expiry: Expiry, correlation_id: CorrelationId) -> Self {
        Self::new(secret, expiry, Scheme::Bearer, correlation_id)
    }

    pub(crate) fn new(secret: Secret, expiry: Expiry, scheme: Scheme, correlation_id: CorrelationId) -> Self {
        Self {
            secret,
            expiry,
            scheme,
            client_id: None,
            tenant_id: None,
            account: None,
            correlation_id,
            attempts: 1,
            duration: Duration::ZERO,
            key: None,
        }
    }

    /// The same, issued to this client.
    #[must_use]
    pub fn with_client_id(mut self, client_id: Option<Arc<str>>) -> Self {
        self.client_id = client_id;
        self
    }

    /// The same, after this many attempts that took this long together.
    #[must_use]
    pub fn after(mut self, attempts: usize, duration: Duration) -> Self {
        self.attempts = attempts;
        self.duration = duration;
        self
    }

    pub(crate) fn with_tenant_id(mut self, tenant_id: Option<Arc<str>>) -> Self {
        self.tenant_id = tenant_id;
        self
    }

    pub(crate) fn about(mut self, account: Option<Account>) -> Self {
        self.account = account;
        self
    }

    /// The same, to be stored under the key of the credential that got it in the end.
    pub(crate) fn stored_under(mut self, key: TokenKey) -> Self {
        self.key = Some(key);
        self
    }
}
