#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! object_store has two points of extension: a provider of credentials, which returns a text for
//! the `Authorization` header, and a connector, which makes the HTTP client. A bound token needs
//! both. So [`BoundStorage`] has a provider that returns a placeholder, and a connector whose
//! client replaces the placeholder by the bound token and sends the request on a connection that
//! presents its certificate. The placeholder is no token: half of the pair is harmless.

mod bearer;
mod bound;
mod connector;
mod failure;

pub use bearer::{BearerStorage, STORAGE};
pub use bound::BoundStorage;
pub use connector::BoundConnector;

/// The library whose types appear in signatures of this crate.
pub use object_store;
