//! The protocols of the services as data: requests, replies, errors, tokens, scopes and addresses.
//! Nothing here holds state or sends anything.

pub(crate) mod address;
pub(crate) mod expiry;
pub(crate) mod jwt;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod scope;
pub(crate) mod step;
pub(crate) mod token_error;
