#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! **One client per identity.** Every client certificate has its own TLS configuration, session
//! store and idle connections, created from the request's
//! [`ClientIdentity`](symbolon_types::ClientIdentity) and dropped when that identity has no other
//! owner. No certificate resolver selects among identities: a pooled connection or a resumed TLS
//! 1.3 session would continue with the certificate that it was created with.
//!
//! **The request's future drives its connection.** No task is spawned. Under TLS 1.3, a server
//! refuses a client certificate after the handshake, so the alert arrives while the request is
//! being written, and a connection in a background task may lose it. Here connection and response
//! are polled together, so the alert is known when the response fails. Dropping the future closes
//! the socket.
//!
//! **tokio-rustls, not hyper-rustls.** The connector of hyper-rustls holds one configuration and
//! hides the handshake. This transport selects the configuration per identity, opens a proxy tunnel
//! first, and checks if the server requested the certificate before it sends a request.
//!
//! **No request without the certificate.** The handshake records if the server requested the
//! certificate. If a full handshake did not, the request fails with
//! [`IdentityNotRequested`](symbolon_transport::TransportErrorKind::IdentityNotRequested) before it
//! is written, and the session is not stored, so that no resumption bypasses the check.
//!
//! **Pinned servers are separate.** For a request with a [pin](symbolon_transport::CertificatePin),
//! the thumbprint of the server's certificate replaces chain, name and validity, and roots are not
//! read. The signature of the handshake is verified, because a certificate is public. Connections
//! and sessions of one pin are never used with another, so a replaced certificate takes effect at
//! the next request.
//!
//! **Dependencies are passed in.** The crypto provider goes into every TLS configuration and is
//! never installed for the process. The clock and the variables come from a
//! [`Context`](symbolon_types::Context).

mod builder;
mod classify;
mod client_auth;
mod client_key;
mod connect;
mod error;
mod http1;
mod identity;
mod origin;
mod pinned;
mod pool;
mod proxy;
mod scheme;
mod stream;
mod tls;
mod transport;
mod trust;
mod version;

pub use builder::HyperTransportBuilder;
pub use error::BuildError;
#[cfg(feature = "pkcs12")]
pub use identity::client_identity_from_pkcs12;
pub use identity::{ClientIdentityLoader, LoadError, client_identity_from_pem};
pub use transport::HyperTransport;
pub use version::TlsVersion;

/// The argument of [`HyperTransportBuilder::crypto_provider`].
#[doc(no_inline)]
pub use rustls::crypto::CryptoProvider;
