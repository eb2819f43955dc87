//! `symbolon completions` and `symbolon man`: what the command line says of itself, for shells and for man(1).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use symbolon::Error;

use crate::args::Arguments;
use crate::failure;

#[derive(Debug, Args)]
pub(crate) struct CompletionsOptions {
    /// The shell to write for
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManOptions {
    /// The folder to write them to, for example /usr/local/share/man/man1
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn completions(options: &CompletionsOptions) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "symbolon", &mut script);
    anstream::print!("{}", String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

pub(crate) fn pages(options: &ManOptions) -> Result<ExitCode, Error> {
    let failed = |error: std::io::Error| {
        let what = format!("cannot write to --out {}: {error}", options.out.display());
        failure::request("invalid_usage", what)
    };
    std::fs::create_dir_all(&options.out).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), &options.out).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
