//! Why a transport cannot be made.

/// Why a transport cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A root certificate is malformed.
    #[error("root certificate {position} is malformed; give each as one X.509 certificate")]
    MalformedRoot {
        /// Its place among those given together, or the place of its block in the PEM text,
        /// counted from 1.
        position: usize,
    },
    /// The PEM text holds no certificate.
    #[error("the PEM text of root certificates holds none; expected at least one CERTIFICATE block")]
    NoRoot,
    /// A variable that names a proxy is not the URL of one.
    #[error("{variable} is not the URL of a proxy; write http://host:port or unset it")]
    MalformedProxy {
        /// Its name.
        variable: &'static str,
    },
    /// A variable names a proxy that this transport cannot use.
    #[error("the proxy that {variable} names is not supported; only http:// proxies are")]
    UnsupportedProxy {
        /// Its name.
        variable: &'static str,
    },
    /// The crypto provider has nothing for a TLS version that is allowed.
    #[error("the crypto provider has no cipher suite or no key exchange for the allowed TLS versions")]
    UnsuitableCryptoProvider,
}
