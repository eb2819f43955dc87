//! Flows for users, parameters, tenants and assertions, over a scripted transport.

#![cfg(test)]

mod assertions;
mod env;
mod parameters;
mod repetition;
mod secrets;
mod users;
