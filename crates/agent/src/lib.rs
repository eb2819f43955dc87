#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! `serve.rs` accepts connections from `listener.rs` as far as `limits.rs` has slots;
//! `connection.rs` serves each of them. Each request passes `guard.rs` (host and secret),
//! `query.rs` (parsing), `policy.rs` (permitted identities and resources), a
//! [`ManagedIdentity`](symbolon::ManagedIdentity) with its cache and retries, and `response.rs`
//! (the format of App Service). Any step can end in a rejection (`rejection.rs`).

mod agent;
mod connection;
mod guard;
mod limits;
mod listener;
mod policy;
mod query;
mod record;
mod rejection;
mod response;
mod serve;
mod service;

pub use agent::{Agent, AgentBuilder};
pub use record::{Peer, Record};
