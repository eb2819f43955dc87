//! How failures end.

use std::error::Error as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use symbolon::{CorrelationId, Error, ErrorKind};

use crate::output::Format;

/// The request failed.
const FAILED: u8 = 1;
/// What was asked is wrong.
const USAGE: u8 = 2;
/// This environment cannot do that.
const ENVIRONMENT: u8 = 3;

/// Why a command did not do what was asked, and the exit code that follows.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: u8,
    code: String,
    message: String,
    causes: Vec<String>,
    excerpt: Option<String>,
    status: Option<u16>,
    error_codes: Vec<u32>,
    correlation_id: Option<CorrelationId>,
    retryable: bool,
}

impl Failure {
    fn new(exit: u8, code: &str, message: String) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            message,
            causes: Vec::new(),
            excerpt: None,
            status: None,
            error_codes: Vec::new(),
            correlation_id: None,
            retryable: false,
        }
    }

    /// What was asked is wrong.
    pub(crate) fn request(code: &str, message: &str) -> Self {
        Self::new(USAGE, code, message.to_owned())
    }

    /// Something on this machine failed.
    pub(crate) fn local(what: &str, cause: &dyn std::error::Error) -> Self {
        let mut failure = Self::new(FAILED, "local_error", what.to_owned());
        failure.causes = causes(Some(cause));
        failure
    }

    /// The resource was called and did not answer with 2xx.
    pub(crate) fn refused_by_resource(status: u16) -> Self {
        let mut failure = Self::new(FAILED, "resource_refused", format!("the resource answered HTTP {status}"));
        failure.status = Some(status);
        failure.retryable = matches!(status, 408 | 429 | 500..=599);
        failure
    }

    pub(crate) fn timed_out(limit: Duration) -> Self {
        let seconds = limit.as_secs_f64();
        let mut failure = Self::new(FAILED, "timeout", format!("the command took longer than {seconds} s"));
        failure.retryable = true;
        failure
    }

    /// Prints it to stderr and makes the exit code of it.
    pub(crate) fn report(&self, format: Format) -> ExitCode {
        anstream::eprintln!("error: {}", self.message);
        for cause in &self.causes {
            anstream::eprintln!("  caused by: {cause}");
        }
        if let Some(excerpt) = &self.excerpt {
            anstream::eprintln!("  the service said: {excerpt}");
        }
        if let Some(id) = self.correlation_id {
            anstream::eprintln!("  correlation id: {id}");
        }
        if format == Format::Json {
            anstream::eprintln!("{}", self.json());
        }
        ExitCode::from(self.exit)
    }

    fn json(&self) -> String {
        json!({"error": {
            "code": self.code,
            "message": self.message,
            "status": self.status,
            "error_codes": self.error_codes,
            "correlation_id": self.correlation_id.map(|id| id.to_string()),
            "retryable": self.retryable,
        }})
        .to_string()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Request => USAGE,
            ErrorKind::Environment => ENVIRONMENT,
            _ => FAILED,
        };
        Self {
            exit,
            code: error.code().to_owned(),
            message: error.to_string(),
            causes: causes(error.source()),
            excerpt: error.excerpt().filter(|excerpt| !excerpt.is_empty()).map(str::to_owned),
            status: error.status(),
            error_codes: error.server_codes().to_vec(),
            correlation_id: error.correlation_id(),
            retryable: error.is_transient(),
        }
    }
}

fn causes(mut cause: Option<&(dyn std::error::Error + 'static)>) -> Vec<String> {
    let mut causes = Vec::new();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    causes.dedup();
    causes
}

/// What clap has to say: help and version are results, the rest is wrong usage.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Nothing to be done about a closed terminal.
    let _printed = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let asked_for_json = std::env::args().any(|argument| argument == "--output=json")
        || std::env::args().zip(std::env::args().skip(1)).any(|(name, value)| name == "--output" && value == "json");
    if asked_for_json {
        let message = error.kind().as_str().unwrap_or("the command line is wrong").to_owned();
        anstream::eprintln!("{}", Failure::new(USAGE, "invalid_usage", message).json());
    }
    ExitCode::from(USAGE)
}
