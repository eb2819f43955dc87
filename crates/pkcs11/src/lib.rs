#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A [`Pkcs11Keys`] knows where its token is and how to log in. It holds the key it found or made,
//! and the key holds one session: handshakes that sign at the same time take turns, because a session
//! does one thing at a time and devices have few of them. While a lock is held, only the module and the
//! log are called, and neither calls back, so that signing inside a handshake cannot deadlock.
//!
//! Two locks are the process's: modules are initialized once for a process, and looking for a key
//! and making it has to be one step.

mod builder;
mod failure;
mod key;
mod key_pair;
mod provider;
mod token;

pub use builder::Pkcs11KeysBuilder;
pub use provider::Pkcs11Keys;
