//! The state of a sign-in while the user is at the authority.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use symbolon_types::advice::aadsts_numbers;
use symbolon_types::{Error, ErrorKind, Secret, Secrets, Thumbprint};
use url::form_urlencoded;

use crate::authority::ExpectedIssuer;
use crate::oauth::{AuthorizationCode, advice, is_same, shown_code};

/// Random bytes in each value: 43 characters, as RFC 7636 §4.1 recommends for a verifier.
const ENTROPY: usize = 32;
/// The version of the text form.
const VERSION: u8 = 1;

/// The state of a sign-in while the user is at the authority.
///
/// Keep it in the user's session, which only the user's own browser reaches: a code from another
/// sign-in is then refused. Keep either the value, or its text form
/// ([`to_session`](Self::to_session)), which is a secret.
#[derive(Clone)]
pub struct PendingAuthorization {
    state: Secret,
    nonce: Secret,
    verifier: Secret,
    redirect_uri: String,
    issuer: ExpectedIssuer,
}

/// The text form of a pending authorization.
#[derive(Serialize, Deserialize)]
struct Session<'a> {
    version: u8,
    state: &'a str,
    nonce: &'a str,
    verifier: &'a str,
    #[serde(borrow)]
    redirect_uri: Cow<'a, str>,
    issuer: ExpectedIssuer,
}

impl PendingAuthorization {
    pub(super) fn new(redirect_uri: &str, issuer: ExpectedIssuer) -> Result<Self, Error> {
        let redirect_uri = redirect_uri.to_owned();
        Ok(Self { state: random()?, nonce: random()?, verifier: random()?, redirect_uri, issuer })
    }

    /// Returns the value that ties the response to this request (RFC 6749 §10.12).
    #[must_use]
    pub fn state(&self) -> &Secret {
        &self.state
    }

    /// Returns the value that ties the ID token to this request (OIDC Core §15.5.2).
    #[must_use]
    pub fn nonce(&self) -> &Secret {
        &self.nonce
    }

    /// Returns the secret behind the code challenge (RFC 7636 §4.1).
    #[must_use]
    pub fn verifier(&self) -> &Secret {
        &self.verifier
    }

    /// Returns the code challenge (RFC 7636 §4.2).
    pub(super) fn challenge(&self) -> String {
        Thumbprint::of(self.verifier.expose().as_bytes()).to_string()
    }

    /// Returns the text form, of less than a kilobyte, for a session that stores text.
    #[must_use]
    pub fn to_session(&self) -> Secret {
        let session = Session {
            version: VERSION,
            state: self.state.expose(),
            nonce: self.nonce.expose(),
            verifier: self.verifier.expose(),
            redirect_uri: Cow::Borrowed(&self.redirect_uri),
            issuer: self.issuer.clone(),
        };
        // Serialising text and numbers cannot fail. An empty text would be refused when it is read.
        Secret::new(serde_json::to_string(&session).unwrap_or_default())
    }

    /// Restores the value from the text of [`to_session`](Self::to_session).
    ///
    /// # Errors
    /// `invalid_session`, kind `Request`, if the text does not come from `to_session`.
    pub fn from_session(text: &Secret) -> Result<Self, Error> {
        let invalid = || {
            let error = "the session holds no valid state of a sign-in; nothing was sent";
            Error::new(ErrorKind::Request, "invalid_session", error).with_advice("let the user sign in again")
        };
        let session: Session<'_> = serde_json::from_str(text.expose()).map_err(|_| invalid())?;
        if session.version != VERSION || [session.state, session.nonce, session.verifier].contains(&"") {
            return Err(invalid());
        }
        Ok(Self {
            state: session.state.into(),
            nonce: session.nonce.into(),
            verifier: session.verifier.into(),
            redirect_uri: session.redirect_uri.into_owned(),
            issuer: session.issuer,
        })
    }

    /// Reads the response that the user's browser delivered to the redirect URI: the query without
    /// its `?`, or for [`ResponseMode::FormPost`](crate::ResponseMode::FormPost) the body. Sends
    /// nothing.
    ///
    /// [`TokenClient::redeem_code`](crate::TokenClient::redeem_code) takes the code, once. The
    /// state is checked before everything else in the response, and compared in constant time.
    ///
    /// # Errors
    /// Of kind `Response`: `state_mismatch` if the response belongs to another request,
    /// `issuer_mismatch` if it comes from another issuer (RFC 9207), `invalid_response` if it is
    /// malformed. Of kind `Service`, with the error code of the issuer (RFC 6749 §4.1.2.1), if the
    /// sign-in failed: for example `access_denied` or `login_required`.
    pub fn receive(&self, response: &str) -> Result<AuthorizationCode, Error> {
        let response = AuthorizationResponse::read(response)?;
        let is_ours = |state: &Secret| is_same(state, &self.state);
        if !response.state.as_ref().is_some_and(is_ours) {
            let error = "the response belongs to another sign-in; nothing was sent";
            return Err(Error::new(ErrorKind::Response, "state_mismatch", error)
                .with_advice("let the user sign in again, in the browser in which the sign-in began"));
        }
        if !self.issuer.matches(response.issuer.as_deref()) {
            let error = "the response comes from another issuer; nothing was sent";
            return Err(Error::new(ErrorKind::Response, "issuer_mismatch", error)
                .with_advice("check the authority; if it is right, this may be a mix-up attack (RFC 9207)"));
        }
        match (response.error, response.code) {
            (Some(error), code) => {
                let secrets = [&self.state, &self.nonce, &self.verifier].map(Clone::clone);
                let secrets = secrets.into_iter().chain(code).collect();
                Err(refused(&error, response.description.as_deref(), &secrets))
            }
            (None, Some(code)) => Ok(AuthorizationCode::new(code, self.redirect_uri.clone())
                .with_verifier(self.verifier.clone())
                .with_nonce(self.nonce.clone())),
            (None, None) => Err(unusable("the response contains neither a code nor an error")),
        }
    }
}

/// A parsed authorization response (RFC 6749 §4.1.2, §4.1.2.1, RFC 9207 §2).
#[derive(Default)]
struct AuthorizationResponse {
    state: Option<Secret>,
    code: Option<Secret>,
    issuer: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

impl AuthorizationResponse {
    /// Parses a response. Unknown parameters are ignored, repeated ones refused (RFC 6749 §3.1).
    fn read(response: &str) -> Result<Self, Error> {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(response.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            let is_repeated = match &*name {
                "state" => parsed.state.replace(value.into_owned().into()).is_some(),
                "code" => parsed.code.replace(value.into_owned().into()).is_some(),
                "iss" => parsed.issuer.replace(value.into_owned()).is_some(),
                "error" => parsed.error.replace(value.into_owned()).is_some(),
                "error_description" => parsed.description.replace(value.into_owned()).is_some(),
                _ => false,
            };
            if is_repeated {
                return Err(unusable("the response contains a parameter twice"));
            }
        }
        Ok(parsed)
    }
}

/// Returns the error of a response without a code.
fn refused(code: &str, description: Option<&str>, sent: &Secrets) -> Error {
    let code = shown_code(code, sent);
    let is_transient = matches!(code, "temporarily_unavailable" | "server_error");
    let server_codes = description.map(|text| aadsts_numbers(&sent.redact(text))).unwrap_or_default();
    let advice = match code {
        "access_denied" => {
            "the user or a policy denied the access: explain its purpose, and let the user sign in again"
        }
        "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
            "repeat the request without Prompt::None: the user has to act"
        }
        _ => advice(code, &server_codes, is_transient),
    };
    let error = Error::new(ErrorKind::Service, code.to_owned(), "the user was not signed in")
        .with_advice(advice)
        .with_server_codes(server_codes)
        .with_transient(is_transient);
    match description {
        Some(description) => error.with_excerpt(description, sent),
        None => error,
    }
}

fn unusable(reason: &'static str) -> Error {
    let error = format!("the response to a sign-in is invalid: {reason}");
    Error::new(ErrorKind::Response, "invalid_response", error).with_advice("let the user sign in again")
}

/// Returns an unguessable value, of the characters that RFC 7636 §4.1 allows.
fn random() -> Result<Secret, Error> {
    let mut bytes = zeroize::Zeroizing::new([0; ENTROPY]);
    getrandom::fill(&mut *bytes).map_err(|_| {
        let error = "the random source of this machine failed; nothing was sent";
        Error::new(ErrorKind::Environment, "random_unavailable", error)
            .with_advice("check the random source of the operating system")
    })?;
    Ok(Secret::new(Base64UrlUnpadded::encode_string(&*bytes)))
}

// Hides the secrets.
symbolon_types::debug_fields!(PendingAuthorization);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pending() -> PendingAuthorization {
        let authority = "https://login.microsoftonline.com/contoso.example/".to_owned();
        let issuer = ExpectedIssuer { authority, is_oidc: false, is_announced: false };
        PendingAuthorization::new("https://app.example/", issuer).unwrap()
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let pending = PendingAuthorization {
            verifier: Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            ..pending()
        };
        assert_eq!(pending.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn numbers_of_a_refusal_are_in_its_text() {
        let sent = Secrets::from(Secret::new("65004"));
        for (sent, expected) in [(Secrets::none(), &[65_004, 90_094][..]), (sent, &[90_094])] {
            let error = refused("consent_required", Some("AADSTS65004: no. AADSTS90094: no."), &sent);
            assert_eq!((error.code(), error.server_codes()), ("consent_required", expected));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_gives_a_code(text in ".*", issuer in ".*") {
            let pending = pending();
            prop_assert!(pending.receive(&text).is_err());
            let answer = form_urlencoded::Serializer::new(String::new())
                .append_pair("state", pending.state.expose())
                .append_pair("iss", &issuer)
                .append_pair("error", &text)
                .finish();
            prop_assert!(pending.receive(&answer).is_err());
            prop_assert!(PendingAuthorization::from_session(&Secret::new(text)).is_err());
        }
    }
}
