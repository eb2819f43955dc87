//! The errors of sources. (docs/protocol/sources.md#errors)

use std::time::SystemTime;

use http::StatusCode;
use symbolon_binding::imds::SourceErrorBody;
use symbolon_token::{Error, ErrorKind};
use symbolon_transport::{Response, RetryPolicy, TransportError, TransportErrorKind, is_transient_status};
use symbolon_types::Source;

/// Returns the error for a response with a status other than 200.
pub(super) fn http_error(source: Source, response: &Response, now: SystemTime) -> Error {
    let status = response.status();
    let summary = if response.body().is_empty() {
        format!("{source} did not issue a token, and gave no reason")
    } else {
        format!("{source} did not issue a token")
    };
    let error = Error::new(ErrorKind::Service, "managed_identity_request_failed", summary)
        .with_status(status.as_u16())
        .with_transient(RetryPolicy::managed_identity().is_transient_status(status))
        .with_retry_after(response.retry_after(now))
        .with_advice(advice(source, status));
    SourceErrorBody::read(source, response).add_to(error)
}

fn advice(source: Source, status: StatusCode) -> &'static str {
    match (status.as_u16(), source.info().unauthorized_advice) {
        (401 | 403, Some(advice)) => advice,
        (300..=399, _) => "redirects are not followed; check the endpoint in the host's variables",
        (400, _) => "check the spelling of the resource, and that the identity is assigned to this host",
        (404, _) => "check that the identity is assigned to this host; a new assignment takes a few minutes",
        _ if is_transient_status(status) => "try again later",
        _ => "see the excerpt of the response, and quote the correlation id in a support request",
    }
}

/// Returns the error for a request without a response.
pub(super) fn no_response(source: Source, error: TransportError) -> Error {
    let variable = source.info().required_variables.first().copied().unwrap_or(Source::IMDS_VARIABLE);
    match error.kind() {
        TransportErrorKind::Tls if source == Source::ServiceFabric => Error::new(
            ErrorKind::Network,
            "managed_identity_unreachable",
            format!(
                "{source} did not present the pinned certificate; nothing was sent"
            ),
        )
        .with_advice("check IDENTITY_SERVER_THUMBPRINT; the host may have replaced its certificate, then restart the process")
        .with_source(error),
        TransportErrorKind::Timeout => error.into_source_error(source).with_advice("try again later"),
        TransportErrorKind::Unsupported | TransportErrorKind::Panicked => error.into_source_error(source),
        TransportErrorKind::Insecure => {
            let advice = format!("set {variable} to an https URL, or to an address of this machine");
            error.into_source_error(source).with_advice(advice)
        }
        _ if error.advice().is_some() => error.into_source_error(source),
        _ => {
            let advice = format!("check the endpoint in {variable}, and that no firewall blocks it");
            error.into_source_error(source).with_advice(advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(status: u16, body: &'static str) -> Error {
        let response = Response::new(StatusCode::from_u16(status).unwrap(), body);
        http_error(Source::AppService, &response, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn excerpt_reads_every_error_format() {
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
            (r#"{"error":"e","message":"m","error_description":"d"}"#, "e; d; m"),
            (r#"{"error":{"code":"c","innererror":{"code":"i","message":"why"}}}"#, "c; i; why"),
            (r#"{"Error":{"Code":"c","Message":"m"}}"#, "c; m"),
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
        assert!(silent.to_string().contains("gave no reason"), "{silent}");
        for (body, codes) in [
            (r#"{"error":"x","error_codes":[700016,"7",-1,99999999999]}"#, &[700_016, 7][..]),
            (r#"{"error":{"code":"x","message":"AADSTS500011: no resource"}}"#, &[500_011]),
            (r#"{"message":"AADSTS700016: no application","error_codes":[]}"#, &[700_016]),
            (r#"{"error":{"code":"x","innererror":{"message":"AADSTS500011: gone"}}}"#, &[500_011]),
            ("AADSTS500011 in no JSON", &[]),
        ] {
            assert_eq!(refuse(400, body).server_codes(), codes, "{body}");
        }
    }

    #[test]
    fn error_of_the_body_selects_the_advice() {
        for (status, body, expected) in [
            (
                400,
                r#"{"error":"invalid_resource","error_description":"AADSTS500011: not found","error_codes":[500011]}"#,
                "check the resource, and that the client is allowed to request it",
            ),
            (
                400,
                r#"{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}"#,
                "--identity client-id:ID",
            ),
            (
                500,
                r#"{"statusCode":500,"message":"Unable to load the proper Managed Identity.","correlationId":"x"}"#,
                "name one of the user-assigned identities",
            ),
            (
                400,
                r#"{"error":{"code":"AudienceNotSupported","message":"x"}}"#,
                "check the resource: its URI",
            ),
            (401, r#"{"error":"invalid_client","error_codes":[700016]}"#, "check the client id"),
            (
                400,
                r#"{"error":{"code":"x","innererror":{"message":"Identity not found"}}}"#,
                "assign the identity to this host",
            ),
            (
                400,
                r#"{"error":"invalid_scope","error_description":"AADSTS70011: not valid"}"#,
                "check the resource; a scope is its URI and /.default",
            ),
            (401, r#"{"error":"other"}"#, "the secret in IDENTITY_HEADER was not accepted"),
            (503, r#"{"error":"other"}"#, "try again later"),
        ] {
            let error = refuse(status, body);
            assert!(error.advice().contains(expected), "{body}: {error}");
        }
    }

    #[test]
    fn token_in_an_error_is_redacted() {
        let token =
            r#"{"error":"x","message":"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"}"#;
        let error = refuse(500, token);
        assert_eq!(error.excerpt(), Some("x; [redacted]"));
        assert!(!format!("{error:?} {error}").contains("eyJ"));
    }

    #[test]
    fn transient_statuses_are_marked() {
        for status in [404, 408, 429, 500, 502, 503, 504] {
            assert!(refuse(status, "").is_transient(), "{status}");
        }
        for status in [302, 400, 401, 403, 405, 501] {
            assert!(!refuse(status, "").is_transient(), "{status}");
        }
        assert!(refuse(302, "").advice().contains("redirects are not followed"));
        assert!(!refuse(400, "").to_string().contains("not assigned"));
    }
}
