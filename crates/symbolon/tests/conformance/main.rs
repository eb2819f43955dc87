//! What the specification of the managed identity sources asks for, row by row (managed-identity sources §7).
//!
//! `rows.md` says which test holds which row, and why some rows have none.

#![cfg(test)]

mod arc;
mod cache;
mod claims;
mod endpoints;
mod errors;
mod identities;
mod lab;
mod retries;
mod rows;
mod service_fabric;
