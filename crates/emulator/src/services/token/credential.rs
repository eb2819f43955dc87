//! Client authentication at the token endpoint.

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use symbolon_types::Thumbprint;

use crate::pki::IssuedCertificate;
use crate::protocol::{ParsedRequest, TokenError, decode_form};
use crate::state::EmulatorState;

use crate::services::token::assertion;

/// The credential of a token request.
pub(super) enum RequestCredential<'a> {
    /// The client certificate of the TLS connection; `pop` if the token is bound to it.
    Certificate { pop: bool },
    /// A client secret.
    Secret(&'a str),
    /// A client assertion. A bound one must confirm the client certificate of the TLS connection.
    Assertion { assertion: &'a str, bound: bool },
}

impl<'a> RequestCredential<'a> {
    pub(super) fn read(
        form: &'a TokenForm,
        basic: Option<&'a (String, String)>,
        pop: bool,
    ) -> Result<Self, TokenError> {
        let secret = form.value("client_secret").or(basic.map(|(_, secret)| secret.as_str()));
        let assertion = form.value("client_assertion");
        let assertion_type = form.value("client_assertion_type");
        let with_assertion = assertion.is_some() || assertion_type.is_some();
        if pop && (secret.is_some() || form.value("req_cnf").is_some()) || secret.is_some() && with_assertion
        {
            return Err(TokenError::EXTRA_CREDENTIAL);
        }
        if let Some(secret) = secret {
            return Ok(Self::Secret(secret));
        }
        if !with_assertion {
            return Ok(Self::Certificate { pop });
        }
        let bound = assertion::is_bound(assertion_type)?;
        // An unbound assertion would authenticate the client without the certificate.
        match assertion {
            Some(assertion) if bound || !pop => Ok(Self::Assertion { assertion, bound }),
            _ => Err(TokenError::EXTRA_CREDENTIAL),
        }
    }

    /// Checks the credential. Returns the client certificate if the credential depends on it.
    pub(super) async fn check(
        &self,
        tenant: &str,
        client_id: &str,
        request: &ParsedRequest,
        state: &EmulatorState,
    ) -> Result<Option<Thumbprint>, TokenError> {
        match self {
            Self::Certificate { pop } => {
                if !pop && request.certificate.is_none() {
                    return Err(TokenError::NO_CREDENTIAL);
                }
                let certificate = presented_certificate(request, state)?;
                if certificate.client_id != client_id {
                    return Err(TokenError::OTHER_CLIENT);
                }
                if certificate.tenant_id.as_ref().is_some_and(|own| own != tenant) {
                    return Err(TokenError::OTHER_TENANT);
                }
                check_usable(&certificate, state)?;
                Ok(Some(certificate.thumbprint))
            }
            Self::Secret(secret) => match state.settings.applications.get(client_id) {
                None => Err(TokenError::UNKNOWN_CLIENT),
                Some(registered) if registered != secret => Err(TokenError::SECRET),
                Some(_) => Ok(None),
            },
            Self::Assertion { assertion, bound: false } => {
                assertion::check(assertion, tenant, client_id, None, state).await?;
                Ok(None)
            }
            Self::Assertion { assertion, bound: true } => {
                let certificate = presented_certificate(request, state)?;
                check_usable(&certificate, state)?;
                assertion::check(assertion, tenant, client_id, Some(certificate.thumbprint), state).await?;
                Ok(Some(certificate.thumbprint))
            }
        }
    }
}

/// Returns the client certificate of the connection.
fn presented_certificate(
    request: &ParsedRequest,
    state: &EmulatorState,
) -> Result<Arc<IssuedCertificate>, TokenError> {
    let thumbprint = request.certificate.ok_or(TokenError::NO_CERTIFICATE)?;
    // TLS accepted the certificate, so this authority signed it. Certificates of clients are
    // registered; the server certificate is not.
    state.ca.find(thumbprint).ok_or(TokenError::OTHER_CLIENT)
}

fn check_usable(certificate: &IssuedCertificate, state: &EmulatorState) -> Result<(), TokenError> {
    if state.revoked.contains(&certificate.thumbprint) {
        return Err(TokenError::REVOKED);
    }
    if !certificate.is_usable(state.clock.now()) {
        return Err(TokenError::OUTLIVED);
    }
    Ok(())
}

/// Decodes the client id and the secret of HTTP Basic, which are form-encoded within the base64
/// (RFC 6749 §2.3.1).
pub(super) fn decode_basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = String::from_utf8(Base64::decode_vec(credentials).ok()?).ok()?;
    let (client_id, secret) = credentials.split_once(':')?;
    let decode = |encoded: &str| decode_form(format!("v={encoded}").as_bytes()).into_iter().next();
    Some((decode(client_id)?.1, decode(secret)?.1))
}

/// The parameters of a token request, without repetitions.
pub(super) struct TokenForm(Vec<(String, String)>);

impl TokenForm {
    pub(super) fn new(request: &ParsedRequest) -> Result<Self, TokenError> {
        let parameters = request.form();
        let repeated = |(index, (name, _)): (usize, &(String, String))| {
            parameters[..index].iter().any(|(earlier, _)| earlier == name)
        };
        if parameters.iter().enumerate().any(repeated) {
            return Err(TokenError::REPEATED);
        }
        Ok(Self(parameters))
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
