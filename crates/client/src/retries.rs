//! Retries of responses that ask for a later attempt.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use symbolon_transport::{is_transient_status, retry_after};
use symbolon_types::{Context, Jitter};

/// The delay before the first retry. Each further one doubles it.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest delay. A longer `Retry-After` ends the attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Returns the delay before retry number `retry`, counted from 0, or `None` if the response is
/// final. Jitter moves the delay by up to a quarter; `Retry-After` is its lower bound.
pub(crate) fn delay(
    retry: u32,
    status: StatusCode,
    headers: &HeaderMap,
    context: &Context,
) -> Option<Duration> {
    if !is_transient_status(status) {
        return None;
    }
    let requested = retry_after(headers, context.clock().now()).unwrap_or_default();
    if requested > LONGEST_DELAY {
        return None;
    }
    let planned = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(retry)).min(LONGEST_DELAY);
    Some(planned.mul_f64(spread(context.jitter())).max(requested).mul_f64(context.retry_scale()))
}

fn spread(jitter: &Jitter) -> f64 {
    0.75 + 0.5 * jitter.draw()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn delays_double_and_honour_retry_after() {
        let context = Context::default().with_jitter(Jitter::fixed(0.5));
        for (retry, status, header, expected) in [
            (0, 503, None, Some(1)),
            (1, 429, None, Some(2)),
            (40, 500, None, Some(60)),
            (0, 503, Some("7"), Some(7)),
            (3, 503, Some("7"), Some(8)),
            (0, 503, Some("60"), Some(60)),
            (0, 503, Some("61"), None),
            (0, 404, Some("1"), None),
            (0, 200, None, None),
        ] {
            let headers: HeaderMap =
                header.map(|text| (RETRY_AFTER, HeaderValue::from_static(text))).into_iter().collect();
            let status = StatusCode::from_u16(status).unwrap();
            let found = delay(retry, status, &headers, &context);
            assert_eq!(found, expected.map(Duration::from_secs), "{retry} {status} {header:?}");
        }
    }
}
