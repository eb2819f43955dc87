//! Renewal rule of bindings (docs/protocol/imdsv2.md#binding-lifetime).

use std::time::SystemTime;

use symbolon_lease::{Lease, half_life};
use symbolon_types::{ClientIdentity, Jitter, SteadyTime};

use crate::Binding;

/// Returns the date from which a binding is due for renewal: half of its usable lifetime, with
/// jitter.
///
/// A certificate that arrives in the second half of its lifetime would be due at once, and so would
/// its successor. For such a certificate, the lifetime starts when it arrives. All dates are on the
/// clock of the issuer.
pub(crate) fn renewal_date(identity: &ClientIdentity, minted_at: SystemTime, jitter: &Jitter) -> SystemTime {
    let end = identity.usable_until();
    let half_from = |start| start + half_life(end.duration_since(start).unwrap_or_default(), jitter);
    let renew_at = half_from(identity.not_before());
    if renew_at > minted_at { renew_at } else { half_from(minted_at) }
}

/// Returns true if the binding is due for renewal.
pub(crate) fn is_due(binding: &Binding, now: SteadyTime) -> bool {
    now >= binding.deadlines().renew_at
}

/// Returns the binding as a lease, refreshed from its renewal time and served until the end of its
/// certificate.
pub(crate) fn lease(binding: Binding) -> Lease<Binding> {
    let deadlines = binding.deadlines();
    Lease::new(binding, deadlines.usable_until).with_refresh_at(deadlines.renew_at)
}
