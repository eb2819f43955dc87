//! Cache, renewal and recovery of bindings.

mod refusals;
#[cfg(unix)]
mod store;
#[cfg(unix)]
mod store_entry;
mod watches;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join;
use symbolon_lease::{LeaseCache, Loaded};
use symbolon_types::{CorrelationId, Error, SharedClock, SteadyTime, Thumbprint};
use tracing::Instrument;

pub use self::refusals::REMINT_COOLDOWN;
use self::refusals::RefusalHistory;
#[cfg(unix)]
pub(crate) use self::store::BindingStore;
#[cfg(unix)]
pub use self::store::stored_bindings;
use self::watches::WatchRegistry;
use crate::binding_id::BindingId;
use crate::issuance::IssuedCredential;
use crate::mint::{IssuanceClient, MintObservation, MintRequest, PreparedMint};
use crate::renewal::{is_due, lease};
use crate::step_timer::StepTimer;
use crate::{Binding, ManagedIdentityId};

/// Maximum number of bindings in each cache.
const CAPACITY: usize = 256;
/// Number of characters of a thumbprint in logs, enough to tell two apart.
const LOGGED_THUMBPRINT_CHARS: usize = 6;

/// Client of the metadata service that mints bindings, caches them, and renews them: one binding
/// for each managed identity, whichever of its ids is used.
///
/// A binding is returned until the usable end of its certificate. From half of its lifetime, a
/// request starts a renewal in the background and returns the old binding meanwhile. A failed
/// renewal changes nothing and is tried again later. Concurrent requests for one binding share one
/// mint, which runs as long as at least one of them waits.
///
/// At most 256 bindings are kept; another one replaces the one that expires first. Clones share all
/// state. Creating a minter starts nothing and requires no runtime.
///
/// ```no_run
/// # async fn example(http: symbolon_transport::HttpClient) -> Result<(), Box<dyn std::error::Error>> {
/// use symbolon_binding::imds::IMDS_BASE_URL;
/// use symbolon_binding::{ManagedIdentityId, Minter};
/// use symbolon_types::CorrelationId;
///
/// let minter = Minter::builder(IMDS_BASE_URL.parse()?, http).build()?;
/// let id = ManagedIdentityId::system_assigned();
/// let binding = minter.binding(&id, CorrelationId::random()).await?;
/// println!("present {} at {}", binding.identity().thumbprint(), binding.token_endpoint());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Minter(Arc<MinterState>);

struct MinterState {
    client: IssuanceClient,
    bypass_cache_on_remint: bool,
    /// Bindings by the ids that callers use.
    by_name: LeaseCache<ManagedIdentityId, Binding>,
    /// Bindings by the id that the service resolves those to.
    by_id: LeaseCache<BindingId, Binding>,
    #[cfg(unix)]
    store: Option<BindingStore>,
    refusals: Mutex<RefusalHistory>,
    watches: WatchRegistry,
}

impl Minter {
    pub(crate) fn new(
        client: IssuanceClient,
        bypass_cache_on_remint: bool,
        #[cfg(unix)] store: Option<BindingStore>,
    ) -> Self {
        let clock = client.imds.clock().clone();
        Self(Arc::new(MinterState {
            client,
            bypass_cache_on_remint,
            by_name: LeaseCache::new(CAPACITY, clock.clone()),
            by_id: LeaseCache::new(CAPACITY, clock),
            #[cfg(unix)]
            store,
            refusals: Mutex::new(RefusalHistory::new(CAPACITY)),
            watches: WatchRegistry::default(),
        }))
    }

    /// Returns the cached binding of an identity if it is neither expired nor due for renewal.
    /// Neither waits nor allocates.
    #[must_use]
    pub fn current(&self, id: &ManagedIdentityId) -> Option<Binding> {
        self.current_at(id, self.0.clock().steady_now())
    }

    /// Like [`current`](Self::current), for a caller that has already read the clock.
    #[must_use]
    pub fn current_at(&self, id: &ManagedIdentityId, now: SteadyTime) -> Option<Binding> {
        let found = self.0.by_name.find_at(id, now)?;
        (!found.is_due).then_some(found.value)
    }

    /// Returns the cached binding of an identity until it expires, even if it is due for renewal.
    /// Neither waits nor sends a request.
    #[must_use]
    pub fn held(&self, id: &ManagedIdentityId) -> Option<Binding> {
        Some(self.0.by_name.find(id)?.value)
    }

    pub(crate) fn watches(&self) -> &WatchRegistry {
        &self.0.watches
    }

    /// Forgets all attestations, so that the next mint attests its key again. Call this when the
    /// token service rejects an attestation (AADSTS1000610 to 1000614).
    pub fn forget_attestations(&self) {
        if let Some(attestations) = &self.0.client.attestations {
            attestations.clear();
        }
    }

    /// Returns the cached binding of an identity, or mints one.
    ///
    /// A mint sends two requests to the metadata service, both with `correlation_id`. A caller that
    /// joins the mint of another one gets its result, with the correlation id of that caller.
    ///
    /// # Errors
    /// Errors of the mint, by [`code`](Error::code). Each error has the correlation id.
    ///
    /// | code | cause |
    /// |---|---|
    /// | `managed_identity_unreachable`, `timeout` | the metadata service did not respond |
    /// | `managed_identity_request_failed` | its response has an error status |
    /// | `mtls_pop_not_supported_in_imds_v1` | it issues no certificates |
    /// | `response_too_large`, `invalid_response` | its response cannot be used |
    /// | `insecure_endpoint` | it named a token endpoint without TLS |
    /// | `invalid_certificate` | it issued a certificate that cannot be used |
    /// | `min_strength_not_met`, `key_not_supported`, `key_unusable`, `key_gone` | the key cannot be used |
    /// | `key_creation_failed`, or the code of the key provider's error | there is no key |
    /// | `attestation_failed` | the key could not be attested |
    /// | `store_unusable` | the folder of the store cannot be used |
    pub async fn binding(
        &self,
        id: &ManagedIdentityId,
        correlation_id: CorrelationId,
    ) -> Result<Binding, Error> {
        let load = || Arc::clone(&self.0).load(id.clone(), correlation_id);
        let Some(suspect) = self.0.suspect(id) else {
            return Ok(self.0.by_name.obtain(id, load).await?.value);
        };
        match self.0.by_name.renew(id, "", load).await {
            Ok(replaced) => Ok(replaced.value),
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "could not replace a certificate that may have been refused; using it");
                Ok(suspect)
            }
        }
    }

    /// Returns the binding of an identity like [`binding`](Self::binding), but waits for a renewal
    /// that is due.
    ///
    /// # Errors
    /// Those of [`binding`](Self::binding). The old binding stays, and [`held`](Self::held) returns
    /// it.
    pub async fn renewed_binding(
        &self,
        id: &ManagedIdentityId,
        correlation_id: CorrelationId,
    ) -> Result<Binding, Error> {
        if self.current(id).is_some() || self.held(id).is_none() {
            return self.binding(id, correlation_id).await;
        }
        self.load_binding(id, correlation_id).await
    }

    /// Replaces the certificate `used` of an identity, although it is not due and was not refused.
    /// After a replacement, and after a refusal, the next one replaces nothing until a pause is
    /// over; see [`report_refusal`](Self::report_refusal).
    ///
    /// # Errors
    /// Those of [`binding`](Self::binding). The old binding stays.
    pub async fn replaced_binding(
        &self,
        id: &ManagedIdentityId,
        used: Thumbprint,
        correlation_id: CorrelationId,
    ) -> Result<Binding, Error> {
        let decision = self.0.handle_refusal(id, used, Evidence::Loss);
        tracing::info!(identity = %id.kind(), ?decision, "replacing a certificate on request");
        self.load_binding(id, correlation_id).await
    }

    async fn load_binding(
        &self,
        id: &ManagedIdentityId,
        correlation_id: CorrelationId,
    ) -> Result<Binding, Error> {
        let load = || Arc::clone(&self.0).load(id.clone(), correlation_id);
        Ok(self.0.by_name.renew(id, "", load).await?.value)
    }

    /// Records that the token service, or the TLS handshake with it, refused the certificate
    /// `used`. Returns true if the caller should retry with [`binding`](Self::binding).
    ///
    /// - If `used` is the current certificate, it is forgotten, and the next request mints: true.
    /// - If another certificate is current, or none, nothing is forgotten: true.
    /// - If `used` is current and comes from a mint after a refusal, another mint may be refused as
    ///   well: until a pause is over, the binding stays, and the caller should report the refusal:
    ///   false. The pause grows with each such mint, from one second to [`REMINT_COOLDOWN`], and
    ///   shrinks for each five minutes without a refusal.
    #[must_use]
    pub fn report_refusal(&self, id: &ManagedIdentityId, used: Thumbprint) -> bool {
        self.report(id, used, Evidence::Refusal)
    }

    /// Records that a connection which presented the certificate `used` was lost in a way that some
    /// servers use for a refusal. Returns true if the caller should retry with
    /// [`binding`](Self::binding).
    ///
    /// It differs from [`report_refusal`](Self::report_refusal) in one point: the certificate is
    /// not forgotten but replaced, and used until it can be replaced.
    #[must_use]
    pub fn report_loss(&self, id: &ManagedIdentityId, used: Thumbprint) -> bool {
        self.report(id, used, Evidence::Loss)
    }

    fn report(&self, id: &ManagedIdentityId, used: Thumbprint, evidence: Evidence) -> bool {
        let decision = self.0.handle_refusal(id, used, evidence);
        let thumbprint = used.to_string();
        tracing::warn!(
            identity = %id.kind(),
            certificate = thumbprint.get(..LOGGED_THUMBPRINT_CHARS),
            ?decision,
            ?evidence,
            "a certificate was refused"
        );
        decision != RefusalDecision::KeptInCooldown
    }
}

/// Evidence of a refused certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    Refusal,
    /// A lost connection, which can have other causes.
    Loss,
}

/// Result of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RefusalDecision {
    Forgotten,
    /// The next request replaces the certificate, if it can.
    Suspected,
    NotCurrent,
    KeptInCooldown,
}

impl MinterState {
    fn handle_refusal(
        &self,
        id: &ManagedIdentityId,
        used: Thumbprint,
        evidence: Evidence,
    ) -> RefusalDecision {
        let now = self.clock().steady_now();
        // Locked until the decision is recorded, so that only one of two refusals forgets.
        let mut refusals = self.refusals();
        let is_used = |binding: &Binding| binding.identity().thumbprint() == used;
        let Some(held) = self.by_name.find(id).map(|found| found.value).filter(is_used) else {
            return RefusalDecision::NotCurrent;
        };
        // It may have been refused and replaced under another id of the identity.
        if self.by_id.find(held.id()).is_some_and(|found| !is_used(&found.value)) {
            self.by_name.remove_if(id, is_used);
            return RefusalDecision::NotCurrent;
        }
        if refusals.is_in_pause(held.id(), now) {
            return RefusalDecision::KeptInCooldown;
        }
        if evidence == Evidence::Loss {
            if !(refusals.contains(used) && refusals.is_remint(held.id())) {
                refusals.record(held.id().clone(), used, now);
            }
            return RefusalDecision::Suspected;
        }
        self.by_id.remove_if(held.id(), is_used);
        // A renewal may have replaced it since the look-up.
        if !self.by_name.remove_if(id, is_used) {
            return RefusalDecision::NotCurrent;
        }
        refusals.record(held.id().clone(), used, now);
        self.watches.send(id, None);
        RefusalDecision::Forgotten
    }

    /// Loads a binding into `by_name`.
    async fn load(
        self: Arc<Self>,
        id: ManagedIdentityId,
        correlation_id: CorrelationId,
    ) -> Result<Loaded<ManagedIdentityId, Binding>, Error> {
        let renewal = self.by_name.find(&id).is_some();
        let observation = MintObservation::start(self.clock().steady_now(), renewal);
        let request = MintRequest { id: id.clone(), correlation_id, observation };
        let id = &id;
        let span = tracing::info_span!("mint", identity = %id.kind(), renewal, %correlation_id);
        let obtain = async {
            let timer = StepTimer::start(self.clock());
            let binding = self.obtain(&request, !renewal).await;
            if let Err(error) = &binding {
                request.observation.report(self.client.imds.http().context(), Err(error));
                let duration_ms = timer.millis();
                tracing::warn!(code = error.code(), %error, duration_ms, "could not mint a binding");
                if let Some(held) = self.by_name.find(id) {
                    self.refusals().record_failure(held.value.id(), self.clock().steady_now());
                }
            }
            binding
        };
        let binding =
            obtain.instrument(span).await.map_err(|error| error.with_correlation_id(correlation_id))?;
        self.refusals().record_mint(binding.id(), self.clock().steady_now());
        self.watches.send(id, Some(&binding));
        Ok(Loaded::new(lease(binding)))
    }

    /// Returns the binding that the identity has under another id, or a new one. The metadata
    /// request, which resolves the id, and the key provider run in parallel.
    async fn obtain(self: &Arc<Self>, mint: &MintRequest, or_due: bool) -> Result<Binding, Error> {
        // An `Err` ends both branches early, with the result of this function.
        let resolve = async {
            let metadata = self.client.metadata(mint).await.map_err(Err)?;
            let id = BindingId::new(&metadata, self.client.attestations.is_some());
            match self.fresh(&id) {
                Some(binding) => {
                    tracing::debug!("the identity has a binding under another id");
                    Err(Ok(binding))
                }
                None => Ok((metadata, id)),
            }
        };
        let key = async { self.client.key().await.map_err(Err) };
        let ((metadata, id), key) = match try_join(resolve, key).await {
            Ok(resolved) => resolved,
            Err(result) => return result,
        };
        let request = PreparedMint { mint: mint.clone(), binding_id: id.clone(), metadata, key };
        let this = Arc::clone(self);
        let load = || async move { Ok(Loaded::new(lease(this.get_or_issue(request, or_due).await?))) };
        Ok(self.by_id.renew(&id, "", load).await?.value)
    }

    #[cfg_attr(not(unix), expect(unused_variables, reason = "only a store returns bindings that are due"))]
    async fn get_or_issue(&self, request: PreparedMint, or_due: bool) -> Result<Binding, Error> {
        // A request under another id may have minted since the look-up.
        if let Some(fresh) = self.fresh(&request.binding_id) {
            return Ok(fresh);
        }
        let issue = self.issue(&request);
        #[cfg(unix)]
        if let Some(store) = &self.store {
            let is_refused = |certificate| self.refusals().contains(certificate);
            let query =
                store::StoreQuery { request: &request, client: &self.client, is_refused: &is_refused };
            return store.get_or_issue(&query, or_due, issue).await;
        }
        issue.await.map(|(_, binding)| binding)
    }

    async fn issue(&self, request: &PreparedMint) -> Result<(IssuedCredential, Binding), Error> {
        let follows_refusal = self.refusals().is_remint(&request.binding_id);
        let bypass_cache = follows_refusal && self.bypass_cache_on_remint;
        let timer = StepTimer::start(self.clock());
        let issued = self.client.issue(request, bypass_cache).await;
        let observed = issued.as_ref().map(|(_, binding)| binding);
        request.mint.observation.report(self.client.imds.http().context(), observed);
        if let Ok((_, binding)) = &issued {
            let (strength, duration_ms) = (binding.identity().strength(), timer.millis());
            tracing::info!(%strength, follows_refusal, duration_ms, "minted a binding");
        }
        issued
    }

    /// Returns the cached binding if it is neither due for renewal nor refused.
    fn fresh(&self, id: &BindingId) -> Option<Binding> {
        let now = self.clock().steady_now();
        let is_refused = |binding: &Binding| self.refusals().contains(binding.identity().thumbprint());
        Some(self.by_id.find(id)?.value).filter(|binding| !is_due(binding, now) && !is_refused(binding))
    }

    /// Returns the cached binding of an identity if it may have been refused, and it is time to
    /// replace it.
    fn suspect(&self, id: &ManagedIdentityId) -> Option<Binding> {
        let held = self.by_name.find(id)?.value;
        let refusals = self.refusals();
        let is_suspect = refusals.contains(held.identity().thumbprint())
            && refusals.may_mint(held.id(), self.clock().steady_now());
        is_suspect.then_some(held)
    }

    fn clock(&self) -> &SharedClock {
        self.client.imds.clock()
    }

    fn refusals(&self) -> MutexGuard<'_, RefusalHistory> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

symbolon_types::debug_fields!(
    Minter |this|
    key_provider: this.0.client.keys, minimum_strength: this.0.client.minimum_strength
);
