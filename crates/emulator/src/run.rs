//! Building, starting and stopping an emulator, and serving its connections.

mod body;
pub(crate) mod builder;
mod dispatch;
pub(crate) mod emulator;
mod server;
