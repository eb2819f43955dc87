//! Bound tokens, refresh, claims, errors and throttling, over a scripted transport.

#![cfg(test)]

mod bound_tokens;
mod calls;
mod env;
mod failures;
mod requests;
