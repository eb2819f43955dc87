#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! These types are what every crate of Symbolon agrees on, and nothing else: the two halves of
//! Symbolon, the token core and the minter, never see each other and meet only in
//! [`ClientIdentity`]. Time, environment and randomness are passed in ([`SharedClock`], [`Env`],
//! [`Jitter`]), so that a test decides what they say. A type in a public signature is a promise:
//! only `std`, `http`, `bytes`, `url` and `rustls-pki-types` appear in ours.

mod clock;
mod context;
mod correlation;
mod env;
mod error;
mod identity;
mod imds;
mod jitter;
mod key;
mod secret;
mod source;
mod thumbprint;

pub use clock::{Clock, ManualClock, SharedClock, SystemClock};
pub use context::Context;
pub use correlation::{CorrelationId, InvalidCorrelationId};
pub use env::Env;
pub use error::{Error, ErrorKind};
pub use identity::{ClientIdentity, IdentityError, WeakClientIdentity};
pub use imds::IMDS_BASE_URL;
pub use jitter::Jitter;
pub use key::{SharedSigningKey, SignatureScheme, SigningError, SigningKey, Strength};
pub use secret::Secret;
pub use source::{IdKind, Source, SourceInfo};
pub use thumbprint::{InvalidThumbprint, Thumbprint};

/// The certificate and key encodings that appear in signatures of this crate.
pub use pki_types;
