//! How often a refusal may lead to a mint.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::ManagedIdentityId;

/// How long after a mint that followed a refusal no other refusal leads to one: if the token
/// service refuses every certificate of an identity, minting more does not help.
pub const REMINT_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The last mint of each identity that followed a refusal.
///
/// At most as many entries as it is made for; those that mean nothing any more go first, then the
/// oldest.
pub(super) struct Remints {
    entries: HashMap<ManagedIdentityId, Remint>,
    capacity: usize,
}

#[derive(Clone, Copy)]
enum Remint {
    /// A binding was forgotten then; the next mint is the one that follows.
    Wanted(SystemTime),
    Done(SystemTime),
}

impl Remints {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), capacity }
    }

    pub(super) fn is_pausing(&self, id: &ManagedIdentityId, now: SystemTime) -> bool {
        self.entries.get(id).is_some_and(|remint| remint.is_pausing(now))
    }

    pub(super) fn want(&mut self, id: ManagedIdentityId, now: SystemTime) {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&id) {
            self.make_room(now);
        }
        self.entries.insert(id, Remint::Wanted(now));
    }

    pub(super) fn minted(&mut self, id: &ManagedIdentityId, at: SystemTime) {
        if let Some(remint @ Remint::Wanted(_)) = self.entries.get_mut(id) {
            *remint = Remint::Done(at);
        }
    }

    fn make_room(&mut self, now: SystemTime) {
        self.entries.retain(|_, remint| matches!(remint, Remint::Wanted(_)) || remint.is_pausing(now));
        if self.entries.len() < self.capacity {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, remint)| remint.at()).map(|(id, _)| id.clone());
        if let Some(oldest) = oldest {
            self.entries.remove(&oldest);
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
            Self::Done(at) => now.duration_since(at).is_ok_and(|since| since < REMINT_PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ManagedIdentityId {
        ManagedIdentityId::client_id(n.to_string()).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn only_a_mint_that_follows_a_refusal_begins_a_pause() {
        let mut remints = Remints::new(4);
        remints.minted(&id(1), at(0));
        assert!(!remints.is_pausing(&id(1), at(0)));
        remints.want(id(1), at(10));
        assert!(!remints.is_pausing(&id(1), at(10)));
        remints.minted(&id(1), at(20));
        remints.minted(&id(1), at(200));
        for (now, pausing) in [(20, true), (319, true), (320, false), (19, false)] {
            assert_eq!(remints.is_pausing(&id(1), at(now)), pausing, "{now}");
        }
        assert!(!remints.is_pausing(&id(2), at(20)));
    }

    #[test]
    fn the_bound_holds_and_pauses_outlive_what_means_nothing() {
        let mut remints = Remints::new(3);
        for n in 0..2 {
            remints.want(id(n), at(0));
            remints.minted(&id(n), at(0));
        }
        remints.want(id(2), at(290));
        remints.minted(&id(2), at(290));
        remints.want(id(3), at(300));
        assert!(remints.entries.len() == 2 && remints.is_pausing(&id(2), at(300)));
        for n in 4..40 {
            remints.want(id(n), at(300));
            assert!(remints.entries.len() <= 3);
        }
    }
}
