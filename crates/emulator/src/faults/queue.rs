//! The queue of scripted faults.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::calendar::after;
use crate::faults::fault::{Fault, FaultEffect, FaultLimit};
use crate::protocol::Step;

/// The period of a throttle.
const SECOND: Duration = Duration::from_secs(1);

/// The faults that have not taken effect yet, oldest first.
#[derive(Default)]
pub(crate) struct FaultQueue(Mutex<QueueContents>);

#[derive(Default)]
struct QueueContents {
    next_id: u64,
    queue: VecDeque<QueuedFault>,
}

/// A fault that was injected.
#[derive(Clone)]
pub(crate) struct QueuedFault {
    /// The id for [`FaultQueue::remove`].
    pub(crate) id: u64,
    pub(crate) fault: Fault,
    /// The time of the first matching request.
    first_match: Option<SystemTime>,
    /// The start of a throttle's period, and the number of requests in it.
    counted: (SystemTime, u32),
}

impl FaultQueue {
    /// Appends a fault and returns its id.
    pub(crate) fn inject(&self, fault: Fault) -> u64 {
        let mut faults = self.faults();
        let id = faults.next_id;
        faults.next_id += 1;
        if fault.limit != FaultLimit::Times(0) {
            faults.queue.push_back(QueuedFault {
                id,
                fault,
                first_match: None,
                counted: (SystemTime::UNIX_EPOCH, 0),
            });
        }
        id
    }

    pub(crate) fn clear(&self) {
        self.faults().queue.clear();
    }

    /// Removes a fault. Returns false for an unknown id.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut faults = self.faults();
        let before = faults.queue.len();
        faults.queue.retain(|queued| queued.id != id);
        faults.queue.len() < before
    }

    /// Returns the pending faults, oldest first.
    pub(crate) fn pending(&self, now: SystemTime) -> Vec<QueuedFault> {
        let mut faults = self.faults();
        faults.queue.retain(|queued| !queued.is_expired(now));
        faults.queue.iter().cloned().collect()
    }

    /// Takes the oldest fault of a step for which `applies` is true, and counts the request against
    /// its limit.
    pub(crate) fn take(
        &self,
        step: Step,
        now: SystemTime,
        applies: impl Fn(&Fault) -> bool,
    ) -> Option<Fault> {
        let mut faults = self.faults();
        faults.queue.retain(|queued| !queued.is_expired(now));
        let index = faults
            .queue
            .iter_mut()
            .position(|queued| queued.fault.step == step && applies(&queued.fault) && queued.applies(now))?;
        let queued = &mut faults.queue[index];
        queued.first_match.get_or_insert(now);
        let fault = queued.fault.clone();
        if let FaultLimit::Times(remaining) = &mut queued.fault.limit {
            *remaining -= 1;
            if *remaining == 0 {
                faults.queue.remove(index);
            }
        }
        Some(fault)
    }

    fn faults(&self) -> MutexGuard<'_, QueueContents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueuedFault {
    fn is_expired(&self, now: SystemTime) -> bool {
        match (self.fault.limit, self.first_match) {
            (FaultLimit::Lasting(duration), Some(first)) => now >= after(first, duration),
            _ => false,
        }
    }

    /// Returns true if the fault applies to this request. A throttle counts every request and
    /// applies to those above its limit.
    fn applies(&mut self, now: SystemTime) -> bool {
        let FaultEffect::Throttle { per_second } = self.fault.effect else { return true };
        let (since, count) = &mut self.counted;
        // A clock that was set back starts a new period as well.
        if now.duration_since(*since).is_ok_and(|passed| passed < SECOND) {
            *count = count.saturating_add(1);
        } else {
            (*since, *count) = (now, 1);
        }
        self.first_match.get_or_insert(now);
        *count > per_second.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn name(queue: &FaultQueue, step: Step, now: SystemTime) -> &'static str {
        queue.take(step, now, |_| true).map_or("-", |fault| fault.name)
    }

    #[test]
    fn oldest_fault_of_a_step_applies_first() {
        let queue = FaultQueue::default();
        queue.inject(Fault::status(Step::Token, 500).times(2));
        queue.inject(Fault::stall(Step::Resource).always());
        queue.inject(Fault::reset(Step::Token));
        queue.inject(Fault::reset(Step::Token).times(0));
        let names = |step, n| (0..n).map(|_| name(&queue, step, NOW)).collect::<Vec<_>>();
        assert_eq!(names(Step::Token, 4), ["status", "status", "reset", "-"]);
        assert_eq!(names(Step::Resource, 3), ["stall"; 3]);
        queue.clear();
        assert_eq!(names(Step::Resource, 1), ["-"]);
    }

    #[test]
    fn duration_starts_at_the_first_match() {
        let queue = FaultQueue::default();
        queue.inject(Fault::gone(Step::ImdsToken).lasting(Duration::from_secs(70)));
        let at = |seconds| name(&queue, Step::ImdsToken, NOW + Duration::from_secs(seconds));
        assert_eq!([at(1000), at(1069), at(1070), at(1071)], ["status", "status", "-", "-"]);
        assert!(queue.pending(NOW + Duration::from_secs(1071)).is_empty());
    }

    #[test]
    fn throttle_counts_per_second() {
        let queue = FaultQueue::default();
        queue.inject(Fault::throttle(Step::Token, 2.try_into().unwrap()));
        queue.inject(Fault::reset(Step::Token).always());
        let at = |milliseconds| name(&queue, Step::Token, NOW + Duration::from_millis(milliseconds));
        assert_eq!([at(5000), at(5001), at(5002), at(5999)], ["reset", "reset", "throttle", "throttle"]);
        assert_eq!([at(6000), at(6001), at(6002)], ["reset", "reset", "throttle"]);
        assert_eq!(at(0), "reset", "a clock that was set back starts a new period");
    }

    #[test]
    fn fault_is_removed_by_its_id() {
        let queue = FaultQueue::default();
        let (first, second) =
            (queue.inject(Fault::stall(Step::Token)), queue.inject(Fault::reset(Step::Token)));
        assert!(queue.remove(first) && !queue.remove(first));
        assert_eq!(queue.pending(NOW).iter().map(|one| one.id).collect::<Vec<_>>(), [second]);
    }
}
