#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! **One client of reqwest per certificate.** reqwest takes one TLS configuration, and a pooled
//! connection continues with the certificate that it was made with. So each identity has a client
//! of its own, made from the caller's settings when it is first needed and dropped with the
//! identity. A rotation needs no event: the next request finds no client of the new certificate.
//!
//! **The logic of a call is that of `symbolon-client`.** [`ReqwestConnections`] implements its
//! trait [`HttpConnections`](symbolon_client::HttpConnections), so tokens, challenges, refusals and
//! repetitions follow the same rules. [`AuthorizedClient`] converts requests and responses.
//!
//! **The handshake is observed.** A layer around reqwest's connector records if the server
//! requested the certificate. If it did not, the connection is closed before a request is sent. The
//! configurations resume no session, which would bypass the check.
//!
//! **A request without its token is not sent.** The `RequestBuilder` of an [`AuthorizedClient`]
//! belongs to a client of reqwest that opens no connection, so that a `send` in the wrong place
//! fails.

mod attempt;
mod body;
mod client;
mod clients;
mod connections;
mod connector;
mod failure;
mod observation;
mod resolver;
mod transport;

pub use body::ReqwestBody;
pub use client::AuthorizedClient;
pub use connections::ReqwestConnections;
pub use transport::ReqwestTransport;

/// The HTTP client whose types appear in signatures of this crate.
pub use reqwest;
