//! Errors of Redis as errors of this workspace.

use std::time::Duration;

use redis::{ErrorKind as RedisErrorKind, RedisError, ServerErrorKind};
use symbolon_types::{Error, ErrorKind};

/// The longest code of a reply that is shown. Redis's own are short.
const LONGEST_CODE: usize = 32;

/// Returns true if the error is a reply of the server: the connection works.
pub(crate) fn is_reply(error: &RedisError) -> bool {
    matches!(error.kind(), RedisErrorKind::Server(_) | RedisErrorKind::Extension)
}

/// Returns true if the command can succeed on another connection: this one was lost, or its server
/// is no longer the primary.
pub(crate) fn needs_new_connection(error: &RedisError) -> bool {
    let is_demoted = error.kind() == RedisErrorKind::Server(ServerErrorKind::ReadOnly);
    is_demoted || !is_reply(error) && (error.is_connection_dropped() || error.is_unrecoverable_error())
}

/// Returns the error of a failed command. The text of a reply can repeat arguments, such as an
/// entry, so only its code is shown.
pub(crate) fn failed(servers: &str, error: &RedisError, limit: Duration) -> Error {
    if error.is_timeout() {
        return timed_out(servers, limit);
    }
    if is_reply(error) || error.kind() == RedisErrorKind::AuthenticationFailed {
        let code = error.code().filter(|code| is_code(code));
        let code = code.unwrap_or(match error.kind() {
            RedisErrorKind::AuthenticationFailed => "WRONGPASS",
            _ => "ERR",
        });
        let summary = format!("Redis at {servers} refused a command with {code}");
        return Error::new(ErrorKind::Environment, "redis_refused", summary).with_advice(advice(code));
    }
    let reason = match error.is_io_error() {
        true => error.to_string(),
        false => error.category().to_owned(),
    };
    unavailable(format!("Redis at {servers} cannot be reached: {reason}"))
}

/// Returns the error of a command without a reply.
pub(crate) fn timed_out(servers: &str, limit: Duration) -> Error {
    unavailable(format!("Redis at {servers} did not reply within {limit:?}"))
}

/// Returns the error of a command that is not sent, because the last ones got no reply.
pub(crate) fn paused(servers: &str) -> Error {
    unavailable(format!("Redis at {servers} did not reply before; nothing was sent"))
}

pub(crate) fn no_runtime() -> Error {
    let error = "a command to Redis needs a Tokio runtime; nothing was sent";
    Error::new(ErrorKind::Network, "redis_unavailable", error)
        .with_advice("request tokens from a task of a Tokio runtime")
}

pub(crate) fn no_random() -> Error {
    Error::new(ErrorKind::Environment, "random_unavailable", "the random source of this machine failed")
        .with_advice("no action is required; tokens are kept in memory only")
}

pub(crate) fn invalid(problem: impl Into<String>, advice: &'static str) -> Error {
    Error::new(ErrorKind::Request, "invalid_redis_settings", problem.into()).with_advice(advice)
}

fn unavailable(summary: String) -> Error {
    Error::new(ErrorKind::Network, "redis_unavailable", summary)
        .with_transient(true)
        .with_advice("check that Redis runs and can be reached; tokens are requested without it meanwhile")
}

fn is_code(code: &str) -> bool {
    (1..=LONGEST_CODE).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn advice(code: &str) -> &'static str {
    match code {
        "WRONGPASS" | "NOAUTH" => "check the user and the password",
        "NOPERM" => {
            "allow the user the commands GETRANGE, SET, DEL and EVAL on the keys with the prefix of the store; \
             with SUBSCRIBE and PUBLISH on channels with the prefix, waiting processes are notified"
        }
        "OOM" => "allow Redis more memory (`maxmemory`), or choose a policy that evicts entries",
        "READONLY" => "name the primary, or its sentinels, instead of a replica",
        "MOVED" | "CROSSSLOT" => "configure the store for a cluster",
        "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" => {
            "wait until Redis has started or failed over"
        }
        _ => "look into the log of Redis",
    }
}
