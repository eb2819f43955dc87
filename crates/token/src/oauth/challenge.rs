//! Challenges of a resource server: `WWW-Authenticate` (RFC 9110 §11.6.1).

mod grammar;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use serde_json::{Map, Value};
use symbolon_types::{Error, ErrorKind};

/// The error of a claims challenge (`docs/protocol/errors.md#claims-challenge`).
const INSUFFICIENT_CLAIMS: &str = "insufficient_claims";

/// Returns the claims of a claims challenge among the response headers, as JSON: the argument of
/// [`TokenRequest::claims`](crate::TokenRequest::claims).
///
/// Returns `None` if there is no challenge with the error `insufficient_claims`, or none with
/// readable claims; [`Challenge::claims_challenge`] distinguishes the two.
///
/// ```
/// # use symbolon_token::{Error, Token, TokenClient, claims_challenge};
/// async fn renew_for_challenge(
///     client: &TokenClient,
///     response: &http::Response<bytes::Bytes>,
/// ) -> Result<Option<Token>, Error> {
///     let Some(claims) = claims_challenge(response.headers()) else { return Ok(None) };
///     client.token("https://graph.microsoft.com/.default").claims(&claims).await.map(Some)
/// }
/// ```
#[must_use]
pub fn claims_challenge(headers: &HeaderMap) -> Option<String> {
    Challenge::of(headers).iter().find_map(|challenge| challenge.claims_challenge()?.ok())
}

/// A challenge of a resource server: an authentication scheme with its parameters.
///
/// Parsing never fails: malformed elements are skipped.
///
/// ```
/// # use symbolon_token::Challenge;
/// let field = r#"Negotiate, Bearer realm="", authorization_uri="https://login.example/common",
///     error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7InZhbHVlIjoiMSJ9fX0""#;
/// let challenges = Challenge::parse(field);
/// let bearer = &challenges[1];
/// assert_eq!(bearer.scheme(), "Bearer");
/// assert_eq!(bearer.authorization_uri(), Some("https://login.example/common"));
/// assert_eq!(bearer.claims().transpose()?.as_deref(), Some(r#"{"access_token":{"nbf":{"value":"1"}}}"#));
/// # Ok::<(), symbolon_token::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    token68: Option<String>,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Parses the challenges of one `WWW-Authenticate` field, in their order.
    #[must_use]
    pub fn parse(field: &str) -> Vec<Self> {
        let parse = |parsed: grammar::ParsedChallenge<'_>| Self {
            scheme: parsed.scheme.to_owned(),
            token68: parsed.token68.map(str::to_owned),
            parameters: parsed.parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        };
        grammar::challenges(field).into_iter().map(parse).collect()
    }

    /// Parses the challenges of all `WWW-Authenticate` fields of a response, in their order.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Vec<Self> {
        let fields = headers.get_all(WWW_AUTHENTICATE).iter();
        // A quoted string may contain any byte from 0x80 on (RFC 9110 §5.6.4).
        fields.flat_map(|field| Self::parse(&String::from_utf8_lossy(field.as_bytes()))).collect()
    }

    /// Returns the scheme as it was sent, for example `Bearer`. Compare it without case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the `token68`, which schemes such as `Negotiate` have instead of parameters.
    #[must_use]
    pub fn token68(&self) -> Option<&str> {
        self.token68.as_deref()
    }

    /// Returns the names and values of the parameters, without quotes and escapes.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the value of a parameter, whose name is compared without case; the first value, if
    /// the parameter is repeated.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters().find(|(sent, _)| sent.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns the authority for tokens of the resource: `authorization_uri`, or `authorization` as
    /// Key Vault sends it. The resource server selects it: compare it with the authority that you
    /// expect before you send anything there.
    #[must_use]
    pub fn authorization_uri(&self) -> Option<&str> {
        self.parameter("authorization_uri").or_else(|| self.parameter("authorization"))
    }

    /// Returns the `claims` parameter as JSON text, for any error. It may be sent as JSON, or
    /// as base64 of JSON in either alphabet, with or without padding.
    ///
    /// # Errors
    /// `invalid_claims` if it is not a JSON object in one of these forms. The error does not quote
    /// it.
    #[must_use]
    pub fn claims(&self) -> Option<Result<String, Error>> {
        self.parameter("claims").map(|sent| {
            json_object(sent).ok_or_else(|| {
                let error =
                    "the resource sent a claims challenge that is neither a JSON object nor base64 of one";
                Error::new(ErrorKind::Response, "invalid_claims", error)
                    .with_advice("no token can satisfy it; report it to the operator of the resource")
            })
        })
    }

    /// Returns [`claims`](Self::claims), if the error is `insufficient_claims`. With another error
    /// the claims are no request for a new token.
    ///
    /// # Errors
    /// As [`claims`](Self::claims).
    #[must_use]
    pub fn claims_challenge(&self) -> Option<Result<String, Error>> {
        let is_challenge = self.parameter("error")?.eq_ignore_ascii_case(INSUFFICIENT_CLAIMS);
        self.claims().filter(|_| is_challenge)
    }
}

// Shows the scheme and the names of the parameters; their values may be claims.
symbolon_types::debug_fields!(
    Challenge |this|
    scheme: this.scheme, parameters: this.parameters().map(|(name, _)| name).collect::<Vec<_>>()
);

/// Returns the JSON text of an object that was sent as JSON or as base64.
fn json_object(sent: &str) -> Option<String> {
    let sent = sent.trim();
    let text = if sent.starts_with('{') {
        sent.to_owned()
    } else {
        let unpadded = sent.trim_end_matches('=').replace('+', "-").replace('/', "_");
        String::from_utf8(Base64UrlUnpadded::decode_vec(&unpadded).ok()?).ok()?
    };
    serde_json::from_str::<Map<String, Value>>(&text).ok().map(|_| text)
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Base64Unpadded, Base64Url};
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// A claims challenge as MSAL.NET 4.x tests it.
    const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"cp1"}}}"#;
    const CLAIMS_BASE64: &str =
        "eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiY3AxIn19fQ==";

    fn headers(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|field| (WWW_AUTHENTICATE, HeaderValue::from_str(field).unwrap())).collect()
    }

    fn only(field: &str) -> Challenge {
        let mut challenges = Challenge::parse(field);
        assert_eq!(challenges.len(), 1, "{field}");
        challenges.remove(0)
    }

    fn claims(sent: &str) -> Option<String> {
        let challenge = Challenge {
            scheme: "Bearer".into(),
            token68: None,
            parameters: vec![("claims".into(), sent.into())],
        };
        challenge.claims().unwrap().ok()
    }

    #[test]
    fn claims_are_read_in_any_encoding() {
        // "?>" and "~" encode differently in the two alphabets; "é" has two bytes.
        for json in [CLAIMS, r#"{"a":"??>>~~"}"#, r#"{"a":"é"}"#, "{}", r#"{"ab":1}"#, r#"{"abc":12}"#] {
            let bytes = json.as_bytes();
            for sent in [
                json.to_owned(),
                format!(" {json}\t"),
                Base64::encode_string(bytes),
                Base64Unpadded::encode_string(bytes),
                Base64Url::encode_string(bytes),
                Base64UrlUnpadded::encode_string(bytes),
            ] {
                assert_eq!(claims(&sent).as_deref(), Some(json), "{sent}");
            }
        }
    }

    #[test]
    fn malformed_claims_are_refused_unquoted() {
        let base64 = |text: &[u8]| Base64::encode_string(text);
        for sent in [
            String::new(),
            "s3cr3t".into(),
            r#"{"s3cr3t":"#.into(),
            r#"["s3cr3t"]"#.into(),
            format!("{CLAIMS}s3cr3t"),
            base64(b"[]"),
            base64(b"s3cr3t"),
            base64(b"{\"a\":\"\xff\"}"),
            // The recursion is bounded.
            r#"{"a":"#.repeat(100_000),
        ] {
            let field =
                format!(r#"Bearer error="insufficient_claims", claims="{}""#, sent.replace('"', r#"\""#));
            let error = only(&field).claims_challenge().unwrap().unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Response, "invalid_claims"));
            assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
        }
    }

    /// Unlike in MSAL.NET 4.x, escapes are removed and the first of two equal parameters counts.
    #[test]
    fn claims_challenge_is_found_in_headers() {
        let escaped = CLAIMS.replace('"', r#"\""#);
        let raw = format!(r#"Bearer realm="", error="insufficient_claims", claims="{escaped}""#);
        let base64 = format!(r#"Bearer realm="", claims="{CLAIMS_BASE64}", error="insufficient_claims""#);
        let bare = format!("bearer error=insufficient_claims,claims={CLAIMS_BASE64}");
        let upper = format!(r#"BEARER ERROR="Insufficient_Claims", CLAIMS="{CLAIMS_BASE64}""#);
        let spaced = format!(r#"Bearer error = "insufficient_claims" , claims	= "{CLAIMS_BASE64}" ,"#);
        let without_commas =
            format!(r#"Bearer realm="" error="insufficient_claims" claims="{CLAIMS_BASE64}""#);
        let other_error = format!(r#"Bearer error="invalid_token", claims="{CLAIMS_BASE64}""#);
        let no_error = format!(r#"Bearer claims="{CLAIMS_BASE64}""#);
        let unreadable = r#"Bearer error="insufficient_claims", claims="?""#;
        let twice = format!(
            r#"Bearer error="insufficient_claims", claims="{CLAIMS_BASE64}", Claims="e30=", error="invalid_token""#
        );
        let combined = format!(r#"Negotiate TlRMTQ==, Basic realm="a, b", {base64}, Digest nonce="x""#);
        for (case, fields, found) in [
            ("WA1, raw with escapes", &[raw.as_str()][..], true),
            ("WA2, base64", &[&base64], true),
            ("without quotes", &[&bare], true),
            ("WA6, another case", &[&upper], true),
            ("bad whitespace", &[&spaced], true),
            ("without commas", &[&without_commas], true),
            ("WA4, in one field", &[&combined], true),
            ("WA4, in several fields", &["Negotiate", &other_error, &base64], true),
            ("WA5, the first of two", &[&twice], true),
            ("readable after unreadable", &[unreadable, &base64], true),
            ("unreadable", &[unreadable], false),
            ("WA3, another error", &[&other_error], false),
            ("no error", &[&no_error], false),
            ("no claims", &[r#"Bearer error="insufficient_claims""#], false),
            (
                "error and claims of different challenges",
                &[r#"A error="insufficient_claims""#, &no_error],
                false,
            ),
            ("no field", &[], false),
        ] {
            assert_eq!(claims_challenge(&headers(fields)).as_deref(), found.then_some(CLAIMS), "{case}");
        }
    }

    #[test]
    fn authorization_uri_has_two_spellings() {
        for (field, expected) in [
            (r#"Bearer authorization_uri="https://a.example/t""#, Some("https://a.example/t")),
            (
                r#"Bearer authorization="https://b.example/t", resource="https://r""#,
                Some("https://b.example/t"),
            ),
            (r#"Bearer authorization="b", AUTHORIZATION_URI="a""#, Some("a")),
            ("Bearer authorization_uri=https://a.example/t?x=y", Some("https://a.example/t?x=y")),
            (r#"Bearer realm="x""#, None),
        ] {
            assert_eq!(only(field).authorization_uri(), expected, "{field}");
        }
    }

    #[test]
    fn fields_may_contain_non_ascii_bytes() {
        let mut headers = HeaderMap::new();
        let field = [br#"Bearer realm="\xc3"#.as_slice(), b"\xe9\xff\", error=\"x\""].concat();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_bytes(&field).unwrap());
        assert_eq!(Challenge::of(&headers)[0].parameter("error"), Some("x"));
    }

    #[test]
    fn debug_hides_values() {
        let shown =
            format!("{:?}", Challenge::parse("Negotiate s3cr3t, Bearer claims=s3cr3t, nonce=\"s3cr3t\""));
        assert!(shown.contains("claims") && shown.contains("nonce") && !shown.contains("s3cr3t"), "{shown}");
    }

    proptest! {
        #[test]
        fn arbitrary_field_does_not_panic(field: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&field) {
                let _claims = claims_challenge(&HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]));
            }
        }

        #[test]
        fn arbitrary_claims_do_not_panic(sent in ".*") {
            let _claims = claims(&sent);
        }
    }
}
