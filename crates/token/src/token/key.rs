//! Keys of the token cache.

use std::hash::{Hash, Hasher};

use symbolon_lease::LeaseKey;
use symbolon_types::{ClientIdentity, Thumbprint};
use triomphe::{Arc, HeaderSlice};

use super::partition::{Partition, PartitionRef};

/// A cache key, borrowed from a request.
///
/// It contains everything that determines the caller, the subject, the audience and the permitted
/// use of a token. The claims of a challenge are not part of it: the token that a claims challenge
/// leads to replaces the challenged one.
#[derive(Clone, Copy, Debug)]
pub struct CacheKey<'a> {
    pub(crate) partition: PartitionRef<'a>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) audience: &'a str,
    pub(crate) is_bound: bool,
    pub(crate) thumbprint: Option<&'a Thumbprint>,
    pub(crate) client_claims: Option<&'a str>,
    pub(crate) parameters: &'a [(String, String)],
    /// The certificate itself, where the credential supplied it. Comparisons use the thumbprint.
    pub(crate) identity: Option<&'a ClientIdentity>,
}

impl<'a> CacheKey<'a> {
    /// Returns the key of a bearer token that a source other than a token endpoint issues.
    #[must_use]
    pub fn bearer(partition: &'a Partition, audience: &'a str) -> Self {
        Self::new(partition.into(), None, audience)
    }

    /// Returns the key of a bearer token, or of a token that is bound to `identity`.
    pub(crate) fn new(
        partition: PartitionRef<'a>,
        identity: Option<&'a ClientIdentity>,
        audience: &'a str,
    ) -> Self {
        Self {
            partition,
            subject: None,
            audience,
            is_bound: identity.is_some(),
            thumbprint: identity.map(AsRef::as_ref),
            client_claims: None,
            parameters: &[],
            identity,
        }
    }

    /// Returns the same key for this user.
    pub(crate) fn about(mut self, subject: Option<&'a str>) -> Self {
        self.subject = subject;
        self
    }

    /// Returns the same key with these claims, which the client itself originates.
    pub(crate) fn with_client_claims(mut self, claims: Option<&'a str>) -> Self {
        self.client_claims = claims;
        self
    }

    /// Returns the key without the certificate, which is the same for all certificates of a client.
    pub(crate) fn without_certificate(self) -> Self {
        Self { thumbprint: None, identity: None, ..self }
    }

    /// Returns `true` for a bearer token of the client itself, without claims or parameters.
    fn is_plain(&self) -> bool {
        // Only a bound token has a thumbprint.
        !self.is_bound && self.subject.is_none() && self.client_claims.is_none() && self.parameters.is_empty()
    }

    /// Returns the same key with these parameters, sorted.
    pub(crate) fn with_parameters(mut self, parameters: &'a [(String, String)]) -> Self {
        self.parameters = parameters;
        self
    }
}

impl Hash for CacheKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.partition.hash(state);
        self.audience.hash(state);
        // Absent members are left out: equality distinguishes them.
        if let Some(subject) = self.subject {
            subject.hash(state);
        }
        // A digest needs no further mixing.
        if let Some(thumbprint) = self.thumbprint {
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

/// A cache key, owned by the cache and by the token. Clones share it.
///
/// The audience follows the other members in the same allocation, so that a lookup reads one piece
/// of memory to compare them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenKey(Arc<HeaderSlice<KeyHeader, str>>);

/// The members of a key before its audience.
#[derive(Debug, PartialEq, Eq)]
struct KeyHeader {
    partition: Partition,
    qualifiers: Option<Box<Qualifiers>>,
}

/// The members of a key that a client's own bearer token does not have.
#[derive(Debug, PartialEq, Eq)]
struct Qualifiers {
    is_bound: bool,
    thumbprint: Option<Thumbprint>,
    subject: Option<Box<str>>,
    client_claims: Option<Box<str>>,
    parameters: Box<[(String, String)]>,
}

impl TokenKey {
    pub(crate) fn audience(&self) -> &str {
        &self.0.slice
    }

    pub(crate) fn borrowed(&self) -> CacheKey<'_> {
        let plain = CacheKey::bearer(&self.0.header.partition, self.audience());
        let Some(qualifiers) = &self.0.header.qualifiers else { return plain };
        CacheKey {
            subject: qualifiers.subject.as_deref(),
            is_bound: qualifiers.is_bound,
            thumbprint: qualifiers.thumbprint.as_ref(),
            client_claims: qualifiers.client_claims.as_deref(),
            parameters: &qualifiers.parameters,
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
        self.partition.is(&key.0.header.partition)
            && self.audience == key.audience()
            && match &key.0.header.qualifiers {
                None => self.is_plain(),
                Some(qualifiers) => {
                    self.is_bound == qualifiers.is_bound
                        && self.thumbprint == qualifiers.thumbprint.as_ref()
                        && self.subject == qualifiers.subject.as_deref()
                        && self.client_claims == qualifiers.client_claims.as_deref()
                        && self.parameters == &*qualifiers.parameters
                }
            }
    }

    fn to_key(&self) -> TokenKey {
        let qualifiers = || Qualifiers {
            is_bound: self.is_bound,
            thumbprint: self.thumbprint.copied(),
            subject: self.subject.map(Into::into),
            client_claims: self.client_claims.map(Into::into),
            parameters: self.parameters.into(),
        };
        let header = KeyHeader {
            partition: self.partition.to_partition(),
            qualifiers: (!self.is_plain()).then(|| Box::new(qualifiers())),
        };
        TokenKey(Arc::from_header_and_str(header, self.audience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_makes_another_key() {
        let (partition, other) = (Partition::new("p"), Partition::new("q"));
        let parameters = [("name".to_owned(), "value".to_owned())];
        let (one, two) = (Thumbprint::of(b"1"), Thumbprint::of(b"2"));
        let plain = CacheKey::bearer(&partition, "a");
        let keys = [
            plain,
            CacheKey { partition: (&other).into(), ..plain },
            CacheKey { subject: Some("s"), ..plain },
            CacheKey { audience: "b", ..plain },
            CacheKey { is_bound: true, ..plain },
            CacheKey { is_bound: true, thumbprint: Some(&one), ..plain },
            CacheKey { is_bound: true, thumbprint: Some(&two), ..plain },
            CacheKey { client_claims: Some("{}"), ..plain },
            CacheKey { parameters: &parameters, ..plain },
        ];
        for (i, key) in keys.iter().enumerate() {
            for (j, another) in keys.iter().enumerate() {
                let owned: TokenKey = another.to_key();
                assert_eq!(key.matches(&owned), i == j, "{key:?} {another:?}");
            }
        }
    }
}
