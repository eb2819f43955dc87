//! The token service.

mod assertion;
mod client;
mod credential;
mod delegated;
pub(crate) mod service;
