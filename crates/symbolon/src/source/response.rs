//! A response of a source with a token.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use symbolon_token::{AccessToken, Error, ErrorKind, Expiry, IssuedToken};
use symbolon_transport::Response;
use symbolon_types::{CorrelationId, Secret, Source};

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

/// Reads the token from a response with status 200.
pub(super) fn read(
    source: Source,
    response: &Response,
    now: SystemTime,
    id: CorrelationId,
) -> Result<IssuedToken, Error> {
    let body: TokenBody = serde_json::from_slice(response.body())
        .map_err(|_| invalid(source, "sent something other than a token response"))?;
    let secret = body.access_token.filter(|token| !token.is_empty()).map(Secret::new);
    let secret = secret.ok_or_else(|| invalid(source, "sent a response without a token"))?;
    let token = AccessToken::parse(secret).ok_or_else(|| {
        invalid(source, "sent a token with characters that are not allowed in an Authorization header")
    })?;
    let lifetime = lifetime(&body.expires_on, &body.expires_in, now).filter(|lifetime| !lifetime.is_zero());
    let lifetime =
        lifetime.ok_or_else(|| invalid(source, "sent a token without an expiry, or an expired one"))?;
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
    use http::StatusCode;

    use super::*;

    #[test]
    fn response_needs_a_token_and_an_expiry() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
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
