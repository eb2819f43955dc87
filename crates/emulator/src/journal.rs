//! What was asked and answered, in order, without anything secret.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::entry::Entry;
use crate::step::Step;

/// How many entries a slow [`Subscription`] may lag behind before it skips some.
const BACKLOG: usize = 1024;
/// How many entries are kept: half an hour of a busy client.
const ENTRIES: usize = 10_000;
/// How many octets of them, about.
const OCTETS: usize = 16 << 20;

/// The exchanges up to now, in the order in which they were decided: the latest 10,000, or as many as take up
/// 16 MiB. The oldest go first, and are [counted](Self::dropped).
#[derive(Clone, Debug, Default)]
pub struct Journal {
    entries: Vec<Arc<Entry>>,
    dropped: u64,
}

impl Journal {
    /// All entries.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter().map(|entry| &**entry)
    }

    /// How many entries were older than those that are kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The entries of one step.
    pub fn of(&self, step: Step) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries().filter(move |entry| entry.step == step)
    }

    /// How many entries a step has.
    #[must_use]
    pub fn count(&self, step: Step) -> usize {
        self.of(step).count()
    }

    /// The latest entry of a step.
    #[must_use]
    pub fn last(&self, step: Step) -> Option<&Entry> {
        self.of(step).next_back()
    }

    /// The steps in order: the shortest description of what a client did.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.entries().map(Entry::step).collect()
    }
}

/// One line per entry.
impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

/// A live view of the journal, from the moment of subscription.
#[derive(Debug)]
pub struct Subscription {
    entries: broadcast::Receiver<Arc<Entry>>,
    missed: u64,
}

impl Subscription {
    /// The next entry; none when the emulator has ended. A reader that lags more than 1024 entries
    /// behind misses the oldest of them, and can [know](Self::missed).
    pub async fn next(&mut self) -> Option<Arc<Entry>> {
        loop {
            match self.entries.recv().await {
                Ok(entry) => return Some(entry),
                Err(broadcast::error::RecvError::Lagged(skipped)) => self.missed += skipped,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// How many entries this reader has missed so far.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

/// The journal as the servers write it.
pub(crate) struct Recorder {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Arc<Entry>>,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<Arc<Entry>>,
    octets: usize,
    dropped: u64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::default(), live: broadcast::Sender::new(BACKLOG) }
    }

    /// Numbers and keeps an entry.
    pub(crate) fn record(&self, mut entry: Entry) {
        let mut kept = self.kept();
        entry.sequence = kept.dropped + kept.entries.len() as u64;
        let entry = Arc::new(entry);
        kept.octets += entry.size();
        kept.entries.push_back(Arc::clone(&entry));
        while kept.entries.len() > ENTRIES || kept.octets > OCTETS {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.octets -= oldest.size();
            kept.dropped += 1;
        }
        // Sent under the lock, so that subscribers see the same order. Without one it fails, and may.
        let _subscribers = self.live.send(entry);
    }

    pub(crate) fn journal(&self) -> Journal {
        let kept = self.kept();
        Journal { entries: kept.entries.iter().cloned().collect(), dropped: kept.dropped }
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription { entries: self.live.subscribe(), missed: 0 }
    }

    /// What is kept, and a view of what follows, without a gap between them.
    pub(crate) fn follow(&self) -> (Journal, Subscription) {
        let kept = self.kept();
        let journal = Journal { entries: kept.entries.iter().cloned().collect(), dropped: kept.dropped };
        (journal, self.subscribe())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Outcome;

    fn entry(target: &str) -> Entry {
        let mut entry = Entry::handshake(7, std::time::SystemTime::UNIX_EPOCH, Outcome::Reset);
        entry.target = target.to_owned();
        entry
    }

    #[test]
    fn the_oldest_entries_go_and_are_counted() {
        let recorder = Recorder::new();
        let count = ENTRIES as u64 + 5;
        (0..count).for_each(|_| recorder.record(entry("/")));
        let journal = recorder.journal();
        let sequences: Vec<_> = journal.entries().map(Entry::sequence).collect();
        assert_eq!((journal.dropped(), sequences.len()), (5, ENTRIES));
        assert_eq!((sequences[0], sequences[ENTRIES - 1]), (5, count - 1));
    }

    #[test]
    fn long_entries_are_kept_only_so_far() {
        let recorder = Recorder::new();
        let long = "x".repeat(OCTETS / 4);
        (0..9).for_each(|_| recorder.record(entry(&long)));
        let journal = recorder.journal();
        assert_eq!((journal.entries().len(), journal.dropped()), (3, 6));
        recorder.record(entry(&"x".repeat(OCTETS)));
        assert_eq!(recorder.journal().dropped(), 10, "what is larger than all is not kept at all");
    }
}
