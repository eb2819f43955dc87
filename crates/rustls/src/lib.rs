#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! **One configuration per identity.** Every client certificate has its own TLS configuration and
//! session store, made from its [`ClientIdentity`](symbolon_types::ClientIdentity) and dropped when
//! that identity has no other owner. No certificate resolver selects among identities: a pooled
//! connection or a resumed TLS 1.3 session would continue with the certificate that it was created
//! with.
//!
//! **No connection without the certificate.** [`TlsClient::connect`] records if the server
//! requested the certificate. If a full handshake did not, it fails, and the session is not stored,
//! so that no resumption bypasses the check. A configuration that another library uses has a
//! session store of its own, and no such check.
//!
//! **A rotation makes a configuration.** [`RotatingConfig`] follows an
//! [`IdentityWatch`](symbolon_types::IdentityWatch) and returns the configuration of its present
//! identity, so that sessions of the old certificate are out of reach of the new one.
//!
//! **Pinned servers are separate.** With a [pin](symbolon_types::CertificatePin), the thumbprint of
//! the server's certificate replaces chain, name and validity, and roots are not read. The
//! signature of the handshake is verified, because a certificate is public. Sessions of one pin are
//! never used with another, so a replaced certificate takes effect at the next connection.
//!
//! **Dependencies are passed in.** The crypto provider goes into every configuration and is never
//! installed for the process. The clock and the variables come from a
//! [`Context`](symbolon_types::Context).

mod builder;
mod client;
mod client_auth;
mod client_key;
mod configs;
mod error;
mod identity;
mod identity_map;
mod pem_text;
mod pinned;
mod rotating;
mod scheme;
mod trust;
mod verification;
mod version;

pub use builder::ClientConfigsBuilder;
pub use client::TlsClient;
pub use client_auth::ClientAuthRecord;
pub use configs::ClientConfigs;
pub use error::{
    ConfigError, TlsError, TlsErrorKind, causes, ends_handshake, may_concern_client_certificate,
    signing_error, tls_error,
};
#[cfg(feature = "pkcs12")]
pub use identity::client_identity_from_pkcs12;
pub use identity::{ClientIdentityLoader, LoadError, client_identity_from_pem};
pub use identity_map::IdentityMap;
pub use rotating::RotatingConfig;
pub use verification::ServerVerification;
pub use version::TlsVersion;

/// The TLS library whose types appear in signatures of this crate.
pub use rustls;
/// The certificate and key encodings that appear in signatures of this crate.
pub use rustls::pki_types;
/// The stream of [`TlsClient::connect`].
pub use tokio_rustls::client::TlsStream;
