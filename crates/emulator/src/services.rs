//! The emulated services. Each turns a request, a scripted fault and the state into a reply.

pub(crate) mod access_token;
pub(crate) mod hosts;
pub(crate) mod imds;
pub(crate) mod resource;
pub(crate) mod sign_in;
pub(crate) mod token;
