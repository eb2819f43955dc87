//! Tests of the emulator from outside: real sockets, real TLS, and clients and certificate requests
//! that share no code with it.

#![cfg(test)]

mod admin;
mod assertions;
mod client;
mod csr;
mod delegated;
mod faults;
mod fixtures;
mod hosts;
mod http2;
mod issuance;
mod lifecycle;
mod machine;
mod metadata;
mod page;
mod pyjwt;
mod refresh;
mod refusals;
mod resource;
mod strict;
mod tokens;
