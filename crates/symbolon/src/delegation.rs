//! The seam: a minted binding is a credential like any other.
//!
//! This file is all there is between the minter and the token client. It answers the core's two
//! questions, what to present and whether a refused certificate has a successor, from the minter.

use std::ops::RangeInclusive;

use symbolon_binding::{Binding, ManagedIdentityId, Minter};
use symbolon_token::{
    AuthFuture, CachedAuth, ClientAuth, CredentialRejection, CredentialRequest, CredentialSource, Error,
    ManagedIdentityKind, Partition, TokenEndpoint,
};

/// The statement about the key was not believed (IMDSv2 §8.5).
const ATTESTATION_CODES: RangeInclusive<u32> = 1_000_610..=1_000_614;

/// Under what tokens are kept.
#[derive(Debug)]
struct Kept {
    partition: Partition,
    kind: ManagedIdentityKind,
    /// Nothing is put together anew while the binding stays.
    presented: CachedAuth,
}

/// The certificate that the metadata service mints for an identity, as a credential.
#[derive(Debug)]
pub(crate) struct MintedCertificate {
    minter: Minter,
    id: ManagedIdentityId,
    /// Tokens that are bound to it, and bearer tokens that it was only presented for.
    bound: Kept,
    over_mtls: Kept,
}

impl MintedCertificate {
    /// The partitions name the identity, and whatever else must keep its tokens apart.
    pub(crate) fn new(minter: Minter, id: ManagedIdentityId, bound: Partition, over_mtls: Partition) -> Self {
        let kind = match id.value() {
            None => ManagedIdentityKind::SystemAssigned,
            Some(_) => ManagedIdentityKind::UserAssigned,
        };
        let kept = |partition| Kept { partition, kind, presented: CachedAuth::default() };
        Self { minter, id, bound: kept(bound), over_mtls: kept(over_mtls) }
    }

    fn present(&self, binding: &Binding, is_bound: bool) -> AuthFuture<'static> {
        let kept = if is_bound { &self.bound } else { &self.over_mtls };
        let still_fits = |auth: &ClientAuth| auth.identity() == Some(binding.identity());
        let lent = kept.presented.lend(still_fits);
        lent.unwrap_or_else(|| AuthFuture::ready(kept.put_on(binding, is_bound)))
    }
}

impl Kept {
    fn put_on(&self, binding: &Binding, is_bound: bool) -> Result<ClientAuth, Error> {
        let endpoint = TokenEndpoint::from_url(binding.token_endpoint().clone())?;
        let auth = ClientAuth::new(binding.client_id(), endpoint, self.partition.clone())
            .with_tenant_id(binding.tenant_id())
            .of_managed_identity(self.kind);
        let identity = binding.identity().clone();
        let auth =
            if is_bound { auth.with_proof_of_possession(identity) } else { auth.with_identity(identity) };
        self.presented.replace(auth.clone());
        Ok(auth)
    }
}

impl CredentialSource for MintedCertificate {
    fn resolve<'a>(&'a self, request: &'a CredentialRequest<'a>) -> AuthFuture<'a> {
        let is_bound = request.proof_of_possession();
        match self.minter.current_at(&self.id, request.now()) {
            Some(binding) => self.present(&binding, is_bound),
            None => AuthFuture::future(async move {
                let binding = self.minter.binding(&self.id, request.correlation_id()).await?;
                self.present(&binding, is_bound).await
            }),
        }
    }

    async fn refused(&self, used: &ClientAuth, why: &CredentialRejection) -> bool {
        if let CredentialRejection::Client { server_codes } = why
            && server_codes.iter().any(|code| ATTESTATION_CODES.contains(code))
        {
            self.minter.forget_attestations();
        }
        used.identity().is_some_and(|identity| self.minter.report_refusal(&self.id, identity.thumbprint()))
    }
}
