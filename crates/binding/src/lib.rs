#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A mint goes one way: key and platform metadata at the same time, then a certificate request,
//! then an attestation of the key if there is an [`Attester`], then the certificate, which is checked
//! before anybody sees it. [`Minter`] keeps what comes out under the [`ManagedIdentityId`] that was
//! asked for and under the identity that the service says it means, on disk too if it is told
//! where; it renews it half-way to its end, and forgets exactly the certificate that was refused,
//! so that a refusal that arrives late cannot undo a mint that came first. Nothing here asks for tokens: a [`Binding`] names the certificate, the
//! key and the endpoint, and the token client takes it from there. Keys come from a
//! [`KeyProvider`]; what it yields signs and never leaves. Who writes one for a device finds the
//! encodings in [`device_key`], and the facts about Windows KeyGuard in [`keyguard`].

mod attestation;
mod binding;
mod binding_id;
mod blocking;
mod certificate;
mod credential;
mod csr;
pub mod device_key;
pub mod imds;
mod key_provider;
mod stopwatch;
#[cfg(doc)]
#[doc = include_str!("../docs/keyguard.md")]
pub mod keyguard {}
mod liveness;
mod managed_identity_id;
mod mint;
mod minter;
mod platform_metadata;
#[cfg(unix)]
pub mod store;
mod token_endpoint;

pub use attestation::{Attestation, AttestationRequest, Attester};
pub use binding::Binding;
pub use blocking::spawn_blocking;
#[cfg(unix)]
pub use key_provider::PersistedKeys;
pub use key_provider::{KeyProvider, SharedKeyProvider, SoftwareKeys};
pub use liveness::probe_key;
pub use managed_identity_id::ManagedIdentityId;
pub use minter::{BindingWatch, Minter, MinterBuilder, REMINT_COOLDOWN};
pub use symbolon_types::{Error, ErrorKind};
