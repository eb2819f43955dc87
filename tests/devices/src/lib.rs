//! Devices that hold keys, emulated by programs that nobody here wrote.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "this crate is all tests")]

mod program;
mod softhsm;

pub use program::{find_program, missing};
pub use softhsm::SoftHsm;
