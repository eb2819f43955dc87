//! The protocols of the services as data: requests, replies, errors, tokens, scopes and addresses.
//! Nothing here holds state or sends anything.

pub(crate) mod address;
mod body;
mod expiry;
mod jwt;
mod reply;
mod request;
pub(crate) mod scope;
mod step;
pub(crate) mod token_error;

pub use self::address::Server;
pub(crate) use self::body::ResponseBody;
pub use self::expiry::ExpiryFormat;
pub(crate) use self::jwt::{CompactJws, TokenSigner};
pub(crate) use self::reply::{Reply, StreamedBody};
pub(crate) use self::request::{ParsedRequest, decode_form};
pub(crate) use self::scope::DelegatedScopes;
pub use self::step::Step;
pub(crate) use self::token_error::TokenError;
