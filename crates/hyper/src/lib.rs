#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! **Connections belong to an identity.** Every client certificate has its own TLS configuration,
//! its own session store and its own idle connections, made from the
//! [`ClientIdentity`](symbolon_types::ClientIdentity) of the request and dropped when nobody holds
//! that identity any more. There is no certificate resolver that picks one: a pooled connection,
//! or a resumed TLS 1.3 session, would go on speaking as the certificate it was made for.
//!
//! **The request's own future drives its connection.** Nothing is spawned. Under TLS 1.3 a server
//! refuses a client certificate after the handshake, so the alert arrives while the request is
//! being written; a connection that a background task owns loses it now and then. Here the
//! connection and the response are polled together, so whatever the connection learned is known
//! when the response fails. Dropping the future drops the socket.
//!
//! **tokio-rustls, not hyper-rustls.** The connector of hyper-rustls holds one configuration and
//! hides the handshake behind a service. This transport chooses the configuration per identity,
//! tunnels through a proxy first, and must see whether the server asked for the certificate before
//! it sends a request: nothing of the connector would be left.
//!
//! **Presented, or not sent.** The handshake records whether the server asked. A full handshake
//! in which it did not ends in
//! [`IdentityNotRequested`](symbolon_transport::TransportErrorKind::IdentityNotRequested) before a
//! request is written, and its session is never stored, so no later resumption can slip past the
//! check.
//!
//! **A pinned server has connections and sessions of its own.** For a request with a
//! [pin](symbolon_transport::CertificatePin), the thumbprint of the certificate is the only anchor of
//! trust: no chain, no name, no validity, and the roots are not read. The signature of the handshake is
//! verified all the same, because a certificate is public. What one pin was good for is never used with
//! another, so a certificate that the host rotates takes effect at the next request.
//!
//! **What is injected.** The crypto provider is passed into every TLS configuration, never
//! installed; the clock tells the age of idle connections and the time at which certificates must
//! be valid; variables come from an [`Env`](symbolon_types::Env).

mod builder;
mod channel;
mod classify;
mod client_key;
mod connect;
mod error;
mod identity;
mod origin;
mod pinned;
mod pool;
mod presentation;
mod proxy;
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

/// What [`HyperTransportBuilder::crypto_provider`] takes.
#[doc(no_inline)]
pub use rustls::crypto::CryptoProvider;
