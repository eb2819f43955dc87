//! The checks and habits of the project as commands: `cargo xtask --help`.
//!
//! Each command is one file. Rules are pure functions over parsed input with tests of their own,
//! and only `invocation` starts other programs, each printed first in a form that can be pasted
//! into a shell.

#![expect(clippy::print_stdout, reason = "a command line tool answers on standard output")]
#![expect(clippy::print_stderr, reason = "and complains on standard error")]

mod bench;
mod check;
mod dist;
mod examples;
mod fuzz;
mod invocation;
mod language;
mod layers;
mod metadata;
mod modules;
mod package;
mod report;
mod source;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::metadata::Metadata;

/// The checks and habits of the project as commands.
///
/// `cargo xtask check` is the part that continuous integration runs; the other commands are its
/// steps, and those that take too long for every change.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct XtaskArgs {
    #[command(subcommand)]
    command: XtaskCommand,
}

#[derive(Debug, Subcommand)]
enum XtaskCommand {
    Bench(bench::BenchArgs),
    Check(check::CheckArgs),
    Dist(dist::DistArgs),
    Fuzz(fuzz::FuzzArgs),
    /// Check the dependencies between crates, and the direction of modules inside each crate
    ///
    /// Inside a crate no files may depend on each other in a circle. A crate declares the order of
    /// its top modules, lowest first, as `[package.metadata.layers] modules = [...]` in its
    /// Cargo.toml. `Type::builder()` makes no circle when its `impl` stands in the file of the
    /// builder.
    Layers,
    Language(language::LanguageArgs),
    Soak(bench::SoakArgs),
}

fn main() -> ExitCode {
    match run(&XtaskArgs::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &XtaskCommand) -> Result<(), String> {
    let members = Metadata::of_members()?;
    // Every command is printed as it would be typed at the root.
    std::env::set_current_dir(&members.workspace_root)
        .map_err(|error| format!("cannot enter {}: {error}", members.workspace_root.display()))?;
    match command {
        XtaskCommand::Bench(arguments) => arguments.run(),
        XtaskCommand::Check(arguments) => check::run(arguments, &members),
        XtaskCommand::Dist(arguments) => dist::run(arguments, &members),
        XtaskCommand::Fuzz(arguments) => fuzz::run(arguments, &members),
        XtaskCommand::Layers => layers::run().and(modules::run(&members)),
        XtaskCommand::Language(arguments) => language::run(arguments),
        XtaskCommand::Soak(arguments) => arguments.run(),
    }
}

#[test]
fn command_line_is_consistent() {
    use clap::CommandFactory as _;
    XtaskArgs::command().debug_assert();
}
