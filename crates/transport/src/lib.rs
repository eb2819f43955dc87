#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A [`Transport`] has one verb and one declaration: it sends a request once, and it says what it
//! can do. Everything that must hold for every transport is above it, written once:
//! [`SharedTransport`] refuses a request that would leave without its certificate or without TLS
//! before the transport sees it, and [`HttpClient`] adds deadlines and retries on the injected
//! clock. An implementor therefore needs no timers, no retry loop and no policy. What is left to
//! get right is in the [`conformance`] suite.

mod capabilities;
mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod pin;
mod request;
mod response;
mod retry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transport;

pub use capabilities::Capabilities;
pub use client::{HttpClient, HttpOutcome, timeout};
pub use error::{TransportError, TransportErrorKind};
pub use pin::{CertificatePin, InvalidCertificatePin};
pub use request::{Request, Route};
pub use response::Response;
pub use retry::{RetryPolicy, is_transient_status};
pub use transport::{SharedTransport, Transport, TransportFn, transport_fn};

/// The largest response body that a transport accepts: 1 MiB.
pub const BODY_LIMIT: usize = 1 << 20;
