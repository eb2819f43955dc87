//! The admin server: the API that scripts faults and reads the journal, and a page on top of it.

mod api;
pub(crate) mod endpoint;
mod page;
mod response;
pub(crate) mod server;
