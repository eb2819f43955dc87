//! How failures end: what they are, what is printed, and the exit code.

use std::borrow::Cow;
use std::error::Error as _;
use std::process::ExitCode;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use symbolon::parts::transport::is_transient_status;
use symbolon::{Detection, Env, Error, ErrorKind};

use crate::output::{Format, line};

/// The request failed.
const FAILED: u8 = 1;
/// What was asked is wrong.
const USAGE: u8 = 2;
/// This environment cannot do that.
const ENVIRONMENT: u8 = 3;
/// Nobody answers who would have an identity to give.
const UNREACHABLE: &str = "managed_identity_unreachable";

/// What was asked is wrong.
pub(crate) fn request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Request, code, message)
}

/// Something on this machine failed.
pub(crate) fn local(message: &'static str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Service, "local_error", message).with_source(cause)
}

/// The resource was called and did not answer with 2xx.
pub(crate) fn refused_by_resource(status: StatusCode) -> Error {
    Error::new(ErrorKind::Service, "resource_refused", "the resource did not answer with a success")
        .with_status(status.as_u16())
        .with_transient(is_transient_status(status))
}

pub(crate) fn timed_out(limit: Duration) -> Error {
    let message = format!("the command took longer than {} s", limit.as_secs_f64());
    Error::new(ErrorKind::Network, "timeout", message).with_transient(true)
}

/// Prints an error to stderr.
pub(crate) fn report(error: &Error, format: Format) {
    anstream::eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        anstream::eprintln!("  caused by: {error}");
        cause = error.source();
    }
    if let Some(excerpt) = error.excerpt().filter(|excerpt| !excerpt.is_empty()) {
        anstream::eprintln!("  the service said: {excerpt}");
    }
    // What is wrong with the command line, or with a file that it names, is said whole in one line: nobody
    // was asked who could have an id logged.
    if error.kind() != ErrorKind::Request || error.status().is_some() {
        if let Some(id) = error.correlation_id() {
            anstream::eprintln!("  correlation id: {id}");
        }
        anstream::eprintln!("  help: symbolon explain {}", error.code());
    }
    if format == Format::Json {
        anstream::eprintln!("{}", json(error));
    }
}

/// The exit code of an error in this environment. Where that names no source, and nobody answers, there is no identity, as
/// on every machine outside of Azure.
pub(crate) fn exit_code(error: &Error, env: &Env) -> ExitCode {
    ExitCode::from(match error.kind() {
        ErrorKind::Request => USAGE,
        ErrorKind::Environment => ENVIRONMENT,
        _ if error.code() == UNREACHABLE && !Detection::of(env).is_named => ENVIRONMENT,
        _ => FAILED,
    })
}

#[derive(Serialize)]
struct Report {
    error: Shown,
}

#[derive(Serialize)]
struct Shown {
    code: String,
    message: String,
    status: Option<u16>,
    error_codes: Vec<u32>,
    correlation_id: Option<String>,
    retryable: bool,
}

fn json(error: &Error) -> String {
    line(&Report {
        error: Shown {
            code: error.code().to_owned(),
            message: error.to_string(),
            status: error.status(),
            error_codes: error.server_codes().to_vec(),
            correlation_id: error.correlation_id().map(|id| id.to_string()),
            retryable: error.is_transient(),
        },
    })
}

/// What clap has to say: help and version are results, the rest is wrong usage.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};

    let is_help = error.kind() == DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help || !error.use_stderr() {
        // Nothing to be done about a closed terminal.
        let _printed = error.print();
        return if is_help { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
    }
    let arguments: Vec<_> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let format = if asked_for_json(&arguments) { Format::Json } else { Format::Text };
    let told = match error.kind() {
        // Clap would list also those that are hidden.
        MissingSubcommand => "there is no command; see --help".to_owned(),
        _ => one_line(&error.render().to_string()),
    };
    report(&request("invalid_usage", told), format);
    ExitCode::from(USAGE)
}

/// The paragraphs that say what is wrong and what was perhaps meant; not those that are the same for all mistakes.
fn one_line(rendered: &str) -> String {
    let paragraphs = rendered.trim_start_matches("error: ").split("\n\n").filter(|paragraph| {
        !["Usage:", "For more information"].iter().any(|always| paragraph.starts_with(always))
    });
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    paragraphs.map(words).collect::<Vec<_>>().join("; ")
}

/// The command line could not be parsed, so it is looked at word by word.
fn asked_for_json(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--output=json")
        || arguments.windows(2).any(|pair| pair == ["--output", "json"])
}
