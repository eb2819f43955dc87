#![doc = include_str!("../README.md")]

mod builder;
mod connection;
mod endpoint;
mod entries;
mod failure;
mod health;
mod notifications;
mod script;
mod store;

pub use builder::RedisStoreBuilder;
pub use store::RedisStore;
