//! Errors of the command: construction, output and exit code.

use std::borrow::Cow;
use std::error::Error as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use symbolon::parts::token::{Challenge, claims_challenge};
use symbolon::parts::transport::{is_transient_status, retry_after};
use symbolon::parts::types::{ErrorBody, printable};
use symbolon::{CorrelationId, Detection, Env, Error, ErrorKind, Secret, SharedClock};

use crate::output::{OutputFormat, line, print_to_stderr};
use crate::troubleshooting;

/// Exit code of a failed request.
const FAILED: u8 = 1;
/// Exit code of an invalid command line or configuration.
const USAGE: u8 = 2;
/// Exit code if the program that reads the output has ended: the one that a shell states for a
/// program ended by SIGPIPE.
pub(crate) const READER_GONE: u8 = 141;
/// Exit code if this environment does not support the request.
pub(crate) const ENVIRONMENT: u8 = 3;

/// Returns an error about the command line or the configuration.
pub(crate) fn request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Request, code, message)
}

/// Returns an error about this machine.
pub(crate) fn local(
    message: impl Into<Cow<'static, str>>,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::new(ErrorKind::Service, "local_error", message).with_source(cause)
}

/// Returns the error of a command that panicked at this place in the sources.
pub(crate) fn internal(place: Option<&str>) -> Error {
    let message =
        format!("the command ended with an internal error at {}", place.unwrap_or("an unknown place"));
    Error::new(ErrorKind::Service, "local_error", message)
        .with_advice("report it, without tokens and secrets")
}

/// Returns the error of a resource that did not respond with 2xx. `id` was sent with the request,
/// and `token` is the secret that the resource may repeat.
pub(crate) fn refused_by_resource(response: &Response<Bytes>, id: CorrelationId, token: &Secret) -> Error {
    let status = response.status();
    let challenges = Challenge::of(response.headers());
    let described = challenges.iter().filter_map(|challenge| challenge.parameter("error_description"));
    let body = match ErrorBody::parse(response.body()) {
        Some(body) => Some(body.to_string()),
        // A page is for a browser.
        None => str::from_utf8(response.body())
            .ok()
            .map(str::trim)
            .filter(|text| !text.starts_with(['<', '{', '[']))
            .map(str::to_owned),
    };
    let said: Vec<String> =
        body.filter(|text| !text.is_empty()).into_iter().chain(described.map(str::to_owned)).collect();
    let claims = claims_challenge(response.headers());
    let advice = match (&claims, status) {
        (Some(_), _) => {
            "the resource requires other claims: repeat the call with --claims and its claims challenge"
        }
        (None, StatusCode::UNAUTHORIZED) => {
            "check the resource of the token (--resource), and its binding (--pop)"
        }
        (None, StatusCode::FORBIDDEN) => "check the roles of the identity at the resource",
        (None, StatusCode::NOT_FOUND) => "check the URL",
        _ if is_transient_status(status) => "try again later",
        _ => "read the message of the resource",
    };
    let error = Error::new(ErrorKind::Service, "resource_refused", "the resource responded with an error")
        .with_advice(advice)
        .with_status(status.as_u16())
        .with_transient(is_transient_status(status))
        .with_retry_after(retry_after(response.headers(), SharedClock::system().now()))
        .with_claims(claims)
        .with_correlation_id(id);
    if said.is_empty() { error } else { error.with_excerpt(&said.join("; "), &token.clone().into()) }
}

/// Returns the error of a command that exceeded `--timeout`, with the last server that it called.
pub(crate) fn timed_out(limit: Duration, last_server: Option<String>) -> Error {
    let limit = limit.as_secs_f64();
    let (message, advice) = match last_server {
        Some(server) => (
            format!("the command did not finish within {limit} s; the last request went to {server}"),
            "check that this machine reaches it, or set a longer --timeout",
        ),
        None => (
            format!("the command did not finish within {limit} s; it sent nothing"),
            "set a longer --timeout",
        ),
    };
    Error::new(ErrorKind::Network, "timeout", message).with_transient(true).with_advice(advice)
}

/// Prints an error to stderr.
pub(crate) fn report(error: &Error, format: OutputFormat) {
    print_to_stderr(format_args!("error: {error}"));
    for cause in causes(error) {
        print_to_stderr(format_args!("  caused by: {}", printable(cause)));
    }
    if let Some(excerpt) = error.excerpt().filter(|excerpt| !excerpt.is_empty()) {
        print_to_stderr(format_args!("  message of the service: {excerpt}"));
    }
    if let Some(wait) = error.retry_after() {
        print_to_stderr(format_args!("  retry after: {} s", wait.as_secs_f64()));
    }
    // An error about the command line is one line. Nothing was sent, so no service has logged an
    // id.
    if error.kind() != ErrorKind::Request || error.status().is_some() {
        if let Some(id) = error.correlation_id() {
            print_to_stderr(format_args!("  correlation id: {id}"));
        }
        let numbers = error.server_codes().iter().map(|number| format!("AADSTS{number}"));
        let mut codes = numbers.chain([error.code().to_owned()]);
        if let Some(code) = codes.find(|code| !troubleshooting::explain(code).is_empty()) {
            print_to_stderr(format_args!("  help: symbolon explain {code}"));
        }
    }
    if format == OutputFormat::Json {
        print_to_stderr(json(error));
    }
}

/// Returns the causes of an error, outermost first.
fn causes(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| (**cause).source())
}

/// Returns the exit code of an error. If no variable selects a source and no metadata service
/// responds, this machine has no identity, as any machine outside of Azure.
pub(crate) fn exit_code(error: &Error, env: &Env) -> ExitCode {
    ExitCode::from(match error.kind() {
        ErrorKind::Request => USAGE,
        ErrorKind::Environment => ENVIRONMENT,
        _ if error.code() == "managed_identity_unreachable" && !Detection::of(env).is_named => ENVIRONMENT,
        _ => FAILED,
    })
}

#[derive(Serialize)]
struct ErrorLine {
    error: ErrorJson,
}

#[derive(Serialize)]
struct ErrorJson {
    code: String,
    message: String,
    status: Option<u16>,
    error_codes: Vec<u32>,
    correlation_id: Option<String>,
    retryable: bool,
    service_message: Option<String>,
    retry_after: Option<u64>,
    causes: Vec<String>,
}

fn json(error: &Error) -> String {
    line(&ErrorLine {
        error: ErrorJson {
            code: error.code().to_owned(),
            message: error.to_string(),
            status: error.status(),
            error_codes: error.server_codes().to_vec(),
            correlation_id: error.correlation_id().map(|id| id.to_string()),
            retryable: error.is_transient(),
            service_message: error.excerpt().filter(|text| !text.is_empty()).map(str::to_owned),
            // Rounded up, so that a client does not come too early.
            retry_after: error
                .retry_after()
                .map(|wait| wait.as_millis().div_ceil(1000))
                .and_then(|seconds| seconds.try_into().ok()),
            causes: causes(error).map(ToString::to_string).collect(),
        },
    })
}

/// Prints clap's message: help and version as results, everything else as an error.
pub(crate) fn usage(error: &clap::Error, arguments: &[String]) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};

    let is_help = error.kind() == DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help || !error.use_stderr() {
        let printed = error.print().and_then(|()| io::stdout().flush());
        return match printed {
            _ if is_help => ExitCode::from(USAGE),
            Ok(()) => ExitCode::SUCCESS,
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(READER_GONE),
            Err(cause) => {
                let error = local("the help could not be written to stdout", cause);
                report(
                    &error.with_advice("check the file or the program that stdout is connected to"),
                    OutputFormat::Text,
                );
                ExitCode::from(FAILED)
            }
        };
    }
    let format = if requests_json(arguments) { OutputFormat::Json } else { OutputFormat::Text };
    let message = match error.kind() {
        // Clap's own message would list the hidden command as well.
        MissingSubcommand => "there is no command; see --help".to_owned(),
        _ => one_line(&error.render().to_string()),
    };
    report(&request("invalid_usage", message), format);
    ExitCode::from(USAGE)
}

/// Returns clap's message on one line, without the paragraphs that are the same for all mistakes.
fn one_line(rendered: &str) -> String {
    let paragraphs = rendered.trim_start_matches("error: ").split("\n\n").filter(|paragraph| {
        !["Usage:", "For more information"].iter().any(|start| paragraph.starts_with(start))
    });
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    paragraphs.map(words).collect::<Vec<_>>().join("; ")
}

/// Searches an invalid command line for `--output json`.
fn requests_json(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--output=json")
        || arguments.windows(2).any(|pair| pair == ["--output", "json"])
}
