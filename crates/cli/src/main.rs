//! The `symbolon` command: get, use and understand key-bound Azure tokens.

mod acquire;
mod app_token;
mod args;
mod call;
mod demo;
mod emulate;
mod failure;
mod output;
mod token;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use symbolon::{Env, Error, SharedClock};
use tracing_subscriber::EnvFilter;

use crate::args::{Arguments, Command};
use crate::output::Format;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::usage(&error),
    };
    let format = arguments.global.output;
    match run(arguments) {
        Ok(code) => code,
        Err(error) => failure::report(&error, format),
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let env = Env::process();
    log_to_stderr(&env)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| failure::local("the async runtime could not be started", error))?;
    let timeout = arguments.global.timeout;
    let outcome = runtime.block_on(async {
        let command = dispatch(arguments, env);
        match timeout {
            None => command.await,
            Some(limit) => within(limit, command).await,
        }
    });
    // Whatever still runs, such as a key being made for a request that was given up, is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(arguments: Arguments, env: Env) -> Result<ExitCode, Error> {
    let Arguments { global, command } = arguments;
    if global.output == Format::Header && !matches!(command, Command::Token(_) | Command::AppToken(_)) {
        return Err(failure::request("invalid_usage", "only tokens have an output of the form `header`"));
    }
    match command {
        Command::Demo => demo::run(global.output).await,
        Command::Token(options) => token::run(&options, &global, &env).await,
        Command::AppToken(options) => app_token::run(&options, &global, &env).await,
        Command::Call(options) => call::run(&options, &global, &env).await,
        Command::Emulate(options) => emulate::run(&options).await,
        Command::Replay => demo::replay().await,
    }
}

async fn within(
    limit: Duration,
    command: impl Future<Output = Result<ExitCode, Error>>,
) -> Result<ExitCode, Error> {
    let outcome = symbolon::parts::transport::within(&SharedClock::system(), limit, command).await;
    outcome.unwrap_or_else(|| Err(failure::timed_out(limit)))
}

fn log_to_stderr(env: &Env) -> Result<(), Error> {
    let Some(directives) = env.var("RUST_LOG") else { return Ok(()) };
    let filter = EnvFilter::try_new(directives).map_err(|error| {
        failure::request("invalid_usage", format!("RUST_LOG is not a log filter: {error}"))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && env.var("NO_COLOR").is_none())
        .init();
    Ok(())
}
