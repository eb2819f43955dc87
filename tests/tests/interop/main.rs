//! Certificate requests, handshakes and bound tokens of every kind of key, verified by independent
//! programs.

#![cfg(test)]
#![cfg(unix)]

mod authority;
#[cfg(target_os = "linux")]
mod azure_addresses;
mod csr;
mod handshake;
mod keys;
mod python;
mod resource;
mod resource_servers;
mod servers;
mod verifiers;
