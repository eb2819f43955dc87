#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A request passes, in this order: `gate.rs`, which knows who may ask at all; `ask.rs`, which reads what is asked for; `policy.rs`,
//! which knows what may be asked for; a [`ManagedIdentity`](symbolon::ManagedIdentity), which has the cache and the
//! retries; and `answer.rs`, which writes what App Service would. Each step ends in a refusal or hands on.
//! `connection.rs` bounds what one client can hold, `listener.rs` is where clients come from.

mod agent;
mod answer;
mod ask;
mod connection;
mod gate;
mod listener;
mod policy;
mod record;
mod refusal;
mod serve;

pub use agent::{Agent, AgentBuilder};
pub use record::{Peer, Record};
