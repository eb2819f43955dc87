//! The policy for hosts that cannot bind tokens.

use symbolon_token::Error;

/// The policy for a request for a bound token on a host that cannot bind tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Downgrade {
    /// The request fails.
    #[default]
    Never,
    /// The request returns a bearer token and logs a warning, if the host has no way to bind
    /// tokens: its source issues no certificates, or its metadata service has version 1 only. All
    /// other failures remain: a key that is not strong enough, a failed attestation, a service that
    /// is down. [`Token::bound_to`](crate::Token::bound_to) shows if a token is bound.
    ToBearerWhereUnsupported,
}

impl Downgrade {
    /// Returns true if the policy replaces this failure by a bearer token.
    pub(crate) fn applies_to(self, error: &Error) -> bool {
        self == Self::ToBearerWhereUnsupported
            && matches!(
                error.code(),
                "mtls_pop_not_supported_for_environment" | "mtls_pop_not_supported_in_imds_v1"
            )
    }
}
