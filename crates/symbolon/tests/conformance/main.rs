//! Conformance with the protocols of the managed identity sources (docs/protocol/sources.md).
//!
//! `rows.md` lists each requirement with its tests.

#![cfg(test)]

mod arc;
mod cache;
mod claims;
mod endpoints;
mod errors;
mod identities;
mod retries;
mod rows;
mod service_fabric;
mod test_env;
