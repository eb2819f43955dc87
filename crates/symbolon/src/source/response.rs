//! A source's answer that holds a token.

use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;
use symbolon_token::{Error, ErrorKind, Expiry, IssuedToken};
use symbolon_transport::Response;
use symbolon_types::{CorrelationId, Secret, Source};

use super::expiry::{lifetime, seconds};

/// What of the body counts; neither `token_type` nor `resource` is in every answer, and a token is
/// kept under the resource that was asked for. (Managed-identity sources §2.0.1, DEV-4.)
#[derive(Deserialize)]
struct Issued {
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

/// Reads a 200.
pub(crate) fn read(
    source: Source,
    response: &Response,
    now: SystemTime,
    id: CorrelationId,
) -> Result<IssuedToken, Error> {
    let issued: Issued = serde_json::from_slice(response.body())
        .map_err(|_| unusable(source, "answered something that is not a token response"))?;
    let secret = issued.access_token.filter(|token| !token.is_empty()).map(Secret::new);
    let secret = secret.ok_or_else(|| unusable(source, "answered without a token"))?;
    let lifetime =
        lifetime(&issued.expires_on, &issued.expires_in, now).filter(|lifetime| !lifetime.is_zero());
    let lifetime = lifetime
        .ok_or_else(|| unusable(source, "did not say how long its token lives, or its life has ended"))?;
    let refresh_in = seconds(&issued.refresh_in).map(std::time::Duration::from_secs);
    let client_id = issued.client_id.as_str().map(Into::into);
    let expiry = Expiry::after(lifetime).refreshed_after(refresh_in);
    Ok(IssuedToken::bearer(secret, expiry, id).with_client_id(client_id))
}

fn unusable(source: Source, wrong: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Response, "invalid_response", format!("{source} {wrong}"))
        .with_status(200)
        .with_advice("check that the endpoint of this host's identity is right and nothing stands in between")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

    /// NET-16, NET-22, NET-29, GO-07, §7.7.5.
    #[test]
    fn an_answer_without_a_token_or_a_life_is_refused() {
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
            (r#"{"access_token":"t","expires_in":"3599""#, Some("invalid_response")),
            ("", Some("invalid_response")),
            ("null", Some("invalid_response")),
            ("[]", Some("invalid_response")),
            ("<html>", Some("invalid_response")),
        ] {
            let response = Response::new(StatusCode::OK, body);
            let refused = read(Source::Imds, &response, now, CorrelationId::random()).err();
            assert_eq!(refused.as_ref().map(Error::code), code, "{body}");
            assert!(refused.is_none_or(|error| error.status() == Some(200)));
        }
    }
}
