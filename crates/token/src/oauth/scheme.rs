//! How a token is used.

use symbolon_types::{ClientIdentity, Thumbprint};

/// How a token is used, and what it is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// Whoever has the token may use it (RFC 6750).
    Bearer,
    /// Only a connection that presents this certificate may use the token (RFC 8705 §3).
    MtlsPop(ClientIdentity),
}

impl Scheme {
    /// The `token_type` that the token service must answer with, the `token_type` parameter that
    /// asks for it, and the scheme of the `Authorization` header.
    #[must_use]
    pub fn token_type(&self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::MtlsPop(_) => "mtls_pop",
        }
    }

    /// The certificate that the token is bound to.
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
