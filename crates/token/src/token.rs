//! Tokens and the keys under which they are cached.

mod access_token;
mod delivery;
mod issuance;
mod issued_token;
mod key;
mod owner;
mod partition;
mod refresh_token;

pub(crate) use access_token::CachedToken;
pub use access_token::{Token, check_url};
pub(crate) use delivery::Delivery;
pub(crate) use issuance::Issuance;
pub use issued_token::IssuedToken;
pub use key::CacheKey;
pub(crate) use key::TokenKey;
pub(crate) use owner::TokenOwner;
pub use partition::Partition;
pub(crate) use partition::PartitionRef;
pub(crate) use refresh_token::{DatedRefreshToken, RefreshToken};
