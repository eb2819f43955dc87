//! The minted certificate of a managed identity as a credential of the token client.
//!
//! This is the only connection between the minter and the token client.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use symbolon_binding::{ManagedIdentityId, Minter};
use symbolon_token::{
    CacheIdentity, ClientAuth, CredentialRejection, CredentialRequest, CredentialSource, Error,
    ManagedIdentityKind, Partition, TokenEndpoint,
};

/// The token service rejected the attestation of the key (`docs/protocol/imdsv2.md#recovery`).
const ATTESTATION_CODES: RangeInclusive<u32> = 1_000_610..=1_000_614;

/// The certificate that the metadata service mints for an identity, as a credential.
#[derive(Debug)]
pub(crate) struct MintedCertificate {
    minter: Minter,
    id: ManagedIdentityId,
    kind: ManagedIdentityKind,
    /// The partition of tokens that are bound to the certificate.
    bound: Partition,
    /// The partition of bearer tokens that were requested over mTLS.
    over_mtls: Partition,
}

impl MintedCertificate {
    /// Creates the credential. The partitions name the identity, and everything else that must keep
    /// its tokens apart.
    pub(crate) fn new(minter: Minter, id: ManagedIdentityId, bound: Partition, over_mtls: Partition) -> Self {
        let kind = match id.value() {
            None => ManagedIdentityKind::SystemAssigned,
            Some(_) => ManagedIdentityKind::UserAssigned,
        };
        Self { minter, id, kind, bound, over_mtls }
    }
}

impl CredentialSource for MintedCertificate {
    /// A bound token is cached under its certificate, so without a current one the request must
    /// authenticate first.
    fn cache_identity<'a>(&'a self, request: &CredentialRequest<'a>) -> Option<CacheIdentity<'a>> {
        if !request.proof_of_possession() {
            return Some(CacheIdentity::bearer(&self.over_mtls));
        }
        let identity = CacheIdentity::bearer(&self.bound);
        Some(match self.minter.current_at(&self.id, request.now()) {
            Some(binding) => identity.bound_to(Cow::Owned(binding.identity().clone())),
            None => identity.awaiting_certificate(),
        })
    }

    async fn authenticate(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let binding = self.minter.binding(&self.id, request.correlation_id()).await?;
        let endpoint = TokenEndpoint::from_url(binding.token_endpoint().clone())?;
        let is_bound = request.proof_of_possession();
        let partition = if is_bound { &self.bound } else { &self.over_mtls };
        let auth = ClientAuth::new(binding.client_id(), endpoint, partition.clone())
            .with_tenant_id(binding.tenant_id())
            .of_managed_identity(self.kind);
        let identity = binding.identity().clone();
        Ok(match is_bound {
            true => auth.with_proof_of_possession(identity),
            false => auth.with_identity(identity),
        })
    }

    /// Any other rejection would come back with every certificate of the identity.
    async fn refused(&self, used: &ClientAuth, rejection: &CredentialRejection) -> bool {
        if !rejection.concerns_certificate() {
            return false;
        }
        if let CredentialRejection::Client { server_codes } = rejection
            && server_codes.iter().any(|code| ATTESTATION_CODES.contains(code))
        {
            self.minter.forget_attestations();
        }
        let Some(identity) = used.identity() else { return false };
        match rejection {
            CredentialRejection::Lost => self.minter.report_loss(&self.id, identity.thumbprint()),
            _ => self.minter.report_refusal(&self.id, identity.thumbprint()),
        }
    }
}
