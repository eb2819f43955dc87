//! A response of a source with a token.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use symbolon_token::{AccessToken, Error, ErrorKind, Expiry, IssuedToken};
use symbolon_transport::Response;
use symbolon_types::{ClockReading, CorrelationId, Secret, Source};

use super::expiry::{lifetime, seconds};

/// The members that are used. Not all sources send `token_type` and `resource`; a token is cached
/// under the requested resource. (docs/protocol/sources.md#requests-and-answers)
#[derive(Deserialize)]
struct TokenBody {
    access_token: Option<String>,
    #[serde(default)]
    expires_on: Value,
    #[serde(default)]
    expires_in: Value,
    #[serde(default)]
    refresh_in: Value,
    #[serde(default)]
    client_id: Value,
}

/// Reads the token from a response with status 200. Its lifetime is relative to the `Date` of the
/// response, so that it does not depend on the clock of this machine.
pub(super) fn read(
    source: Source,
    response: &Response,
    now: ClockReading,
    id: CorrelationId,
) -> Result<IssuedToken, Error> {
    let body: TokenBody = serde_json::from_slice(response.body())
        .map_err(|_| invalid(source, "sent something other than a token response"))?;
    let secret = body.access_token.filter(|token| !token.is_empty()).map(Secret::new);
    let secret = secret.ok_or_else(|| invalid(source, "sent a response without a token"))?;
    let token = AccessToken::parse(secret).ok_or_else(|| {
        invalid(source, "sent a token with characters that are not allowed in an Authorization header")
    })?;
    let of_source = now.with_date(response.date());
    let lifetime = lifetime(&body.expires_on, &body.expires_in, of_source.wall).map_err(|error| {
        let (problem, advice) = error.describe(now, response.date());
        let error = invalid(source, &format!("sent a token {problem}"));
        match advice {
            Some(advice) => error.with_advice(advice),
            None => error,
        }
    })?;
    let refresh_in = seconds(&body.refresh_in).map(Duration::from_secs);
    let client_id = body.client_id.as_str().map(Into::into);
    let expiry = Expiry::after(lifetime).refreshed_after(refresh_in);
    Ok(IssuedToken::bearer(token, expiry, id).with_client_id(client_id))
}

fn invalid(source: Source, problem: &str) -> Error {
    Error::new(ErrorKind::Response, "invalid_response", format!("{source} {problem}"))
        .with_status(200)
        .with_advice("check the endpoint in the host's variables, and that no proxy responds in its place")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use futures_util::FutureExt;
    use http::StatusCode;
    use symbolon_token::{CacheKey, Partition, TokenCache};
    use symbolon_types::{Context, ManualClock, SharedClock, SteadyTime};

    use super::*;

    fn reading(unix: u64) -> ClockReading {
        let steady = SteadyTime::after_start(Duration::from_secs(1000));
        ClockReading { steady, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(unix) }
    }

    /// Returns the seconds that the token is served for, or the advice of the error.
    fn served(body: &str, now: u64, date: Option<&'static str>) -> Result<u64, String> {
        let mut headers = http::HeaderMap::new();
        if let Some(date) = date {
            headers.insert(http::header::DATE, http::HeaderValue::from_static(date));
        }
        let response = Response::new(StatusCode::OK, body.to_owned()).with_headers(headers);
        let manual_clock = ManualClock::at(reading(now).wall);
        let issued =
            read(Source::Imds, &response, SharedClock::from(&manual_clock).read(), CorrelationId::random())
                .map_err(|error| error.advice().to_owned())?;
        let cache = TokenCache::new(1, &Context::default().with_clock(&manual_clock));
        let partition = Partition::new("p");
        let key = CacheKey::bearer(&partition, "a");
        let obtained = cache.obtain(&key, || async { Ok(issued) }).now_or_never().unwrap().unwrap();
        drop(obtained);
        let mut seconds = 0;
        while cache.find_even_if_due(&key).is_some() {
            manual_clock.advance(Duration::from_secs(30));
            seconds += 30;
        }
        Ok(seconds)
    }

    #[test]
    fn lifetime_does_not_depend_on_the_clock() {
        const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
        let (right, hours) = (1_700_000_000, 2 * 3600);
        let both = r#"{"access_token":"t","expires_on":"1700003600","expires_in":"3600"}"#;
        let end = r#"{"access_token":"t","expires_on":"1700003600"}"#;
        for (body, now, date) in [
            (both, right, Some(DATE)),
            (both, right - hours, Some(DATE)),
            (both, right + hours, Some(DATE)),
            (end, right - hours, Some(DATE)),
            (end, right + hours, Some(DATE)),
            (both, right, None),
            (both, right - hours, None),
        ] {
            let served = served(body, now, date).unwrap();
            assert!((3540..=3600).contains(&served), "{now} {date:?}: {served}");
        }
        assert!(served(end, right + hours, None).unwrap_err().contains("clock of this machine"));
        let expired = r#"{"access_token":"t","expires_on":"1699999000"}"#;
        let advice = served(expired, right + hours, Some(DATE)).unwrap_err();
        assert!(advice.contains("clock of this machine is 7200 seconds ahead"), "{advice}");
        assert!(
            served(expired, right, Some(DATE))
                .unwrap_err()
                .contains("clocks of this machine and of the source agree")
        );
        let millis = r#"{"access_token":"t","expires_on":1700003600000}"#;
        assert!(served(millis, right, Some(DATE)).unwrap_err().contains("check the endpoint"));
    }

    #[test]
    fn response_needs_a_token_and_an_expiry() {
        let now = reading(1_700_000_000);
        for (body, code) in [
            (r#"{"access_token":"t","expires_on":"1700003600"}"#, None),
            (r#"{"access_token":"t","expires_on":1700000300,"resource":["x"],"token_type":1}"#, None),
            (r#"{"access_token":"t","expires_in":"3599","client_id":"c","token_type":"Bearer"}"#, None),
            (r#"{"access_token":"t","expires_in":3599,"client_id":7,"refresh_in":"60"}"#, None),
            (r#"{"access_token":"","expires_in":"3599"}"#, Some("invalid_response")),
            (r#"{"access_token":null,"expires_in":"3599"}"#, Some("invalid_response")),
            (r#"{"expires_in":"3599"}"#, Some("invalid_response")),
            (r#"{"access_token":"t"}"#, Some("invalid_response")),
            (r#"{"access_token":"t","expires_in":"0"}"#, Some("invalid_response")),
            (r#"{"access_token":"t","expires_on":"1700000000"}"#, Some("invalid_response")),
            (r#"{"access_token":7,"expires_in":"3599"}"#, Some("invalid_response")),
            (r#"{"access_token":"t\r\nX: y","expires_in":"3599"}"#, Some("invalid_response")),
            (r#"{"access_token":"t","expires_in":"3599""#, Some("invalid_response")),
            ("", Some("invalid_response")),
            ("null", Some("invalid_response")),
            ("[]", Some("invalid_response")),
            ("<html>", Some("invalid_response")),
        ] {
            let response = Response::new(StatusCode::OK, body);
            let error = read(Source::Imds, &response, now, CorrelationId::random()).err();
            assert_eq!(error.as_ref().map(Error::code), code, "{body}");
            assert!(error.is_none_or(|error| error.status() == Some(200)));
        }
    }
}
