//! A source that issued no token: what it said, and what to do.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Map, Value};
use symbolon_token::{Error, ErrorKind};
use symbolon_transport::{Response, RetryPolicy, TransportError, TransportErrorKind, is_transient_status};
use symbolon_types::Source;

/// The most error numbers that are taken over.
const MOST_CODES: usize = 8;

/// An answer other than a 200.
pub(super) fn http_error(source: Source, response: &Response, now: SystemTime) -> Error {
    let status = response.status();
    let body = response.body();
    let what = if body.is_empty() {
        format!("{source} did not issue a token, and did not say why")
    } else {
        format!("{source} did not issue a token")
    };
    let error = Error::new(ErrorKind::Service, "managed_identity_request_failed", what)
        .with_status(status.as_u16())
        .with_transient(RetryPolicy::managed_identity().is_transient_status(status))
        .with_retry_after(response.retry_after(now))
        .with_advice(advice(source, status));
    let parsed = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
    let said = said(source, &parsed);
    if body.is_empty() {
        error
    } else if said.is_empty() {
        error.with_excerpt(&String::from_utf8_lossy(body))
    } else {
        error.with_excerpt(&said).with_server_codes(codes(&parsed))
    }
}

fn advice(source: Source, status: StatusCode) -> &'static str {
    match (source, status.as_u16()) {
        (_, 300..=399) => "redirects are not followed: check the endpoint that the host's variables name",
        (Source::AppService | Source::ServiceFabric, 401 | 403) => {
            "the secret in IDENTITY_HEADER was not accepted: it may be that of an earlier start of the host"
        }
        (Source::MachineLearning, 401 | 403) => "the secret in MSI_SECRET was not accepted",
        (Source::AzureArc, 401 | 403) => "the key of the Azure Arc agent was not accepted: try again",
        (_, 400) => "check that the resource is spelled right and that the identity is assigned to this host",
        (_, 404) => {
            "check that the identity is assigned to this host; one that was just assigned takes a few minutes"
        }
        _ if is_transient_status(status) => "try again later",
        _ => "see the excerpt of the answer, and quote the correlation id when you ask for support",
    }
}

/// What the service said, of all the shapes that its body may have (managed-identity sources §2.0.3): code,
/// message, description, and the id under which the source itself, and not the token service,
/// logged the request.
fn said(source: Source, body: &Map<String, Value>) -> String {
    let text = |from: &Map<String, Value>, name: &str| {
        from.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let correlation = |from: &Map<String, Value>| {
        let id = text(from, "correlationId").or_else(|| text(from, "correlation_id"))?;
        Some(format!("{source} correlation id: {id}"))
    };
    let nested = body.get("error").and_then(Value::as_object);
    let parts = [
        text(body, "error"),
        nested.and_then(|error| text(error, "code")),
        nested.and_then(|error| text(error, "message")),
        text(body, "message"),
        text(body, "error_description"),
        nested.and_then(correlation).or_else(|| correlation(body)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// AADSTS numbers, where the source passes on what the token service said.
fn codes(body: &Map<String, Value>) -> Vec<u32> {
    let codes = body.get("error_codes").and_then(Value::as_array);
    let codes = codes.into_iter().flatten().filter_map(Value::as_u64);
    codes.filter_map(|code| u32::try_from(code).ok()).take(MOST_CODES).collect()
}

/// Returns the error for a request without a response.
pub(super) fn no_response(source: Source, error: TransportError) -> Error {
    const CHECK_ENDPOINT: &str = "check the endpoint that the host's variables name";
    match error.kind() {
        TransportErrorKind::Tls if source == Source::ServiceFabric => Error::new(
            ErrorKind::Network,
            "managed_identity_unreachable",
            format!(
                "{source} did not present the certificate of IDENTITY_SERVER_THUMBPRINT; nothing was sent"
            ),
        )
        .with_advice("restart the process: the host may have replaced the certificate of its endpoint")
        .with_source(error),
        TransportErrorKind::Timeout => error.into_source_error(source).with_advice("try again later"),
        TransportErrorKind::Unsupported => error.into_source_error(source),
        _ => error.into_source_error(source).with_advice(CHECK_ENDPOINT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(status: u16, body: &'static str) -> Error {
        let response = Response::new(StatusCode::from_u16(status).unwrap(), body);
        http_error(Source::AppService, &response, SystemTime::UNIX_EPOCH)
    }

    /// NET-11, NET-12, NET-13, NET-15, X-08, DEV-5, DEV-9.
    #[test]
    fn what_the_service_said_is_told_in_every_shape() {
        let id = "751a212b-4003-416e-b600-e1f48e40db9f";
        for (body, expected) in [
            (
                r#"{"statusCode":500,"message":"it failed","correlationId":"751a212b-4003-416e-b600-e1f48e40db9f"}"#,
                "it failed; App Service correlation id: ID",
            ),
            (r#"{"statusCode":500,"message":"it failed"}"#, "it failed"),
            (r#"{"correlationId":"751a212b-4003-416e-b600-e1f48e40db9f"}"#, "App Service correlation id: ID"),
            (
                r#"{"error":"invalid_resource","error_description":"no such thing","error_codes":[500011],"correlation_id":"751a212b-4003-416e-b600-e1f48e40db9f"}"#,
                "invalid_resource; no such thing; App Service correlation id: ID",
            ),
            (
                r#"{"error":{"code":"bad","message":"it is bad","innererror":{"trace":"x"}}}"#,
                "bad; it is bad",
            ),
            (
                r#"{"error":{"correlationId":"751a212b-4003-416e-b600-e1f48e40db9f","code":"SecretHeaderNotFound","message":"no secret"}}"#,
                "SecretHeaderNotFound; no secret; App Service correlation id: ID",
            ),
            (r#"{"error":"e","message":"m","error_description":"d"}"#, "e; m; d"),
            (r#"{"unknown":1}"#, r#"{"unknown":1}"#),
            (r#"{"error":["x"]}"#, r#"{"error":["x"]}"#),
            ("[]", "[]"),
            ("<html>gateway</html>", "<html>gateway</html>"),
        ] {
            let error = refuse(500, body);
            assert_eq!(error.excerpt(), Some(expected.replace("ID", id).as_str()), "{body}");
            assert_eq!((error.code(), error.status()), ("managed_identity_request_failed", Some(500)));
            assert!(error.to_string().starts_with("App Service did not issue a token (HTTP 500"), "{error}");
        }
        let silent = refuse(500, "");
        assert_eq!(silent.excerpt(), None);
        assert!(silent.to_string().contains("did not say why"), "{silent}");
        let codes = refuse(400, r#"{"error":"x","error_codes":[700016,"7",-1,99999999999]}"#);
        assert_eq!(codes.server_codes(), [700_016]);
    }

    #[test]
    fn a_token_that_was_sent_with_an_error_is_not_told() {
        let token =
            r#"{"error":"x","message":"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"}"#;
        let error = refuse(500, token);
        assert_eq!(error.excerpt(), Some("x; [redacted]"));
        assert!(!format!("{error:?} {error}").contains("eyJ"));
    }

    #[test]
    fn each_status_says_whether_to_try_again() {
        for status in [404, 408, 429, 500, 503, 504] {
            assert!(refuse(status, "").is_transient(), "{status}");
        }
        for status in [302, 400, 401, 403, 405, 501, 502] {
            assert!(!refuse(status, "").is_transient(), "{status}");
        }
        assert!(refuse(302, "").advice().contains("redirects are not followed"));
        assert!(!refuse(400, "").to_string().contains("not assigned"));
    }
}
