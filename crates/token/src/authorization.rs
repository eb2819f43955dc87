//! Signing a user in: what goes out through their browser, and what comes back (RFC 6749 §4.1).

mod code;
mod pending;
mod request;

pub use code::AuthorizationCode;
pub use pending::PendingAuthorization;
pub(crate) use pending::{ExpectedIssuer, is_same};
pub use request::{AuthorizationFuture, AuthorizationRequest, Prompt, ResponseMode};
