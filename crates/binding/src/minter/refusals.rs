//! What was refused, and how often a refusal may lead to a mint.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use symbolon_types::Thumbprint;

use crate::binding_id::BindingId;

/// How long after a mint that followed a refusal no other refusal leads to one: if the token
/// service refuses every certificate of an identity, minting more does not help.
pub const REMINT_COOLDOWN: Duration = Duration::from_secs(5 * 60);

/// The last mint of each binding that followed a refusal, and the certificates that were refused.
///
/// At most as many of each as it is made for. Of the mints, those that mean nothing any more go
/// first, then the oldest; of the certificates the oldest.
pub(super) struct Refusals {
    mints: HashMap<BindingId, Remint>,
    certificates: VecDeque<Thumbprint>,
    capacity: usize,
}

#[derive(Clone, Copy)]
enum Remint {
    /// A binding was forgotten then; the next mint is the one that follows.
    Wanted(SystemTime),
    Done(SystemTime),
}

impl Refusals {
    pub(super) fn new(capacity: usize) -> Self {
        Self { mints: HashMap::new(), certificates: VecDeque::new(), capacity }
    }

    /// Whether another mint would be refused as well.
    pub(super) fn is_pausing(&self, id: &BindingId, now: SystemTime) -> bool {
        self.mints.get(id).is_some_and(|remint| remint.is_pausing(now))
    }

    /// Whether the next mint follows a refusal.
    pub(super) fn is_wanted(&self, id: &BindingId) -> bool {
        matches!(self.mints.get(id), Some(Remint::Wanted(_)))
    }

    /// Whether a certificate was refused: whoever still has it need not offer it.
    pub(super) fn has(&self, certificate: Thumbprint) -> bool {
        self.certificates.contains(&certificate)
    }

    pub(super) fn note(&mut self, id: BindingId, certificate: Thumbprint, now: SystemTime) {
        if self.mints.len() >= self.capacity && !self.mints.contains_key(&id) {
            self.make_room(now);
        }
        self.mints.insert(id, Remint::Wanted(now));
        if self.certificates.len() >= self.capacity {
            self.certificates.pop_front();
        }
        self.certificates.push_back(certificate);
    }

    /// There is a binding again.
    pub(super) fn minted(&mut self, id: &BindingId, at: SystemTime) {
        if let Some(remint @ Remint::Wanted(_)) = self.mints.get_mut(id) {
            *remint = Remint::Done(at);
        }
    }

    fn make_room(&mut self, now: SystemTime) {
        self.mints.retain(|_, remint| matches!(remint, Remint::Wanted(_)) || remint.is_pausing(now));
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
            Self::Wanted(at) | Self::Done(at) => at,
        }
    }

    /// A mint that lies ahead of a clock that was set back is not waited for.
    fn is_pausing(self, now: SystemTime) -> bool {
        match self {
            Self::Wanted(_) => false,
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
    fn only_a_mint_that_follows_a_refusal_begins_a_pause() {
        let mut refusals = Refusals::new(4);
        refusals.minted(&id(1), at(0));
        assert!(!refusals.is_pausing(&id(1), at(0)) && !refusals.is_wanted(&id(1)));
        refusals.note(id(1), certificate(1), at(10));
        assert!(!refusals.is_pausing(&id(1), at(10)) && refusals.is_wanted(&id(1)));
        refusals.minted(&id(1), at(20));
        refusals.minted(&id(1), at(200));
        for (now, pausing) in [(20, true), (319, true), (320, false), (19, false)] {
            assert_eq!(refusals.is_pausing(&id(1), at(now)), pausing, "{now}");
        }
        assert!(!refusals.is_wanted(&id(1)) && !refusals.is_pausing(&id(2), at(20)));
        assert!(refusals.has(certificate(1)) && !refusals.has(certificate(2)));
    }

    #[test]
    fn the_bounds_hold_and_pauses_outlive_what_means_nothing() {
        let mut refusals = Refusals::new(3);
        for n in 0..2 {
            refusals.note(id(n), certificate(n), at(0));
            refusals.minted(&id(n), at(0));
        }
        refusals.note(id(2), certificate(2), at(290));
        refusals.minted(&id(2), at(290));
        refusals.note(id(3), certificate(3), at(300));
        assert!(refusals.mints.len() == 2 && refusals.is_pausing(&id(2), at(300)));
        assert!(!refusals.has(certificate(0)) && refusals.has(certificate(1)));
        for n in 4..40 {
            refusals.note(id(n), certificate(n), at(300));
            assert!(refusals.mints.len() <= 3 && refusals.certificates.len() <= 3);
        }
    }
}
