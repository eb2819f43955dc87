//! Refused certificates, and the limit of mints after a refusal.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use symbolon_types::Thumbprint;

use crate::binding_id::BindingId;

/// Minimum time between two mints of an identity that follow a refusal. If the token service
/// refuses every certificate of the identity, more mints do not help.
pub const REMINT_COOLDOWN: Duration = Duration::from_secs(5 * 60);

/// Refused certificates, and for each binding the last mint that followed a refusal.
///
/// Each list has at most `capacity` members. Mints whose cooldown is over are removed first, then
/// the oldest mints; of the certificates, the oldest.
pub(super) struct RefusalHistory {
    mints: HashMap<BindingId, Remint>,
    certificates: VecDeque<Thumbprint>,
    capacity: usize,
}

#[derive(Clone, Copy)]
enum Remint {
    /// A binding was forgotten at this time; the next mint follows the refusal.
    Pending(SystemTime),
    Done(SystemTime),
}

impl RefusalHistory {
    pub(super) fn new(capacity: usize) -> Self {
        Self { mints: HashMap::new(), certificates: VecDeque::new(), capacity }
    }

    /// Returns true if a mint after a refusal is less than [`REMINT_COOLDOWN`] ago.
    pub(super) fn is_in_cooldown(&self, id: &BindingId, now: SystemTime) -> bool {
        self.mints.get(id).is_some_and(|remint| remint.is_in_cooldown(now))
    }

    /// Returns true if the next mint follows a refusal.
    pub(super) fn is_remint(&self, id: &BindingId) -> bool {
        matches!(self.mints.get(id), Some(Remint::Pending(_)))
    }

    /// Returns true if this certificate was refused.
    pub(super) fn contains(&self, certificate: Thumbprint) -> bool {
        self.certificates.contains(&certificate)
    }

    pub(super) fn record(&mut self, id: BindingId, certificate: Thumbprint, now: SystemTime) {
        if self.mints.len() >= self.capacity && !self.mints.contains_key(&id) {
            self.make_room(now);
        }
        self.mints.insert(id, Remint::Pending(now));
        if self.certificates.len() >= self.capacity {
            self.certificates.pop_front();
        }
        self.certificates.push_back(certificate);
    }

    /// Records that the identity has a binding again.
    pub(super) fn record_mint(&mut self, id: &BindingId, at: SystemTime) {
        if let Some(remint @ Remint::Pending(_)) = self.mints.get_mut(id) {
            *remint = Remint::Done(at);
        }
    }

    fn make_room(&mut self, now: SystemTime) {
        self.mints.retain(|_, remint| matches!(remint, Remint::Pending(_)) || remint.is_in_cooldown(now));
        if self.mints.len() < self.capacity {
            return;
        }
        let oldest = self.mints.iter().min_by_key(|(_, remint)| remint.at()).map(|(id, _)| id.clone());
        if let Some(oldest) = oldest {
            self.mints.remove(&oldest);
        }
    }
}

impl Remint {
    fn at(self) -> SystemTime {
        match self {
            Self::Pending(at) | Self::Done(at) => at,
        }
    }

    /// A mint in the future, after the clock was set back, has no cooldown.
    fn is_in_cooldown(self, now: SystemTime) -> bool {
        match self {
            Self::Pending(_) => false,
            Self::Done(at) => now.duration_since(at).is_ok_and(|since| since < REMINT_COOLDOWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> BindingId {
        BindingId::of_client(&n.to_string())
    }

    fn certificate(n: usize) -> Thumbprint {
        Thumbprint::of(&n.to_be_bytes())
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn mint_after_refusal_starts_cooldown() {
        let mut refusals = RefusalHistory::new(4);
        refusals.record_mint(&id(1), at(0));
        assert!(!refusals.is_in_cooldown(&id(1), at(0)) && !refusals.is_remint(&id(1)));
        refusals.record(id(1), certificate(1), at(10));
        assert!(!refusals.is_in_cooldown(&id(1), at(10)) && refusals.is_remint(&id(1)));
        refusals.record_mint(&id(1), at(20));
        refusals.record_mint(&id(1), at(200));
        for (now, expected) in [(20, true), (319, true), (320, false), (19, false)] {
            assert_eq!(refusals.is_in_cooldown(&id(1), at(now)), expected, "{now}");
        }
        assert!(!refusals.is_remint(&id(1)) && !refusals.is_in_cooldown(&id(2), at(20)));
        assert!(refusals.contains(certificate(1)) && !refusals.contains(certificate(2)));
    }

    #[test]
    fn capacity_is_not_exceeded() {
        let mut refusals = RefusalHistory::new(3);
        for n in 0..2 {
            refusals.record(id(n), certificate(n), at(0));
            refusals.record_mint(&id(n), at(0));
        }
        refusals.record(id(2), certificate(2), at(290));
        refusals.record_mint(&id(2), at(290));
        refusals.record(id(3), certificate(3), at(300));
        assert!(refusals.mints.len() == 2 && refusals.is_in_cooldown(&id(2), at(300)));
        assert!(!refusals.contains(certificate(0)) && refusals.contains(certificate(1)));
        for n in 4..40 {
            refusals.record(id(n), certificate(n), at(300));
            assert!(refusals.mints.len() <= 3 && refusals.certificates.len() <= 3);
        }
    }
}
