//! Errors of building a transport.

/// The error of [`HyperTransportBuilder::build`](crate::HyperTransportBuilder::build).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A root certificate is malformed.
    #[error("root certificate {position} is malformed; give each as one X.509 certificate")]
    MalformedRoot {
        /// The position among the given certificates or in the PEM text, counted from 1.
        position: usize,
    },
    /// The PEM text contains no certificate.
    #[error("the PEM text of root certificates contains no CERTIFICATE block")]
    NoRoot,
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
    /// The crypto provider supports none of the allowed TLS versions.
    #[error("the crypto provider has no cipher suite or no key exchange for the allowed TLS versions")]
    UnsuitableCryptoProvider,
}
