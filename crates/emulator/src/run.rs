//! Building, starting and stopping an emulator, and serving its connections.

pub(crate) mod builder;
mod ca_file;
mod dispatch;
pub(crate) mod emulator;
mod framed;
mod server;
