//! Mints bindings, keeps them and renews them.

mod builder;
mod refusals;
#[cfg(unix)]
mod shelf;
mod watch;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures_util::future::try_join;
use symbolon_lease::{Lease, LeaseCache, Loaded};
use symbolon_transport::HttpClient;
use symbolon_types::{CorrelationId, Error, SharedClock, Thumbprint};
use tracing::Instrument;
use url::Url;

pub use self::builder::MinterBuilder;
pub use self::refusals::REMINT_COOLDOWN;
use self::refusals::Refusals;
pub use self::watch::BindingWatch;
use self::watch::Watches;
use crate::binding_id::BindingId;
use crate::credential::Credential;
use crate::mint::{Asking, Mint, Order};
use crate::stopwatch::Stopwatch;
use crate::{Binding, ManagedIdentityId};

/// The most identities whose bindings are kept.
const CAPACITY: usize = 256;
/// How much of a thumbprint a log shows: enough to tell two apart.
const SHOWN_OF_THUMBPRINT: usize = 6;

/// Mints bindings and keeps them: one for each managed identity, whatever name it goes by.
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
    bypass_cache_on_remint: bool,
    /// Under the names that callers use.
    by_name: LeaseCache<ManagedIdentityId, Binding>,
    /// Under the one name that the service has for what several of those may mean.
    by_id: LeaseCache<BindingId, Binding>,
    #[cfg(unix)]
    shelf: Option<shelf::Shelf>,
    refusals: Mutex<Refusals>,
    watches: Watches,
}

impl Minter {
    /// Begins with the address of the metadata service, of which only the origin counts, and with
    /// what to send with.
    pub fn builder(imds_base: Url, http: HttpClient) -> MinterBuilder {
        MinterBuilder::new(imds_base, http)
    }

    /// The binding of an identity, if there is one that needs nothing done: neither expired nor
    /// due for renewal. Does not wait and does not allocate.
    #[must_use]
    pub fn current(&self, id: &ManagedIdentityId) -> Option<Binding> {
        self.current_at(id, self.0.clock().now())
    }

    /// The same at a time that was read off the clock before.
    #[must_use]
    pub fn current_at(&self, id: &ManagedIdentityId, now: SystemTime) -> Option<Binding> {
        let found = self.0.by_name.find_at(id, now)?;
        (!found.is_due).then_some(found.value)
    }

    /// The binding of an identity that is held, due for renewal or not, until its end. Does not wait;
    /// asks nobody.
    #[must_use]
    pub fn held(&self, id: &ManagedIdentityId) -> Option<Binding> {
        Some(self.0.by_name.find(id)?.value)
    }

    /// Tells when the binding of an identity changes from now on.
    #[must_use]
    pub fn watch(&self, id: &ManagedIdentityId) -> BindingWatch {
        BindingWatch::new(self.clone(), self.0.watches.of(id, || self.held(id)))
    }

    /// Forgets what attestation services said about keys, because the token service did not believe
    /// it (AADSTS1000610 to 1000614): the next mint has its key attested again.
    pub fn forget_attestations(&self) {
        if let Some(attestations) = &self.0.mint.attestations {
            attestations.forget();
        }
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
    /// | `attestation_failed` | the key could not be attested |
    /// | `store_unusable` | the folder of the store cannot be used |
    pub async fn binding(
        &self,
        id: &ManagedIdentityId,
        correlation_id: CorrelationId,
    ) -> Result<Binding, Error> {
        let load = || Arc::clone(&self.0).load(Asking { id: id.clone(), correlation_id });
        Ok(self.0.by_name.obtain(id, load).await?.value)
    }

    /// Takes note that the token service, or the TLS handshake with it, refused the certificate
    /// `used`, and tells whether another try is worth it.
    ///
    /// If `used` is the current binding, it is forgotten, and the next call of
    /// [`binding`](Self::binding) mints: true. If the current binding is another one already, or
    /// there is none, nothing is forgotten: true. If `used` is current and a mint that followed a
    /// refusal is less than [`REMINT_COOLDOWN`] old, another mint would be refused as well: the
    /// binding stays, and the caller should report the refusal: false.
    #[must_use]
    pub fn report_refusal(&self, id: &ManagedIdentityId, used: Thumbprint) -> bool {
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

/// Why a mint ends before it is one.
enum Stop {
    /// The identity has a binding, under another name.
    Known(Binding),
    Failed(Error),
}

impl Inner {
    fn decide(&self, id: &ManagedIdentityId, used: Thumbprint) -> Decision {
        let now = self.clock().now();
        // Held until the decision is recorded, so that two refusals cannot both forget.
        let mut refusals = self.refusals();
        let is_used = |binding: &Binding| binding.identity().thumbprint() == used;
        let Some(held) = self.by_name.find(id).map(|found| found.value).filter(is_used) else {
            return Decision::NotCurrent;
        };
        // Under another name of the identity, it may have been refused before, and have a successor.
        if self.by_id.find(held.id()).is_some_and(|found| !is_used(&found.value)) {
            self.by_name.remove_if(id, is_used);
            return Decision::NotCurrent;
        }
        if refusals.is_pausing(held.id(), now) {
            return Decision::KeptInPause;
        }
        self.by_id.remove_if(held.id(), is_used);
        // A renewal may have replaced it since the look-up.
        if !self.by_name.remove_if(id, is_used) {
            return Decision::NotCurrent;
        }
        refusals.note(held.id().clone(), used, now);
        self.watches.tell(id, None);
        Decision::Forgotten
    }

    async fn load(self: Arc<Self>, asking: Asking) -> Result<Loaded<ManagedIdentityId, Binding>, Error> {
        let Asking { id, correlation_id } = &asking;
        let renewal = self.by_name.find(id).is_some();
        let span = tracing::info_span!("mint", identity = %id.kind(), renewal, %correlation_id);
        let come_by = async {
            let stopwatch = Stopwatch::start(self.clock());
            let binding = self.come_by(&asking, !renewal).await;
            if let Err(error) = &binding {
                let duration_ms = stopwatch.millis();
                tracing::warn!(code = error.code(), %error, duration_ms, "could not mint a binding");
            }
            binding
        };
        let binding =
            come_by.instrument(span).await.map_err(|error| error.with_correlation_id(*correlation_id))?;
        self.refusals().minted(binding.id(), self.clock().now());
        self.watches.tell(id, Some(&binding));
        Ok(Loaded::new(lease(binding)))
    }

    /// The binding that another name of the identity has, or a new one. Which identity it is has to be
    /// asked; the key is made meanwhile.
    async fn come_by(self: &Arc<Self>, asking: &Asking, or_due: bool) -> Result<Binding, Error> {
        let named = async {
            let metadata = self.mint.metadata(asking).await.map_err(Stop::Failed)?;
            let id = BindingId::new(&metadata, self.mint.attestations.is_some());
            match self.fresh(&id) {
                Some(known) => Err(Stop::Known(known)),
                None => Ok((metadata, id)),
            }
        };
        let key = async { self.mint.key().await.map_err(Stop::Failed) };
        let order = match try_join(named, key).await {
            Ok(((metadata, id), key)) => Order { asking: asking.clone(), id, metadata, key },
            Err(Stop::Known(known)) => {
                tracing::debug!("the identity has a binding under another name");
                return Ok(known);
            }
            Err(Stop::Failed(error)) => return Err(error),
        };
        let id = order.id.clone();
        let this = Arc::clone(self);
        let load =
            || async move { this.make(order, or_due).await.map(|binding| Loaded::new(lease(binding))) };
        Ok(self.by_id.renew(&id, "", load).await?.value)
    }

    #[cfg_attr(not(unix), expect(unused_variables, reason = "what is due is only found in a store"))]
    async fn make(&self, order: Order, or_due: bool) -> Result<Binding, Error> {
        // Under another name, it may have been made since this one looked.
        if let Some(fresh) = self.fresh(&order.id) {
            return Ok(fresh);
        }
        let issue = self.issue(&order);
        #[cfg(unix)]
        if let Some(shelf) = &self.shelf {
            let is_refused = |certificate| self.refusals().has(certificate);
            let wanted = shelf::Wanted { order: &order, mint: &self.mint, is_refused: &is_refused };
            return shelf.take_or_make(&wanted, or_due, issue).await;
        }
        issue.await.map(|(_, binding)| binding)
    }

    async fn issue(&self, order: &Order) -> Result<(Credential, Binding), Error> {
        let follows_refusal = self.refusals().is_wanted(&order.id);
        let bypass_cache = follows_refusal && self.bypass_cache_on_remint;
        let stopwatch = Stopwatch::start(self.clock());
        let issued = self.mint.issue(order, bypass_cache).await;
        if let Ok((_, binding)) = &issued {
            let (strength, duration_ms) = (binding.identity().strength(), stopwatch.millis());
            tracing::info!(%strength, follows_refusal, duration_ms, "minted a binding");
        }
        issued
    }

    /// A binding that needs nothing done.
    fn fresh(&self, id: &BindingId) -> Option<Binding> {
        let now = self.clock().now();
        Some(self.by_id.find(id)?.value).filter(|binding| now < binding.renew_at())
    }

    fn clock(&self) -> &SharedClock {
        self.mint.imds.clock()
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lease(binding: Binding) -> Lease<Binding> {
    let (renew_at, usable_until) = (binding.renew_at(), binding.identity().usable_until());
    Lease::new(binding, usable_until).with_refresh_at(Some(renew_at))
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter")
            .field("key_provider", &self.0.mint.keys)
            .field("minimum_strength", &self.0.mint.minimum_strength)
            .finish_non_exhaustive()
    }
}
