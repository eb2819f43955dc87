//! The `symbolon` command: request, use and inspect key-bound Azure tokens.

mod acquire;
mod application;
mod args;
mod commands;
mod failure;
mod input_file;
mod json;
mod keys;
mod output;
mod progress;
mod server_log;
mod service_manager;
mod signals;
mod stdout;
mod timestamp;
mod troubleshooting;
mod variables;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::Parser;
use symbolon::parts::transport;
use symbolon::parts::types::{catch_panic, printable};
use symbolon::{Env, Error, SharedClock};
use tracing::Subscriber;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Cli, CliCommand, suggestion};
use crate::output::OutputFormat;
use crate::progress::Progress;
use crate::server_log::{JsonEvents, ServerLog};

const NO_RUNTIME: &str = "the async runtime could not be started";

fn main() -> ExitCode {
    // A panic becomes an error. Its message, which may contain a secret, is not printed.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panicked");
        *panic_place() = place;
    }));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(mut error) => {
            let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
            let arguments: Vec<_> = words.collect();
            suggestion::correct(&mut error, &arguments);
            return failure::usage(&error, &arguments);
        }
    };
    let format = cli.global.output;
    let env = Env::process();
    let result = catch_panic("the command", || run(cli, env.clone()));
    result.unwrap_or_else(|_| Err(failure::internal(panic_place().as_deref()))).unwrap_or_else(|error| {
        if stdout::is_reader_gone(&error) {
            return ExitCode::from(failure::READER_GONE);
        }
        failure::report(&error, format);
        failure::exit_code(&error, &env)
    })
}

/// Returns the source location of the last panic.
fn panic_place() -> MutexGuard<'static, Option<String>> {
    static PLACE: Mutex<Option<String>> = Mutex::new(None);
    PLACE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(cli: Cli, env: Env) -> Result<ExitCode, Error> {
    // With `exec`, the terminal belongs to the command that is run.
    let shows_progress = !cli.global.quiet && !matches!(cli.command, CliCommand::Exec(_));
    let mut progress = Progress::new(SharedClock::system(), io::stderr().is_terminal(), shows_progress);
    let is_json = is_json_log(&cli);
    if is_json {
        progress = progress.with_server_log(ServerLog::new(cli.global.output, cli.global.quiet));
    }
    log_to_stderr(&env, cli.global.verbose, is_json, progress.clone())?;
    // Blocking work has threads of its own. Tokio would panic if it could not start more; it panics
    // if there are too few descriptors for its signal handler.
    let build = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match catch_panic("the async runtime", build) {
        Ok(Ok(runtime)) => Ok(runtime),
        Ok(Err(error)) => Err(failure::local(NO_RUNTIME, error)),
        Err(error) => Err(failure::local(NO_RUNTIME, error)),
    };
    let runtime =
        runtime.map_err(|error| error.with_advice("check the limit of open files (`ulimit -n`)"))?;
    let timeout = cli.global.timeout;
    if progress.is_watched() {
        runtime.spawn(progress.clone().watch());
    }
    let result = runtime.block_on(async {
        let command = commands::run(cli, env);
        let Some(limit) = timeout else { return command.await };
        let result = transport::timeout(&SharedClock::system(), limit, command).await;
        result.unwrap_or_else(|| Err(failure::timed_out(limit, progress.last_server())))
    });
    // Abandoned background work, such as key generation, does not delay the exit.
    runtime.shutdown_background();
    result
}

/// Returns true for a server with `--output json`, whose log has an object on each line.
fn is_json_log(cli: &Cli) -> bool {
    cli.command.is_server() && cli.global.output == OutputFormat::Json
}

fn log_to_stderr(env: &Env, verbose: u8, is_json: bool, progress: Progress) -> Result<(), Error> {
    let directives = env.var("RUST_LOG").or_else(|| match verbose {
        0 => None,
        1 => Some("symbolon=info".to_owned()),
        2 => Some("symbolon=debug".to_owned()),
        _ => Some("symbolon=trace".to_owned()),
    });
    let log = match directives {
        None => None,
        Some(directives) => {
            // `Targets` cannot filter on fields, but needs no regular expressions.
            let filter: Targets = directives.parse().map_err(|error| {
                failure::request("invalid_usage", format!("RUST_LOG is not a log filter: {error}"))
            })?;
            if is_json {
                Some(JsonEvents.with_filter(filter).boxed())
            } else {
                Some(text_events(env).with_filter(filter).boxed())
            }
        }
    };
    let progress = progress.with_filter(filter_fn(Progress::is_relevant));
    tracing_subscriber::registry().with(log).with(progress).init();
    Ok(())
}

/// Returns a layer that writes events as lines of text.
fn text_events<S: Subscriber + for<'a> LookupSpan<'a>>(env: &Env) -> impl Layer<S> {
    let colored = io::stderr().is_terminal() && env.var("NO_COLOR").is_none();
    let fields = debug_fn(|line, field, value| match (field.name(), printable(format_args!("{value:?}"))) {
        ("message", value) => write!(line, "{value}"),
        (name, value) => write!(line, "{name}={value}"),
    });
    tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(colored)
        .fmt_fields(fields.delimited(" "))
        // It would panic if stderr is full.
        .log_internal_errors(false)
}
