//! The emulator from outside: real sockets, real TLS, clients and certification requests built here.

#![cfg(test)]

mod admin;
mod assertions;
mod certified;
mod client;
mod csr;
mod delegated;
mod faults;
mod hosts;
mod issuance;
mod jose;
mod lifecycle;
mod metadata;
mod misfortunes;
mod page;
mod refresh;
mod refusals;
mod resource;
mod tokens;
