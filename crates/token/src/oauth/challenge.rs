//! What a resource wants before it answers: `WWW-Authenticate` (RFC 9110 §11.6.1).

mod grammar;

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use serde_json::{Map, Value};
use symbolon_types::{Error, ErrorKind};

/// The error that comes with a claims challenge (the claims challenge of Microsoft Entra ID; not
/// an error of RFC 6750 §3.1).
const INSUFFICIENT_CLAIMS: &str = "insufficient_claims";

/// The claims that a resource asked for in its response, as JSON: the argument of
/// [`TokenRequest::claims`](crate::TokenRequest::claims).
///
/// `None` if there is no challenge with the error `insufficient_claims`, or none whose claims can
/// be read; [`Challenge::claims_challenge`] tells the two apart.
///
/// ```
/// # use symbolon_token::{Error, Token, TokenClient, claims_challenge};
/// async fn call_again(
///     client: &TokenClient,
///     refused: &http::Response<bytes::Bytes>,
/// ) -> Result<Option<Token>, Error> {
///     let Some(claims) = claims_challenge(refused.headers()) else { return Ok(None) };
///     client.token("https://graph.microsoft.com/.default").claims(&claims).await.map(Some)
/// }
/// ```
#[must_use]
pub fn claims_challenge(headers: &HeaderMap) -> Option<String> {
    Challenge::of(headers).iter().find_map(|challenge| challenge.claims_challenge()?.ok())
}

/// One way to authenticate that a resource offers with a 401: a scheme, and what it says about it.
///
/// Reading never fails: what is not a challenge is left out.
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
    /// The challenges of one `WWW-Authenticate` field, in their order.
    #[must_use]
    pub fn parse(field: &str) -> Vec<Self> {
        grammar::challenges(field)
    }

    /// The challenges of all `WWW-Authenticate` fields of a response, in their order.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Vec<Self> {
        let fields = headers.get_all(WWW_AUTHENTICATE).iter();
        // A quoted string may contain any byte from 0x80 on (RFC 9110 §5.6.4).
        fields.flat_map(|field| Self::parse(&String::from_utf8_lossy(field.as_bytes()))).collect()
    }

    /// The scheme as it was sent, such as `Bearer`; compare it without regard to case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The one text that schemes such as `Negotiate` send in place of parameters (`token68`).
    #[must_use]
    pub fn token68(&self) -> Option<&str> {
        self.token68.as_deref()
    }

    /// Names and values as they were sent, without quotes and escapes.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a parameter, whatever the case of its name; the first, if it was sent twice.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters().find(|(sent, _)| sent.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Where tokens for the resource are issued: `authorization_uri`, or `authorization`, as Key
    /// Vault spells it. Whoever answered chose it: compare it with the authority that you expect
    /// before you send anything there.
    #[must_use]
    pub fn authorization_uri(&self) -> Option<&str> {
        self.parameter("authorization_uri").or_else(|| self.parameter("authorization"))
    }

    /// The `claims` parameter as JSON text, whatever the error. It may be sent as JSON, or as JSON
    /// in base64 or base64url, padded or not.
    ///
    /// # Errors
    /// `invalid_claims` if it is no JSON object in any of these forms; its text is not in the
    /// error.
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

    /// The claims to come back with: [`claims`](Self::claims), if the error is
    /// `insufficient_claims`. With another error the claims are no request for a new token.
    ///
    /// # Errors
    /// As [`claims`](Self::claims).
    #[must_use]
    pub fn claims_challenge(&self) -> Option<Result<String, Error>> {
        let is_challenge = self.parameter("error")?.eq_ignore_ascii_case(INSUFFICIENT_CLAIMS);
        self.claims().filter(|_| is_challenge)
    }
}

/// Shows the scheme and the names of the parameters: values may be claims.
impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.parameters().map(|(name, _)| name).collect();
        f.debug_struct("Challenge")
            .field("scheme", &self.scheme)
            .field("parameters", &names)
            .finish_non_exhaustive()
    }
}

fn json_object(sent: &str) -> Option<String> {
    let sent = sent.trim();
    let text = if sent.starts_with('{') { sent.to_owned() } else { decoded(sent)? };
    serde_json::from_str::<Map<String, Value>>(&text).ok().map(|_| text)
}

fn decoded(base64: &str) -> Option<String> {
    let unpadded = base64.trim_end_matches('=').replace('+', "-").replace('/', "_");
    String::from_utf8(Base64UrlUnpadded::decode_vec(&unpadded).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Base64Unpadded, Base64Url};
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// The sample of MSAL.NET's tests.
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
    fn claims_are_read_in_each_form() {
        // "?>" and "~" make the two alphabets differ; "é" makes the text longer than its characters.
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
    fn claims_that_are_no_json_object_are_an_error_that_does_not_quote_them() {
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

    /// Rows WA1 to WA6 of the conformance table; where MSAL.NET keeps escapes and fails over
    /// duplicates, the standard and the first of them hold.
    #[test]
    fn a_claims_challenge_is_found_among_the_fields() {
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
            ("a readable one behind another", &[unreadable, &base64], true),
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
    fn the_authority_is_read_in_both_spellings() {
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
    fn bytes_that_are_not_ascii_do_no_harm() {
        let mut headers = HeaderMap::new();
        let field = [br#"Bearer realm="\xc3"#.as_slice(), b"\xe9\xff\", error=\"x\""].concat();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_bytes(&field).unwrap());
        assert_eq!(Challenge::of(&headers)[0].parameter("error"), Some("x"));
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let shown =
            format!("{:?}", Challenge::parse("Negotiate s3cr3t, Bearer claims=s3cr3t, nonce=\"s3cr3t\""));
        assert!(shown.contains("claims") && shown.contains("nonce") && !shown.contains("s3cr3t"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(field: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&field) {
                let _claims = claims_challenge(&HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]));
            }
        }

        #[test]
        fn no_claims_make_it_panic(sent in ".*") {
            let _claims = claims(&sent);
        }
    }
}
