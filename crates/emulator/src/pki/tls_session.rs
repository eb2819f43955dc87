//! The TLS session of a connection.

use std::fmt;

use serde::Deserialize;
use symbolon_types::Thumbprint;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    V1_3,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V1_2 => "TLS 1.2",
            Self::V1_3 => "TLS 1.3",
        })
    }
}

/// The properties of an established TLS session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsSession {
    pub(crate) version: TlsVersion,
    pub(crate) resumed: bool,
    pub(crate) http2: bool,
    /// The client certificate.
    pub(crate) certificate: Option<Thumbprint>,
}
