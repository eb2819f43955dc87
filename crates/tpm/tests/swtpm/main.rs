//! Keys in swtpm.
// Clippy requires `cfg(test)` to allow `unwrap` here.
#![cfg(test)]
#![cfg(unix)]

mod keys;
mod losses;

use symbolon_binding::{Error, KeyProvider};
use symbolon_test_programs::Swtpm;
use symbolon_tpm::{TpmKeys, TpmKeysBuilder};
use symbolon_types::SharedSigningKey;

type Kind = fn(TpmKeysBuilder) -> TpmKeysBuilder;

/// Each kind of key with its file.
pub(crate) const KINDS: [(Kind, &str); 2] =
    [(TpmKeysBuilder::rsa_2048, "rsa-2048.tpm"), (TpmKeysBuilder::p256, "p-256.tpm")];

pub(crate) fn builder(tpm: &Swtpm) -> TpmKeysBuilder {
    TpmKeys::builder(&tpm.tcti(), tpm.folder().join("store")).unwrap()
}

pub(crate) fn try_key(keys: &TpmKeys) -> Result<SharedSigningKey, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(keys.key())
}

pub(crate) fn key(keys: &TpmKeys) -> SharedSigningKey {
    try_key(keys).unwrap()
}
