//! Authentication of the client, with the checks that precede every exchange.

use symbolon_transport::Transport;
use symbolon_types::{Error, ErrorKind};

use super::parts::ClientParts;
use crate::credential::{ClientAuth, CredentialRequest};

/// Returns the authentication for one exchange, after checking that it can be used.
pub(super) async fn authenticate(
    parts: &ClientParts,
    request: &CredentialRequest<'_>,
) -> Result<ClientAuth, Error> {
    let auth = parts.credential.authenticate_erased(request).await?;
    if request.proof_of_possession() && auth.scheme().bound_to().is_none() {
        let error = "this credential cannot bind a token to a certificate; nothing was sent";
        return Err(Error::new(ErrorKind::Request, "mtls_certificate_not_provided", error)
            .with_advice("use a credential with a certificate, or request a bearer token"));
    }
    if auth.identity().is_some() {
        check_transport(parts.http.transport())?;
    }
    let now = parts.http.context().clock().read();
    if auth.certificates().any(|identity| identity.time_until(identity.usable_until(), now).is_zero()) {
        let error = "the client certificate has expired; nothing was sent";
        return Err(Error::new(ErrorKind::Credential, "invalid_certificate", error)
            .with_advice("renew the certificate, and check the clock of this machine"));
    }
    Ok(auth)
}

/// Checks that the transport can present a client certificate.
pub(super) fn check_transport(transport: &impl Transport) -> Result<(), Error> {
    if transport.capabilities().client_certificates() {
        return Ok(());
    }
    let error = "the transport cannot present a client certificate; nothing was sent";
    Err(Error::new(ErrorKind::Request, "mtls_not_supported_by_transport", error)
        .with_advice("use a transport that declares client certificates, such as symbolon-hyper"))
}
