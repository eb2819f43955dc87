#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A mint requests the platform metadata and a key in parallel, signs a certificate request, has
//! the key attested if there is an [`Attester`], and requests the certificate, which is validated
//! before it is used. [`Minter`] holds the resulting [`Binding`] under the [`ManagedIdentityId`] of
//! the request and under the identity that the service resolves it to, and in a folder if one is
//! configured. It renews a binding at half of its lifetime, and forgets exactly the certificate
//! that was refused, so that a late refusal cannot undo a newer mint. This crate requests no
//! tokens: a
//! [`Binding`] contains the certificate, the key and the token endpoint for the token client. Keys
//! come from a [`KeyProvider`]; a key signs and never leaves its provider. [`device_key`] contains
//! the encodings for providers of keys in devices, and [`keyguard`] the facts about Windows
//! KeyGuard.

mod attestation;
mod binding;
mod binding_id;
mod builder;
mod csr_algorithm;
pub mod device_key;
pub mod imds;
mod issuance;
mod key_probe;
mod key_provider;
#[cfg(doc)]
#[doc = include_str!("../docs/keyguard.md")]
pub mod keyguard {}
mod managed_identity_id;
mod mint;
mod minter;
mod record;
mod renewal;
mod step_timer;
mod watch;

pub use attestation::{Attestation, AttestationRequest, Attester};
pub use binding::Binding;
pub use builder::MinterBuilder;
pub use key_probe::probe_key;
#[cfg(unix)]
pub use key_provider::PersistedKeys;
pub use key_provider::{KeyProvider, SharedKeyProvider, SoftwareKeys};
pub use managed_identity_id::ManagedIdentityId;
#[cfg(unix)]
pub use minter::stored_bindings;
pub use minter::{Minter, REMINT_COOLDOWN};
pub use record::BindingRecord;
/// Folders that only this user can use: bindings and keys of devices are stored in one.
#[cfg(unix)]
pub use symbolon_files as store;
pub use symbolon_files::spawn_blocking;
pub use symbolon_types::{Error, ErrorKind};
pub use watch::BindingWatch;
