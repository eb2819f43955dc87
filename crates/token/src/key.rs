//! What makes two requests want the same token.

use std::hash::{Hash, Hasher};

use symbolon_types::Thumbprint;
use symbolon_types::lease::LeaseKey;

use crate::ClientAuth;

/// What makes two requests want the same token, borrowed from the request.
///
/// Everything that changes who is asking, what for, or how the token may be used is in it. Server
/// claims are not: the token that a claims challenge brought replaces the one that was challenged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey<'a> {
    partition: &'a str,
    audience: &'a str,
    thumbprint: Option<Thumbprint>,
    client_claims: Option<&'a str>,
}

impl<'a> CacheKey<'a> {
    /// The key of a bearer token that a source other than a token endpoint issues.
    ///
    /// `partition` says who is asking; see [`ClientAuth::new`].
    #[must_use]
    pub fn bearer(partition: &'a str, audience: &'a str) -> Self {
        Self { partition, audience, thumbprint: None, client_claims: None }
    }

    /// The key of what this client would ask for.
    pub(crate) fn of(auth: &'a ClientAuth, audience: &'a str, client_claims: Option<&'a str>) -> Self {
        Self { partition: auth.partition(), audience, thumbprint: auth.scheme().thumbprint(), client_claims }
    }
}

impl Hash for CacheKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.partition.hash(state);
        self.audience.hash(state);
        self.thumbprint.hash(state);
        self.client_claims.hash(state);
    }
}

/// The same, owned by the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenKey {
    partition: Box<str>,
    audience: Box<str>,
    thumbprint: Option<Thumbprint>,
    client_claims: Option<Box<str>>,
}

impl TokenKey {
    fn borrowed(&self) -> CacheKey<'_> {
        CacheKey {
            partition: &self.partition,
            audience: &self.audience,
            thumbprint: self.thumbprint,
            client_claims: self.client_claims.as_deref(),
        }
    }
}

impl Hash for TokenKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl LeaseKey<TokenKey> for CacheKey<'_> {
    fn matches(&self, key: &TokenKey) -> bool {
        *self == key.borrowed()
    }

    fn to_key(&self) -> TokenKey {
        TokenKey {
            partition: self.partition.into(),
            audience: self.audience.into(),
            thumbprint: self.thumbprint,
            client_claims: self.client_claims.map(Into::into),
        }
    }
}
