//! The agent between an emulator and clients that speak HTTP by hand.

#![cfg(test)]

mod answers;
mod bounds;
mod client;
#[cfg(unix)]
mod unix;
