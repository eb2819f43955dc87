#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! `accept.rs` accepts connections from `listener.rs` as far as `slots.rs` has slots;
//! `connection.rs` serves each of them and calls the [`Handler`]. `server.rs` starts and stops all
//! of it.

mod accept;
mod connection;
mod descriptors;
mod handler;
mod host;
mod listener;
mod peer;
mod secret;
mod server;
mod settings;
mod slots;

pub use descriptors::{lacks_descriptors, raise_descriptor_limit};
pub use handler::{ClientConnection, Handler, ResponseFuture, ServerBody, server_body};
pub use host::names_loopback;
pub use hyper::body::Incoming;
pub use listener::Listener;
#[cfg(unix)]
pub use listener::SocketUsers;
pub use peer::Peer;
pub use secret::{matches_secret, random_secret};
pub use server::Server;
pub use settings::ServerSettings;
pub use slots::Busy;
