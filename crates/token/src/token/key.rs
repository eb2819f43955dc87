//! What makes two requests want the same token.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use symbolon_lease::LeaseKey;
use symbolon_types::{ClientIdentity, Thumbprint};

use super::partition::Partition;

/// What makes two requests want the same token, borrowed from the request.
///
/// Everything that changes who is asking, for whom, what for, or how the token may be used is in
/// it. Server claims are not: the token that a claims challenge brought replaces the one that was
/// challenged.
#[derive(Clone, Copy, Debug)]
pub struct CacheKey<'a> {
    pub(crate) partition: &'a Partition,
    pub(crate) subject: Option<&'a str>,
    pub(crate) audience: &'a str,
    pub(crate) is_bound: bool,
    pub(crate) thumbprint: Option<Thumbprint>,
    pub(crate) client_claims: Option<&'a str>,
    pub(crate) parameters: &'a [(String, String)],
    /// The certificate itself, where the key was made from what a client presents. The thumbprint
    /// stands for it in comparisons.
    pub(crate) identity: Option<&'a ClientIdentity>,
}

impl<'a> CacheKey<'a> {
    /// The key of a bearer token that a source other than a token endpoint issues.
    #[must_use]
    pub fn bearer(partition: &'a Partition, audience: &'a str) -> Self {
        Self {
            partition,
            subject: None,
            audience,
            is_bound: false,
            thumbprint: None,
            client_claims: None,
            parameters: &[],
            identity: None,
        }
    }

    /// The same for a token about this user.
    pub(crate) fn about(mut self, subject: Option<&'a str>) -> Self {
        self.subject = subject;
        self
    }

    /// The same with these claims of the client's own.
    pub(crate) fn with_client_claims(mut self, claims: Option<&'a str>) -> Self {
        self.client_claims = claims;
        self
    }

    /// Whether it has nothing but what every key has.
    fn is_plain(&self) -> bool {
        // Only a bound token has a thumbprint.
        !self.is_bound && self.subject.is_none() && self.client_claims.is_none() && self.parameters.is_empty()
    }

    /// The same with these parameters, sorted.
    pub(crate) fn with_parameters(mut self, parameters: &'a [(String, String)]) -> Self {
        self.parameters = parameters;
        self
    }
}

impl Hash for CacheKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.partition.hash(state);
        self.audience.hash(state);
        // What is not there need not be told apart: equality does that.
        if let Some(subject) = self.subject {
            subject.hash(state);
        }
        // The digest is random already.
        if let Some(thumbprint) = &self.thumbprint {
            state.write(&thumbprint.as_bytes()[..8]);
        }
        if let Some(claims) = self.client_claims {
            claims.hash(state);
        }
        if !self.parameters.is_empty() {
            self.parameters.hash(state);
        }
    }
}

/// The same, owned by the cache. What nearly all keys differ in stands in the entry itself: each
/// thing that is elsewhere is one more that a look-up waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenKey {
    partition: Partition,
    audience: Arc<str>,
    rest: Option<Arc<Rest>>,
}

/// What the key of a client's own bearer token does not have.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    is_bound: bool,
    thumbprint: Option<Thumbprint>,
    subject: Option<Box<str>>,
    client_claims: Option<Box<str>>,
    parameters: Box<[(String, String)]>,
}

impl TokenKey {
    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    pub(crate) fn borrowed(&self) -> CacheKey<'_> {
        let plain = CacheKey::bearer(&self.partition, &self.audience);
        let Some(rest) = &self.rest else { return plain };
        CacheKey {
            subject: rest.subject.as_deref(),
            is_bound: rest.is_bound,
            thumbprint: rest.thumbprint,
            client_claims: rest.client_claims.as_deref(),
            parameters: &rest.parameters,
            ..plain
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
        self.partition == &key.partition
            && self.audience == &*key.audience
            && match &key.rest {
                None => self.is_plain(),
                Some(rest) => {
                    self.is_bound == rest.is_bound
                        && self.thumbprint == rest.thumbprint
                        && self.subject == rest.subject.as_deref()
                        && self.client_claims == rest.client_claims.as_deref()
                        && self.parameters == &*rest.parameters
                }
            }
    }

    fn to_key(&self) -> TokenKey {
        let rest = || Rest {
            is_bound: self.is_bound,
            thumbprint: self.thumbprint,
            subject: self.subject.map(Into::into),
            client_claims: self.client_claims.map(Into::into),
            parameters: self.parameters.into(),
        };
        TokenKey {
            partition: self.partition.clone(),
            audience: self.audience.into(),
            rest: (!self.is_plain()).then(|| Arc::new(rest())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys whose digests collide are told apart by this alone.
    #[test]
    fn whatever_differs_makes_another_key() {
        let (partition, other) = (Partition::new("p"), Partition::new("q"));
        let parameters = [("name".to_owned(), "value".to_owned())];
        let plain = CacheKey::bearer(&partition, "a");
        let keys = [
            plain,
            CacheKey { partition: &other, ..plain },
            CacheKey { subject: Some("s"), ..plain },
            CacheKey { audience: "b", ..plain },
            CacheKey { is_bound: true, ..plain },
            CacheKey { is_bound: true, thumbprint: Some(Thumbprint::of(b"1")), ..plain },
            CacheKey { is_bound: true, thumbprint: Some(Thumbprint::of(b"2")), ..plain },
            CacheKey { client_claims: Some("{}"), ..plain },
            CacheKey { parameters: &parameters, ..plain },
        ];
        for (i, one) in keys.iter().enumerate() {
            for (j, another) in keys.iter().enumerate() {
                let owned: TokenKey = another.to_key();
                assert_eq!(one.matches(&owned), i == j, "{one:?} {another:?}");
            }
        }
    }
}
