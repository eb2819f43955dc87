//! How a client authenticates at the token endpoint.

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use symbolon_types::Thumbprint;

use crate::ca::IssuedCertificate;
use crate::exchange::{Exchange, pairs};
use crate::oauth::Refusal;
use crate::state::State;
use crate::{assertion, refusals};

/// How the client authenticates.
pub(crate) enum Credential<'a> {
    /// By the certificate on TLS alone; `pop` when the token is to be bound to it.
    Certificate { pop: bool },
    /// By a secret.
    Secret(&'a str),
    /// By an assertion; a bound one has to name the certificate on TLS.
    Assertion { assertion: &'a str, bound: bool },
}

impl<'a> Credential<'a> {
    pub(crate) fn read(
        form: &'a Form,
        basic: Option<&'a (String, String)>,
        pop: bool,
    ) -> Result<Self, Refusal> {
        let secret = form.value("client_secret").or(basic.map(|(_, secret)| secret.as_str()));
        let assertion = form.value("client_assertion");
        let assertion_type = form.value("client_assertion_type");
        let with_assertion = assertion.is_some() || assertion_type.is_some();
        if pop && (secret.is_some() || form.value("req_cnf").is_some()) || secret.is_some() && with_assertion
        {
            return Err(refusals::EXTRA_CREDENTIAL);
        }
        if let Some(secret) = secret {
            return Ok(Self::Secret(secret));
        }
        if !with_assertion {
            return Ok(Self::Certificate { pop });
        }
        let bound = assertion::is_bound(assertion_type)?;
        // An unbound assertion would prove the client without the certificate.
        match assertion {
            Some(assertion) if bound || !pop => Ok(Self::Assertion { assertion, bound }),
            _ => Err(refusals::EXTRA_CREDENTIAL),
        }
    }

    /// Checks the credential, and returns the certificate on TLS where it counts.
    pub(crate) async fn check(
        &self,
        tenant: &str,
        client_id: &str,
        exchange: &Exchange,
        state: &State,
    ) -> Result<Option<Thumbprint>, Refusal> {
        match self {
            Self::Certificate { pop } => {
                if !pop && exchange.connection.certificate().is_none() {
                    return Err(refusals::NO_CREDENTIAL);
                }
                let certificate = presented(exchange, state)?;
                authenticates(&certificate, tenant, client_id)?;
                usable(&certificate, state)?;
                Ok(Some(certificate.thumbprint()))
            }
            Self::Secret(secret) => {
                let known = state.settings.applications.get(client_id);
                known.filter(|known| known == secret).ok_or(refusals::SECRET)?;
                Ok(None)
            }
            Self::Assertion { assertion, bound: false } => {
                assertion::check(assertion, tenant, client_id, None, state).await?;
                Ok(None)
            }
            Self::Assertion { assertion, bound: true } => {
                let certificate = presented(exchange, state)?;
                usable(&certificate, state)?;
                assertion::check(assertion, tenant, client_id, Some(certificate.thumbprint()), state).await?;
                Ok(Some(certificate.thumbprint()))
            }
        }
    }
}

/// The certificate on the connection.
fn presented(exchange: &Exchange, state: &State) -> Result<Arc<IssuedCertificate>, Refusal> {
    let thumbprint = exchange.connection.certificate().ok_or(refusals::NO_CERTIFICATE)?;
    // TLS took it, so this authority signed it; what it did not register is no client's.
    state.ca.find(thumbprint).ok_or(refusals::OTHER_CLIENT)
}

/// Whether a certificate is this client's.
fn authenticates(certificate: &IssuedCertificate, tenant: &str, client_id: &str) -> Result<(), Refusal> {
    if certificate.client_id() != client_id {
        return Err(refusals::OTHER_CLIENT);
    }
    if certificate.tenant_id().is_some_and(|own| own != tenant) {
        return Err(refusals::OTHER_TENANT);
    }
    Ok(())
}

/// Whether a certificate may be used now.
fn usable(certificate: &IssuedCertificate, state: &State) -> Result<(), Refusal> {
    if state.revoked.contains(&certificate.thumbprint()) {
        return Err(refusals::REVOKED);
    }
    if !certificate.is_usable(state.clock.now()) {
        return Err(refusals::OUTLIVED);
    }
    Ok(())
}

/// Client id and secret of HTTP Basic: form-encoded first, then base64 (RFC 6749 §2.3.1).
pub(crate) fn basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = String::from_utf8(Base64::decode_vec(credentials).ok()?).ok()?;
    let (client_id, secret) = credentials.split_once(':')?;
    let decoded =
        |encoded: &str| pairs(format!("v={encoded}").as_bytes()).into_iter().next().map(|(_, value)| value);
    Some((decoded(client_id)?, decoded(secret)?))
}

/// A token request's parameters, none of them twice.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn new(exchange: &Exchange) -> Result<Self, Refusal> {
        let parameters = exchange.form();
        let repeated = |(index, (name, _)): (usize, &(String, String))| {
            parameters[..index].iter().any(|(earlier, _)| earlier == name)
        };
        if parameters.iter().enumerate().any(repeated) {
            return Err(refusals::REPEATED);
        }
        Ok(Self(parameters))
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
