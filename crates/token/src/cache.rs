//! The one cache.

use symbolon_types::lease::{Lease, LeaseCache, Loaded, Obtained, Origin};
use symbolon_types::{CorrelationId, Error, Jitter, Secret, SharedClock};

use crate::key::TokenKey;
use crate::token::Issued;
use crate::{CacheKey, Expiry, Scheme, Token, TokenSource};

/// Tokens under everything that makes them differ; clones share the tokens.
///
/// Bounded in entries; when full, expired tokens go first, then the one that expires next. A token
/// is served until shortly before it expires, and renewed before that in the background; a renewal
/// that fails keeps it. Misses of one key share one fetch; other keys never wait for it.
#[derive(Clone, Debug)]
pub struct TokenCache {
    leases: LeaseCache<TokenKey, Token>,
    clock: SharedClock,
    jitter: Jitter,
}

impl TokenCache {
    /// How many tokens a cache holds unless told otherwise: at 2 kB each, 20 MB.
    pub const DEFAULT_CAPACITY: usize = 10_000;

    /// An empty cache of at most `capacity` tokens.
    #[must_use]
    pub fn new(capacity: usize, clock: SharedClock, jitter: Jitter) -> Self {
        Self { leases: LeaseCache::new(capacity, clock.clone()), clock, jitter }
    }

    /// How many tokens there are, expired ones that were not yet evicted included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there are no tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Forgets every token.
    pub fn clear(&self) {
        self.leases.clear();
    }

    /// The token under a key, unless it has ended or should be renewed now. Never waits, and
    /// allocates nothing.
    #[must_use]
    pub fn find(&self, key: &CacheKey<'_>) -> Option<Token> {
        let found = self.leases.find(key)?;
        (!found.is_due).then(|| found.value.from(TokenSource::Cache))
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
        self.leases.obtain(key, || self.load(fetch())).await.map(served)
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
        self.leases.renew(key, variant, || self.load(fetch())).await.map(served)
    }

    fn load<R>(
        &self,
        fetch: R,
    ) -> impl Future<Output = Result<Loaded<TokenKey, Token>, Error>> + Send + 'static + use<R>
    where
        R: Future<Output = Result<Fetched, Error>> + Send + 'static,
    {
        let (clock, jitter) = (self.clock.clone(), self.jitter.clone());
        async move {
            let fetched = fetch.await?;
            let bound_until = fetched.scheme.bound_to().map(symbolon_types::ClientIdentity::not_after);
            let deadlines = fetched.expiry.deadlines(clock.now(), bound_until, &jitter);
            let token = Token::new(Issued {
                secret: fetched.secret,
                scheme: fetched.scheme,
                audience: fetched.audience,
                client_id: fetched.client_id,
                tenant_id: fetched.tenant_id,
                expires_on: deadlines.expires_on,
                refresh_on: deadlines.refresh_on,
                correlation_id: fetched.correlation_id,
            });
            let lease = Lease::new(token, deadlines.served_until).refreshed_at(Some(deadlines.refresh_on));
            Ok(match fetched.key {
                Some(key) => Loaded::under(lease, key),
                None => Loaded::new(lease),
            })
        }
    }
}

fn served(obtained: Obtained<Token>) -> Token {
    obtained.value.from(match obtained.origin {
        Origin::Cache => TokenSource::Cache,
        _ => TokenSource::Network,
    })
}

/// What a fetch brings.
#[derive(Clone, Debug)]
pub struct Fetched {
    secret: Secret,
    expiry: Expiry,
    scheme: Scheme,
    audience: String,
    client_id: Option<String>,
    tenant_id: Option<String>,
    correlation_id: CorrelationId,
    key: Option<TokenKey>,
}

impl Fetched {
    /// A bearer token for this audience.
    #[must_use]
    pub fn bearer(secret: Secret, expiry: Expiry, audience: impl Into<String>, id: CorrelationId) -> Self {
        Self::new(secret, expiry, Scheme::Bearer, audience.into(), id)
    }

    pub(crate) fn new(
        secret: Secret,
        expiry: Expiry,
        scheme: Scheme,
        audience: String,
        correlation_id: CorrelationId,
    ) -> Self {
        Self { secret, expiry, scheme, audience, client_id: None, tenant_id: None, correlation_id, key: None }
    }

    /// The same, issued to this client.
    #[must_use]
    pub fn with_client_id(mut self, client_id: Option<String>) -> Self {
        self.client_id = client_id;
        self
    }

    pub(crate) fn with_tenant_id(mut self, tenant_id: Option<String>) -> Self {
        self.tenant_id = tenant_id;
        self
    }

    /// The same, to be stored under the key of the credential that got it in the end.
    pub(crate) fn stored_under(mut self, key: TokenKey) -> Self {
        self.key = Some(key);
        self
    }
}
