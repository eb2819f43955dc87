//! Client identities from files of OpenSSL.

#![cfg(test)]

#[expect(dead_code, reason = "shared with the tests of the transport, which use more of it")]
#[path = "../../../hyper/tests/transport/authority.rs"]
mod authority;
#[expect(dead_code, reason = "shared with the tests of the transport, which use more of it")]
#[path = "../../../hyper/tests/transport/keys.rs"]
mod keys;
#[expect(dead_code, reason = "shared with the tests of the transport, which use more of it")]
#[path = "../../../hyper/tests/transport/server.rs"]
mod server;

#[cfg(feature = "encrypted-keys")]
mod encrypted_keys;
#[cfg(feature = "pkcs12")]
mod files;
mod handshake;
mod openssl;
mod pem;
#[cfg(feature = "pkcs12")]
mod pkcs12;
mod signing;

use symbolon_rustls::LoadError;
use symbolon_types::ClientIdentity;

/// Returns the variant name of the error.
#[track_caller]
fn refusal(loaded: Result<ClientIdentity, LoadError>) -> String {
    let error = loaded.expect_err("this should not load");
    let shown = format!("{error:?}");
    shown.split(['(', ' ']).next().unwrap_or_default().to_owned()
}
