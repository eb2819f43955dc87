//! The certificate of a managed identity without a token.

use symbolon_binding::Binding;
use symbolon_token::Error;
use symbolon_types::CorrelationId;

use crate::future::check_host;
use crate::identity::ManagedIdentity;

impl ManagedIdentity {
    /// Returns the certificate for bound tokens without requesting a token: the current one, or
    /// else a new one. Unlike a request for a token, it waits for a renewal that is due, so that a
    /// failure is reported; the old certificate stays, and [`binding`](Self::binding) returns it.
    ///
    /// # Errors
    /// Those of a request for a bound token that concern the host, the key or the certificate.
    pub async fn renewed_binding(&self) -> Result<Binding, Error> {
        check_host(&self.token("").proof_of_possession())?;
        self.0.minter.renewed_binding(&self.0.id, CorrelationId::random()).await
    }

    /// Returns a new certificate for bound tokens, although the current one is not due for renewal.
    /// Replacements in quick succession return the current one until a pause is over.
    ///
    /// # Errors
    /// Those of [`renewed_binding`](Self::renewed_binding).
    pub async fn replaced_binding(&self) -> Result<Binding, Error> {
        let current = self.renewed_binding().await?;
        let used = current.identity().thumbprint();
        self.0.minter.replaced_binding(&self.0.id, used, CorrelationId::random()).await
    }
}
