//! Reports of failures.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_types::{Error, catch_panic};
use tracing::{debug, info, warn};

/// A function that receives each failure.
pub(crate) type FailureObserver = Arc<dyn Fn(&Error) + Send + Sync>;

/// The kind of a command. Each can be refused while the others succeed: those that need memory, for
/// example, by a server that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandKind {
    Read = 1,
    Write = 2,
    Remove = 4,
    Lock = 8,
}

/// The results of commands so far. An outage is logged when it begins and when it ends, of reads
/// and of writes.
pub(crate) struct Health {
    on_failure: Option<FailureObserver>,
    failing: Mutex<FailingCommands>,
}

/// The kinds of commands that fail, as sums of their numbers.
#[derive(Clone, Copy, Debug, Default)]
struct FailingCommands {
    /// Refused by the server: until the same kind succeeds.
    refused: u8,
    /// Without a reply: until a command succeeds.
    unanswered: u8,
}

impl Health {
    pub(crate) fn new(on_failure: Option<FailureObserver>) -> Self {
        Self { on_failure, failing: Mutex::default() }
    }

    pub(crate) fn succeeded(&self, kind: CommandKind) {
        let mut failing = self.failing();
        let before = *failing;
        failing.unanswered &= !kind.access();
        failing.refused &= !kind.bit();
        let after = *failing;
        drop(failing);
        let has_ended = |before: u8, after: u8| before & kind.access() != 0 && after & kind.access() == 0;
        if has_ended(before.unanswered, after.unanswered) || has_ended(before.refused, after.refused) {
            info!(access = kind.access_name(), "Redis responds again");
        }
    }

    pub(crate) fn failed(&self, kind: CommandKind, error: &Error, is_refusal: bool) {
        let mut failing = self.failing();
        let kinds = if is_refusal { &mut failing.refused } else { &mut failing.unanswered };
        let is_known = *kinds & kind.access() != 0;
        *kinds |= kind.bit();
        drop(failing);
        let (access, code) = (kind.access_name(), error.code());
        if is_known {
            debug!(access, code, "a command to Redis failed again");
        } else {
            warn!(access, code, %error, "a command to Redis failed; tokens are requested without it");
        }
        if let Some(on_failure) = &self.on_failure {
            // The failure of the observer is not that of the store.
            drop(catch_panic("the observer of Redis", || on_failure(error)));
        }
    }

    fn failing(&self) -> MutexGuard<'_, FailingCommands> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommandKind {
    fn bit(self) -> u8 {
        self as u8
    }

    /// Returns all kinds that read, or all that write.
    fn access(self) -> u8 {
        match self {
            Self::Read => Self::Read.bit(),
            Self::Write | Self::Remove | Self::Lock => {
                Self::Write.bit() | Self::Remove.bit() | Self::Lock.bit()
            }
        }
    }

    fn access_name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write | Self::Remove | Self::Lock => "write",
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("failing", &*self.failing()).finish_non_exhaustive()
    }
}
