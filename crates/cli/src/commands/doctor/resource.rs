//! The time at which a resource requests a client certificate.
//!
//! A first request presents a certificate whose key does not exist. If the server requests it, the
//! handshake fails at the signature, before anything is sent. Otherwise a second request goes out
//! without a certificate and a token, but with the header after which Azure Key Vault requests the
//! certificate.

use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method};
use serde::Serialize;
use symbolon::parts::client::{TOKEN_BOUND_AUTH, requests_certificate_late};
use symbolon::parts::transport::{
    HttpClient, Request, Response, RetryPolicy, Route, SharedTransport, TransportError, TransportErrorKind,
};
use symbolon::parts::types::pki_types::pem::PemObject;
use symbolon::parts::types::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use symbolon::parts::types::{SharedSigningKey, SignatureScheme, SigningError, SigningKey, Strength};
use symbolon::{ClientIdentity, Context, HyperTransport};
use url::Url;

use super::endpoints::with_causes;

/// A certificate whose key was never stored, and its public key.
const PROBE: &[u8] = include_bytes!("probe.pem");
/// The timeout of each request.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// Words of servers that require a certificate after the handshake: Azure Key Vault and Apache
/// httpd, in lower case.
const LATE: [&str; 4] =
    ["client certificate", "ssl certificate", "post-handshake authentication", "renegotiat"];

#[derive(Debug, Serialize)]
pub(super) struct ResourceReport {
    pub(super) url: String,
    pub(super) certificate: CertificateRequest,
    pub(super) reason: String,
}

/// The time at which a server requests the client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CertificateRequest {
    Handshake,
    Late,
    Never,
    Unknown,
}

/// A public key without its private key.
#[derive(Debug)]
struct MissingKey(SubjectPublicKeyInfoDer<'static>);

impl SigningKey for MissingKey {
    fn public_key(&self) -> &SubjectPublicKeyInfoDer<'static> {
        &self.0
    }

    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::EcdsaP256Sha256]
    }

    fn sign(&self, scheme: SignatureScheme, _message: &[u8]) -> Result<Vec<u8>, SigningError> {
        Err(SigningError::UnsupportedScheme(scheme))
    }

    fn strength(&self) -> Strength {
        Strength::Software
    }
}

impl ResourceReport {
    /// Determines the time at which the resource requests a certificate.
    pub(super) async fn of(transport: &HyperTransport, url: &Url) -> Self {
        let (certificate, reason) = probe(transport, url).await;
        Self { url: url.to_string(), certificate, reason }
    }

    /// Returns the advice on bound tokens for this resource.
    pub(super) fn advice(&self) -> Option<String> {
        let url = &self.url;
        match self.certificate {
            CertificateRequest::Handshake => None,
            CertificateRequest::Late => Some(format!(
                "Call {url} with --tls openssl or the crate symbolon-openssl, or request bearer tokens for it: it \
                 requests the certificate after the handshake."
            )),
            CertificateRequest::Never => Some(format!(
                "Request bearer tokens for {url}, or enable client certificates there: bound tokens need one."
            )),
            CertificateRequest::Unknown => {
                Some(format!("Check that this machine reaches {url}, and that its certificate is trusted."))
            }
        }
    }
}

async fn probe(transport: &HyperTransport, url: &Url) -> (CertificateRequest, String) {
    let Some(identity) = identity() else {
        return (CertificateRequest::Unknown, "the certificate of the probe is invalid".to_owned());
    };
    let requested =
        |by: &str| (CertificateRequest::Handshake, format!("the server requests a certificate {by}"));
    match send(transport, url, Some(identity)).await {
        Err(error) => match error.kind() {
            TransportErrorKind::IdentityUnusable => requested("in the handshake"),
            TransportErrorKind::IdentityRejected => {
                requested("in the handshake, and refused that of the probe")
            }
            TransportErrorKind::IdentityNotRequested => match send(transport, url, None).await {
                Ok(response) => after_handshake(url, &response),
                // The handshake is the one that has just succeeded, so that an alert ends the
                // renegotiation that this client does not support.
                Err(error) if error.kind() == TransportErrorKind::Tls => (
                    CertificateRequest::Late,
                    format!(
                        "the server requests no certificate in the handshake, and ended the connection with a TLS \
                         alert after a request, as for a renegotiation ({})",
                        innermost_cause(&error)
                    ),
                ),
                Err(error) if error.kind() == TransportErrorKind::Interrupted => (
                    CertificateRequest::Unknown,
                    format!(
                        "the server requests no certificate in the handshake, and ended the connection after a \
                         request; it may request one by renegotiation: {}",
                        with_causes(&error)
                    ),
                ),
                Err(error) => (CertificateRequest::Unknown, with_causes(&error)),
            },
            _ => (CertificateRequest::Unknown, with_causes(&error)),
        },
        // The transport requires the request for a certificate, and the signature fails.
        Ok(_) => {
            (CertificateRequest::Unknown, "the server took a certificate without a signature".to_owned())
        }
    }
}

fn innermost_cause(error: &TransportError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Judges the response to a request without a certificate and a token.
fn after_handshake(url: &Url, response: &Response) -> (CertificateRequest, String) {
    if requests_certificate_late(url.as_str()) {
        let reason = "the server requests no certificate in the handshake; Azure Key Vault requests it after a request \
                      with a bound token";
        return (CertificateRequest::Late, reason.to_owned());
    }
    let status = response.status();
    let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
    let mut texts =
        challenges.chain([&response.body()[..]]).map(|text| String::from_utf8_lossy(text).to_lowercase());
    let is_late = status.is_client_error() && texts.any(|text| LATE.iter().any(|words| text.contains(words)));
    if is_late {
        let reason = format!(
            "the server requests no certificate in the handshake, but its response ({status}) requires one"
        );
        return (CertificateRequest::Late, reason);
    }
    let reason =
        format!("the server requests no certificate in the handshake, and none in its response ({status})");
    (CertificateRequest::Never, reason)
}

async fn send(
    transport: &HyperTransport,
    url: &Url,
    identity: Option<ClientIdentity>,
) -> Result<Response, TransportError> {
    let http = HttpClient::new(SharedTransport::new(transport.clone()), Context::default());
    let policy = RetryPolicy::once().with_attempt_timeout(TIMEOUT);
    let mut request = Request::new(Method::GET, url.clone(), Route::Public).with_identity(identity);
    request.headers_mut().insert(TOKEN_BOUND_AUTH, HeaderValue::from_static("true"));
    let sent = http.send(&policy, || Ok::<_, TransportError>(request.clone())).await?;
    Ok(sent.response)
}

fn identity() -> Option<ClientIdentity> {
    let certificate = CertificateDer::from_pem_slice(PROBE).ok()?;
    let key = SubjectPublicKeyInfoDer::from_pem_slice(PROBE).ok()?;
    ClientIdentity::new(vec![certificate], SharedSigningKey::new(MissingKey(key))).ok()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn probe_has_a_certificate() {
        assert!(identity().is_some());
    }

    #[test]
    fn response_tells_a_late_request_from_none() {
        for (status, header, body, expected) in [
            (401, "", r#"{"error":{"message":"A client certificate required"}}"#, CertificateRequest::Late),
            (401, r#"Bearer error_description="Client Certificate missing""#, "", CertificateRequest::Late),
            (403, "", "Reason: Cannot perform Post-Handshake Authentication.", CertificateRequest::Late),
            (400, "", "No required SSL certificate was sent", CertificateRequest::Late),
            (401, r#"Bearer realm="x""#, "a token is required", CertificateRequest::Never),
            (200, "", "how to use a client certificate", CertificateRequest::Never),
        ] {
            let header = (WWW_AUTHENTICATE, HeaderValue::from_static(header));
            let response = Response::new(StatusCode::from_u16(status).unwrap(), body)
                .with_headers([header].into_iter().collect());
            let url = Url::parse("https://resource.example/x").unwrap();
            assert_eq!(after_handshake(&url, &response).0, expected, "{body}");
        }
    }

    /// Its challenge to a request without a token names no certificate.
    #[test]
    fn vault_is_known_to_request_it_late() {
        let url = Url::parse("https://contoso.vault.azure.net/secrets/x").unwrap();
        let response = Response::new(StatusCode::UNAUTHORIZED, "Request is missing a Bearer or PoP token.");
        assert_eq!(after_handshake(&url, &response).0, CertificateRequest::Late);
    }
}
