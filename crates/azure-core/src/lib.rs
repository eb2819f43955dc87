#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A credential of the Azure SDK returns a text, which its clients send as a bearer token over
//! their own transport. A bound token needs a connection of its certificate, so a credential alone
//! cannot provide it. Two types separate the cases:
//!
//! - [`BearerCredential`] requests bearer tokens only, and refuses a bound one.
//! - [`BoundAuthentication`] is a pair of a credential, which returns a placeholder with the scope,
//!   and a transport, which replaces the placeholder by the bound token of this scope and sends the
//!   request on a connection that presents its certificate.
//!
//! The placeholder is no token. Without the transport, services refuse it; without the credential,
//! the transport refuses the request before it is sent.

mod bound;
mod credential;
mod failure;
mod message;
mod placeholder;
mod transport;

pub use bound::BoundAuthentication;
pub use credential::BearerCredential;

/// The core of the Azure SDK, whose types appear in signatures of this crate.
pub use azure_core;
