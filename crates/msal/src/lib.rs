#![doc = include_str!("../README.md")]

mod cache_file;
mod export;
mod import;
mod item;

pub use export::export;
pub use import::{ImportSummary, import};
