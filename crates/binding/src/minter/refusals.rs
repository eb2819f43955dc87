//! Refused certificates, and the limit of mints after a refusal.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use symbolon_types::{SteadyTime, Thumbprint};

use crate::binding_id::BindingId;

/// Longest pause after a mint that follows a refusal. If the token service refuses every
/// certificate of the identity, more mints do not help.
pub const REMINT_COOLDOWN: Duration = Duration::from_secs(5 * 60);
/// Pause after the first mint that follows a refusal. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Refused certificates, and for each binding the mints that followed a refusal.
///
/// Each list has at most `capacity` members. Of the mints, those whose pause is over are removed
/// first, then the oldest; of the certificates, the oldest.
pub(super) struct RefusalHistory {
    mints: HashMap<BindingId, Remint>,
    certificates: VecDeque<Thumbprint>,
    capacity: usize,
}

/// Mints of one identity that follow a refusal.
#[derive(Clone, Copy)]
struct Remint {
    /// Number of mints, of which each success of five minutes takes one back.
    count: u32,
    state: RemintState,
}

#[derive(Clone, Copy)]
enum RemintState {
    /// The next mint follows a refusal. After failed mints it waits until `retry_at`.
    Pending { retry_at: SteadyTime, failures: u32 },
    /// A mint followed the refusal at this time.
    Done(SteadyTime),
}

impl RefusalHistory {
    pub(super) fn new(capacity: usize) -> Self {
        Self { mints: HashMap::new(), certificates: VecDeque::new(), capacity }
    }

    /// Returns true if the pause after the last mint that followed a refusal is not over.
    pub(super) fn is_in_pause(&self, id: &BindingId, now: SteadyTime) -> bool {
        self.mints.get(id).is_some_and(|remint| remint.is_in_pause(now))
    }

    /// Returns true if the next mint follows a refusal.
    pub(super) fn is_remint(&self, id: &BindingId) -> bool {
        self.mints.get(id).is_some_and(|remint| matches!(remint.state, RemintState::Pending { .. }))
    }

    /// Returns true if this certificate was refused.
    pub(super) fn contains(&self, certificate: Thumbprint) -> bool {
        self.certificates.contains(&certificate)
    }

    /// Returns true if a mint that follows a refusal is pending, and may be tried now.
    pub(super) fn may_mint(&self, id: &BindingId, now: SteadyTime) -> bool {
        let is_ready = |remint: &Remint| matches!(remint.state, RemintState::Pending { retry_at, .. } if retry_at <= now);
        self.mints.get(id).is_some_and(is_ready)
    }

    pub(super) fn record(&mut self, id: BindingId, certificate: Thumbprint, now: SteadyTime) {
        if self.mints.len() >= self.capacity && !self.mints.contains_key(&id) {
            self.make_room(now);
        }
        let count = match self.mints.get(&id) {
            Some(Remint { count, state: RemintState::Done(at) }) => {
                let successes = now.since(*at).as_secs() / REMINT_COOLDOWN.as_secs();
                count.saturating_sub(u32::try_from(successes).unwrap_or(u32::MAX)).saturating_add(1)
            }
            Some(pending) => pending.count,
            None => 1,
        };
        let state = RemintState::Pending { retry_at: now, failures: 0 };
        self.mints.insert(id, Remint { count, state });
        if self.contains(certificate) {
            return;
        }
        if self.certificates.len() >= self.capacity {
            self.certificates.pop_front();
        }
        self.certificates.push_back(certificate);
    }

    /// Records that the identity has a binding again.
    pub(super) fn record_mint(&mut self, id: &BindingId, at: SteadyTime) {
        if let Some(Remint { state: state @ RemintState::Pending { .. }, .. }) = self.mints.get_mut(id) {
            *state = RemintState::Done(at);
        }
    }

    /// Records that a pending mint failed.
    pub(super) fn record_failure(&mut self, id: &BindingId, now: SteadyTime) {
        if let Some(Remint { state: RemintState::Pending { retry_at, failures }, .. }) =
            self.mints.get_mut(id)
        {
            *failures = failures.saturating_add(1);
            *retry_at = now.plus(pause(*failures));
        }
    }

    fn make_room(&mut self, now: SteadyTime) {
        self.mints.retain(|_, remint| {
            matches!(remint.state, RemintState::Pending { .. }) || remint.is_in_pause(now)
        });
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
    fn at(self) -> SteadyTime {
        match self.state {
            RemintState::Pending { retry_at: at, .. } | RemintState::Done(at) => at,
        }
    }

    fn is_in_pause(self, now: SteadyTime) -> bool {
        match self.state {
            RemintState::Pending { .. } => false,
            RemintState::Done(at) => now.since(at) < pause(self.count),
        }
    }
}

/// Returns the pause after this number of mints.
fn pause(count: u32) -> Duration {
    match count {
        0 => Duration::ZERO,
        count => REMINT_COOLDOWN.min(FIRST_PAUSE * (1 << (count - 1).min(16))),
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

    fn at(seconds: u64) -> SteadyTime {
        SteadyTime::after_start(Duration::from_secs(1_000_000 + seconds))
    }

    /// Refuses a certificate, and mints another one at once; returns the pause after it in seconds.
    fn pause_after(refusals: &mut RefusalHistory, now: u64) -> u64 {
        assert!(!refusals.is_in_pause(&id(1), at(now)), "{now}");
        refusals.record(id(1), certificate(0), at(now));
        assert!(refusals.is_remint(&id(1)) && !refusals.is_in_pause(&id(1), at(now)));
        refusals.record_mint(&id(1), at(now));
        // The mint of a renewal changes nothing.
        refusals.record_mint(&id(1), at(now + 1000));
        assert!(!refusals.is_remint(&id(1)));
        (0..).find(|seconds| !refusals.is_in_pause(&id(1), at(now + seconds))).unwrap()
    }

    #[test]
    fn pause_grows_with_each_remint() {
        let mut refusals = RefusalHistory::new(4);
        refusals.record_mint(&id(1), at(0));
        assert!(!refusals.is_in_pause(&id(1), at(0)) && !refusals.is_remint(&id(1)));
        let mut now = 10;
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300] {
            let pause = pause_after(&mut refusals, now);
            assert_eq!(pause, expected);
            now += pause;
        }
        assert!(refusals.contains(certificate(0)) && !refusals.contains(certificate(1)));
        assert!(!refusals.is_in_pause(&id(2), at(20)));
    }

    #[test]
    fn pause_shrinks_with_each_success() {
        let mut refusals = RefusalHistory::new(4);
        let pauses = [(0, 1), (100, 2), (200, 4), (500, 4), (1100, 2), (100_000, 1)];
        for (now, expected) in pauses {
            assert_eq!(pause_after(&mut refusals, now), expected, "{now}");
        }
    }

    #[test]
    fn failed_mints_are_tried_again_later() {
        let mut refusals = RefusalHistory::new(4);
        refusals.record_failure(&id(1), at(0));
        assert!(!refusals.may_mint(&id(1), at(0)));
        refusals.record(id(1), certificate(1), at(0));
        for (now, next) in [(0, 1), (1, 3), (3, 7)] {
            assert!(refusals.may_mint(&id(1), at(now)));
            refusals.record_failure(&id(1), at(now));
            assert!(!refusals.may_mint(&id(1), at(next - 1)) && refusals.may_mint(&id(1), at(next)));
        }
        refusals.record_mint(&id(1), at(7));
        assert!(!refusals.may_mint(&id(1), at(7)));
    }

    #[test]
    fn capacity_is_not_exceeded() {
        let mut refusals = RefusalHistory::new(3);
        for n in 0..2 {
            refusals.record(id(n), certificate(n), at(0));
            refusals.record_mint(&id(n), at(0));
        }
        refusals.record(id(2), certificate(2), at(300));
        refusals.record_mint(&id(2), at(300));
        refusals.record(id(3), certificate(3), at(300));
        assert!(refusals.mints.len() == 2 && refusals.is_in_pause(&id(2), at(300)));
        assert!(!refusals.contains(certificate(0)) && refusals.contains(certificate(1)));
        for n in 4..40 {
            refusals.record(id(n), certificate(n), at(300));
            assert!(refusals.mints.len() <= 3 && refusals.certificates.len() <= 3);
        }
    }
}
