//! Proof of where a key is kept. (IMDSv2 §5.4, §5.5.)

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use symbolon_lease::{Lease, LeaseCache, Loaded};
use symbolon_transport::timeout;
use symbolon_types::{CorrelationId, Error, ErrorKind, Secret, SharedClock, SharedSigningKey, SigningKey};
use url::Url;

use crate::stopwatch::Stopwatch;

/// How long before its end a token is not used any more.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// The most tokens that are kept: one for each key and service.
const CAPACITY: usize = 64;

/// Has an attestation service certify where a key is kept.
///
/// Once there is an attester, every mint is attested: when it fails, no certificate is asked for.
/// There is none in this crate, because what it takes belongs to the key: Windows KeyGuard has a
/// library of Microsoft's, a TPM has its quotes.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use symbolon_binding::{Attestation, AttestationRequest, Attester, Error};
/// use symbolon_types::Secret;
///
/// #[derive(Debug)]
/// struct Recorded { token: Secret, expires_at: SystemTime }
///
/// impl Attester for Recorded {
///     async fn attest(&self, request: &AttestationRequest<'_>) -> Result<Attestation, Error> {
///         println!("{} is asked until {:?}", request.endpoint(), request.deadline());
///         Ok(Attestation::new(self.token.clone(), self.expires_at))
///     }
/// }
/// ```
pub trait Attester: fmt::Debug + Send + Sync + 'static {
    /// The service's statement about this key.
    ///
    /// It is asked once for each key and service, by however many callers; what it returns is used
    /// until five minutes before its end.
    ///
    /// # Errors
    /// When there is no statement. The caller gets `attestation_failed` with this error as its source.
    fn attest(
        &self,
        request: &AttestationRequest<'_>,
    ) -> impl Future<Output = Result<Attestation, Error>> + Send;
}

/// What is to be attested, and where.
#[derive(Clone, Copy, Debug)]
pub struct AttestationRequest<'a> {
    endpoint: &'a Url,
    key: &'a SharedSigningKey,
    client_id: &'a str,
    correlation_id: CorrelationId,
    deadline: SystemTime,
}

impl<'a> AttestationRequest<'a> {
    /// The service, as the metadata service names it: `attestationEndpoint`.
    #[must_use]
    pub fn endpoint(&self) -> &'a Url {
        self.endpoint
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &'a SharedSigningKey {
        self.key
    }

    /// The client id of the managed identity.
    #[must_use]
    pub fn client_id(&self) -> &'a str {
        self.client_id
    }

    /// The id under which the mint is logged.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.correlation_id
    }

    /// When nobody waits for the answer any more.
    #[must_use]
    pub fn deadline(&self) -> SystemTime {
        self.deadline
    }
}

/// A statement about a key: `attestation_token` of the request for a certificate.
#[derive(Clone, Debug)]
pub struct Attestation {
    token: Secret,
    expires_at: SystemTime,
}

impl Attestation {
    /// A JWT that is good until `expires_at`.
    #[must_use]
    pub fn new(token: Secret, expires_at: SystemTime) -> Self {
        Self { token, expires_at }
    }
}

/// An attester, and what it said before.
#[derive(Clone, Debug)]
pub(crate) struct Attestations {
    attester: Arc<dyn ErasedAttester>,
    tokens: LeaseCache<AttestedKey, Secret>,
    clock: SharedClock,
    timeout: Duration,
}

/// The service and the key. The client does not matter: identities share a key and its statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AttestedKey {
    endpoint: Url,
    /// SHA-256 of the SubjectPublicKeyInfo. A name would outlive its key.
    key: Box<[u8]>,
}

impl Attestations {
    pub(crate) fn new(attester: impl Attester, clock: SharedClock, timeout: Duration) -> Self {
        let tokens = LeaseCache::new(CAPACITY, clock.clone());
        Self { attester: Arc::new(attester), tokens, clock, timeout }
    }

    /// A token for this key: what was said before, as long as it is good, or what is said now.
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
                this.ask(&endpoint, &key, &client_id, correlation_id).await?;
            Ok(Loaded::new(Lease::new(token, expires_at.checked_sub(SKEW).unwrap_or(expires_at))))
        };
        Ok(self.tokens.obtain(&attested, load).await?.value)
    }

    /// Forgets what was said, because the token service did not believe it.
    pub(crate) fn forget(&self) {
        self.tokens.clear();
    }

    async fn ask(
        &self,
        endpoint: &Url,
        key: &SharedSigningKey,
        client_id: &str,
        correlation_id: CorrelationId,
    ) -> Result<Attestation, Error> {
        let stopwatch = Stopwatch::start(&self.clock);
        let now = self.clock.now();
        let deadline = now.checked_add(self.timeout).unwrap_or(now);
        let request = AttestationRequest { endpoint, key, client_id, correlation_id, deadline };
        let said = match timeout(&self.clock, self.timeout, self.attester.boxed_attest(&request)).await {
            None => Err(failed("there was no answer in time")),
            Some(Err(cause)) => Err(failed("the attester failed").with_source(cause)),
            Some(Ok(said)) if said.token.expose().trim().is_empty() => {
                Err(failed("the attester gave an empty token"))
            }
            Some(Ok(said)) if said.expires_at <= self.clock.now() => {
                Err(failed("the attester gave a token that has expired"))
            }
            Some(Ok(said)) => Ok(said),
        };
        let duration_ms = stopwatch.millis();
        match &said {
            Ok(_) => tracing::info!(duration_ms, "the key was attested"),
            Err(error) => tracing::warn!(%error, duration_ms, "the key could not be attested"),
        }
        said
    }
}

fn failed(why: &str) -> Error {
    let error = format!("the key could not be attested: {why}; no certificate was asked for");
    Error::new(ErrorKind::Environment, "attestation_failed", error).with_advice(
        "check that this machine can reach its attestation service and that the key can be attested",
    )
}

/// The twin of [`Attester`] that can stand behind a pointer.
#[async_trait]
trait ErasedAttester: fmt::Debug + Send + Sync {
    async fn boxed_attest(&self, request: &AttestationRequest<'_>) -> Result<Attestation, Error>;
}

#[async_trait]
impl<A: Attester> ErasedAttester for A {
    async fn boxed_attest(&self, request: &AttestationRequest<'_>) -> Result<Attestation, Error> {
        self.attest(request).await
    }
}
