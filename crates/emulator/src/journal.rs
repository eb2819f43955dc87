//! The journal of requests and replies, without secrets.

pub(crate) mod entry;
pub(crate) mod recorder;
