//! Token caches of several processes over one store.

#![cfg(test)]

mod access;
mod env;
mod failures;
mod machine;
mod refresh;
