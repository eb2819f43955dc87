//! The `symbolon` command: get, use and understand key-bound Azure tokens.

mod acquire;
mod app_token;
mod args;
mod call;
mod demo;
mod doctor;
mod emulate;
mod exec;
mod failure;
mod inspect;
mod json;
mod manual;
mod moment;
mod output;
mod progress;
mod serve;
mod signals;
mod token;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use symbolon::{Env, Error, SharedClock};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Arguments, Command};
use crate::output::Format;
use crate::progress::Progress;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::usage(&error),
    };
    let format = arguments.global.output;
    let env = Env::process();
    run(arguments, env.clone()).unwrap_or_else(|error| {
        failure::report(&error, format);
        failure::exit_code(&error, &env)
    })
}

fn run(arguments: Arguments, env: Env) -> Result<ExitCode, Error> {
    // With `exec` the terminal is the command's.
    let is_watched = io::stderr().is_terminal() && !matches!(arguments.command, Command::Exec(_));
    let progress = is_watched.then(|| Progress::new(SharedClock::system()));
    log_to_stderr(&env, progress.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| failure::local("the async runtime could not be started", error))?;
    let timeout = arguments.global.timeout;
    if let Some(progress) = progress {
        runtime.spawn(progress.watch());
    }
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
        Command::Doctor => doctor::run(&global, &env).await,
        Command::Emulate(options) => emulate::run(&options, global.output).await,
        Command::Inspect(options) => inspect::run(&options, global.output).await,
        Command::Serve(options) => serve::run(&options, &global, &env).await,
        Command::Exec(options) => exec::run(&options, &global, &env).await,
        Command::Completions(options) => Ok(manual::completions(&options)),
        Command::Man(options) => manual::pages(&options),
        Command::Replay => demo::replay().await,
    }
}

async fn within(
    limit: Duration,
    command: impl Future<Output = Result<ExitCode, Error>>,
) -> Result<ExitCode, Error> {
    let outcome = symbolon::parts::transport::timeout(&SharedClock::system(), limit, command).await;
    outcome.unwrap_or_else(|| Err(failure::timed_out(limit)))
}

fn log_to_stderr(env: &Env, progress: Option<Progress>) -> Result<(), Error> {
    let log = match env.var("RUST_LOG") {
        None => None,
        Some(directives) => {
            // Without filters on fields, which would bring an engine for regular expressions.
            let filter: Targets = directives.parse().map_err(|error| {
                failure::request("invalid_usage", format!("RUST_LOG is not a log filter: {error}"))
            })?;
            let colored = io::stderr().is_terminal() && env.var("NO_COLOR").is_none();
            let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colored);
            Some(lines.with_filter(filter))
        }
    };
    if log.is_some() || progress.is_some() {
        let progress = progress.map(|progress| progress.with_filter(filter_fn(Progress::follows)));
        tracing_subscriber::registry().with(log).with(progress).init();
    }
    Ok(())
}
