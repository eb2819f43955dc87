#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! The emulator shares no code with the clients, so that mistakes show. This crate is above both:
//! it builds clients from the addresses and certificates of an emulator, and nothing else.

mod clients;

pub use clients::EmulatorClients;
#[doc(no_inline)]
pub use symbolon;
#[doc(no_inline)]
pub use symbolon_emulator as emulator;
#[doc(no_inline)]
pub use symbolon_emulator::{Emulator, EmulatorBuilder, Fault, Step};
