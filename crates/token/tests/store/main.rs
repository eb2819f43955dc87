//! A cache with a store behind it, as several processes would share it.

#![cfg(test)]

mod access;
mod failures;
mod machine;
mod refresh;
mod world;
