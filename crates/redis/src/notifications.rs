//! Notifications about a lock.

use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::PubSub;
use symbolon_transport::timeout;
use symbolon_types::SharedClock;
use tokio::sync::OwnedSemaphorePermit;

use crate::script::WRITTEN;

/// A subscription to the notifications about one lock, with a connection of its own.
pub(crate) struct Notifications {
    connection: PubSub,
    _permit: OwnedSemaphorePermit,
}

/// A notification about a lock, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notification {
    /// The entry was written.
    Written,
    /// The lock was released without a write.
    Released,
    /// None arrived in time.
    None,
    /// The connection was lost.
    Lost,
}

impl Notifications {
    pub(crate) fn new(connection: PubSub, permit: OwnedSemaphorePermit) -> Self {
        Self { connection, _permit: permit }
    }

    /// Waits for the next notification.
    pub(crate) async fn next(&mut self, clock: &SharedClock, limit: Duration) -> Notification {
        let mut messages = self.connection.on_message();
        match timeout(clock, limit, messages.next()).await {
            Some(Some(message)) if message.get_payload_bytes() == WRITTEN => Notification::Written,
            Some(Some(_)) => Notification::Released,
            Some(None) => Notification::Lost,
            None => Notification::None,
        }
    }
}
