//! The requests for bearer tokens, and the responses, of the managed identity sources.

pub(crate) mod azure_arc;
mod client;
pub(crate) mod endpoint;
mod error;
pub(crate) mod expiry;
pub(crate) mod extras;
pub(crate) mod fetch;
mod imds_v1;
pub(crate) mod request;
mod response;
