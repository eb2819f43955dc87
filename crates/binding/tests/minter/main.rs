//! The minter against an issuer on a clock that stands still.
// `cfg(test)` holds for every file here; clippy wants to read it.
#![cfg(test)]

mod attestation;
mod identities;
mod issuer;
mod keys;
mod lifecycle;
mod logs;
mod model;
mod refusals;
mod rows;
#[cfg(unix)]
mod stored;
mod watching;
mod wire;
