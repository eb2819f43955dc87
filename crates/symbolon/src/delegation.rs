//! The seam: a minted binding is a credential like any other.
//!
//! This file is all there is between the minter and the token client. It answers the core's two
//! questions, what to present and whether a refused certificate has a successor, from the minter.

use std::sync::{PoisonError, RwLock};

use symbolon_binding::{Binding, ManagedIdentityId, Minter};
use symbolon_token::{
    ClientAuth, CredentialRequest, CredentialSource, Error, Partition, Refusal, Resolution, TokenEndpoint,
};

/// The certificate that the metadata service mints for an identity, as a credential.
#[derive(Debug)]
pub(crate) struct MintedCertificate {
    minter: Minter,
    id: ManagedIdentityId,
    partition: Partition,
    /// What was presented last, so that nothing is put together anew while the binding stays.
    presented: RwLock<Option<ClientAuth>>,
}

impl MintedCertificate {
    /// `partition` names the identity, and whatever else must keep its tokens apart.
    pub(crate) fn new(minter: Minter, id: ManagedIdentityId, partition: Partition) -> Self {
        Self { minter, id, partition, presented: RwLock::new(None) }
    }

    fn present(&self, binding: &Binding) -> Result<ClientAuth, Error> {
        let presented = self.presented.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(auth) = presented
            && auth.identity() == Some(binding.identity())
        {
            return Ok(auth);
        }
        let endpoint = TokenEndpoint::from_url(binding.token_endpoint().clone())?;
        let auth = ClientAuth::new(binding.client_id(), endpoint, self.partition.clone())
            .with_tenant_id(binding.tenant_id())
            .with_proof_of_possession(binding.identity().clone());
        *self.presented.write().unwrap_or_else(PoisonError::into_inner) = Some(auth.clone());
        Ok(auth)
    }
}

impl CredentialSource for MintedCertificate {
    fn resolve<'a>(&'a self, request: &'a CredentialRequest<'a>) -> Resolution<'a> {
        match self.minter.current(&self.id) {
            Some(binding) => Resolution::ready(self.present(&binding)),
            None => Resolution::future(async {
                let binding = self.minter.binding(&self.id, request.correlation_id()).await?;
                self.present(&binding)
            }),
        }
    }

    async fn refused(&self, used: &ClientAuth, _why: &Refusal) -> bool {
        used.identity().is_some_and(|identity| self.minter.refused(&self.id, identity.thumbprint()))
    }
}
