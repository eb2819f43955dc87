#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! The emulator shares no code with the clients that it tests: it parses certificate requests with
//! a reader of its own and compares encodings octet by octet, so that a client's encoder is checked
//! rather than trusted. It accepts what the real services are known to accept, and refuses
//! everything else with the name of the violated rule.
//!
//! Five servers share one certificate authority and one journal; a sixth serves the admin page if
//! it is configured. Each request is read, mapped to its [`Step`], matched with a scripted
//! [`Fault`], passed to the endpoint unless the fault replaces it, recorded in the journal, and
//! answered. All servers run on one thread with a runtime of its own: dropping the [`Emulator`]
//! closes the ports before `drop` returns, and a test that blocks its own runtime still gets
//! replies.
//!
//! All times follow the injected clock, except the validity of the server certificate: it lasts
//! from 1990 to 2099, because the client may use another clock.

mod admin;
mod calendar;
mod error;
mod faults;
mod journal;
mod pki;
mod protocol;
mod random;
mod run;
mod services;
mod settings;
mod state;

pub use error::Error;
pub use faults::{CertificateFault, Fault};
pub use journal::{EntryOutcome, Journal, JournalEntry, Subscription};
pub use pki::{CertifiedKey, IssuedCertificate, TlsVersion};
pub use protocol::{ExpiryFormat, Server, Step};
pub use run::builder::EmulatorBuilder;
pub use run::emulator::Emulator;
pub use state::UserAssigned;
/// The managed identity sources that the emulator serves.
pub use symbolon_types::Source;
/// The SHA-256 thumbprint of a certificate.
pub use symbolon_types::Thumbprint;
