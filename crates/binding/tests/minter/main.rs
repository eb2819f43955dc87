//! Minter with an issuer in memory and a manual clock.
// Clippy requires `cfg(test)` to allow `unwrap` here.
#![cfg(test)]

mod attestation;
mod identities;
mod issuer;
mod keys;
mod lifecycle;
mod logs;
mod model;
mod probing;
mod refusals;
mod requirements;
#[cfg(unix)]
mod stored;
#[cfg(unix)]
mod stored_model;
mod watching;
mod wire;
