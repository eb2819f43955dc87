//! Errors of building a transport.

use symbolon_rustls::ConfigError;

/// The error of [`HyperTransportBuilder::build`](crate::HyperTransportBuilder::build).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The root certificates or the crypto provider are unusable.
    #[error(transparent)]
    Tls(#[from] ConfigError),
}
