#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! The seven commands that are needed are written and read here ([TPM 2.0 Library, part 3][tcg]), over
//! a file or a socket. The TCG's own library would bring C code, an event loop and D-Bus for them, and
//! a system package that everybody needs who builds the workspace.
//!
//! RSA signatures are raised by `TPM2_RSA_Decrypt` without a scheme, from a message that was padded here,
//! which is why the RSA key may decrypt, too. With `TPM2_Sign`, the length of the salt depends on the
//! TPM: the longest that fits, or that of the digest (part 1, annex B.7), and only the second is what
//! TLS 1.3 accepts; libtpms 0.9.2 takes the second, older ones take the first. And every digest
//! is there, whatever the TPM supports.
//!
//! [tcg]: https://trustedcomputinggroup.org/resource/tpm-library-specification/

#![cfg(unix)]

mod builder;
mod commands;
mod failure;
mod key;
mod provider;
mod public;
mod tcti;
mod wire;

pub use builder::TpmKeysBuilder;
pub use provider::TpmKeys;
