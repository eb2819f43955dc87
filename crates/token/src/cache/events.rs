//! Events about tokens, for logs and for observers. The names of the log fields are part of the
//! documentation of the crate.

use std::time::Duration;

use symbolon_types::{
    Error, Event, FetchedToken, RefreshReason, ServedToken, SharedClock, TokenFetchEvent, TokenRequestEvent,
};
use tracing::{Span, debug, info, info_span, warn};

use crate::token::{CacheKey, IssuedToken, Token};

/// Returns the span of a fetch; `renewal` is `true` if the fetch replaces a token.
pub(crate) fn fetch(key: &CacheKey<'_>, renewal: bool) -> Span {
    info_span!("token", audience = key.audience, bound = key.is_bound, renewal)
}

/// Logs the result of a fetch that took this time.
pub(crate) fn fetched(outcome: &Result<IssuedToken, Error>, took: Duration) {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(fetched) => {
            let (token_type, attempts) = (fetched.scheme.token_type(), fetched.attempts);
            let correlation_id = fetched.correlation_id;
            info!(token_type, attempts, duration_ms, %correlation_id, "fetched a token");
        }
        Err(error) => {
            let server_codes = (!error.server_codes().is_empty()).then_some(error.server_codes());
            warn!(
                code = error.code(),
                status = error.status(),
                server_codes = server_codes.map(tracing::field::debug),
                duration_ms,
                correlation_id = error.correlation_id().map(tracing::field::display),
                "could not fetch a token"
            );
        }
    }
}

/// Logs that no token replaces one of an earlier certificate yet.
pub(crate) fn not_replaced(error: &Error) {
    debug!(code = error.code(), "could not replace the token of an earlier certificate");
}

/// Logs a refused credential; with a successor, another attempt follows.
pub(crate) fn credential_refused(error: &Error, has_successor: bool) {
    warn!(code = error.code(), has_successor, "the credential was refused");
}

/// Logs a token that a request returns.
pub(crate) fn served(token: &Token) {
    debug!(
        source = token.origin().as_str(),
        audience = token.audience(),
        token_type = token.token_type(),
        correlation_id = %token.correlation_id(),
        "served a token"
    );
}

/// Returns the event of a request that has ended.
pub(crate) fn request(
    result: Result<&Token, &Error>,
    is_bound: bool,
    duration: Duration,
    clock: &SharedClock,
) -> Event {
    let result = result.map_err(Error::error_type).map(|token| {
        let delivery = token.delivery();
        let expires_in = clock.read().until(token.expires_on());
        ServedToken::new(delivery.origin, delivery.cache_level, delivery.refresh_reason, expires_in)
    });
    Event::TokenRequest(TokenRequestEvent::new(is_bound, result, duration))
}

/// Returns the event of a fetch that has ended.
pub(crate) fn token_fetch(
    outcome: &Result<IssuedToken, Error>,
    is_bound: bool,
    reason: RefreshReason,
    took: Duration,
) -> Event {
    let result = outcome.as_ref().map_err(Into::into);
    let result = result.map(|issued| FetchedToken::new(issued.attempts, issued.life()));
    Event::TokenFetch(TokenFetchEvent::new(is_bound, reason, result, took))
}
