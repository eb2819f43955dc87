#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! **OpenSSL replaces rustls, and nothing else.** [`OpensslBackend`] implements the trait
//! [`TlsBackend`](symbolon_hyper::TlsBackend), below the pools, proxies and rules of
//! `symbolon-hyper`. So a connection belongs to a certificate, is kept and closed, and loses no
//! alert, by the same code.
//!
//! **Servers are verified by rustls.** The callback of OpenSSL passes the certificates on, so that
//! roots, `SSL_CERT_FILE`, pins, clock and advice are those of the other transports. OpenSSL
//! verifies that the server has the key. A renegotiation must present the same certificate again.
//!
//! **Errors are those of rustls.** Alerts, refused servers and failed signatures of OpenSSL are
//! converted, and classified by the rules of `symbolon-rustls`.
//!
//! **Keys stay where they are.** A small provider of OpenSSL passes each message to be signed to
//! [`SigningKey::sign`](symbolon_types::SigningKey::sign). It is loaded into a library context of
//! this crate, not into that of the process. OpenSSL never has a private key, and each provider of
//! keys works: software, PKCS#11, TPM.
//!
//! **No sessions are resumed**, so that each connection has presented the certificate itself.
//!
//! **Unsafe code** is in the module `ffi` only, whose documentation has the reasons.

mod backend;
mod buffered_stream;
mod client;
mod connection;
mod failure;
mod ffi;
mod key;
mod stream;

pub use backend::OpensslBackend;
