//! Responses.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use symbolon_types::Secrets;

/// A complete HTTP response.
#[derive(Clone)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    sent: Secrets,
}

impl Response {
    /// Creates a response without headers.
    #[must_use]
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.into(), sent: Secrets::none() }
    }

    /// Sets the headers.
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the secrets of the requests that led to the response. [`HttpClient`](crate::HttpClient)
    /// sets them.
    #[must_use]
    pub fn with_sent_secrets(mut self, sent: Secrets) -> Self {
        self.sent = sent;
        self
    }

    /// Returns the secrets of the requests that led to the response. The server may repeat them.
    #[must_use]
    pub fn sent_secrets(&self) -> &Secrets {
        &self.sent
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the wait of `Retry-After`, as [`retry_after`] does.
    #[must_use]
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        retry_after(&self.headers, now)
    }

    /// Returns true if the status states that the server has not processed the request: 408 (RFC
    /// 9110 §15.5.9), 429 (RFC 6585 §4), or 503 with `Retry-After` (RFC 9110 §15.6.4).
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        match self.status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
            StatusCode::SERVICE_UNAVAILABLE => self.headers.contains_key(RETRY_AFTER),
            _ => false,
        }
    }

    /// Returns the server's `Date` (RFC 9110 §6.6.1).
    #[must_use]
    pub fn date(&self) -> Option<SystemTime> {
        date(&self.headers)
    }
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

/// Returns the wait of `Retry-After` (RFC 9110 §10.2.3). A date is relative to the server's own
/// `Date`, or else to `now`; a date in the past is a wait of zero.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    // Some services send a fraction, which RFC 9110 does not allow.
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(date(headers).unwrap_or(now)).unwrap_or_default())
}

impl From<Response> for http::Response<Bytes> {
    fn from(response: Response) -> Self {
        let mut converted = Self::new(response.body);
        *converted.status_mut() = response.status;
        *converted.headers_mut() = response.headers;
        converted
    }
}

// Shows the status and the length of the body: headers and body may contain a token.
symbolon_types::debug_fields!(Response |this| status: this.status, body_length: this.body.len());

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, wait) in [
            ("120", Some(120)),
            ("0", Some(0)),
            (" 120\t", Some(120)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
        ] {
            let headers = [(RETRY_AFTER, HeaderValue::from_static(text))].into_iter().collect();
            let response = Response::new(StatusCode::SERVICE_UNAVAILABLE, "").with_headers(headers);
            assert_eq!(response.retry_after(now), wait.map(Duration::from_secs), "{text}");
        }
        // The clock of this machine is a year behind.
        let until = HeaderValue::from_static("Sun, 06 Nov 1994 08:50:37 GMT");
        let headers =
            [(RETRY_AFTER, until), (DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:07 GMT"))];
        let response =
            Response::new(StatusCode::SERVICE_UNAVAILABLE, "").with_headers(headers.into_iter().collect());
        let year = Duration::from_secs(365 * 24 * 3600);
        assert_eq!(response.retry_after(now - year), Some(Duration::from_secs(90)));
        let headers = [(RETRY_AFTER, HeaderValue::from_static("1.5"))].into_iter().collect();
        let response = Response::new(StatusCode::SERVICE_UNAVAILABLE, "").with_headers(headers);
        assert_eq!(response.retry_after(now), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn date_header_is_parsed() {
        let date = |headers: &[(http::HeaderName, &'static str)]| {
            let headers = headers.iter().map(|(name, text)| (name.clone(), HeaderValue::from_static(text)));
            Response::new(StatusCode::OK, "").with_headers(headers.collect()).date()
        };
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(date(&[(DATE, "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(expected));
        assert_eq!(date(&[(DATE, "yesterday")]), None);
        assert_eq!(date(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT")]), None);
    }
}
