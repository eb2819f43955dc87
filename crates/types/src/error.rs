//! What went wrong, and whose turn it is.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::CorrelationId;

/// The page that explains every code, with a section for each kind.
macro_rules! troubleshooting {
    ($section:literal) => {
        concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/TROUBLESHOOTING.md#", $section)
    };
}

/// The longest body excerpt, in characters.
const EXCERPT_LENGTH: usize = 512;
/// A longer run of token characters is taken for a secret and never shown. A GUID has 36; Entra's
/// client secrets have about 40.
const TOKEN_LENGTH: usize = 36;

/// Why a token could not be had: the one error of the token core, the minter and the facade.
///
/// `Display` says what was being done and what to do next; [`source`](std::error::Error::source)
/// says why. Neither contains a response body, a token, a claim or an identifier. Decide on
/// [`kind`](Self::kind) and [`code`](Self::code), never on the text. Clones are cheap, so all
/// callers that waited for one exchange get the same error.
#[derive(Clone)]
pub struct Error(Arc<Details>);

#[derive(Clone)]
struct Details {
    kind: ErrorKind,
    code: Cow<'static, str>,
    summary: Cow<'static, str>,
    advice: Cow<'static, str>,
    transient: bool,
    retry_after: Option<Duration>,
    status: Option<u16>,
    server_codes: Vec<u32>,
    claims: Option<String>,
    correlation_id: Option<CorrelationId>,
    excerpt: Option<String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's: the request or the configuration is wrong. Nothing was sent.
    Request,
    /// The operator's: this host cannot do what was asked.
    Environment,
    /// The credential's: it could not be obtained, or the service refused it.
    Credential,
    /// The service's: it was reached and answered with an error.
    Service,
    /// The service's: it answered something that must not be used.
    Response,
    /// The network's: the service was not reached, or not in time.
    Network,
}

impl Error {
    /// An error with its stable code and a sentence that says what was being done.
    pub fn new(
        kind: ErrorKind,
        code: impl Into<Cow<'static, str>>,
        summary: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Arc::new(Details {
            kind,
            code: code.into(),
            summary: summary.into(),
            advice: Cow::Borrowed(""),
            transient: false,
            retry_after: None,
            status: None,
            server_codes: Vec::new(),
            claims: None,
            correlation_id: None,
            excerpt: None,
            source: None,
        }))
    }

    /// Says for whom it was done, in front of what was being done.
    #[must_use]
    pub fn with_context(self, whose: impl fmt::Display) -> Self {
        self.edit(|details| details.summary = format!("{whose}: {}", details.summary).into())
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_advice(self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.edit(|details| details.advice = advice.into())
    }

    /// Says that the same request may succeed later.
    #[must_use]
    pub fn with_transient(self, transient: bool) -> Self {
        self.edit(|details| details.transient = transient)
    }

    /// Adds how long the service asked to wait.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        self.edit(|details| details.retry_after = retry_after)
    }

    /// Adds the HTTP status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        self.edit(|details| details.status = Some(status))
    }

    /// Adds the numbers of the service's own error codes (AADSTS).
    #[must_use]
    pub fn with_server_codes(self, codes: impl Into<Vec<u32>>) -> Self {
        self.edit(|details| details.server_codes = codes.into())
    }

    /// Adds the claims challenge that came with the refusal.
    #[must_use]
    pub fn with_claims(self, claims: Option<String>) -> Self {
        self.edit(|details| details.claims = claims)
    }

    /// Adds the id under which the request is logged.
    #[must_use]
    pub fn with_correlation_id(self, id: CorrelationId) -> Self {
        self.edit(|details| details.correlation_id = Some(id))
    }

    /// Adds a bounded excerpt of a text that the service sent, with whatever looks like a token
    /// taken out.
    #[must_use]
    pub fn with_excerpt(self, text: &str) -> Self {
        self.edit(|details| details.excerpt = Some(redact(text)))
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.edit(|details| details.source = Some(Arc::new(source)))
    }

    fn edit(mut self, change: impl FnOnce(&mut Details)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Whose turn it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable, `snake_case` name of what happened: one of ours, or an OAuth error code as the
    /// server sent it (RFC 6749 §5.2).
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What to do next; empty when there is nothing to add.
    #[must_use]
    pub fn advice(&self) -> &str {
        &self.0.advice
    }

    /// Where this is explained for somebody who sees it for the first time: the section about errors of
    /// this kind, in which the code is looked up.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self.0.kind {
            ErrorKind::Request => troubleshooting!("request"),
            ErrorKind::Environment => troubleshooting!("environment"),
            ErrorKind::Credential => troubleshooting!("credential"),
            ErrorKind::Service => troubleshooting!("service"),
            ErrorKind::Response => troubleshooting!("response"),
            ErrorKind::Network => troubleshooting!("network"),
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }

    /// How long the service asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The HTTP status that the service answered with.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The numbers of the service's own error codes, for example 7000215 for AADSTS7000215.
    #[must_use]
    pub fn server_codes(&self) -> &[u32] {
        &self.0.server_codes
    }

    /// The claims challenge to hand back to the next request's `claims`, as JSON.
    #[must_use]
    pub fn claims(&self) -> Option<&str> {
        self.0.claims.as_deref()
    }

    /// The id under which the services involved log the request.
    #[must_use]
    pub fn correlation_id(&self) -> Option<CorrelationId> {
        self.0.correlation_id
    }

    /// A bounded excerpt of what the service said, for a person to read: at most 512 characters,
    /// and without anything that looks like a token.
    #[must_use]
    pub fn excerpt(&self) -> Option<&str> {
        self.0.excerpt.as_deref()
    }
}

/// Cuts a text to its first 512 characters, replaces control characters, and blanks every run that
/// could be a token, a key or an assertion.
fn redact(text: &str) -> String {
    let mut shown = String::new();
    let mut run = String::new();
    let flush = |shown: &mut String, run: &mut String| {
        if run.len() > TOKEN_LENGTH {
            shown.push_str("[redacted]");
        } else {
            shown.push_str(run);
        }
        run.clear();
    };
    for character in text.chars() {
        if character.is_ascii_alphanumeric()
            || matches!(character, '-' | '_' | '.' | '+' | '/' | '=' | '%' | '~')
        {
            run.push(character);
            continue;
        }
        flush(&mut shown, &mut run);
        if shown.chars().count() >= EXCERPT_LENGTH {
            break;
        }
        shown.push(if character.is_control() { ' ' } else { character });
    }
    flush(&mut shown, &mut run);
    match shown.char_indices().nth(EXCERPT_LENGTH) {
        Some((end, _)) => shown[..end].to_owned() + "…",
        None => shown,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = &*self.0;
        f.write_str(&details.summary)?;
        let mut facts = Vec::new();
        facts.extend(details.status.map(|status| format!("HTTP {status}")));
        facts.extend(details.server_codes.iter().map(|code| format!("AADSTS{code}")));
        if !facts.is_empty() {
            write!(f, " ({})", facts.join(", "))?;
        }
        if !details.advice.is_empty() {
            write!(f, "; {}", details.advice)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("code", &self.0.code)
            .field("summary", &self.0.summary)
            .field("status", &self.0.status)
            .field("server_codes", &self.0.server_codes)
            .field("transient", &self.0.transient)
            .field("correlation_id", &self.0.correlation_id)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn display_says_what_happened_and_what_to_do() {
        let error = Error::new(
            ErrorKind::Credential,
            "invalid_client",
            "the token service refused the client secret",
        )
        .with_status(401)
        .with_server_codes([7_000_215])
        .with_advice("check that the secret has not expired");
        assert_eq!(
            error.to_string(),
            "the token service refused the client secret (HTTP 401, AADSTS7000215); check that the secret has not expired"
        );
    }

    #[test]
    fn display_does_not_repeat_the_source() {
        let error = Error::new(ErrorKind::Network, "transport_error", "could not reach the token service")
            .with_source(std::io::Error::other("connection refused"));
        assert_eq!(error.to_string(), "could not reach the token service");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("connection refused"));
    }

    #[test]
    fn a_clone_can_be_amended_without_changing_the_original() {
        let original = Error::new(ErrorKind::Service, "server_error", "it failed");
        let amended = original.clone().with_status(503);
        assert_eq!((original.status(), amended.status()), (None, Some(503)));
    }

    #[test]
    fn a_context_stands_in_front_of_what_was_being_done() {
        let error = Error::new(ErrorKind::Network, "timeout", "it did not answer").with_advice("wait");
        let amended = error.with_context("managed identity");
        assert_eq!(amended.to_string(), "managed identity: it did not answer; wait");
        assert_eq!((amended.code(), amended.kind()), ("timeout", ErrorKind::Network));
    }

    #[test]
    fn what_is_longer_than_a_guid_is_not_shown() {
        let hidden = "[redacted]";
        for (case, text, shown) in [
            ("a GUID", "751a212b-4003-416e-b600-e1f48e40db9f", "751a212b-4003-416e-b600-e1f48e40db9f"),
            ("one more", "751a212b-4003-416e-b600-e1f48e40db9fa", hidden),
            ("base64url", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", hidden),
            ("base64", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", hidden),
            ("base64 with slashes", "AAAAAAAA/AAAAAAAA/AAAAAAAA/AAAAAAAA/AAAA", hidden),
            ("base64 with plus signs", "AAAAAAAA+AAAAAAAA+AAAAAAAA+AAAAAAAA+AAAA", hidden),
            ("padded", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", hidden),
            ("percent-encoded", "AAAAAAAA%2FAAAAAAAA%2FAAAAAAAA%2FAAAAAAAA", hidden),
            ("a client secret", "AAA8Q~AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", hidden),
            ("a JWT", "AAAAAAAAAAAAA.AAAAAAAAAAAAA.AAAAAAAAAAAAA", hidden),
            (
                "words",
                "a sentence of more than thirty-six characters",
                "a sentence of more than thirty-six characters",
            ),
        ] {
            let error = Error::new(ErrorKind::Service, "x", "y").with_excerpt(&format!("<{text}>"));
            assert_eq!(error.excerpt(), Some(format!("<{shown}>").as_str()), "{case}");
        }
    }

    #[test]
    fn an_excerpt_is_bounded_and_shows_no_token() {
        let token = format!("eyJ{}", "A1-_".repeat(200));
        let error =
            Error::new(ErrorKind::Service, "x", "y").with_excerpt(&format!("before {token} after\r\nnext"));
        assert_eq!(error.excerpt(), Some("before [redacted] after  next"));
        let long = Error::new(ErrorKind::Service, "x", "y").with_excerpt(&"word ".repeat(1000));
        assert_eq!(long.excerpt().map(|text| text.chars().count()), Some(EXCERPT_LENGTH + 1));
        for shown in [format!("{error:?}"), format!("{error}")] {
            assert!(!shown.contains("before"), "{shown}");
        }
    }
}
