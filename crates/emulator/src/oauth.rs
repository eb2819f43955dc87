//! Errors in the shape of Entra's token endpoint.

use http::StatusCode;
use http::header::CACHE_CONTROL;
use serde_json::{Value, json};

use crate::calendar::timestamp;
use crate::exchange::{Exchange, Reply};
use crate::random::guid;
use crate::state::State;

/// An error the token endpoint finds: OAuth's name for it, Entra's number, and a sentence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error: &'static str,
    pub(crate) code: u64,
    pub(crate) description: &'static str,
    /// The reason in the journal.
    pub(crate) reason: &'static str,
}

impl Refusal {
    /// `invalid_request` (RFC 6749 §5.2).
    pub(crate) const fn request(code: u64, reason: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: "invalid_request", code, description, reason }
    }

    /// `invalid_client` (RFC 6749 §5.2).
    pub(crate) const fn client(code: u64, reason: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, error: "invalid_client", code, description, reason }
    }

    /// `invalid_grant` (RFC 6749 §5.2).
    pub(crate) const fn grant(code: u64, reason: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: "invalid_grant", code, description, reason }
    }

    pub(crate) fn reply(self, exchange: &Exchange, state: &State) -> Reply {
        error(exchange, state, self.status, self.error, &[self.code], self.description).because(self.reason)
    }
}

/// An error answer.
pub(crate) fn error(
    exchange: &Exchange,
    state: &State,
    status: StatusCode,
    error: &str,
    codes: &[u64],
    description: &str,
) -> Reply {
    reply(status, &body(exchange, state, error, codes, description))
}

/// `interaction_required` with the claims to come back with.
pub(crate) fn claims_challenge(exchange: &Exchange, state: &State, claims: &str) -> Reply {
    /// "Due to a configuration change ... you must use multi-factor authentication" (Entra error reference).
    const INTERACTION_REQUIRED: u64 = 50_076;
    let mut body = body(
        exchange,
        state,
        "interaction_required",
        &[INTERACTION_REQUIRED],
        "Present the token request with claims.",
    );
    body["claims"] = Value::from(claims);
    reply(StatusCode::BAD_REQUEST, &body).because("claims_challenge")
}

fn reply(status: StatusCode, body: &Value) -> Reply {
    // RFC 6749 §5.1: nothing of this is to be cached.
    Reply::json(status, body).header(CACHE_CONTROL, "no-store")
}

fn body(exchange: &Exchange, state: &State, error: &str, codes: &[u64], description: &str) -> Value {
    let trace_id = guid();
    let correlation_id = exchange.header("client-request-id").map_or_else(guid, str::to_owned);
    let at = timestamp(state.clock.now());
    let code = codes.first().map_or_else(String::new, |code| format!("AADSTS{code}: "));
    json!({
        "error": error,
        "error_description":
            format!("{code}{description} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {at}"),
        "error_codes": codes,
        "timestamp": at,
        "trace_id": trace_id,
        "correlation_id": correlation_id,
    })
}
