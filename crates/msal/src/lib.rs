#![doc = include_str!("../README.md")]

mod document;
mod export;
mod import;
mod item;

pub use export::export;
pub use import::{Imported, import};
