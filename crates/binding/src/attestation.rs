//! Attestation of keys (docs/protocol/imdsv2.md#attestation).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use symbolon_lease::{Lease, LeaseCache, Loaded};
use symbolon_transport::timeout;
use symbolon_types::{
    CorrelationId, Error, ErrorKind, Secret, SharedClock, SharedSigningKey, SigningKey, catch_panic_of,
};
use url::Url;

use crate::step_timer::StepTimer;

/// Time before its expiry from which an attestation token is no longer used.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5 * 60);
/// Maximum number of cached tokens: one for each key and service.
const CAPACITY: usize = 64;

/// Client of an attestation service, which certifies how a key is protected.
///
/// With an attester, every key is attested before a certificate is requested for it; a failure
/// fails the mint. This crate contains no attester, because the evidence depends on the key:
/// Windows KeyGuard uses a library of Microsoft, a TPM uses quotes.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use symbolon_binding::{Attestation, AttestationRequest, Attester, Error};
/// use symbolon_types::Secret;
///
/// #[derive(Debug)]
/// struct FixedAttester { token: Secret, expires_at: SystemTime }
///
/// impl Attester for FixedAttester {
///     async fn attest(&self, request: &AttestationRequest<'_>) -> Result<Attestation, Error> {
///         println!("attesting at {} until {:?}", request.endpoint, request.deadline);
///         Ok(Attestation::new(self.token.clone(), self.expires_at))
///     }
/// }
/// ```
pub trait Attester: fmt::Debug + Send + Sync + 'static {
    /// Requests an attestation of the key.
    ///
    /// Concurrent mints share one call for each key and service. The attestation is used until five
    /// minutes before it expires.
    ///
    /// # Errors
    /// When the key cannot be attested. The mint fails with `attestation_failed` and this error as
    /// its source.
    fn attest(
        &self,
        request: &AttestationRequest<'_>,
    ) -> impl Future<Output = Result<Attestation, Error>> + Send;
}

/// Key to attest, and the service to attest it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AttestationRequest<'a> {
    /// URL of the service: `attestationEndpoint` of the platform metadata.
    pub endpoint: &'a Url,
    /// Key to attest.
    pub key: &'a SharedSigningKey,
    /// Client id of the managed identity.
    pub client_id: &'a str,
    /// Id under which the mint is logged.
    pub correlation_id: CorrelationId,
    /// Time at which the mint stops waiting.
    pub deadline: SystemTime,
}

/// Attestation of a key: `attestation_token` of the certificate request.
#[derive(Clone, Debug)]
pub struct Attestation {
    token: Secret,
    expires_at: SystemTime,
}

impl Attestation {
    /// Creates an attestation from a JWT that is valid until `expires_at`.
    #[must_use]
    pub fn new(token: Secret, expires_at: SystemTime) -> Self {
        Self { token, expires_at }
    }
}

/// Attester with a cache of its tokens.
#[derive(Clone, Debug)]
pub(crate) struct AttestationCache {
    attester: Arc<dyn ErasedAttester>,
    tokens: LeaseCache<AttestedKey, Secret>,
    clock: SharedClock,
    timeout: Duration,
}

/// Cache key: service and key. The client id is not part of it, because identities share the
/// attestation of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AttestedKey {
    endpoint: Url,
    /// SHA-256 of the SubjectPublicKeyInfo. A key name is no replacement, because it outlives its
    /// key.
    key: Box<[u8]>,
}

impl AttestationCache {
    pub(crate) fn new(attester: impl Attester, clock: SharedClock, timeout: Duration) -> Self {
        let tokens = LeaseCache::new(CAPACITY, clock.clone());
        Self { attester: Arc::new(attester), tokens, clock, timeout }
    }

    /// Returns the cached token for this key, or attests the key.
    pub(crate) async fn token(
        &self,
        endpoint: &Url,
        key: &SharedSigningKey,
        client_id: &str,
        correlation_id: CorrelationId,
    ) -> Result<Secret, Error> {
        let attested = AttestedKey {
            endpoint: endpoint.clone(),
            key: digest(&SHA256, key.public_key()).as_ref().into(),
        };
        let (this, key, client_id) = (self.clone(), key.clone(), client_id.to_owned());
        let endpoint = endpoint.clone();
        let load = || async move {
            let Attestation { token, expires_at } =
                this.attest(&endpoint, &key, &client_id, correlation_id).await?;
            let until = this.clock.read().steady_at(expires_at).minus(EXPIRY_MARGIN);
            Ok(Loaded::new(Lease::new(token, until)))
        };
        Ok(self.tokens.obtain(&attested, load).await?.value)
    }

    /// Removes all tokens.
    pub(crate) fn clear(&self) {
        self.tokens.clear();
    }

    async fn attest(
        &self,
        endpoint: &Url,
        key: &SharedSigningKey,
        client_id: &str,
        correlation_id: CorrelationId,
    ) -> Result<Attestation, Error> {
        let timer = StepTimer::start(&self.clock);
        let now = self.clock.now();
        let deadline = now.checked_add(self.timeout).unwrap_or(now);
        let request = AttestationRequest { endpoint, key, client_id, correlation_id, deadline };
        let result = match timeout(&self.clock, self.timeout, self.attester.boxed_attest(&request)).await {
            None => Err(failed("the attester did not respond in time")),
            Some(Err(cause)) => Err(failed("the attester failed").with_source(cause)),
            Some(Ok(attestation)) if attestation.token.expose().trim().is_empty() => {
                Err(failed("the attester returned an empty token"))
            }
            Some(Ok(attestation)) if attestation.expires_at <= self.clock.now() => {
                Err(failed("the attester returned a token that has expired"))
            }
            Some(Ok(attestation)) => Ok(attestation),
        };
        let duration_ms = timer.millis();
        match &result {
            Ok(_) => tracing::info!(duration_ms, "the key was attested"),
            Err(error) => tracing::warn!(%error, duration_ms, "the key could not be attested"),
        }
        result
    }
}

fn failed(reason: &str) -> Error {
    let summary = format!("the key could not be attested: {reason}; no certificate was requested");
    Error::new(ErrorKind::Environment, "attestation_failed", summary).with_advice(
        "check that this machine can reach the attestation service, and that the key supports attestation",
    )
}

/// Object-safe version of [`Attester`].
#[async_trait]
trait ErasedAttester: fmt::Debug + Send + Sync {
    async fn boxed_attest(&self, request: &AttestationRequest<'_>) -> Result<Attestation, Error>;
}

#[async_trait]
impl<A: Attester> ErasedAttester for A {
    async fn boxed_attest(&self, request: &AttestationRequest<'_>) -> Result<Attestation, Error> {
        catch_panic_of("the attester", || self.attest(request)).await.unwrap_or_else(Err)
    }
}
