//! The token cache.

pub(crate) mod events;
mod portable;
mod refresh_tokens;
mod token_cache;

pub use portable::{PortableRefreshToken, PortableToken, TokenSubject};
pub use token_cache::TokenCache;
