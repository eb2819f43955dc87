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
mod probing;
mod refusals;
mod requirements;
#[cfg(unix)]
mod stored;
#[cfg(unix)]
mod stored_model;
mod watching;
mod wire;
