//! Errors of building a transport.

use symbolon_rustls::ConfigError;

/// The error of [`HyperTransportBuilder::build`](crate::HyperTransportBuilder::build).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The root certificates or the crypto provider are unusable.
    #[error(transparent)]
    Tls(#[from] ConfigError),
    /// The value of a proxy variable is not a URL.
    #[error("{variable} is not the URL of a proxy; write http://host:port or unset it")]
    MalformedProxy {
        /// The variable.
        variable: &'static str,
    },
    /// The proxy of a variable has a scheme other than `http`.
    #[error("{variable} names a proxy that is not supported; use an http:// proxy or unset it")]
    UnsupportedProxy {
        /// The variable.
        variable: &'static str,
    },
}
