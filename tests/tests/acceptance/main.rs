//! The acceptance rows, one test each, against the emulator over real TLS.
//!
//! `cargo xtask acceptance` prints which test holds which row.

#![cfg(test)]

mod binding;
mod cache;
mod capabilities;
mod concurrency;
mod confidential;
mod configuration;
mod delegation;
mod lifetime;
mod minting;
mod recovery;
mod request;
mod routing;
mod sources;
mod telemetry;
mod transport;
mod troubleshooting;
mod users;
