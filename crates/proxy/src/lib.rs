#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A [`Server`](symbolon_server::Server) holds connections and their limits. Each request passes
//! `access.rs` (host, secret, user), `route.rs` (the URL that takes the place of its path),
//! `headers.rs` (fields that must not be passed on), and is sent by the
//! [`Client`](symbolon_client::Client) of its route. `upgrade.rs` continues connections that switch
//! to another protocol. Any step can end in an error of the proxy (`failure.rs`).

mod access;
mod failure;
mod headers;
mod proxy;
mod record;
mod route;
mod service;
mod trailers;
mod upgrade;

pub use proxy::{Proxy, ProxyBuilder};
pub use record::ProxyRecord;
pub use route::Route;
#[doc(no_inline)]
pub use symbolon_server::{Listener, Metrics, Peer, raise_descriptor_limit};
