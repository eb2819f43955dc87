//! What to do where tokens cannot be bound.

use symbolon_token::Error;

/// What becomes of a request for a bound token on a host that cannot bind any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Downgrade {
    /// It fails.
    #[default]
    Never,
    /// It gets a bearer token, with a warning in the log, where the host has no way to bind: its source
    /// issues no certificates, or its metadata service has version 1 only. Any other failure stays one:
    /// a key that is kept too badly, an attestation that fails, a service that is down. Look at
    /// [`Token::bound_to`](crate::Token::bound_to) to know what you got.
    ToBearerWhereUnsupported,
}

impl Downgrade {
    /// Whether this failure is answered with a bearer token.
    pub(crate) fn covers(self, error: &Error) -> bool {
        self == Self::ToBearerWhereUnsupported
            && matches!(
                error.code(),
                "mtls_pop_not_supported_for_environment" | "mtls_pop_not_supported_in_imds_v1"
            )
    }
}
