//! The emulator from outside: real sockets, real TLS, clients and certification requests built here.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod admin;
mod assertions;
mod certified;
mod client;
mod csr;
mod faults;
mod hosts;
mod issuance;
mod lifecycle;
mod metadata;
mod misfortunes;
mod refusals;
mod resource;
mod tokens;
