#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! **One client per identity.** Every client certificate has its own TLS sessions and idle
//! connections, created from the request's [`ClientIdentity`](symbolon_types::ClientIdentity) and
//! dropped when that identity has no other owner. A pooled connection would continue with the
//! certificate that it was created with.
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
//! **TLS is in `symbolon-rustls`**: configurations, roots, pins, the classification of failures.
//! Another library implements [`TlsBackend`]; pools, proxies and rules stay the same.
//! Connections of one pin are never used with another, so a replaced server certificate takes
//! effect at the next request.

mod builder;
mod classify;
mod connect;
#[cfg(feature = "connections")]
mod connections;
mod connector;
mod error;
mod handshake_observation;
mod http1;
mod interim;
mod no_proxy;
mod origin;
mod pool;
mod proxy;
mod socks;
mod stream;
mod tls;
mod tls_setters;
mod transport;
mod tunnel;

pub use builder::HyperTransportBuilder;
#[cfg(feature = "connections")]
pub use connections::{
    Connections, ConnectionsBuilder, OutgoingBody, ResponseBody, SendFailure, UploadBody, UploadGuard,
    outgoing,
};
pub use error::BuildError;
pub use stream::AsyncStream;
pub use tls::{TlsBackend, TlsBackendClient, TlsConnection};
pub use transport::HyperTransport;

#[cfg(feature = "pkcs12")]
#[doc(no_inline)]
pub use symbolon_rustls::client_identity_from_pkcs12;
/// The argument of [`HyperTransportBuilder::crypto_provider`].
#[doc(no_inline)]
pub use symbolon_rustls::rustls::crypto::CryptoProvider;
#[doc(no_inline)]
pub use symbolon_rustls::{
    ClientIdentityLoader, ConfigError, LoadError, TlsVersion, client_identity_from_pem,
};
