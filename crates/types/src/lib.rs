#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! This crate holds the vocabulary that all crates of Symbolon share, and no logic of its own. The
//! token core and the minter do not depend on each other: they meet in [`ClientIdentity`]. Time,
//! environment and randomness are passed in as a [`Context`], so that tests control them. Public
//! signatures contain only types of `std`, `http`, `bytes`, `url` and `rustls-pki-types`.

mod acquisition;
pub mod advice;
mod clock;
mod context;
mod correlation;
mod debug;
mod env;
mod error;
mod error_body;
mod file;
mod identity;
mod identity_watch;
mod imds;
mod input;
mod jitter;
mod key;
mod observer;
mod panic;
mod pin;
mod printable;
mod redaction;
mod secret;
mod secrets;
mod server_auth;
mod source;
mod thumbprint;

pub use acquisition::{CacheLevel, RefreshReason, RegionUse, RequestMetadata, TokenOrigin};
pub use clock::{Clock, ClockReading, ManualClock, SharedClock, SteadyTime, SystemClock};
pub use context::Context;
pub use correlation::{CorrelationId, InvalidCorrelationId};
pub use env::Env;
pub use error::{Error, ErrorKind};
pub use error_body::ErrorBody;
pub use file::read_file;
pub use identity::{ClientIdentity, IdentityError, WeakClientIdentity};
pub use identity_watch::{CellWatch, IdentityCell, IdentityWatch};
pub use imds::IMDS_BASE_URL;
pub use input::input_flaw;
pub use jitter::Jitter;
pub use key::{SharedSigningKey, SignatureScheme, SigningError, SigningKey, Strength};
pub use observer::{
    Event, FetchError, FetchedToken, HandshakeEvent, MintEvent, Observer, RefusalEvent, RefusingParty,
    ServedToken, SharedObserver, StoreEvent, StoreOperation, TlsSession, TokenFetchEvent, TokenRequestEvent,
};
pub use panic::{catch_panic, catch_panic_of};
pub use pin::{CertificatePin, InvalidCertificatePin};
pub use printable::{Printable, printable, printable_json};
pub use secret::Secret;
pub use secrets::Secrets;
pub use server_auth::{InvalidRoots, PrivateTrust, ServerAuth};
pub use source::{IdKind, Source, SourceInfo};
pub use thumbprint::{InvalidThumbprint, Thumbprint};

/// The certificate and key encodings that appear in signatures of this crate.
pub use pki_types;
