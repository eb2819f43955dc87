//! The scheme by which a token is used.

use symbolon_types::{ClientIdentity, Thumbprint};

/// The scheme by which a token is used, with the certificate that a bound token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// A bearer token: any party that holds it can use it (RFC 6750).
    Bearer,
    /// A bound token: only a connection that presents this certificate can use it (RFC 8705 §3).
    MtlsPop(ClientIdentity),
}

impl Scheme {
    /// Returns the `token_type` of the token response, which is also the `token_type` parameter
    /// that requests a bound token, and the scheme of the `Authorization` header.
    #[must_use]
    pub fn token_type(&self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::MtlsPop(_) => "mtls_pop",
        }
    }

    /// Returns the certificate of a bound token.
    #[must_use]
    pub fn bound_to(&self) -> Option<&ClientIdentity> {
        match self {
            Self::Bearer => None,
            Self::MtlsPop(identity) => Some(identity),
        }
    }

    pub(crate) fn thumbprint(&self) -> Option<Thumbprint> {
        self.bound_to().map(ClientIdentity::thumbprint)
    }
}
