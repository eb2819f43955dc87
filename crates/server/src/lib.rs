#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! `accept.rs` accepts connections from `listener.rs` as far as `slots.rs` has slots;
//! `connection.rs` waits for the octets of a request on each of them, and serves it by `http1.rs`
//! or HTTP/2. `exchange.rs` checks its transfer coding (`transfer_coding.rs`) and passes it to the
//! [`Handler`]. `server.rs` starts and stops all of it. `status.rs` is the handler of the endpoints
//! for operators, with the checks of `readiness.rs` and the metrics of `metrics.rs`.

mod accept;
mod connection;
mod descriptors;
mod exchange;
mod handler;
mod host;
mod http1;
mod io;
mod listener;
mod metrics;
mod peer;
mod progress;
mod readiness;
mod secret;
mod server;
mod settings;
mod slots;
mod status;
mod transfer_coding;

pub use descriptors::{lacks_descriptors, raise_descriptor_limit};
pub use handler::{ClientConnection, Handler, RequestBody, ResponseFuture, ServerBody, server_body};
pub use host::names_loopback;
pub use listener::Listener;
#[cfg(unix)]
pub use listener::SocketUsers;
pub use metrics::Metrics;
pub use peer::Peer;
pub use readiness::{CheckFuture, ReadinessCheck};
pub use secret::{has_secret, matches_secret, random_secret};
pub use server::Server;
pub use settings::ServerSettings;
pub use slots::Busy;
pub use status::{RESERVED_PREFIX, StatusEndpoints, StatusReader, StatusSettings};
pub use transfer_coding::TransferCodingError;
