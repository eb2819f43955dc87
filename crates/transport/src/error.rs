//! Why there is no response.

use std::fmt;
use std::sync::Arc;

use symbolon_types::{Error, ErrorKind};

/// Why a request got no response. Clones are cheap.
#[derive(Clone)]
pub struct TransportError {
    kind: TransportErrorKind,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What happened to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// Refused before a byte was sent: it would have left without TLS.
    Insecure,
    /// Refused before a byte was sent: this transport cannot do what the request needs.
    Unsupported,
    /// The server was not reached: name resolution, the TCP connection, or the proxy failed.
    Connect,
    /// The TLS handshake failed for a reason that is not our certificate: the server's certificate
    /// is not trusted, or there is no common version.
    Tls,
    /// The server refused our client certificate: a fatal alert in or after the handshake, or a
    /// fresh connection that presented it was lost before the first byte of a response.
    IdentityRejected,
    /// The private key of our client certificate could not sign the handshake.
    IdentityUnusable,
    /// The server did not ask for a client certificate in the handshake, so ours could not be
    /// presented, and the request was not sent. Servers that ask by renegotiation (TLS 1.2) need a
    /// transport with [`renegotiation`](crate::Capabilities::renegotiation).
    IdentityNotRequested,
    /// The connection was lost before the response was complete.
    Interrupted,
    /// No complete response in time.
    Timeout,
    /// The response is larger than [`BODY_LIMIT`](crate::BODY_LIMIT).
    TooLarge,
    /// What came back is not HTTP.
    Protocol,
}

impl TransportError {
    /// An error without a further cause.
    #[must_use]
    pub fn new(kind: TransportErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(Arc::from(source.into())), ..self }
    }

    /// What happened to the request.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Whether the same request may get through later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use TransportErrorKind::{Connect, Interrupted, Timeout};
        matches!(self.kind, Connect | Interrupted | Timeout)
    }
}

impl TransportError {
    /// The same as an [`Error`], with a sentence that says what the request was for.
    #[must_use]
    pub fn into_error(self, summary: &'static str) -> Error {
        use TransportErrorKind as Kind;
        let (kind, code, advice) = match self.kind {
            Kind::Insecure => (ErrorKind::Request, "insecure_endpoint", "use an https URL"),
            Kind::Unsupported => (
                ErrorKind::Request,
                "transport_unsupported",
                "use a transport that declares what the request needs, such as symbolon-hyper",
            ),
            Kind::Connect => (
                ErrorKind::Network,
                "transport_error",
                "check the host name, the network, and the proxy if there is one",
            ),
            Kind::Tls => (
                ErrorKind::Network,
                "transport_error",
                "check that the server's certificate is issued by a trusted authority",
            ),
            Kind::IdentityRejected => (
                ErrorKind::Credential,
                "transport_error",
                "the certificate may be revoked, or the server may not know its issuer",
            ),
            Kind::IdentityUnusable => (
                ErrorKind::Credential,
                "transport_error",
                "check the device or the provider that holds the key",
            ),
            Kind::IdentityNotRequested => (
                ErrorKind::Environment,
                "transport_error",
                "the server takes no certificate in the handshake; it may need a transport with renegotiation",
            ),
            Kind::Interrupted => (ErrorKind::Network, "transport_error", "try again"),
            Kind::Timeout => (ErrorKind::Network, "timeout", "check that the server is reachable from here"),
            Kind::TooLarge => {
                (ErrorKind::Response, "response_too_large", "check that the URL is the right one")
            }
            Kind::Protocol => {
                (ErrorKind::Response, "invalid_response", "check that the URL is the right one")
            }
        };
        let is_transient = self.is_transient();
        Error::new(kind, code, summary).with_advice(advice).with_transient(is_transient).with_source(self)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::Insecure => "the request would have left without TLS and was not sent",
            TransportErrorKind::Unsupported => {
                "the transport cannot do what the request needs; nothing was sent"
            }
            TransportErrorKind::Connect => "the server could not be reached",
            TransportErrorKind::Tls => "the TLS handshake failed",
            TransportErrorKind::IdentityRejected => "the server refused the client certificate",
            TransportErrorKind::IdentityUnusable => "the key of the client certificate could not be used",
            TransportErrorKind::IdentityNotRequested => {
                "the server did not ask for the client certificate; nothing was sent"
            }
            TransportErrorKind::Interrupted => "the connection was lost before the response was complete",
            TransportErrorKind::Timeout => "no complete response in time",
            TransportErrorKind::TooLarge => "the response is larger than 1 MiB",
            TransportErrorKind::Protocol => "what the server sent is not HTTP",
        })
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

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
    fn each_kind_says_whose_turn_it_is_and_whether_to_try_again() {
        use TransportErrorKind as Kind;
        for (kind, code, turn, is_transient) in [
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
        ] {
            let cause = TransportError::new(kind).with_source("the cause");
            let told = cause.to_string();
            let error = cause.into_error("nobody could be asked");
            assert_eq!(
                (error.code(), error.kind(), error.is_transient()),
                (code, turn, is_transient),
                "{kind:?}"
            );
            assert!(error.to_string().starts_with("nobody could be asked; "), "{error}");
            let source = error.source().unwrap();
            assert_eq!(source.to_string(), told, "{kind:?}");
            assert_eq!(source.source().map(ToString::to_string).as_deref(), Some("the cause"), "{kind:?}");
        }
    }
}
