//! Steps of a mint, from the key to the binding (docs/protocol/imdsv2.md).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use symbolon_transport::RetryPolicy;
use symbolon_types::{
    ClientIdentity, ClockReading, Context, CorrelationId, Error, ErrorKind, Event, MintEvent, Secret,
    Secrets, SharedSigningKey, SigningKey, SteadyTime, Strength,
};

use crate::attestation::AttestationCache;
use crate::binding::{BindingDeadlines, BindingParts};
use crate::binding_id::BindingId;
use crate::imds::{ImdsClient, ImdsEndpoint, ImdsRequest};
use crate::issuance::{
    Csr, IssuedCredential, PlatformMetadata, TokenHosts, UncheckedCertificate, request_body,
};
use crate::renewal::renewal_date;
use crate::step_timer::StepTimer;
use crate::{Binding, KeyProvider, ManagedIdentityId, SharedKeyProvider};

/// Client of everything that takes part in a mint: metadata service, key provider, attester. It
/// keeps no bindings.
pub(crate) struct IssuanceClient {
    pub(crate) imds: ImdsClient,
    pub(crate) metadata_policy: RetryPolicy,
    pub(crate) issuance_policy: RetryPolicy,
    pub(crate) keys: SharedKeyProvider,
    pub(crate) attestations: Option<AttestationCache>,
    pub(crate) minimum_strength: Option<Strength>,
    pub(crate) token_hosts: TokenHosts,
}

/// Identity to mint a binding for, with the id for logs.
#[derive(Clone, Debug)]
pub(crate) struct MintRequest {
    pub(crate) id: ManagedIdentityId,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) observation: Arc<MintObservation>,
}

/// Observation of one mint. Its end is reported once.
#[derive(Debug)]
pub(crate) struct MintObservation {
    started: SteadyTime,
    is_renewal: bool,
    is_reported: AtomicBool,
}

impl MintObservation {
    pub(crate) fn start(now: SteadyTime, is_renewal: bool) -> Arc<Self> {
        Arc::new(Self { started: now, is_renewal, is_reported: AtomicBool::new(false) })
    }

    /// Reports the end of the mint to the observer.
    pub(crate) fn report(&self, context: &Context, result: Result<&Binding, &Error>) {
        if self.is_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        context.observer().emit(|| {
            let strength = result.map(|binding| binding.identity().strength());
            let duration = context.clock().steady_now().since(self.started);
            let strength = strength.map_err(Error::error_type);
            Event::Mint(MintEvent::new(self.is_renewal, strength, duration))
        });
    }
}

/// Mint whose platform metadata and key are available.
pub(crate) struct PreparedMint {
    pub(crate) mint: MintRequest,
    pub(crate) binding_id: BindingId,
    pub(crate) metadata: PlatformMetadata,
    pub(crate) key: SharedSigningKey,
}

impl IssuanceClient {
    /// Requests the platform metadata of an identity.
    pub(crate) async fn metadata(&self, request: &MintRequest) -> Result<PlatformMetadata, Error> {
        let request = ImdsRequest {
            endpoint: ImdsEndpoint::PlatformMetadata,
            id: &request.id,
            resource: None,
            bypass_cache: false,
            body: None,
            secrets: Secrets::none(),
            policy: &self.metadata_policy,
            correlation_id: request.correlation_id,
        };
        PlatformMetadata::read(&self.imds.send(&request).await?.response)
    }

    /// Returns a key of the key provider, if it is strong enough.
    pub(crate) async fn key(&self) -> Result<SharedSigningKey, Error> {
        let timer = StepTimer::start(self.imds.clock());
        tracing::debug!(name: "key", "requesting a key from the key provider");
        let key = self.keys.key().await?;
        let strength = key.strength();
        tracing::debug!(name: "key_made", %strength, duration_ms = timer.millis(), "the key provider returned a key");
        match self.minimum_strength {
            Some(minimum) if strength < minimum => Err(Error::new(
                ErrorKind::Environment,
                "min_strength_not_met",
                format!("the key provider returned a key of strength {strength}, but {minimum} is required"),
            )
            .with_advice("use a key provider with stronger keys, or lower the required strength")),
            _ => Ok(key),
        }
    }

    /// Requests a certificate for the key, after attestation if there is an attester. Returns the
    /// credential as it was issued, and the binding made of it.
    pub(crate) async fn issue(
        &self,
        request: &PreparedMint,
        bypass_cache: bool,
    ) -> Result<(IssuedCredential, Binding), Error> {
        let PreparedMint { mint, binding_id, metadata, key } = request;
        let (csr, key) = self.certificate_request(metadata, key).await?;
        let attestation_token = match &self.attestations {
            None => None,
            Some(attestations) => {
                let endpoint = metadata.attestation_endpoint()?;
                let client_id = &metadata.client_id;
                Some(attestations.token(&endpoint, &key, client_id, mint.correlation_id).await?)
            }
        };
        let request = ImdsRequest {
            endpoint: ImdsEndpoint::IssueCredential,
            id: &mint.id,
            resource: None,
            bypass_cache,
            body: Some(request_body(&csr, attestation_token.as_ref())?),
            secrets: std::iter::once(Secret::new(csr.to_base64().as_str()))
                .chain(attestation_token)
                .collect(),
            policy: &self.issuance_policy,
            correlation_id: mint.correlation_id,
        };
        let response = self.imds.send(&request).await?.response;
        let credential = IssuedCredential::read(&response)?;
        credential.check_subject(metadata)?;
        let now = self.imds.clock().read();
        let certificate = UncheckedCertificate {
            base64: &credential.certificate,
            key: &key,
            client_id: &credential.client_id,
            now: now.wall,
        };
        let identity = certificate.validate().map_err(|error| error.into_error(now, response.date()))?;
        let of_issuer = now.with_date(response.date());
        let binding = self.binding(binding_id, &credential, identity, of_issuer.wall, of_issuer)?;
        Ok((credential, binding))
    }

    /// Returns the binding for a credential whose certificate was validated. `now` is the present
    /// moment, on the clock that the dates are from.
    pub(crate) fn binding(
        &self,
        id: &BindingId,
        credential: &IssuedCredential,
        identity: ClientIdentity,
        minted_at: SystemTime,
        now: ClockReading,
    ) -> Result<Binding, Error> {
        let IssuedCredential { client_id, tenant_id, mtls_authentication_endpoint: base, .. } = credential;
        let token_endpoint = self.token_hosts.endpoint(base, tenant_id)?;
        let renew_at = renewal_date(&identity, minted_at, self.imds.http().context().jitter());
        let deadlines = BindingDeadlines {
            renew_at: now.steady_at(renew_at),
            usable_until: now.steady_at(identity.usable_until()),
        };
        Ok(Binding::new(BindingParts {
            id: id.clone(),
            identity: identity.issued_at(now),
            token_endpoint,
            client_id: client_id.clone(),
            tenant_id: tenant_id.clone(),
            minted_at,
            renew_at,
            deadlines,
        }))
    }

    /// Signs a certificate request. A key that is gone is replaced once: the provider detects the
    /// loss when the next key is requested.
    async fn certificate_request(
        &self,
        metadata: &PlatformMetadata,
        key: &SharedSigningKey,
    ) -> Result<(Csr, SharedSigningKey), Error> {
        match Csr::new(&metadata.subject(), key) {
            Err(error) if error.code() == "key_gone" => {
                tracing::warn!("the key is gone; requesting another one from the key provider");
                let key = self.key().await?;
                Ok((Csr::new(&metadata.subject(), &key)?, key))
            }
            csr => Ok((csr?, key.clone())),
        }
    }
}
