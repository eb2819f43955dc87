//! The bindings of this process.

mod builder;
mod remints;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_transport::HttpClient;
use symbolon_types::lease::{Lease, LeaseCache, Loaded, half_life};
use symbolon_types::{CorrelationId, Error, SharedClock, Thumbprint};
use tracing::Instrument;
use url::Url;

pub use self::builder::MinterBuilder;
pub use self::remints::REMINT_PAUSE;
use self::remints::Remints;
use crate::elapsed::Elapsed;
use crate::mint::{Asking, Mint};
use crate::{Binding, ManagedIdentityId};

/// The most identities whose bindings are kept.
const CAPACITY: usize = 256;
/// How much of a thumbprint a log shows: enough to tell two apart.
const SHOWN_OF_THUMBPRINT: usize = 6;

/// Mints bindings and keeps them: one for each [`ManagedIdentityId`].
///
/// A binding is served until its certificate's usable end. Half-way there it is renewed in the
/// background while the old one is still served; a renewal that fails changes nothing and is
/// tried again later. Callers that wait for the same binding share one mint, which goes on as
/// long as one of them waits.
///
/// At most 256 bindings are kept; when one more comes, the one that would expire next goes. Clones
/// share everything, and making one starts nothing and needs no runtime.
///
/// ```no_run
/// # async fn example(http: symbolon_transport::HttpClient) -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon_binding::{ManagedIdentityId, Minter};
/// use symbolon_types::CorrelationId;
///
/// let minter = Minter::builder("http://169.254.169.254".parse()?, http).build()?;
/// let id = ManagedIdentityId::system_assigned();
/// let binding = minter.binding(&id, CorrelationId::random()).await?;
/// println!("present {} at {}", binding.identity().thumbprint(), binding.token_endpoint());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Minter(Arc<Inner>);

struct Inner {
    mint: Mint,
    bindings: LeaseCache<ManagedIdentityId, Binding>,
    remints: Mutex<Remints>,
}

impl Minter {
    /// Begins with the address of the metadata service, of which only the origin counts, and with
    /// what to send with.
    pub fn builder(imds_base: Url, http: HttpClient) -> MinterBuilder {
        MinterBuilder::new(imds_base, http)
    }

    fn new(mint: Mint) -> Self {
        let bindings = LeaseCache::new(CAPACITY, mint.imds.clock().clone());
        Self(Arc::new(Inner { mint, bindings, remints: Mutex::new(Remints::new(CAPACITY)) }))
    }

    /// The binding of an identity, if there is one that needs nothing done: neither expired nor
    /// due for renewal. Does not wait and does not allocate.
    #[must_use]
    pub fn current(&self, id: &ManagedIdentityId) -> Option<Binding> {
        let found = self.0.bindings.find(id)?;
        (!found.is_due).then_some(found.value)
    }

    /// The binding of an identity: the one there is, or a new one.
    ///
    /// A mint is two requests to the metadata service, both under `correlation_id`; a caller that
    /// joins another's mint gets that one's outcome, under that one's id.
    ///
    /// # Errors
    /// Those of the mint, by [`code`](Error::code); every one carries the correlation id.
    ///
    /// | code | what happened |
    /// |---|---|
    /// | `managed_identity_unreachable`, `timeout` | the metadata service did not answer |
    /// | `managed_identity_request_failed` | it answered with an error status |
    /// | `mtls_pop_not_supported_in_imds_v1` | it issues no certificates |
    /// | `response_too_large`, `invalid_response` | its answer cannot be used |
    /// | `insecure_endpoint` | it named a token endpoint without TLS |
    /// | `invalid_certificate` | the certificate it issued cannot be used |
    /// | `min_strength_not_met`, `key_not_supported`, `key_unusable`, `key_gone` | the key cannot be used |
    /// | `key_creation_failed`, or what the key provider says | there is no key |
    pub async fn binding(
        &self,
        id: &ManagedIdentityId,
        correlation_id: CorrelationId,
    ) -> Result<Binding, Error> {
        let load = || Arc::clone(&self.0).load(id.clone(), correlation_id);
        Ok(self.0.bindings.obtain(id, load).await?.value)
    }

    /// Takes note that the token service, or the TLS handshake with it, refused the certificate
    /// `used`, and tells whether another try is worth it.
    ///
    /// If `used` is the current binding, it is forgotten, and the next call of
    /// [`binding`](Self::binding) mints: true. If the current binding is another one already, or
    /// there is none, nothing is forgotten: true. If `used` is current and a mint that followed a
    /// refusal is less than [`REMINT_PAUSE`] old, another mint would be refused as well: the
    /// binding stays, and the caller should report the refusal: false.
    #[must_use]
    pub fn refused(&self, id: &ManagedIdentityId, used: Thumbprint) -> bool {
        let decision = self.0.decide(id, used);
        let shown = used.to_string();
        tracing::warn!(
            identity = %id.kind(),
            certificate = shown.get(..SHOWN_OF_THUMBPRINT),
            ?decision,
            "a certificate was refused"
        );
        decision != Decision::KeptInPause
    }
}

/// What became of a refused binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Forgotten,
    NotCurrent,
    KeptInPause,
}

impl Inner {
    fn decide(&self, id: &ManagedIdentityId, used: Thumbprint) -> Decision {
        let now = self.clock().now();
        // Held until the decision is recorded, so that two refusals cannot both forget.
        let mut remints = self.remints();
        let is_used = |binding: &Binding| binding.identity().thumbprint() == used;
        if !self.bindings.find(id).is_some_and(|found| is_used(&found.value)) {
            return Decision::NotCurrent;
        }
        if remints.is_pausing(id, now) {
            return Decision::KeptInPause;
        }
        // A renewal may have replaced it since the look-up.
        if !self.bindings.remove_if(id, is_used) {
            return Decision::NotCurrent;
        }
        remints.want(id.clone(), now);
        Decision::Forgotten
    }

    async fn load(
        self: Arc<Self>,
        id: ManagedIdentityId,
        correlation_id: CorrelationId,
    ) -> Result<Loaded<ManagedIdentityId, Binding>, Error> {
        let renewal = self.bindings.find(&id).is_some();
        let span = tracing::info_span!("mint", identity = %id.kind(), renewal, %correlation_id);
        let asking = Asking { id: &id, correlation_id };
        let minted = async {
            let elapsed = Elapsed::on(self.clock());
            let minted = self.mint.binding(asking).await;
            let duration_ms = elapsed.millis();
            match &minted {
                Ok(binding) => {
                    let strength = binding.identity().strength();
                    tracing::info!(%strength, duration_ms, "minted a binding");
                }
                Err(error) => {
                    tracing::warn!(code = error.code(), %error, duration_ms, "could not mint a binding");
                }
            }
            minted
        };
        let binding =
            minted.instrument(span).await.map_err(|error| error.with_correlation_id(correlation_id))?;
        self.remints().minted(&id, binding.minted_at());
        Ok(Loaded::new(self.lease(binding)))
    }

    fn lease(&self, binding: Binding) -> Lease<Binding> {
        let jitter = self.mint.imds.http().jitter();
        let (minted_at, identity) = (binding.minted_at(), binding.identity());
        let usable_until = identity.usable_until();
        let mut refresh_at = half_life(identity.not_before(), usable_until, jitter);
        // A certificate that arrives in its second half would otherwise be due at once, and so
        // would its successor.
        if refresh_at <= minted_at {
            refresh_at = half_life(minted_at, usable_until, jitter);
        }
        Lease::new(binding, usable_until).refreshed_at(Some(refresh_at))
    }

    fn clock(&self) -> &SharedClock {
        self.mint.imds.clock()
    }

    fn remints(&self) -> MutexGuard<'_, Remints> {
        self.remints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter")
            .field("key_provider", &self.0.mint.keys)
            .field("minimum_strength", &self.0.mint.minimum_strength)
            .finish_non_exhaustive()
    }
}
