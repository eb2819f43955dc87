//! One mint, from the key to the binding. (IMDSv2 §0.3.)

use std::time::SystemTime;

use bytes::Bytes;
use symbolon_lease::half_life;
use symbolon_transport::RetryPolicy;
use symbolon_types::{
    ClientIdentity, CorrelationId, Error, ErrorKind, Jitter, Secret, SharedSigningKey, SigningKey, Strength,
};

use crate::attestation::Attestations;
use crate::binding::Parts;
use crate::binding_id::BindingId;
use crate::certificate::Issued;
use crate::credential::{self, Credential};
use crate::csr::Csr;
use crate::imds::{ImdsClient, ImdsEndpoint, ImdsRequest};
use crate::platform_metadata::PlatformMetadata;
use crate::stopwatch::Stopwatch;
use crate::token_endpoint::TokenHosts;
use crate::{Binding, KeyProvider, ManagedIdentityId, SharedKeyProvider};

/// What a mint needs. It keeps nothing of what it makes.
pub(crate) struct Mint {
    pub(crate) imds: ImdsClient,
    pub(crate) metadata_policy: RetryPolicy,
    pub(crate) issuance_policy: RetryPolicy,
    pub(crate) keys: SharedKeyProvider,
    pub(crate) attestations: Option<Attestations>,
    pub(crate) minimum_strength: Option<Strength>,
    pub(crate) token_hosts: TokenHosts,
}

/// For whom a binding is minted, and under which id that is logged.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) id: ManagedIdentityId,
    pub(crate) correlation_id: CorrelationId,
}

/// What is to be certified.
pub(crate) struct Order {
    pub(crate) asking: Asking,
    pub(crate) id: BindingId,
    pub(crate) metadata: PlatformMetadata,
    pub(crate) key: SharedSigningKey,
}

impl Mint {
    /// Which identity it is, and on which machine.
    pub(crate) async fn metadata(&self, asking: &Asking) -> Result<PlatformMetadata, Error> {
        let sent =
            self.imds.send(&self.question(ImdsEndpoint::PlatformMetadata, asking, false, None)).await?;
        PlatformMetadata::read(&sent.response)
    }

    /// The key to certify.
    pub(crate) async fn key(&self) -> Result<SharedSigningKey, Error> {
        let stopwatch = Stopwatch::start(self.imds.clock());
        tracing::debug!(name: "key", "the key provider is asked for a key");
        let key = self.keys.key().await?;
        let strength = key.strength();
        tracing::debug!(name: "key_made", %strength, duration_ms = stopwatch.millis(), "the key provider yielded a key");
        match self.minimum_strength {
            Some(minimum) if strength < minimum => Err(Error::new(
                ErrorKind::Environment,
                "min_strength_not_met",
                format!("the key provider yielded a key of strength {strength}, but {minimum} is required"),
            )
            .with_advice("use a key provider that keeps keys at least that well, or lower the requirement")),
            _ => Ok(key),
        }
    }

    /// A certificate for this key, which is attested first where there is an attester; as it came, and
    /// as it is used.
    pub(crate) async fn issue(
        &self,
        order: &Order,
        bypass_cache: bool,
    ) -> Result<(Credential, Binding), Error> {
        let Order { asking, id, metadata, key } = order;
        let (csr, key) = self.request(metadata, key.clone()).await?;
        let attestation_token = self.attestation_token(asking, metadata, &key).await?;
        let body = credential::request_body(&csr, attestation_token.as_ref())?;
        let question = self.question(ImdsEndpoint::IssueCredential, asking, bypass_cache, Some(body));
        let response = self.imds.send(&question).await?.response;
        let credential = Credential::read(&response)?;
        credential.is_for(metadata)?;
        let Credential { certificate: base64, client_id, .. } = &credential;
        let (now, issuer_date) = (self.imds.clock().now(), response.date());
        let identity = Issued { base64, key: &key, client_id, now, issuer_date }.accept()?;
        let binding = self.binding(id, &credential, identity, now)?;
        Ok((credential, binding))
    }

    /// What a credential is good for, once its certificate was accepted.
    pub(crate) fn binding(
        &self,
        id: &BindingId,
        credential: &Credential,
        identity: ClientIdentity,
        minted_at: SystemTime,
    ) -> Result<Binding, Error> {
        let Credential { client_id, tenant_id, mtls_authentication_endpoint: base, .. } = credential;
        let token_endpoint = self.token_hosts.endpoint(base, tenant_id)?;
        let renew_at = renew_at(&identity, minted_at, self.imds.http().context().jitter());
        Ok(Binding::new(Parts {
            id: id.clone(),
            identity,
            token_endpoint,
            client_id: client_id.clone(),
            tenant_id: tenant_id.clone(),
            minted_at,
            renew_at,
        }))
    }

    /// The request for this key. A key that turns out to be gone is replaced once: the provider is
    /// told nothing, but finds out for itself when it is asked again.
    async fn request(
        &self,
        metadata: &PlatformMetadata,
        key: SharedSigningKey,
    ) -> Result<(Csr, SharedSigningKey), Error> {
        match Csr::new(&metadata.subject(), &key) {
            Err(error) if error.code() == "key_gone" => {
                tracing::warn!("the key is gone; the key provider is asked for another one");
                let another = self.key().await?;
                Ok((Csr::new(&metadata.subject(), &another)?, another))
            }
            made => Ok((made?, key)),
        }
    }

    async fn attestation_token(
        &self,
        asking: &Asking,
        metadata: &PlatformMetadata,
        key: &SharedSigningKey,
    ) -> Result<Option<Secret>, Error> {
        let Some(attestations) = &self.attestations else { return Ok(None) };
        let endpoint = metadata.attestation_endpoint()?;
        attestations.token(&endpoint, key, &metadata.client_id, asking.correlation_id).await.map(Some)
    }

    fn question<'a>(
        &'a self,
        endpoint: ImdsEndpoint,
        asking: &'a Asking,
        bypass_cache: bool,
        body: Option<Bytes>,
    ) -> ImdsRequest<'a> {
        let Asking { id, correlation_id } = asking;
        let policy = match endpoint {
            ImdsEndpoint::PlatformMetadata => &self.metadata_policy,
            _ => &self.issuance_policy,
        };
        ImdsRequest {
            endpoint,
            id,
            resource: None,
            bypass_cache,
            body,
            policy,
            correlation_id: *correlation_id,
        }
    }
}

/// Half-way to the end, give or take the jitter, which is drawn once. A certificate that arrives in
/// its second half would otherwise be due at once, and so would its successor.
fn renew_at(identity: &ClientIdentity, minted_at: SystemTime, jitter: &Jitter) -> SystemTime {
    let until = identity.usable_until();
    let of_life = half_life(identity.not_before(), until, jitter);
    if of_life > minted_at { of_life } else { half_life(minted_at, until, jitter) }
}
