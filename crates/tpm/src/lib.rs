#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! This crate encodes the seven commands that it needs itself ([TPM 2.0 Library, part 3][tcg]) and
//! sends them over a file or a socket. The TCG's library would add C code, an event loop, D-Bus and
//! a system package that every build of the workspace requires.
//!
//! RSA signatures are computed by `TPM2_RSA_Decrypt` without a scheme, from a message that this
//! crate pads; therefore the RSA key may decrypt as well. With `TPM2_Sign`, the length of the salt
//! depends on the TPM (part 1, annex B.7): the length of the digest, which TLS 1.3 requires, or the
//! maximum, as in libtpms before 0.9.2. Padding in this crate also supports digests that the TPM
//! does not.
//!
//! [tcg]: https://trustedcomputinggroup.org/resource/tpm-library-specification/

#![cfg(unix)]

mod builder;
mod commands;
mod error;
mod key;
mod key_file;
mod provider;
mod public;
mod tcti;
mod wire;

pub use builder::TpmKeysBuilder;
pub use provider::TpmKeys;
