#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A [`Pkcs11Keys`] contains the location of its token and the PIN. It holds the key that it found
//! or created, and the key holds one session. Concurrent handshakes sign one after the other,
//! because a session runs one operation at a time and devices have few sessions. While a lock is
//! held, only the module and the log are called, and neither calls back, so signing inside a
//! handshake cannot deadlock.
//!
//! Two locks are global in the process: a module is initialized once for the whole process, and
//! finding or creating a key must be one step.

mod builder;
mod error;
mod from_uri;
mod key;
mod key_pair;
mod provider;
mod token;
mod uri;

pub use builder::Pkcs11KeysBuilder;
pub use provider::Pkcs11Keys;
