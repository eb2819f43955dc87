//! The functions of OpenSSL that the crate `openssl` does not have. This is the only module with
//! unsafe code.
//!
//! - `context`: a context of a library context of its own (`SSL_CTX_new_ex`), the callbacks for
//!   the server's certificates (`SSL_CTX_set_cert_verify_callback`) and for the request of the
//!   client's (`SSL_CTX_set_cert_cb`), the end of each handshake (`SSL_CTX_set_info_callback`), and
//!   post-handshake authentication (`SSL_set_post_handshake_auth`).
//! - `provider`: a provider of OpenSSL 3 for keys that sign elsewhere. The older interfaces do not
//!   serve: a method of RSA or EC keys receives a digest or a padded block, but devices sign
//!   messages; engines are deprecated, and removed from OpenSSL 4. Its parts are `key_management`
//!   and `signature`, on tables of functions (`dispatch`) and parameters (`params`).
//!
//! All pointers that OpenSSL passes to the callbacks are valid during the call, as its manual
//! states. No callback unwinds: none panics, and keys are called through `SharedSigningKey`, which
//! catches panics.
#![expect(unsafe_code, reason = "functions of OpenSSL without a safe interface; see above")]

mod context;
mod dispatch;
mod key_management;
mod params;
mod provider;
mod signature;

#[cfg(test)]
pub(crate) use context::renegotiate_with_certificate;
pub(crate) use context::{
    allow_late_certificate, attach, has_received_close, new_context, set_client_schemes,
};
pub(crate) use provider::private_key;
