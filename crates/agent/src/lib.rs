#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A [`Server`](symbolon_server::Server) holds connections and their limits. Each request passes
//! `guard.rs` (host and secret),
//! `query.rs` (parsing), `policy.rs` (permitted identities and resources), a
//! [`ManagedIdentity`](symbolon::ManagedIdentity) with its cache and retries, and `response.rs`
//! (the format of App Service). Any step can end in a rejection (`rejection.rs`).

mod agent;
mod guard;
mod policy;
mod query;
mod record;
mod rejection;
mod response;
mod service;

pub use agent::{Agent, AgentBuilder};
pub use record::Record;
#[doc(no_inline)]
pub use symbolon_server::{Listener, Metrics, Peer};
