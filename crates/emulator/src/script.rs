//! The faults that are still to happen, in order.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::calendar::after;
use crate::fault::{Effect, Fault, Limit};
use crate::step::Step;

/// The time in which a throttle counts.
const SECOND: Duration = Duration::from_secs(1);

/// The faults that are still to happen.
#[derive(Default)]
pub(crate) struct Script(Mutex<Faults>);

#[derive(Default)]
struct Faults {
    next_id: u64,
    queue: VecDeque<Scripted>,
}

/// A fault that was injected.
#[derive(Clone)]
pub(crate) struct Scripted {
    /// What the fault is called where it is to be taken back.
    pub(crate) id: u64,
    pub(crate) fault: Fault,
    /// When the first request met it.
    met: Option<SystemTime>,
    /// Since when a throttle counts, and how many came.
    counted: (SystemTime, u32),
}

impl Script {
    /// Appends a fault, and says what it is called.
    pub(crate) fn inject(&self, fault: Fault) -> u64 {
        let mut faults = self.faults();
        let id = faults.next_id;
        faults.next_id += 1;
        if fault.limit != Limit::Times(0) {
            faults.queue.push_back(Scripted { id, fault, met: None, counted: (SystemTime::UNIX_EPOCH, 0) });
        }
        id
    }

    pub(crate) fn clear(&self) {
        self.faults().queue.clear();
    }

    /// Takes a fault back; false if there is none of that name.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut faults = self.faults();
        let before = faults.queue.len();
        faults.queue.retain(|scripted| scripted.id != id);
        faults.queue.len() < before
    }

    /// What is still to happen, oldest first.
    pub(crate) fn pending(&self, now: SystemTime) -> Vec<Scripted> {
        let mut faults = self.faults();
        faults.queue.retain(|scripted| !scripted.is_over(now));
        faults.queue.iter().cloned().collect()
    }

    /// The oldest fault for this step, used up by one.
    pub(crate) fn take(&self, step: Step, now: SystemTime) -> Option<Fault> {
        let mut faults = self.faults();
        faults.queue.retain(|scripted| !scripted.is_over(now));
        let index = faults.queue.iter_mut().position(|one| one.fault.step == step && one.happens(now))?;
        let scripted = &mut faults.queue[index];
        scripted.met.get_or_insert(now);
        let fault = scripted.fault.clone();
        if let Limit::Times(remaining) = &mut scripted.fault.limit {
            *remaining -= 1;
            if *remaining == 0 {
                faults.queue.remove(index);
            }
        }
        Some(fault)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scripted {
    fn is_over(&self, now: SystemTime) -> bool {
        match (self.fault.limit, self.met) {
            (Limit::Lasting(duration), Some(met)) => now >= after(met, duration),
            _ => false,
        }
    }

    /// Whether this request meets the fault: a throttle lets some through, and counts all.
    fn happens(&mut self, now: SystemTime) -> bool {
        let Effect::Throttle { per_second } = self.fault.effect else { return true };
        let (since, count) = &mut self.counted;
        // A clock that was set back starts a new second, too.
        if now.duration_since(*since).is_ok_and(|passed| passed < SECOND) {
            *count = count.saturating_add(1);
        } else {
            (*since, *count) = (now, 1);
        }
        self.met.get_or_insert(now);
        *count > per_second.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn name(script: &Script, step: Step, now: SystemTime) -> &'static str {
        script.take(step, now).map_or("-", |fault| fault.effect.name())
    }

    #[test]
    fn the_oldest_fault_of_a_step_is_used_up_first() {
        let script = Script::default();
        script.inject(Fault::status(Step::Token, 500).times(2));
        script.inject(Fault::stall(Step::Resource).always());
        script.inject(Fault::reset(Step::Token));
        script.inject(Fault::reset(Step::Token).times(0));
        let names = |step, n| (0..n).map(|_| name(&script, step, NOW)).collect::<Vec<_>>();
        assert_eq!(names(Step::Token, 4), ["status", "status", "reset", "-"]);
        assert_eq!(names(Step::Resource, 3), ["stall"; 3]);
        script.clear();
        assert_eq!(names(Step::Resource, 1), ["-"]);
    }

    #[test]
    fn a_fault_that_lasts_begins_with_the_first_request_that_meets_it() {
        let script = Script::default();
        script.inject(Fault::gone(Step::ImdsToken).lasting(Duration::from_secs(70)));
        let at = |seconds| name(&script, Step::ImdsToken, NOW + Duration::from_secs(seconds));
        assert_eq!([at(1000), at(1069), at(1070), at(1071)], ["status", "status", "-", "-"]);
        assert!(script.pending(NOW + Duration::from_secs(1071)).is_empty());
    }

    #[test]
    fn a_throttle_counts_anew_each_second_and_hides_no_other_fault() {
        let script = Script::default();
        script.inject(Fault::throttle(Step::Token, 2.try_into().unwrap()));
        script.inject(Fault::reset(Step::Token).always());
        let at = |milliseconds| name(&script, Step::Token, NOW + Duration::from_millis(milliseconds));
        assert_eq!([at(5000), at(5001), at(5002), at(5999)], ["reset", "reset", "throttle", "throttle"]);
        assert_eq!([at(6000), at(6001), at(6002)], ["reset", "reset", "throttle"]);
        assert_eq!(at(0), "reset", "a clock that was set back starts a new second");
    }

    #[test]
    fn a_fault_is_taken_back_by_its_name_and_no_other() {
        let script = Script::default();
        let (first, second) =
            (script.inject(Fault::stall(Step::Token)), script.inject(Fault::reset(Step::Token)));
        assert!(script.remove(first) && !script.remove(first));
        assert_eq!(script.pending(NOW).iter().map(|one| one.id).collect::<Vec<_>>(), [second]);
    }
}
