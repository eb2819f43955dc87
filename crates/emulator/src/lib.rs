#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! The emulator shares no code with the clients it is for: it reads certification requests with a
//! reader of its own and compares encodings octet by octet, so that a client's encoder is checked
//! rather than trusted. It accepts what the real services are known to accept and refuses all else
//! with the name of the broken rule.
//!
//! Five servers, one authority, one journal; and, if it is asked for, a server with the page. A request goes one way: read, find its [`Step`], take
//! a scripted [`Fault`], ask the endpoint unless the fault takes its place, write the journal,
//! answer. All of it runs on a thread of its own, with a runtime of its own: dropping the
//! [`Emulator`] closes the ports before `drop` returns, and a test that blocks its own runtime is
//! still answered.
//!
//! Times follow the injected clock. The server's certificate alone does not: it is valid from 1990
//! to 2099, because the client's clock may be another one.

mod admin;
mod answer;
mod assertion;
mod builder;
mod ca;
mod calendar;
mod client;
mod connection;
mod credential;
mod csr;
mod delegated;
mod der;
mod dispatch;
mod emulator;
mod entry;
mod error;
mod exchange;
mod fault;
mod grant;
mod host;
mod identity;
mod imds;
mod journal;
mod jwt;
mod oauth;
mod place;
mod random;
mod refresh;
mod refusals;
mod resource;
mod scope;
mod script;
mod server;
mod skew;
mod spec;
mod state;
mod step;
mod subject_key;
mod tls;
mod token_service;
mod user;

pub use builder::EmulatorBuilder;
pub use ca::{CertifiedKey, IssuedCertificate};
pub use emulator::Emulator;
pub use entry::{Entry, Outcome, TlsVersion};
pub use error::Error;
pub use fault::{CertificateFault, Fault};
pub use host::ExpiryFormat;
pub use identity::UserAssigned;
pub use journal::{Journal, Subscription};
pub use step::Step;
pub use symbolon_types::Source;
/// The type that names certificates here.
pub use symbolon_types::Thumbprint;
