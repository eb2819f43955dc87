#![doc = include_str!("../README.md")]

mod cache;
mod flight;
mod half_life;
mod key;
mod lease;
mod refusals;
mod shard;
mod slot;

pub use cache::{Found, LeaseCache, Loaded, Obtained, Origin};
pub use half_life::half_life;
pub use key::LeaseKey;
pub use lease::Lease;
pub use refusals::{RefusalCache, is_refusal};
