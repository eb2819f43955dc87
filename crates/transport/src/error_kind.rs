//! Kinds of transport errors, and the errors that they stand for.

use symbolon_types::ErrorKind;

/// The category of a transport error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The request needs TLS and its URL has none, or plain HTTP would go to an address that is not
    /// [local](crate::is_local_address). Nothing was sent.
    Insecure,
    /// The transport lacks an ability that the request needs. Nothing was sent.
    Unsupported,
    /// A setting that the request needs is unusable, such as the URL of a proxy. Nothing was sent.
    Misconfigured,
    /// Name resolution, the TCP connection or the proxy failed.
    Connect,
    /// The proxy refused to connect to the server: it requires other credentials, or its policy
    /// forbids the server. Nothing was sent.
    ProxyRefused,
    /// TLS failed for a reason other than the client certificate: the server's certificate is not
    /// trusted, there is no common version, or the server requested a renegotiation that the client
    /// refused.
    Tls,
    /// The server refused the client certificate: a fatal alert in or after the handshake, or the
    /// loss of two new connections in a row that presented it, before the first byte of a response.
    IdentityRejected,
    /// The private key of the client certificate failed to sign the handshake.
    IdentityUnusable,
    /// The server did not request the client certificate: not in the handshake, and nothing was
    /// sent; or, where the request [permits it](crate::Request::with_late_certificate), not before
    /// it accepted the request.
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

impl TransportErrorKind {
    /// Returns the name of the kind, for the label of a metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insecure => "insecure",
            Self::Unsupported => "unsupported",
            Self::Misconfigured => "misconfigured",
            Self::Connect => "connect",
            Self::ProxyRefused => "proxy_refused",
            Self::Tls => "tls",
            Self::IdentityRejected => "identity_rejected",
            Self::IdentityUnusable => "identity_unusable",
            Self::IdentityNotRequested => "identity_not_requested",
            Self::Interrupted => "interrupted",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Protocol => "protocol",
            Self::Panicked => "panicked",
        }
    }

    /// Returns true if nothing was sent before an error of this kind.
    pub(crate) fn is_unprocessed(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::IdentityNotRequested
                | Self::IdentityUnusable
                | Self::Insecure
                | Self::Misconfigured
                | Self::ProxyRefused
                | Self::Unsupported
        )
    }

    /// Returns true if the same request may succeed later.
    pub(crate) fn is_transient(self) -> bool {
        matches!(self, Self::Connect | Self::Interrupted | Self::Timeout)
    }
}

/// The [`Error`](symbolon_types::Error) that a kind of transport error stands for.
pub(crate) struct Mapping {
    pub(crate) kind: ErrorKind,
    pub(crate) code: &'static str,
    /// Completes a sentence whose subject is the server.
    pub(crate) problem: &'static str,
    pub(crate) advice: &'static str,
}

impl Mapping {
    pub(crate) fn of(kind: TransportErrorKind) -> Self {
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
            Kind::Misconfigured => (
                ErrorKind::Request,
                "invalid_configuration",
                "was not called, because a setting is unusable; nothing was sent",
                "correct the setting",
            ),
            Kind::ProxyRefused => (
                ErrorKind::Network,
                "transport_error",
                "could not be reached, because the proxy refused",
                "check the credentials of the proxy, and that its policy allows the server",
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
                "use an endpoint that requests a client certificate in the TLS handshake; for one that requests it \
                 later, such as Azure Key Vault, set `late_client_certificate` and send with the crate symbolon-openssl \
                 (`symbolon call --tls openssl`)",
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
