//! The journal: its recorder, its snapshots and its live view.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::journal::entry::JournalEntry;
use crate::protocol::Step;

/// The number of entries that a slow [`Subscription`] may lag behind before it misses some.
const BACKLOG: usize = 1024;
/// The maximum number of stored entries: half an hour of a busy client.
const ENTRIES: usize = 10_000;
/// The maximum size of the stored entries, approximately.
const OCTETS: usize = 16 << 20;

/// A snapshot of the journal: the latest 10,000 entries, or the latest 16 MiB, in the order of the
/// replies. Older entries are dropped and [counted](Self::dropped).
#[derive(Clone, Debug, Default)]
pub struct Journal {
    entries: Vec<Arc<JournalEntry>>,
    dropped: u64,
}

impl Journal {
    /// Returns all entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &JournalEntry> + ExactSizeIterator {
        self.entries.iter().map(|entry| &**entry)
    }

    /// Returns the number of dropped entries.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the entries of a step.
    pub fn of(&self, step: Step) -> impl DoubleEndedIterator<Item = &JournalEntry> {
        self.entries().filter(move |entry| entry.step == step)
    }

    /// Returns the number of entries of a step.
    #[must_use]
    pub fn count(&self, step: Step) -> usize {
        self.of(step).count()
    }

    /// Returns the latest entry of a step.
    #[must_use]
    pub fn last(&self, step: Step) -> Option<&JournalEntry> {
        self.of(step).next_back()
    }

    /// Returns the steps of all entries, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.entries().map(|entry| entry.step).collect()
    }
}

/// One line per entry.
impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

/// A live view of the journal, starting at the subscription.
#[derive(Debug)]
pub struct Subscription {
    entries: broadcast::Receiver<Arc<JournalEntry>>,
    missed: u64,
}

impl Subscription {
    /// Waits for the next entry. Returns `None` once the emulator has stopped. A reader that lags
    /// more than 1024 entries behind misses the oldest ones, which [`missed`](Self::missed) counts.
    pub async fn next(&mut self) -> Option<Arc<JournalEntry>> {
        loop {
            match self.entries.recv().await {
                Ok(entry) => return Some(entry),
                Err(broadcast::error::RecvError::Lagged(skipped)) => self.missed += skipped,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Returns the number of entries that this reader has missed.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

/// The writer of the journal.
pub(crate) struct Recorder {
    recorded: Mutex<RecordedEntries>,
    live: broadcast::Sender<Arc<JournalEntry>>,
}

#[derive(Default)]
struct RecordedEntries {
    entries: VecDeque<Arc<JournalEntry>>,
    octets: usize,
    dropped: u64,
}

impl RecordedEntries {
    fn snapshot(&self) -> Journal {
        Journal { entries: self.entries.iter().cloned().collect(), dropped: self.dropped }
    }
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { recorded: Mutex::default(), live: broadcast::Sender::new(BACKLOG) }
    }

    /// Numbers and stores an entry.
    pub(crate) fn record(&self, mut entry: JournalEntry) {
        let mut recorded = self.recorded();
        entry.sequence = recorded.dropped + recorded.entries.len() as u64;
        let entry = Arc::new(entry);
        recorded.octets += entry.size();
        recorded.entries.push_back(Arc::clone(&entry));
        while recorded.entries.len() > ENTRIES || recorded.octets > OCTETS {
            let Some(oldest) = recorded.entries.pop_front() else { break };
            recorded.octets -= oldest.size();
            recorded.dropped += 1;
        }
        // Sent under the lock, so that subscribers see the same order. It fails without
        // subscribers.
        let _subscribers = self.live.send(entry);
    }

    pub(crate) fn journal(&self) -> Journal {
        self.recorded().snapshot()
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription { entries: self.live.subscribe(), missed: 0 }
    }

    /// Returns a snapshot and a subscription that continues it without a gap.
    pub(crate) fn follow(&self) -> (Journal, Subscription) {
        let recorded = self.recorded();
        (recorded.snapshot(), self.subscribe())
    }

    fn recorded(&self) -> MutexGuard<'_, RecordedEntries> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::entry::EntryOutcome;

    fn entry(target: &str) -> JournalEntry {
        let mut entry = JournalEntry::handshake(7, std::time::SystemTime::UNIX_EPOCH, EntryOutcome::Reset);
        entry.target = target.to_owned();
        entry
    }

    #[test]
    fn oldest_entries_are_dropped_and_counted() {
        let recorder = Recorder::new();
        let count = ENTRIES as u64 + 5;
        (0..count).for_each(|_| recorder.record(entry("/")));
        let journal = recorder.journal();
        let sequences: Vec<_> = journal.entries().map(|entry| entry.sequence).collect();
        assert_eq!((journal.dropped(), sequences.len()), (5, ENTRIES));
        assert_eq!((sequences[0], sequences[ENTRIES - 1]), (5, count - 1));
    }

    #[test]
    fn large_entries_are_dropped_by_size() {
        let recorder = Recorder::new();
        let long = "x".repeat(OCTETS / 4);
        (0..9).for_each(|_| recorder.record(entry(&long)));
        let journal = recorder.journal();
        assert_eq!((journal.entries().len(), journal.dropped()), (3, 6));
        recorder.record(entry(&"x".repeat(OCTETS)));
        assert_eq!(recorder.journal().dropped(), 10, "an entry larger than the limit is not stored");
    }
}
