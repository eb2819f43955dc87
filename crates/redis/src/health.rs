//! Reports of failures.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symbolon_types::{Error, catch_panic};
use tracing::{debug, info, warn};

/// A function that receives each failure.
pub(crate) type FailureObserver = Arc<dyn Fn(&Error) + Send + Sync>;

/// The kind of a command. Reads can succeed while writes fail, as in a store that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// The results of commands so far. An outage is logged when it begins and when it ends.
pub(crate) struct Health {
    on_failure: Option<FailureObserver>,
    reads_fail: AtomicBool,
    writes_fail: AtomicBool,
}

impl Health {
    pub(crate) fn new(on_failure: Option<FailureObserver>) -> Self {
        Self { on_failure, reads_fail: AtomicBool::new(false), writes_fail: AtomicBool::new(false) }
    }

    pub(crate) fn succeeded(&self, access: Access) {
        if self.state(access).load(Ordering::Relaxed) && self.state(access).swap(false, Ordering::Relaxed) {
            info!(access = access.as_str(), "Redis responds again");
        }
    }

    pub(crate) fn failed(&self, access: Access, error: &Error) {
        let (access_name, code) = (access.as_str(), error.code());
        if self.state(access).swap(true, Ordering::Relaxed) {
            debug!(access = access_name, code, "a command to Redis failed again");
        } else {
            warn!(access = access_name, code, %error, "a command to Redis failed; tokens are requested without it");
        }
        if let Some(on_failure) = &self.on_failure {
            // The failure of the observer is not that of the store.
            drop(catch_panic("the observer of Redis", || on_failure(error)));
        }
    }

    fn state(&self, access: Access) -> &AtomicBool {
        match access {
            Access::Read => &self.reads_fail,
            Access::Write => &self.writes_fail,
        }
    }
}

impl Access {
    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reads_fail, writes_fail) = (&self.reads_fail, &self.writes_fail);
        f.debug_struct("Health")
            .field("reads_fail", reads_fail)
            .field("writes_fail", writes_fail)
            .finish_non_exhaustive()
    }
}
