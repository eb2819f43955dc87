//! Errors of settings and of connections, and the classification of TLS failures.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::AlertDescription;
use symbolon_types::SigningError;

use crate::client_auth::ClientAuthRecord;

const PRIVATE_ROOTS_ADVICE: &str = "its certificate must be issued by one of the root certificates that were given for this server alone, such as those in AZURE_KUBERNETES_CA_FILE: check that they are current";

/// The error of [`ClientConfigsBuilder::build`](crate::ClientConfigsBuilder::build).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A root certificate is malformed.
    #[error("root certificate {position} is malformed; give each as one X.509 certificate")]
    MalformedRoot {
        /// The position among the given certificates or in the PEM text, counted from 1.
        position: usize,
    },
    /// The PEM text contains no certificate.
    #[error(
        "the PEM text of root certificates contains no CERTIFICATE block; convert a certificate in DER with \
         `openssl x509 -inform DER`"
    )]
    NoRoot,
    /// The minimum TLS version is newer than the maximum.
    #[error("the minimum TLS version is newer than the maximum; allow TLS 1.2, 1.3 or both")]
    NoTlsVersion,
    /// The crypto provider supports none of the allowed TLS versions.
    #[error("the crypto provider has no cipher suite or no key exchange for the allowed TLS versions")]
    UnsuitableCryptoProvider,
}

/// The error of a TLS connection, or of making its configuration.
#[derive(Debug)]
pub struct TlsError {
    kind: TlsErrorKind,
    /// `name:port`
    server: Option<String>,
    roots: RootsNote,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The facts about trusted roots that the error of a refused server mentions.
#[derive(Clone, Debug, Default)]
pub(crate) struct RootsNote {
    /// The roots that could not be read, in words.
    pub(crate) skipped: Option<Arc<str>>,
    /// True if the server has roots of its own, in place of those for all servers.
    pub(crate) are_private: bool,
}

/// The category of a TLS error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The root certificates could not be loaded. Nothing was sent.
    Roots,
    /// The client refused the server's certificate: its issuer is not trusted, it is for another
    /// name, or it is not the pinned one.
    ServerCertificate,
    /// The handshake failed for another reason that is not the client certificate, such as no
    /// common version.
    Handshake,
    /// The server refused the client certificate: a fatal alert in or after the handshake.
    IdentityRejected,
    /// The connection was lost without an alert, after the server could have seen the client
    /// certificate. Some servers refuse a certificate in this way; if the next new connection is
    /// lost too, it was probably refused.
    LostWithIdentity,
    /// The private key of the client certificate failed to sign the handshake.
    IdentityUnusable,
    /// The server did not request the client certificate in the handshake.
    IdentityNotRequested,
    /// The connection was lost, and the server had not seen a client certificate.
    Interrupted,
}

impl TlsError {
    /// Creates an error without a cause.
    #[must_use]
    pub fn new(kind: TlsErrorKind) -> Self {
        Self { kind, server: None, roots: RootsNote::default(), source: None }
    }

    /// Returns the category.
    #[must_use]
    pub fn kind(&self) -> TlsErrorKind {
        self.kind
    }

    /// Returns the advice for the cause, if it is more precise than that of the kind.
    #[must_use]
    pub fn advice(&self) -> Option<Cow<'static, str>> {
        let source = self.source.as_deref()?;
        let error = tls_error(source)?;
        if self.roots.are_private && self.kind == TlsErrorKind::ServerCertificate && is_untrusted(error) {
            return Some(PRIVATE_ROOTS_ADVICE.into());
        }
        let advice = self.kind.advice(error)?;
        Some(match (&self.roots.skipped, self.kind) {
            (Some(skipped), TlsErrorKind::ServerCertificate) => {
                format!("{advice}; not trusted, because it could not be read: {skipped}").into()
            }
            _ => advice.into(),
        })
    }

    /// Sets the server, as `name:port`.
    #[must_use]
    pub fn of_server(self, server: &str) -> Self {
        Self { server: Some(server.to_owned()), ..self }
    }

    pub(crate) fn with_roots(self, roots: &RootsNote) -> Self {
        Self { roots: roots.clone(), ..self }
    }

    /// Returns the cause, for an error with a summary of its own.
    #[must_use]
    pub fn into_source(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.source
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Returns the error for a failed handshake.
    pub(crate) fn of_handshake(error: io::Error, record: &ClientAuthRecord) -> Self {
        match tls_error(&error).and_then(signing_error) {
            Some(signing) => Self::new(TlsErrorKind::IdentityUnusable).with_source(signing.clone()),
            None => Self::new(record.failure_kind(&error)).with_source(error),
        }
    }
}

impl TlsErrorKind {
    /// Returns the advice for an error of rustls, if it is more precise than that of the kind.
    #[must_use]
    pub fn advice(self, error: &rustls::Error) -> Option<&'static str> {
        use rustls::CertificateError as Certificate;
        match (self, error) {
            (Self::ServerCertificate, rustls::Error::InvalidCertificate(problem)) => Some(match problem {
                Certificate::Other(other) if !other.to_string().contains("CaUsedAsEndEntity") => return None,
                Certificate::Other(_) => {
                    "give the server a certificate of its own: this one is that of an authority (basicConstraints \
                     CA:TRUE), which is refused even if it is trusted"
                }
                Certificate::UnknownIssuer | Certificate::BadSignature => {
                    "if the server, or a proxy that inspects TLS, has a certificate of a private authority, add its \
                     root certificate with SSL_CERT_FILE, --ca-file or `root_certificates_pem`"
                }
                Certificate::Expired
                | Certificate::ExpiredContext { .. }
                | Certificate::NotValidYet
                | Certificate::NotValidYetContext { .. } => {
                    "check the clock of this machine, and the validity of the server's certificate"
                }
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                    "use a host name that the server's certificate has; a proxy or a captive portal may respond in \
                     place of the server"
                }
                _ => return None,
            }),
            // The server ended the handshake before it saw a client certificate.
            (Self::Handshake, rustls::Error::AlertReceived(alert)) => Some(match alert {
                AlertDescription::ProtocolVersion
                | AlertDescription::HandshakeFailure
                | AlertDescription::InsufficientSecurity => {
                    "the server accepts no TLS version or no cipher suite of this client, or requires a client \
                     certificate: check its TLS settings"
                }
                AlertDescription::UnrecognisedName => {
                    "the server has no host of this name: check the host name and the port"
                }
                AlertDescription::NoApplicationProtocol => {
                    "the server speaks none of the HTTP versions of this client: check its settings"
                }
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::AccessDenied => {
                    "the server requires a client certificate: request a bound token, or use an endpoint that takes \
                     bearer tokens"
                }
                _ => "the server ended the handshake: check its TLS settings and its log",
            }),
            _ => None,
        }
    }
}

impl ClientAuthRecord {
    /// Returns the kind of a failure of the recorded connection, in the handshake or before the
    /// first byte of a response.
    ///
    /// Under TLS 1.3 a server refuses a client certificate after the handshake: the first read
    /// fails with the alert, or the connection is closed. Do not classify the loss of a connection
    /// that was idle: it does not concern the certificate.
    ///
    /// ```
    /// # use symbolon_rustls::{ClientAuthRecord, TlsErrorKind};
    /// let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    /// let kind = ClientAuthRecord::default().failure_kind(&reset);
    /// assert_eq!(kind, TlsErrorKind::Interrupted, "no certificate was presented");
    /// ```
    #[must_use]
    pub fn failure_kind(&self, error: &(dyn Error + 'static)) -> TlsErrorKind {
        match tls_error(error) {
            Some(tls) if signing_error(tls).is_some() => TlsErrorKind::IdentityUnusable,
            Some(rustls::Error::InvalidCertificate(_)) => TlsErrorKind::ServerCertificate,
            Some(rustls::Error::AlertReceived(alert))
                if self.is_known_to_server() && may_concern_client_certificate(*alert) =>
            {
                TlsErrorKind::IdentityRejected
            }
            Some(_) => TlsErrorKind::Handshake,
            None if self.is_known_to_server() => TlsErrorKind::LostWithIdentity,
            None => TlsErrorKind::Interrupted,
        }
    }
}

/// Returns true unless a server sends this alert for another reason than the client certificate.
///
/// Alerts about the version, the name and the application protocol (RFC 8446 §6.2, RFC 6066 §3,
/// RFC 7301 §3.2) do not concern the certificate. All others may: servers send `handshake_failure`,
/// `internal_error` or `decrypt_error` as well as `certificate_unknown`.
#[must_use]
pub fn may_concern_client_certificate(alert: AlertDescription) -> bool {
    !matches!(
        alert,
        AlertDescription::ProtocolVersion
            | AlertDescription::UnrecognisedName
            | AlertDescription::NoApplicationProtocol
    )
}

/// Returns true if a server sends this alert in a handshake only: RFC 8446 §6.2 defines it for the
/// negotiation or its certificates. With TLS 1.3 it may arrive after the client's handshake, but
/// the server has sent it before it read a request.
#[must_use]
pub fn ends_handshake(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired
    )
}

/// Returns true if the issuer of the server's certificate is not trusted.
fn is_untrusted(error: &rustls::Error) -> bool {
    use rustls::CertificateError as Certificate;
    matches!(error, rustls::Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature))
}

/// Returns the error of rustls among the causes of an error of an I/O or HTTP library.
#[must_use]
pub fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Iterates over an error and its causes. An `io::Error` reports the source of the error it wraps
/// as its own, so the wrapped error itself, where rustls puts the alert, is added.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    fn cause<'a>(error: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        let error = *error;
        match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|wrapped| wrapped as _),
            None => error.source(),
        }
    }
    std::iter::successors(Some(error), cause)
}

/// Returns the error of the private key within an error of rustls, which is not among its causes.
#[must_use]
pub fn signing_error(error: &rustls::Error) -> Option<&SigningError> {
    let rustls::Error::Other(other) = error else { return None };
    other.0.downcast_ref()
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.as_deref().unwrap_or("the server");
        let (problem, advice) = match self.kind {
            TlsErrorKind::Roots => return f.write_str("the root certificates could not be loaded"),
            TlsErrorKind::IdentityUnusable => {
                return f.write_str(
                    "the private key of the client certificate failed to sign; check the device or the provider that holds it",
                );
            }
            TlsErrorKind::ServerCertificate => (
                "has a certificate that was refused",
                "check that its issuer is trusted and that it is for this host",
            ),
            TlsErrorKind::Handshake => ("failed the TLS handshake", "check its TLS settings"),
            TlsErrorKind::IdentityRejected => (
                "refused the client certificate",
                "check that it is not revoked and that the server trusts its issuer",
            ),
            TlsErrorKind::IdentityNotRequested => (
                "did not request the client certificate",
                "use an endpoint that requests it in the TLS handshake, or the crate symbolon-openssl for one that \
                 requests it later",
            ),
            TlsErrorKind::Interrupted | TlsErrorKind::LostWithIdentity => {
                ("closed the connection early", "try again")
            }
        };
        write!(f, "{server} {problem}; {}", self.advice().unwrap_or(advice.into()))
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: io::Error, is_presented: bool) -> TlsErrorKind {
        let record = ClientAuthRecord::default();
        if is_presented {
            record.set_presented();
        }
        let kind = record.failure_kind(&error);
        assert_eq!(TlsError::of_handshake(error, &record).kind(), kind);
        kind
    }

    fn wrapped(error: rustls::Error) -> io::Error {
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn fatal_alerts_reject_a_shown_certificate() {
        // All alerts of TLS 1.2 and 1.3, and one that is not assigned.
        for number in 0..=u8::MAX {
            let alert = AlertDescription::from(number);
            let expected = match alert {
                AlertDescription::ProtocolVersion
                | AlertDescription::UnrecognisedName
                | AlertDescription::NoApplicationProtocol => TlsErrorKind::Handshake,
                _ => TlsErrorKind::IdentityRejected,
            };
            assert_eq!(kind(wrapped(rustls::Error::AlertReceived(alert)), true), expected, "{alert:?}");
            let unseen = kind(wrapped(rustls::Error::AlertReceived(alert)), false);
            assert_eq!(unseen, TlsErrorKind::Handshake, "{alert:?}");
        }
    }

    #[test]
    fn loss_may_reject_a_shown_certificate_only() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(kind(reset(), true), TlsErrorKind::LostWithIdentity);
        assert_eq!(kind(reset(), false), TlsErrorKind::Interrupted);
    }

    #[test]
    fn alerts_of_connections_do_not_end_a_handshake() {
        let ended: Vec<u8> = (0..=u8::MAX).filter(|number| ends_handshake((*number).into())).collect();
        assert_eq!(ended, [40, 42, 43, 44, 45, 46, 48, 49, 51, 116]);
    }

    #[test]
    fn refused_server_is_no_rejection() {
        for is_presented in [true, false] {
            let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
            assert_eq!(kind(wrapped(refused), is_presented), TlsErrorKind::ServerCertificate);
        }
    }

    #[test]
    fn signing_errors_are_unwrapped() {
        let signing = rustls::Error::Other(rustls::OtherError(Arc::new(SigningError::failed("no device"))));
        let error = TlsError::of_handshake(wrapped(signing), &ClientAuthRecord::default());
        assert_eq!(error.kind(), TlsErrorKind::IdentityUnusable);
        assert!(error.source().is_some_and(|source| source.is::<SigningError>()));
    }
}
