//! The habits of the project as commands: `cargo xtask --help`.
//!
//! # Design
//!
//! Each command is one file and one idea. What a rule needs to know stands in a table
//! (`layers::table`, `check::Step`, the pages of `acceptance::CONTRACTS`), what it does is a pure function
//! over parsed input with its own tests, and only `invocation` starts other programs. Every
//! program is printed before it runs, in a form that can be pasted into a shell.

#![expect(clippy::print_stdout, reason = "a command line tool answers on standard output")]
#![expect(clippy::print_stderr, reason = "and complains on standard error")]

mod bench;
mod check;
mod examples;
mod failure;
mod fuzz;
mod invocation;
mod language;
mod layers;
mod metadata;
mod modules;
mod package;
mod report;
mod source;
mod stopwatch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::metadata::Metadata;

/// The habits of the project as commands.
///
/// `cargo xtask check` is what continuous integration runs; the other commands are its parts, and
/// the ones that take longer than a change should wait for.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Arguments),
    /// Check the dependencies between crates, and the direction of modules inside each crate
    ///
    /// Inside a crate no files may depend on each other in a circle. A crate declares the order of its top
    /// modules, lowest first, as `[package.metadata.layers] modules = [...]` in its Cargo.toml.
    /// `Type::builder()` makes no circle when its `impl` stands in the file of the builder.
    Layers,
    Language(language::Arguments),
    /// Build and run every example of every crate; each must end with success
    Examples,
    Bench(bench::Arguments),
    Fuzz(fuzz::Arguments),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    let members = Metadata::of_members()?;
    // Every command is printed as it would be typed at the root.
    std::env::set_current_dir(&members.workspace_root)
        .map_err(|error| Failure::new(format!("the workspace root cannot be entered: {error}")))?;
    match command {
        Command::Check(arguments) => check::run(arguments, &members),
        Command::Layers => layers::run().and(modules::run(&members)),
        Command::Language(arguments) => language::run(arguments),
        Command::Examples => examples::run(&members),
        Command::Bench(arguments) => bench::run(arguments, &members),
        Command::Fuzz(arguments) => fuzz::run(arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
