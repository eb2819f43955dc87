//! `symbolon completions` and `symbolon man`, generated from the command line's definition.

use std::process::ExitCode;

use clap::CommandFactory;
use symbolon::Error;

use crate::args::Cli;
use crate::args::tools::{CompletionsOptions, ManOptions};
use crate::failure;
use crate::stdout::print;

pub(super) fn completions(options: &CompletionsOptions) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "symbolon", &mut script);
    print(String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn pages(options: &ManOptions) -> Result<ExitCode, Error> {
    let failed = |error: std::io::Error| {
        let message = format!("cannot write to --out {}: {error}", options.out.display());
        failure::request("invalid_usage", message)
    };
    std::fs::create_dir_all(&options.out).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &options.out).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
