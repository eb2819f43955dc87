//! The seam: a minted binding is a credential like any other.
//!
//! This file is all there is between the minter and the token client. It answers the core's two
//! questions, what to present and whether a refused certificate has a successor, from the minter.

use symbolon_binding::{Binding, ManagedIdentityId, Minter};
use symbolon_token::{
    ClientAuth, CredentialRequest, CredentialSource, Error, ManagedIdentityKind, Partition, Presented,
    Refusal, Resolution, TokenEndpoint,
};

/// The certificate that the metadata service mints for an identity, as a credential.
#[derive(Debug)]
pub(crate) struct MintedCertificate {
    minter: Minter,
    id: ManagedIdentityId,
    partition: Partition,
    /// Nothing is put together anew while the binding stays.
    presented: Presented,
}

impl MintedCertificate {
    /// `partition` names the identity, and whatever else must keep its tokens apart.
    pub(crate) fn new(minter: Minter, id: ManagedIdentityId, partition: Partition) -> Self {
        Self { minter, id, partition, presented: Presented::default() }
    }

    fn present(&self, binding: &Binding) -> Resolution<'static> {
        let still_fits = |auth: &ClientAuth| auth.identity() == Some(binding.identity());
        self.presented.lend(still_fits).unwrap_or_else(|| Resolution::ready(self.put_on(binding)))
    }

    fn put_on(&self, binding: &Binding) -> Result<ClientAuth, Error> {
        let endpoint = TokenEndpoint::from_url(binding.token_endpoint().clone())?;
        let kind = match self.id.value() {
            None => ManagedIdentityKind::SystemAssigned,
            Some(_) => ManagedIdentityKind::UserAssigned,
        };
        let auth = ClientAuth::new(binding.client_id(), endpoint, self.partition.clone())
            .with_tenant_id(binding.tenant_id())
            .of_managed_identity(kind)
            .with_proof_of_possession(binding.identity().clone());
        self.presented.replace(auth.clone());
        Ok(auth)
    }
}

impl CredentialSource for MintedCertificate {
    fn resolve<'a>(&'a self, request: &'a CredentialRequest<'a>) -> Resolution<'a> {
        match self.minter.current(&self.id) {
            Some(binding) => self.present(&binding),
            None => Resolution::future(async {
                let binding = self.minter.binding(&self.id, request.correlation_id()).await?;
                self.present(&binding).await
            }),
        }
    }

    async fn refused(&self, used: &ClientAuth, _why: &Refusal) -> bool {
        used.identity().is_some_and(|identity| self.minter.refused(&self.id, identity.thumbprint()))
    }
}
