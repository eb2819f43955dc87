//! The responses of a token endpoint.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use symbolon_transport::{Response, is_transient_status};
use symbolon_types::{Error, ErrorBody, ErrorKind, Secret, Secrets, Thumbprint};

use super::access_token::AccessToken;
use super::account::{Account, jwt_payload};
use super::expiry::Expiry;
use super::response_parameters::ResponseParameters;
use super::scheme::Scheme;

/// The maximum length of an error code that is taken from a response.
const LONGEST_CODE: usize = 64;

/// Error codes of RFC 6749 §4.1.2.1 and §5.2.
const STANDARD_CODES: [&str; 10] = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
];

/// A validated success response (RFC 6749 §5.1).
pub(crate) struct TokenResponse {
    pub(crate) token: AccessToken,
    pub(crate) expiry: Expiry,
    pub(crate) refresh_token: Option<Secret>,
    pub(crate) account: Option<Account>,
    pub(crate) parameters: Option<ResponseParameters>,
}

#[derive(Deserialize)]
struct TokenResponseBody {
    access_token: Option<String>,
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Value,
    #[serde(default)]
    refresh_in: Value,
    refresh_token: Option<String>,
    id_token: Option<String>,
    client_info: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl TokenResponse {
    /// Reads a success response, with the checks of `docs/protocol/token-request.md#response`: a
    /// token of another type, or bound to another certificate, is refused.
    pub(crate) fn read(
        response: &Response,
        scheme: &Scheme,
        client_id: &str,
        nonce: Option<&Secret>,
    ) -> Result<Self, Error> {
        let body: TokenResponseBody = serde_json::from_slice(response.body())
            .map_err(|_| unusable("the response is not a token response in JSON"))?;
        // Wrapped before any return, so that the text is always overwritten.
        let secret = body.access_token.filter(|token| !token.is_empty()).map(Secret::new);
        let refresh_token = body.refresh_token.filter(|token| !token.is_empty()).map(Secret::new);
        let id_token = body.id_token.map(Secret::new);
        let secret = secret.ok_or_else(|| unusable("the response has no access token"))?;
        let token = AccessToken::parse(secret).ok_or_else(|| {
            unusable("the access token has characters that are not allowed in an Authorization header")
        })?;
        let is_requested = |token_type: &String| token_type.eq_ignore_ascii_case(scheme.token_type());
        if !body.token_type.as_ref().is_some_and(is_requested) {
            let error = format!("the token service did not issue a token of type {}", scheme.token_type());
            return Err(Error::new(ErrorKind::Response, "token_type_mismatch", error).with_advice(
                "the resource or the tenant may not support bound tokens; the token was discarded",
            ));
        }
        if let Some(identity) = scheme.bound_to() {
            check_confirmation(token.secret().expose(), identity.thumbprint())?;
        }
        if let Some(id_token) = &id_token {
            check_id_token(id_token, client_id, nonce)?;
        }
        let lifetime = seconds(&body.expires_in).filter(|lifetime| !lifetime.is_zero());
        let lifetime = lifetime.ok_or_else(|| unusable("the response has no valid `expires_in`"))?;
        let expiry = Expiry::after(lifetime).refreshed_after(seconds(&body.refresh_in));
        let account = Account::of(body.client_info.as_deref(), id_token.as_ref().map(Secret::expose));
        let parameters = ResponseParameters::of(body.others);
        Ok(Self { token, expiry, refresh_token, account, parameters })
    }
}

fn unusable(reason: &'static str) -> Error {
    let error = format!("the token endpoint did not return a token: {reason}");
    Error::new(ErrorKind::Response, "invalid_response", error)
        .with_advice("check that the endpoint is a token endpoint and not a proxy in front of it")
}

/// Returns seconds given as a number or as text, without their fraction.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Duration::try_from_secs_f64(seconds?.trunc()).ok()
}

/// Refuses a JWT that does not confirm the certificate (RFC 8705 §3.1). An opaque or encrypted
/// token passes: only its audience can read it.
fn check_confirmation(token: &str, thumbprint: Thumbprint) -> Result<(), Error> {
    let Some(payload) = jwt_payload(token) else { return Ok(()) };
    let confirmed =
        payload.pointer("/cnf/x5t#S256").and_then(Value::as_str).and_then(|text| text.parse().ok());
    if confirmed == Some(thumbprint) {
        return Ok(());
    }
    let error = "the token service issued a token that is not bound to our certificate; it was discarded";
    Err(Error::new(ErrorKind::Response, "invalid_response", error)
        .with_advice("check for a proxy that ends TLS in front of the token service"))
}

/// Refuses an ID token with another nonce, which a code injected from another sign-in would have,
/// or for another client. Its other claims are not checked, for the reasons in
/// `docs/protocol/token-request.md#id-tokens`.
fn check_id_token(id_token: &Secret, client_id: &str, nonce: Option<&Secret>) -> Result<(), Error> {
    let payload = jwt_payload(id_token.expose());
    let claim = |name: &str| payload.as_ref()?.get(name);
    let found = claim("nonce").and_then(Value::as_str).map(Secret::new);
    if nonce.is_some_and(|nonce| !found.is_some_and(|found| is_same(&found, nonce))) {
        let error = "the ID token belongs to another sign-in; all tokens were discarded";
        return Err(Error::new(ErrorKind::Response, "nonce_mismatch", error)
            .with_advice("let the user sign in again"));
    }
    let is_ours = match claim("aud") {
        Some(Value::String(audience)) => audience == client_id,
        Some(Value::Array(audiences)) => audiences.iter().any(|audience| audience == client_id),
        Some(_) => false,
        // Only the ID token of a sign-in must be readable.
        None => nonce.is_none(),
    };
    if is_ours {
        return Ok(());
    }
    let error = "the ID token was issued to another client; all tokens were discarded";
    Err(Error::new(ErrorKind::Response, "audience_mismatch", error)
        .with_advice("check the client id, and that no proxy responds in place of the token service"))
}

/// An error response (RFC 6749 §5.2, `docs/protocol/errors.md#fields`).
#[derive(Debug)]
pub(crate) struct ErrorResponse {
    pub(crate) code: String,
    pub(crate) server_codes: Vec<u32>,
    pub(crate) claims: Option<String>,
    pub(crate) suberror: Option<String>,
    pub(crate) description: Option<String>,
}

impl ErrorResponse {
    /// Reads an error response; `None` if the body has no error code, or the error object of a
    /// gateway that has an outage. A code that contains a secret of the request is not taken over.
    pub(crate) fn read(response: &Response) -> Option<Self> {
        let mut body: Map<String, Value> = serde_json::from_slice(response.body()).ok()?;
        let code = match body.get("error")? {
            Value::String(code) => code,
            Value::Object(nested) if !is_transient_status(response.status()) => {
                nested.get("code")?.as_str()?
            }
            _ => return None,
        };
        let sent = response.sent_secrets();
        let code = shown_code(code, sent).to_owned();
        let suberror = body.get("suberror").and_then(Value::as_str);
        let suberror = suberror.filter(|text| is_shown_code(text, sent)).map(str::to_owned);
        let claims = match body.remove("claims") {
            Some(Value::String(claims)) => Some(claims).filter(|claims| !claims.is_empty()),
            Some(claims @ Value::Object(_)) => Some(claims.to_string()),
            _ => None,
        };
        let text = ErrorBody::parse(response.body()).unwrap_or_default();
        let description = Some(text.details()).filter(|text| !text.is_empty());
        Some(Self { code, server_codes: text.server_codes(sent), claims, suberror, description })
    }
}

/// Returns the error code that is printed and compared: `text`, or `invalid_response` if it cannot
/// be a code, or if it contains one of the secrets that were sent.
pub(crate) fn shown_code<'t>(text: &'t str, sent: &Secrets) -> &'t str {
    if is_shown_code(text, sent) { text } else { "invalid_response" }
}

/// Returns true if `text` can be a code, and contains none of the secrets that were sent.
fn is_shown_code(text: &str, sent: &Secrets) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_code = !text.is_empty() && text.len() <= LONGEST_CODE && text.bytes().all(is_allowed);
    // A code of the standard reveals nothing, even if a secret is a part of it.
    is_code && (STANDARD_CODES.contains(&text) || !sent.are_in(text))
}

/// Compares secrets by their digests, so that the duration of the comparison reveals nothing.
pub(crate) fn is_same(one: &Secret, other: &Secret) -> bool {
    Thumbprint::of(one.expose().as_bytes()) == Thumbprint::of(other.expose().as_bytes())
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64UrlUnpadded, Encoding};
    use http::StatusCode;

    use super::*;

    fn read_token(body: &str) -> Result<TokenResponse, String> {
        let response = Response::new(StatusCode::OK, body.to_owned());
        TokenResponse::read(&response, &Scheme::Bearer, "client", None)
            .map_err(|error| error.code().to_owned())
    }

    #[test]
    fn bearer_response_is_read_in_any_spelling() {
        for (body, lifetime, refresh_in) in [
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":3599}"#, 3599, None),
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":" 3599 "}"#, 3599, None),
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":3599,"refresh_in":0}"#, 3599, None),
            (
                r#"{"access_token":"t","token_type":"bearer","expires_in":"3599","refresh_in":"1800"}"#,
                3599,
                Some(1800),
            ),
            (
                r#"{"access_token":"t","token_type":"BEARER","expires_in":3599.9,"ext_expires_in":0,"x":{}}"#,
                3599,
                None,
            ),
        ] {
            let expected = Expiry::after(Duration::from_secs(lifetime))
                .refreshed_after(refresh_in.map(Duration::from_secs));
            assert_eq!(read_token(body).map(|token| token.expiry), Ok(expected), "{body}");
        }
    }

    #[test]
    fn unusable_response_is_refused() {
        for (body, code) in [
            ("", "invalid_response"),
            ("[]", "invalid_response"),
            ("{}", "invalid_response"),
            (r#"{"access_token":"","token_type":"Bearer","expires_in":1}"#, "invalid_response"),
            (r#"{"access_token":"t","expires_in":1}"#, "token_type_mismatch"),
            (r#"{"access_token":"t","token_type":"pop","expires_in":1}"#, "token_type_mismatch"),
            (r#"{"access_token":"t","token_type":"Bearer"}"#, "invalid_response"),
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":0}"#, "invalid_response"),
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":-5}"#, "invalid_response"),
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":"soon"}"#, "invalid_response"),
            (r#"{"access_token":7,"token_type":"Bearer","expires_in":1}"#, "invalid_response"),
            (r#"{"access_token":"t\r\nX: y","token_type":"Bearer","expires_in":1}"#, "invalid_response"),
            (r#"{"access_token":"t t","token_type":"Bearer","expires_in":1}"#, "invalid_response"),
        ] {
            assert_eq!(read_token(body).map(|_| ()), Err(code.to_owned()), "{body}");
        }
    }

    #[test]
    fn readable_token_must_confirm_certificate() {
        let ours = Thumbprint::of(b"ours");
        let jwt = |payload: String| {
            let encoded = Base64UrlUnpadded::encode_string(payload.as_bytes());
            format!("eyJhbGciOiJSUzI1NiJ9.{encoded}.c2lnbmF0dXJl")
        };
        let confirming = |thumbprint: Thumbprint| jwt(format!(r#"{{"cnf":{{"x5t#S256":"{thumbprint}"}}}}"#));
        for (case, token, accepted) in [
            ("ours", confirming(ours), true),
            ("another's", confirming(Thumbprint::of(b"another's")), false),
            ("no confirmation", jwt(r#"{"aud":"x"}"#.to_owned()), false),
            ("another confirmation", jwt(r#"{"cnf":{"jkt":"x"}}"#.to_owned()), false),
            ("opaque", "opaque".to_owned(), true),
            ("padded", confirming(ours).replacen(".c2ln", "=.c2ln", 1), true),
            ("padded, another's", confirming(Thumbprint::of(b"x")).replacen(".c2ln", "=.c2ln", 1), false),
            ("an array", jwt("[1]".to_owned()), true),
            ("encrypted", "a.b.c.d.e".to_owned(), true),
            ("five parts", confirming(Thumbprint::of(b"x")) + ".d.e", true),
            ("not JSON inside", "a.b.c".to_owned(), true),
        ] {
            assert_eq!(check_confirmation(&token, ours).is_ok(), accepted, "{case}");
        }
    }

    #[test]
    fn id_token_is_for_this_client_and_sign_in() {
        let (ours, other) = (Secret::new("n"), Secret::new("m"));
        let id_token = |payload: &str| {
            Secret::new(format!("e30.{}.c2ln", Base64UrlUnpadded::encode_string(payload.as_bytes())))
        };
        for (payload, nonce, expected) in [
            (r#"{"aud":"client","nonce":"n"}"#, Some(&ours), Ok(())),
            (r#"{"aud":["x","client"],"nonce":"n"}"#, Some(&ours), Ok(())),
            (r#"{"aud":"client","nonce":"n"}"#, Some(&other), Err("nonce_mismatch")),
            (r#"{"aud":"another","nonce":"n"}"#, Some(&ours), Err("audience_mismatch")),
            (r#"{"aud":["another"],"nonce":"n"}"#, Some(&ours), Err("audience_mismatch")),
            (r#"{"aud":7,"nonce":"n"}"#, Some(&ours), Err("audience_mismatch")),
            (r#"{"nonce":"n"}"#, Some(&ours), Err("audience_mismatch")),
            (r#"{"aud":"another"}"#, None, Err("audience_mismatch")),
            (r#"{"sub":"s"}"#, None, Ok(())),
            ("no claims", None, Ok(())),
        ] {
            let checked = check_id_token(&id_token(payload), "client", nonce);
            assert_eq!(
                checked.map_err(|error| error.code().to_owned()),
                expected.map_err(str::to_owned),
                "{payload}"
            );
        }
    }

    #[test]
    fn oauth_error_is_read_with_its_codes() {
        let read = |body: &str| ErrorResponse::read(&Response::new(StatusCode::BAD_REQUEST, body.to_owned()));
        let body = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid secret.",
            "error_codes":[7000215,"90002",-1,"x"],"claims":"{\"access_token\":{}}"}"#;
        let full = read(body).unwrap();
        assert_eq!(
            (full.code.as_str(), full.server_codes.as_slice()),
            ("invalid_client", &[7_000_215, 90_002][..])
        );
        assert_eq!(full.claims.as_deref(), Some(r#"{"access_token":{}}"#));
        for (body, codes, claims) in [
            (r#"{"error":"invalid_client","error_codes":null,"claims":null}"#, &[][..], None),
            (r#"{"error":"invalid_client","error_codes":7000215}"#, &[7_000_215], None),
            (r#"{"error":"invalid_client","error_description":"AADSTS7000222: x"}"#, &[7_000_222], None),
            (r#"{"error":"x","error_description":"AADSTS70011: x","error_codes":[]}"#, &[70_011], None),
            (r#"{"error":{"code":"x","message":"AADSTS90002: no"}}"#, &[90_002], None),
            (r#"{"error":"invalid_client","error_description":7,"claims":{"a":1}}"#, &[], Some(r#"{"a":1}"#)),
        ] {
            let error = read(body).unwrap();
            assert_eq!((error.server_codes.as_slice(), error.claims.as_deref()), (codes, claims), "{body}");
        }
        for (suberror, expected) in [
            ("\"bad_token\"", Some("bad_token")),
            ("\"two words\"", None),
            ("\"\"", None),
            ("7", None),
            ("null", None),
        ] {
            let error = read(&format!("{{\"error\":\"invalid_grant\",\"suberror\":{suberror}}}")).unwrap();
            assert_eq!(error.suberror.as_deref(), expected, "{suberror}");
        }
        for body in ["", "<html>", "{}", r#"{"error":{"message":"x"}}"#, r#"{"message":"x"}"#, "[1]"] {
            assert!(read(body).is_none(), "{body}");
        }
    }

    /// Cloud Shell and gateways send an error object; Entra adds a suberror.
    #[test]
    fn nested_error_and_suberror_are_read() {
        for (body, code, description) in [
            (r#"{"error":{"code":"invalid_request","message":"no"}}"#, "invalid_request", Some("no")),
            (
                r#"{"error":{"code":"bad","message":"no","innererror":{"code":"why"}}}"#,
                "bad",
                Some("no; why"),
            ),
            (
                r#"{"error":"invalid_grant","suberror":"bad_token","error_description":"AADSTS50173: x"}"#,
                "invalid_grant",
                Some("suberror: bad_token; AADSTS50173: x"),
            ),
            (r#"{"error":{"code":"bad"}}"#, "bad", None),
        ] {
            let error = ErrorResponse::read(&Response::new(StatusCode::BAD_REQUEST, body)).unwrap();
            assert_eq!((error.code.as_str(), error.description.as_deref()), (code, description), "{body}");
        }
    }

    #[test]
    fn error_members_are_bounded() {
        let read = |error: &str, rest: &str| {
            let body = format!(r#"{{"error":"{error}"{rest}}}"#);
            ErrorResponse::read(&Response::new(StatusCode::BAD_REQUEST, body)).unwrap()
        };
        let longest = "x".repeat(64);
        for (error, code) in [
            ("interaction_required", "interaction_required"),
            ("Vendor-1.2", "Vendor-1.2"),
            (longest.as_str(), longest.as_str()),
            (&"x".repeat(65), "invalid_response"),
            ("", "invalid_response"),
            ("two words", "invalid_response"),
            (r"not a\ncode", "invalid_response"),
        ] {
            assert_eq!(read(error, "").code, code);
        }
        let codes = read("x", r#","error_codes":[1,2,3,4,5,6,7,8,9,10]"#).server_codes;
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8]);
        let empty = read("x", r#","error_description":"","claims":"""#);
        assert_eq!((empty.description, empty.claims), (None, None));
    }
}
