//! The error of a request without a response.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use symbolon_types::{Error, ErrorKind};

/// The error of a request that got no response. Clones are cheap.
#[derive(Clone)]
pub struct TransportError {
    kind: TransportErrorKind,
    is_unprocessed: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The category of a transport error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The request needs TLS and its URL has none, or plain HTTP would go to an address that is not
    /// [local](crate::is_local_address). Nothing was sent.
    Insecure,
    /// The transport lacks an ability that the request needs. Nothing was sent.
    Unsupported,
    /// Name resolution, the TCP connection or the proxy failed.
    Connect,
    /// The TLS handshake failed for a reason other than the client certificate: the server's
    /// certificate is not trusted, or there is no common version.
    Tls,
    /// The server refused the client certificate: a fatal alert in or after the handshake, or the
    /// loss of two new connections in a row that presented it, before the first byte of a response.
    IdentityRejected,
    /// The private key of the client certificate failed to sign the handshake.
    IdentityUnusable,
    /// The server did not request a client certificate in the handshake. Nothing was sent. Servers
    /// that request it by renegotiation (TLS 1.2) are not supported.
    IdentityNotRequested,
    /// The connection was lost before the response was complete.
    Interrupted,
    /// No complete response arrived in time.
    Timeout,
    /// The response body is larger than [`BODY_LIMIT`](crate::BODY_LIMIT).
    TooLarge,
    /// The response is not HTTP.
    Protocol,
    /// The transport panicked. The message of the panic is not part of the error.
    Panicked,
}

impl TransportError {
    /// Creates an error without a cause.
    #[must_use]
    pub fn new(kind: TransportErrorKind) -> Self {
        use TransportErrorKind::{Connect, IdentityNotRequested, IdentityUnusable, Insecure, Unsupported};
        let is_unprocessed =
            matches!(kind, Connect | IdentityNotRequested | IdentityUnusable | Insecure | Unsupported);
        Self { kind, is_unprocessed, source: None }
    }

    /// Sets whether the server has provably not processed the request. The default is true for the
    /// kinds after which nothing was sent, else false: [`Connect`](TransportErrorKind::Connect),
    /// [`IdentityNotRequested`](TransportErrorKind::IdentityNotRequested),
    /// [`IdentityUnusable`](TransportErrorKind::IdentityUnusable),
    /// [`Insecure`](TransportErrorKind::Insecure) and
    /// [`Unsupported`](TransportErrorKind::Unsupported).
    #[must_use]
    pub fn with_unprocessed(self, is_unprocessed: bool) -> Self {
        Self { is_unprocessed, ..self }
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    /// Returns the category.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Returns true if the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use TransportErrorKind::{Connect, Interrupted, Timeout};
        matches!(self.kind, Connect | Interrupted | Timeout)
    }

    /// Returns true if the server has provably not processed the request, so that even a request
    /// that is not [idempotent](crate::Idempotence) may be sent again.
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        self.is_unprocessed
    }

    /// Converts it into an [`Error`] with a summary of the failed operation.
    #[must_use]
    pub fn into_error(self, summary: impl Into<Cow<'static, str>>) -> Error {
        let Mapping { kind, code, advice, .. } = Mapping::of(self.kind);
        self.wrapped(kind, code, summary).with_advice(advice)
    }

    /// Converts it into the [`Error`] of a managed identity source, which `source` names.
    ///
    /// A source that was not reached is `managed_identity_unreachable`, whatever the cause: the
    /// endpoint comes from the host, not from the caller. Only an endpoint to which plain HTTP must
    /// not be sent is `invalid_managed_identity_endpoint`.
    #[must_use]
    pub fn into_source_error(self, source: impl fmt::Display) -> Error {
        let Mapping { kind, code, problem, advice } = Mapping::of(self.kind);
        let (kind, code, problem) = match self.kind {
            TransportErrorKind::Insecure => (
                ErrorKind::Environment,
                "invalid_managed_identity_endpoint",
                "has an http URL with an address outside of this machine and its private networks; \
                 nothing was sent",
            ),
            TransportErrorKind::Unsupported => (ErrorKind::Environment, code, problem),
            TransportErrorKind::Panicked
            | TransportErrorKind::Timeout
            | TransportErrorKind::TooLarge
            | TransportErrorKind::Protocol => (kind, code, problem),
            _ => (ErrorKind::Network, "managed_identity_unreachable", "could not be reached"),
        };
        self.wrapped(kind, code, format!("{source} {problem}")).with_advice(advice)
    }

    fn wrapped(self, kind: ErrorKind, code: &'static str, summary: impl Into<Cow<'static, str>>) -> Error {
        let is_transient = self.is_transient();
        Error::new(kind, code, summary).with_transient(is_transient).with_source(self)
    }
}

/// The [`Error`] that a kind of transport error stands for.
struct Mapping {
    kind: ErrorKind,
    code: &'static str,
    /// Completes a sentence whose subject is the server.
    problem: &'static str,
    advice: &'static str,
}

impl Mapping {
    fn of(kind: TransportErrorKind) -> Self {
        use TransportErrorKind as Kind;
        let (kind, code, problem, advice) = match kind {
            Kind::Insecure => {
                (ErrorKind::Request, "insecure_endpoint", "has an address without TLS", "use an https URL")
            }
            Kind::Unsupported => (
                ErrorKind::Request,
                "transport_unsupported",
                "requires an ability that this transport lacks; nothing was sent",
                "use a transport that declares the ability, such as symbolon-hyper in a Tokio runtime",
            ),
            Kind::Connect => (
                ErrorKind::Network,
                "transport_error",
                "could not be reached",
                "check the host name, the network, and the proxy if there is one",
            ),
            Kind::Tls => (
                ErrorKind::Network,
                "transport_error",
                "failed the TLS handshake",
                "check that the server's certificate is issued by a trusted authority; add the root certificate of the \
                 server or proxy with SSL_CERT_FILE, --ca-file or HyperTransport::builder().root_certificates_pem",
            ),
            Kind::IdentityRejected => (
                ErrorKind::Credential,
                "transport_error",
                "refused the client certificate",
                "check that the certificate is not revoked and that the server trusts its issuer",
            ),
            Kind::IdentityUnusable => (
                ErrorKind::Credential,
                "transport_error",
                "could not be authenticated to, because the private key failed",
                "check the device or the provider that holds the key",
            ),
            Kind::IdentityNotRequested => (
                ErrorKind::Environment,
                "transport_error",
                "did not request the client certificate",
                "use an endpoint that requests a client certificate in the TLS handshake, not by renegotiation",
            ),
            Kind::Interrupted => {
                (ErrorKind::Network, "transport_error", "closed the connection early", "try again")
            }
            Kind::Timeout => (
                ErrorKind::Network,
                "timeout",
                "did not respond in time",
                "check that the server is reachable from this machine, and try again",
            ),
            Kind::TooLarge => (
                ErrorKind::Response,
                "response_too_large",
                "sent a response larger than 1 MiB",
                "check that the URL is correct",
            ),
            Kind::Protocol => (
                ErrorKind::Response,
                "invalid_response",
                "sent a response that is not HTTP",
                "check that the URL is correct",
            ),
            Kind::Panicked => (
                ErrorKind::Environment,
                "panicked",
                "was not called successfully, because the transport panicked",
                "read the message of the panic on standard error, and correct its cause",
            ),
        };
        Self { kind, code, problem, advice }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TransportErrorKind::Insecure => {
                f.write_str("the URL has no TLS, which its address requires; nothing was sent")
            }
            TransportErrorKind::IdentityUnusable => {
                f.write_str("the private key of the client certificate failed to sign")
            }
            TransportErrorKind::Panicked => f.write_str("the transport panicked"),
            kind => write!(f, "the server {}", Mapping::of(kind).problem),
        }
    }
}

symbolon_types::debug_fields!(TransportError: kind, is_unprocessed, source);

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<TransportErrorKind> for TransportError {
    fn from(kind: TransportErrorKind) -> Self {
        Self::new(kind)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn kinds_map_to_errors() {
        use TransportErrorKind as Kind;
        for (kind, code, party, is_transient) in [
            (Kind::Insecure, "insecure_endpoint", ErrorKind::Request, false),
            (Kind::Unsupported, "transport_unsupported", ErrorKind::Request, false),
            (Kind::Connect, "transport_error", ErrorKind::Network, true),
            (Kind::Tls, "transport_error", ErrorKind::Network, false),
            (Kind::IdentityRejected, "transport_error", ErrorKind::Credential, false),
            (Kind::IdentityUnusable, "transport_error", ErrorKind::Credential, false),
            (Kind::IdentityNotRequested, "transport_error", ErrorKind::Environment, false),
            (Kind::Interrupted, "transport_error", ErrorKind::Network, true),
            (Kind::Timeout, "timeout", ErrorKind::Network, true),
            (Kind::TooLarge, "response_too_large", ErrorKind::Response, false),
            (Kind::Protocol, "invalid_response", ErrorKind::Response, false),
            (Kind::Panicked, "panicked", ErrorKind::Environment, false),
        ] {
            let cause = TransportError::new(kind).with_source("the cause");
            let message = cause.to_string();
            let error = cause.into_error("no token");
            assert_eq!(
                (error.code(), error.kind(), error.is_transient()),
                (code, party, is_transient),
                "{kind:?}"
            );
            assert!(error.to_string().starts_with("no token; "), "{error}");
            let source = error.source().unwrap();
            assert_eq!(source.to_string(), message, "{kind:?}");
            assert_eq!(source.source().map(ToString::to_string).as_deref(), Some("the cause"), "{kind:?}");
        }
    }

    #[test]
    fn nothing_was_sent_after_some_kinds() {
        use TransportErrorKind as Kind;
        for (kind, is_unprocessed) in [
            (Kind::Insecure, true),
            (Kind::Unsupported, true),
            (Kind::Connect, true),
            (Kind::Tls, false),
            (Kind::IdentityRejected, false),
            (Kind::IdentityUnusable, true),
            (Kind::IdentityNotRequested, true),
            (Kind::Interrupted, false),
            (Kind::Timeout, false),
            (Kind::TooLarge, false),
            (Kind::Protocol, false),
        ] {
            let error = TransportError::new(kind);
            assert_eq!(error.is_unprocessed(), is_unprocessed, "{kind:?}");
            assert!(error.with_unprocessed(true).with_source("the cause").is_unprocessed(), "{kind:?}");
        }
    }

    #[test]
    fn sources_map_connection_failures_alike() {
        use TransportErrorKind as Kind;
        for (kind, code, party) in [
            (Kind::Connect, "managed_identity_unreachable", ErrorKind::Network),
            (Kind::Tls, "managed_identity_unreachable", ErrorKind::Network),
            (Kind::Insecure, "invalid_managed_identity_endpoint", ErrorKind::Environment),
            (Kind::Unsupported, "transport_unsupported", ErrorKind::Environment),
            (Kind::Timeout, "timeout", ErrorKind::Network),
            (Kind::TooLarge, "response_too_large", ErrorKind::Response),
            (Kind::Protocol, "invalid_response", ErrorKind::Response),
            (Kind::Panicked, "panicked", ErrorKind::Environment),
        ] {
            let error = TransportError::new(kind).into_source_error("Cloud Shell");
            assert_eq!((error.code(), error.kind()), (code, party), "{kind:?}");
            assert!(error.to_string().starts_with("Cloud Shell "), "{error}");
        }
    }
}
