//! The error of the token core, the minter and the facade.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::printable::{is_shown, printable};
use crate::redaction::redact;
use crate::{CorrelationId, RequestMetadata, Secrets};

/// A longer wait that the service requested is part of the text: no request waits for it.
const TOLD_WAIT: Duration = Duration::from_secs(60);

/// Codes of token services: of RFC 6749 §5.2, of RFC 6750 §3.1, and those of Entra
/// (`docs/protocol/errors.md`).
const OAUTH_CODES: [&str; 14] = [
    "access_denied",
    "consent_required",
    "insufficient_claims",
    "interaction_required",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_resource",
    "invalid_response",
    "invalid_scope",
    "login_required",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
];

/// The error returned when a token cannot be acquired.
///
/// `Display` is one line: the failed operation, then the advice. The cause is the
/// [`source`](std::error::Error::source). `Debug`, which `unwrap` and a `main` that returns an
/// error print, adds the code, the chain of causes and the correlation id, one per line. None of
/// them contains a response body, a token or claims. Control and other invisible characters are
/// escaped in every text, as by [`printable()`]. Match on [`kind`](Self::kind) and
/// [`code`](Self::code), never on the text. Clones are cheap: all callers that share one token
/// request get the same error.
#[derive(Clone)]
pub struct Error(Arc<ErrorDetails>);

#[derive(Clone)]
struct ErrorDetails {
    kind: ErrorKind,
    code: Cow<'static, str>,
    summary: Cow<'static, str>,
    advice: Cow<'static, str>,
    transient: bool,
    retry_after: Option<Duration>,
    status: Option<u16>,
    server_codes: Vec<u32>,
    claims: Option<String>,
    suberror: Option<String>,
    correlation_id: Option<CorrelationId>,
    excerpt: Option<String>,
    metadata: RequestMetadata,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The party that can resolve an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller: the request or the configuration is wrong. Nothing was sent.
    Request,
    /// The operator of this host: the host cannot fulfil the request.
    Environment,
    /// The owner of the credential: it could not be obtained, or the service refused it.
    Credential,
    /// The service: it responded with an error.
    Service,
    /// The service: its response must not be used.
    Response,
    /// The network: the service was not reached, or not in time.
    Network,
}

impl Error {
    /// Creates an error with its stable code and a summary of the failed operation.
    pub fn new(
        kind: ErrorKind,
        code: impl Into<Cow<'static, str>>,
        summary: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Arc::new(ErrorDetails {
            kind,
            code: visible(code),
            summary: visible(summary),
            advice: Cow::Borrowed(""),
            transient: false,
            retry_after: None,
            status: None,
            server_codes: Vec::new(),
            claims: None,
            suberror: None,
            correlation_id: None,
            excerpt: None,
            metadata: RequestMetadata::default(),
            source: None,
        }))
    }

    /// Prefixes the summary with the component that failed.
    #[must_use]
    pub fn with_context(self, component: impl fmt::Display) -> Self {
        self.edit(|details| details.summary = visible(format!("{component}: {}", details.summary)))
    }

    /// Sets the advice.
    #[must_use]
    pub fn with_advice(self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.edit(|details| details.advice = visible(advice))
    }

    /// Sets whether the same request may succeed later.
    #[must_use]
    pub fn with_transient(self, transient: bool) -> Self {
        self.edit(|details| details.transient = transient)
    }

    /// Sets the wait that the service requested.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        self.edit(|details| details.retry_after = retry_after)
    }

    /// Sets the HTTP status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        self.edit(|details| details.status = Some(status))
    }

    /// Sets the numbers of the service's own error codes (AADSTS).
    #[must_use]
    pub fn with_server_codes(self, codes: impl Into<Vec<u32>>) -> Self {
        self.edit(|details| details.server_codes = codes.into())
    }

    /// Sets the claims challenge of the response.
    #[must_use]
    pub fn with_claims(self, claims: Option<String>) -> Self {
        self.edit(|details| details.claims = claims)
    }

    /// Sets the `suberror` of the response.
    #[must_use]
    pub fn with_suberror(self, suberror: Option<String>) -> Self {
        self.edit(|details| details.suberror = suberror.map(|text| visible(text).into_owned()))
    }

    /// Sets the id under which services log the request.
    #[must_use]
    pub fn with_correlation_id(self, id: CorrelationId) -> Self {
        self.edit(|details| details.correlation_id = Some(id))
    }

    /// Sets a bounded excerpt of the response body, with the secrets of the request and everything
    /// that may be a token redacted.
    #[must_use]
    pub fn with_excerpt(self, text: &str, sent: &Secrets) -> Self {
        self.edit(|details| details.excerpt = Some(redact(&sent.redact(text))))
    }

    /// Changes the facts about the request that failed.
    #[must_use]
    pub fn with_metadata(self, change: impl FnOnce(&mut RequestMetadata)) -> Self {
        self.edit(|details| change(&mut details.metadata))
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.edit(|details| details.source = Some(Arc::new(source)))
    }

    /// Writes the summary, with the status and the server's codes.
    fn write_summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.summary)?;
        let status = self.0.status.map(|status| format!("HTTP {status}"));
        let codes = self.0.server_codes.iter().map(|code| format!("AADSTS{code}"));
        let wait = self.0.retry_after.filter(|wait| *wait > TOLD_WAIT);
        let wait = wait.map(|wait| format!("retry after {} s", wait.as_secs()));
        let facts: Vec<String> = status.into_iter().chain(codes).chain(wait).collect();
        if facts.is_empty() { Ok(()) } else { write!(f, " ({})", facts.join(", ")) }
    }

    fn edit(mut self, change: impl FnOnce(&mut ErrorDetails)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns the party that can resolve the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the stable `snake_case` code: one of Symbolon, or an OAuth error code as the server
    /// sent it (RFC 6749 §5.2). `TROUBLESHOOTING.md` explains each of Symbolon's, and
    /// `symbolon explain CODE` prints that section.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Returns the code for the label of a metric: one of a limited set, or `_OTHER`, as the
    /// attribute `error.type` of OpenTelemetry. A code that a server or a program made up is
    /// `_OTHER`.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match &self.0.code {
            Cow::Borrowed(code) => code,
            Cow::Owned(code) => OAUTH_CODES.into_iter().find(|known| known == code).unwrap_or("_OTHER"),
        }
    }

    /// Returns the recommended next step; empty if there is none.
    #[must_use]
    pub fn advice(&self) -> &str {
        &self.0.advice
    }

    /// Returns true if the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }

    /// Returns the wait that the service requested.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns the numbers of the service's own error codes, for example 7000215 for AADSTS7000215.
    #[must_use]
    pub fn server_codes(&self) -> &[u32] {
        &self.0.server_codes
    }

    /// Returns the claims challenge, as JSON, to pass to `claims` of the next request.
    #[must_use]
    pub fn claims(&self) -> Option<&str> {
        self.0.claims.as_deref()
    }

    /// Returns the code by which Entra refines an `invalid_grant` or `interaction_required`, such
    /// as `bad_token`, `consent_required` or `message_only`.
    #[must_use]
    pub fn suberror(&self) -> Option<&str> {
        self.0.suberror.as_deref()
    }

    /// Returns the id under which services log the request.
    #[must_use]
    pub fn correlation_id(&self) -> Option<CorrelationId> {
        self.0.correlation_id
    }

    /// Returns the facts about the request that failed: its durations, the token endpoint, the
    /// region, the reason for the fetch.
    #[must_use]
    pub fn metadata(&self) -> &RequestMetadata {
        &self.0.metadata
    }

    /// Returns an excerpt of the response body for a person to read: at most 512 characters, with
    /// the secrets of the request and everything that may be a token or a key redacted. URLs,
    /// paths, subjects, GUIDs and thumbprints stay.
    #[must_use]
    pub fn excerpt(&self) -> Option<&str> {
        self.0.excerpt.as_deref()
    }
}

/// Escapes the invisible characters of a text.
fn visible(text: impl Into<Cow<'static, str>>) -> Cow<'static, str> {
    let text = text.into();
    if text.chars().all(is_shown) { text } else { printable(text).to_string().into() }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_summary(f)?;
        if !self.0.advice.is_empty() {
            write!(f, "; {}", self.0.advice)?;
        }
        Ok(())
    }
}

/// A report for a terminal: the summary, then the advice, the code, the causes and the correlation
/// id, each on its own line. The alternate form `{:#?}` shows the fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = &*self.0;
        if f.alternate() {
            return f
                .debug_struct("Error")
                .field("kind", &details.kind)
                .field("code", &details.code)
                .field("summary", &details.summary)
                .field("advice", &details.advice)
                .field("status", &details.status)
                .field("server_codes", &details.server_codes)
                .field("transient", &details.transient)
                .field("correlation_id", &details.correlation_id)
                .field("source", &details.source)
                .finish_non_exhaustive();
        }
        self.write_summary(f)?;
        if !details.advice.is_empty() {
            write!(f, "\n  advice: {}", details.advice)?;
        }
        write!(f, "\n  code: {} ({:?})", details.code, details.kind)?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "\n  caused by: {}", printable(error))?;
            cause = error.source();
        }
        if let Some(id) = details.correlation_id {
            write!(f, "\n  correlation id: {id}")?;
        }
        Ok(())
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
    use crate::redaction::EXCERPT_LENGTH;

    #[test]
    fn display_is_summary_and_advice() {
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
    fn error_type_is_one_of_a_limited_set() {
        let error_type = |code| Error::new(ErrorKind::Service, code, "it failed").error_type();
        assert_eq!(error_type(Cow::Borrowed("timeout")), "timeout");
        assert_eq!(error_type(Cow::Owned("invalid_grant".to_owned())), "invalid_grant");
        assert_eq!(error_type(Cow::Owned("made_up_by_a_server".to_owned())), "_OTHER");
    }

    #[test]
    fn display_does_not_repeat_the_source() {
        let error = Error::new(ErrorKind::Network, "transport_error", "could not reach the token service")
            .with_source(std::io::Error::other("connection refused"));
        assert_eq!(error.to_string(), "could not reach the token service");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("connection refused"));
    }

    #[test]
    fn debug_is_a_readable_report() {
        let id = CorrelationId::random();
        let error = Error::new(ErrorKind::Network, "transport_error", "the token service is unreachable")
            .with_advice("check the network")
            .with_correlation_id(id)
            .with_claims(Some("s3cr3t".to_owned()))
            .with_excerpt("s3cr3t", &Secrets::none())
            .with_source(std::io::Error::other("connection refused"));
        assert_eq!(
            format!("{error:?}"),
            format!(
                "the token service is unreachable\n  advice: check the network\n  \
                 code: transport_error (Network)\n  caused by: connection refused\n  correlation id: {id}"
            )
        );
        let fields = format!("{error:#?}");
        assert!(fields.contains("advice: \"check the network\"") && !fields.contains("s3cr3t"), "{fields}");
    }

    #[test]
    fn invisible_characters_are_escaped() {
        let hostile = "\u{1b}[2J\u{9b}\u{202e}\r\nx";
        let error = Error::new(ErrorKind::Service, hostile.to_owned(), hostile.to_owned())
            .with_context(hostile)
            .with_advice(hostile.to_owned())
            .with_excerpt(hostile, &Secrets::default())
            .with_source(std::io::Error::other(hostile));
        assert_eq!(error.excerpt(), Some(r"\u{1b}[2J\u{9b}\u{202e}  x"));
        assert_eq!((error.code(), error.advice()), (printable(hostile).to_string().as_str(), error.code()));
        assert_eq!(error.to_string().lines().count(), 1);
        let debug = format!("{error:?}");
        assert_eq!(debug.lines().count(), 4, "{debug}");
        for shown in [error.to_string(), debug, format!("{error:#?}")] {
            assert!(shown.chars().all(|character| is_shown(character) || character == '\n'), "{shown}");
        }
    }

    #[test]
    fn editing_a_clone_keeps_the_original() {
        let original = Error::new(ErrorKind::Service, "server_error", "it failed");
        let amended = original.clone().with_status(503);
        assert_eq!((original.status(), amended.status()), (None, Some(503)));
    }

    #[test]
    fn long_wait_is_part_of_the_text() {
        let error = Error::new(ErrorKind::Service, "x", "it failed").with_status(429);
        for (seconds, expected) in [
            (None, "it failed (HTTP 429)"),
            (Some(60), "it failed (HTTP 429)"),
            (Some(61), "it failed (HTTP 429, retry after 61 s)"),
            (Some(86_400), "it failed (HTTP 429, retry after 86400 s)"),
        ] {
            let error = error.clone().with_retry_after(seconds.map(Duration::from_secs));
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn context_prefixes_the_summary() {
        let error = Error::new(ErrorKind::Network, "timeout", "it did not answer").with_advice("wait");
        let amended = error.with_context("managed identity");
        assert_eq!(amended.to_string(), "managed identity: it did not answer; wait");
        assert_eq!((amended.code(), amended.kind()), ("timeout", ErrorKind::Network));
    }

    #[test]
    fn runs_longer_than_a_guid_are_redacted() {
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
            let error =
                Error::new(ErrorKind::Service, "x", "y").with_excerpt(&format!("<{text}>"), &Secrets::none());
            assert_eq!(error.excerpt(), Some(format!("<{shown}>").as_str()), "{case}");
        }
    }

    #[test]
    fn excerpt_is_bounded_and_redacted() {
        let token = format!("eyJ{}", "A1-_".repeat(200));
        let error = Error::new(ErrorKind::Service, "x", "y")
            .with_excerpt(&format!("before {token} after\r\nnext"), &Secrets::none());
        assert_eq!(error.excerpt(), Some("before [redacted] after  next"));
        let long =
            Error::new(ErrorKind::Service, "x", "y").with_excerpt(&"word ".repeat(1000), &Secrets::none());
        assert_eq!(long.excerpt().map(|text| text.chars().count()), Some(EXCERPT_LENGTH + 1));
        for shown in [format!("{error:?}"), format!("{error}")] {
            assert!(!shown.contains("before"), "{shown}");
        }
    }
}
