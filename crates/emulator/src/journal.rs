//! The journal of requests and replies, without secrets.

mod entry;
mod recorder;

pub use self::entry::{EntryOutcome, JournalEntry};
pub(crate) use self::recorder::Recorder;
pub use self::recorder::{Journal, Subscription};
