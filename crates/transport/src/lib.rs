#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A [`Transport`] sends a request and declares its optional abilities. A request states its
//! [`Idempotence`], and an error or a response whether the server has provably not processed the
//! request; together they decide if it may be sent again. The rules for all
//! transports are implemented above it: [`SharedTransport`] refuses a request that would be sent
//! without its certificate or without TLS, and [`HttpClient`] adds time limits and retries on the
//! clock of its context. An implementor needs no timers, no retries and no policy. The
//! `conformance` module (feature `conformance`) tests the rest.

mod capabilities;
mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod error_kind;
mod late_certificate;
mod pending;
mod phase;
mod request;
mod response;
mod retry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transport;

pub use capabilities::Capabilities;
pub use client::{HttpClient, HttpOutcome, stop_when, timeout, timeout_or_pending};
pub use error::TransportError;
pub use error_kind::TransportErrorKind;
pub use late_certificate::LateCertificate;
pub use pending::PendingRequest;
pub use phase::{PhaseCell, RequestPhase};
pub use request::{Idempotence, Request, Route, is_local_address, is_loopback};
pub use response::{Response, retry_after};
pub use retry::{RetryPolicy, is_transient_status};
pub use transport::{SharedTransport, Transport, TransportFn, transport_fn};

#[doc(no_inline)]
pub use symbolon_types::{CertificatePin, InvalidCertificatePin, PrivateTrust, ServerAuth};

/// The maximum size of a response body: 1 MiB.
pub const BODY_LIMIT: usize = 1 << 20;
