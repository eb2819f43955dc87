//! Certificate requests and handshakes of every kind of key, as programs see them that nobody here
//! wrote.

#![cfg(test)]
#![cfg(unix)]

mod authority;
mod csr;
mod handshake;
mod keys;
mod servers;
mod verifiers;
