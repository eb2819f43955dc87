//! The commands, one module each.

mod agent;
mod app_token;
#[cfg(unix)]
mod binding;
mod call;
mod demo;
mod doctor;
mod emulate;
mod exec;
mod explain;
mod inspect;
mod manual;
mod proxy;
mod serve;
mod server;
mod token;

use std::process::ExitCode;

use symbolon::{Env, Error};

use crate::args::{Cli, CliCommand};
use crate::failure;
use crate::output::OutputFormat;

pub(crate) async fn run(cli: Cli, env: Env) -> Result<ExitCode, Error> {
    let Cli { global, command } = cli;
    if let OutputFormat::Header | OutputFormat::Raw = global.output
        && !matches!(command, CliCommand::Token(_) | CliCommand::AppToken(_))
    {
        let name = if global.output == OutputFormat::Raw { "raw" } else { "header" };
        let message = format!("`--output {name}` is for token and app-token only; use text or json");
        return Err(failure::request("invalid_usage", message));
    }
    match command {
        CliCommand::Demo => demo::run(global.output).await,
        CliCommand::Token(options) => token::run(&options, &global, &env).await,
        CliCommand::AppToken(options) => app_token::run(&options, &global, &env).await,
        CliCommand::Call(options) => call::run(&options, &global, &env).await,
        CliCommand::Doctor(options) => doctor::run(&options, &global, &env).await,
        CliCommand::Explain(options) => explain::run(&options, global.output),
        CliCommand::Emulate(options) => emulate::run(&options, &global, &env).await,
        CliCommand::Inspect(options) => inspect::run(&options, global.output).await,
        CliCommand::Serve(options) => serve::run(&options, &global, &env).await,
        CliCommand::Exec(options) => exec::run(&options, &global, &env).await,
        CliCommand::Proxy(options) => proxy::run(&options, &global, &env).await,
        #[cfg(unix)]
        CliCommand::Binding(options) => binding::run(&options, &global, &env).await,
        CliCommand::Completions(options) => manual::completions(&options),
        CliCommand::Man(options) => manual::pages(&options),
        CliCommand::Replay => demo::replay().await,
    }
}
