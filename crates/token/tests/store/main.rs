//! Token caches of several processes over one store.

#![cfg(test)]

mod access;
#[cfg(feature = "conformance")]
mod conformance;
mod env;
mod failures;
mod machine;
mod refresh;
