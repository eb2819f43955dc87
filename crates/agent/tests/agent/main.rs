//! The agent between an emulator and clients that send raw HTTP.

#![cfg(test)]

mod client;
mod limits;
mod responses;
#[cfg(unix)]
mod unix;
