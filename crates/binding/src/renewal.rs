//! Renewal rule of bindings (docs/protocol/imdsv2.md#binding-lifetime).

use std::time::SystemTime;

use symbolon_lease::{Lease, half_life};
use symbolon_types::{ClientIdentity, Jitter};

use crate::Binding;

/// Returns the time from which a binding is due for renewal: half of its usable lifetime, with
/// jitter.
///
/// A certificate that arrives in the second half of its lifetime would be due at once, and so would
/// its successor. For such a certificate, the lifetime starts when it arrives.
pub(crate) fn renewal_time(identity: &ClientIdentity, minted_at: SystemTime, jitter: &Jitter) -> SystemTime {
    let end = identity.usable_until();
    let renew_at = half_life(identity.not_before(), end, jitter);
    if renew_at > minted_at { renew_at } else { half_life(minted_at, end, jitter) }
}

/// Returns true if the binding is due for renewal.
pub(crate) fn is_due(binding: &Binding, now: SystemTime) -> bool {
    now >= binding.renew_at()
}

/// Returns the binding as a lease, refreshed from its renewal time and served until the end of its
/// certificate.
pub(crate) fn lease(binding: Binding) -> Lease<Binding> {
    let (renew_at, usable_until) = (binding.renew_at(), binding.identity().usable_until());
    Lease::new(binding, usable_until).with_refresh_at(Some(renew_at))
}
