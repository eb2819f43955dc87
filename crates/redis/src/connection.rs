//! The connection to Redis: opened at first use, replaced when it is lost, left alone for a time
//! when Redis does not respond.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value};
use symbolon_transport::timeout;
use symbolon_types::{Error, SharedClock, SteadyTime, catch_panic_of};
use tokio::runtime::{Handle, Id};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::endpoint::{Endpoint, Link};
use crate::failure;
use crate::health::{CommandKind, Health};
use crate::notifications::Notifications;

/// The pause after the first command without a reply. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest time limit. The token cache gives up a call to a store after two seconds, and this
/// connection would not learn of the failure.
const LONGEST_TIMEOUT: Duration = Duration::from_millis(1800);
/// The maximum number of runtimes with connections.
const MAX_RUNTIMES: usize = 32;
/// The maximum number of subscriptions at a time. A process rarely waits for more than one token.
const MAX_SUBSCRIPTIONS: usize = 4;
/// The time limit of a command that has to connect first, as a multiple of that of the others. When
/// many processes start at once, a token request of each is worse than a slow connection.
const CONNECTING: u32 = 3;

pub(crate) struct Connection {
    endpoint: Endpoint,
    /// The servers by host and port, for errors.
    servers: String,
    clock: SharedClock,
    timeout: Duration,
    health: Health,
    state: Mutex<ConnectionState>,
    /// Permits for subscriptions, each of which has a connection of its own.
    subscriptions: Arc<Semaphore>,
    /// True if this user may not subscribe.
    refuses_subscriptions: AtomicBool,
}

#[derive(Default)]
struct ConnectionState {
    /// The connections by runtime: a runtime that is not driven leaves its connection without
    /// replies.
    links: HashMap<Id, RuntimeLink>,
    /// The number of times that the connections were given up. A failure of an earlier one is no
    /// news.
    epoch: u64,
    /// The number of commands in a row that got no reply.
    failures: u32,
    paused_until: Option<SteadyTime>,
}

/// The connection of a runtime.
#[derive(Default)]
struct RuntimeLink {
    open: Option<Link>,
    /// Held while the connection is opened, so that callers share it.
    connecting: Arc<tokio::sync::Mutex<()>>,
}

impl Connection {
    pub(crate) fn new(
        endpoint: Endpoint,
        servers: String,
        clock: SharedClock,
        timeout: Duration,
        health: Health,
    ) -> Self {
        let timeout = timeout.min(LONGEST_TIMEOUT);
        let subscriptions = Arc::new(Semaphore::new(MAX_SUBSCRIPTIONS));
        let refuses_subscriptions = AtomicBool::new(false);
        let state = Mutex::default();
        Self { endpoint, servers, clock, timeout, health, state, subscriptions, refuses_subscriptions }
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Sends a command. An error of the connection makes later commands fail at once, for a time.
    pub(crate) async fn call(&self, kind: CommandKind, command: &Cmd) -> Result<Value, Error> {
        let runtime = Handle::try_current().map_err(|_| failure::no_runtime())?.id();
        let (epoch, limit) = self.begin(runtime)?;
        let attempt = catch_panic_of("the Redis client", || self.attempt(runtime, command));
        let (error, is_refusal) = match timeout(&self.clock, limit, attempt).await {
            Some(Ok(Ok(value))) => {
                self.state().succeed();
                self.health.succeeded(kind);
                return Ok(value);
            }
            Some(Ok(Err(failed))) => {
                if failed.is_refusal {
                    self.state().succeed();
                } else {
                    self.give_up(epoch);
                }
                (failure::failed(&self.servers, &failed.error, limit), failed.is_refusal)
            }
            Some(Err(panicked)) => {
                self.give_up(epoch);
                (panicked, false)
            }
            None => {
                self.give_up(epoch);
                (failure::timed_out(&self.servers, limit), false)
            }
        };
        self.health.failed(kind, &error, is_refusal);
        Err(error)
    }

    /// Subscribes to the notifications of a channel. Returns `None` if they cannot be had now: the
    /// caller polls. A failure is no outage.
    pub(crate) async fn notifications(&self, channel: &str) -> Option<Notifications> {
        if self.refuses_subscriptions.load(Ordering::Relaxed) {
            return None;
        }
        let permit = Arc::clone(&self.subscriptions).try_acquire_owned().ok()?;
        let runtime = Handle::try_current().ok()?.id();
        let (_, link) = self.state().open(runtime)?;
        let subscribe = catch_panic_of("the Redis client", || link.subscribe(channel));
        match timeout(&self.clock, self.connect_timeout(), subscribe).await?.ok()?? {
            Ok(connection) => Some(Notifications::new(connection, permit)),
            Err(error) => {
                debug!(error = error.category(), "could not subscribe to notifications of Redis; polling");
                self.refuses_subscriptions.store(failure::is_reply(&error), Ordering::Relaxed);
                None
            }
        }
    }

    /// Returns the present epoch and the time limit of a command, unless Redis is left alone. After
    /// a pause, one command is sent; the others fail until it has succeeded.
    fn begin(&self, runtime: Id) -> Result<(u64, Duration), Error> {
        let mut state = self.state();
        if let Some(until) = state.paused_until {
            let now = self.clock.steady_now();
            if now < until {
                return Err(failure::paused(&self.servers));
            }
            state.paused_until = Some(now.plus(self.connect_timeout()));
        }
        let is_open = state.links.get(&runtime).is_some_and(|link| link.open.is_some());
        let limit = if is_open { self.timeout } else { self.connect_timeout() };
        Ok((state.epoch, limit))
    }

    fn connect_timeout(&self) -> Duration {
        self.timeout.saturating_mul(CONNECTING).min(LONGEST_TIMEOUT)
    }

    /// Closes the connections after a failure, and begins a pause.
    fn give_up(&self, epoch: u64) {
        let now = self.clock.steady_now();
        let mut state = self.state();
        if state.epoch == epoch {
            let pause = FIRST_PAUSE.saturating_mul(1 << state.failures.min(5)).min(LONGEST_PAUSE);
            state.failures += 1;
            state.paused_until = Some(now.plus(pause));
            state.close();
        }
    }

    /// Sends a command, on a new connection if the present one was lost.
    async fn attempt(&self, runtime: Id, command: &Cmd) -> Result<Value, FailedCommand> {
        let (epoch, mut link) = self.link(runtime).await.map_err(FailedCommand::unsent)?;
        match link.send(command).await {
            // A value of another type is none of this store.
            Err(error) if error.code() == Some("WRONGTYPE") => return Ok(Value::Nil),
            Err(error) if failure::needs_new_connection(&error) => {
                let mut state = self.state();
                if state.epoch == epoch {
                    state.close();
                }
            }
            result => return result.map_err(FailedCommand::sent),
        }
        let (_, mut link) = self.link(runtime).await.map_err(FailedCommand::unsent)?;
        link.send(command).await.map_err(FailedCommand::sent)
    }

    /// Returns the open connection, or opens one.
    async fn link(&self, runtime: Id) -> RedisResult<(u64, Link)> {
        let connecting = {
            let mut state = self.state();
            if let Some(open) = state.open(runtime) {
                return Ok(open);
            }
            Arc::clone(&state.of_runtime(runtime).connecting)
        };
        let _connecting = connecting.lock().await;
        if let Some(open) = self.state().open(runtime) {
            return Ok(open);
        }
        let link = self.endpoint.connect(self.connect_timeout()).await?;
        let mut state = self.state();
        state.of_runtime(runtime).open = Some(link.clone());
        Ok((state.epoch, link))
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionState {
    fn open(&self, runtime: Id) -> Option<(u64, Link)> {
        self.links.get(&runtime)?.open.clone().map(|link| (self.epoch, link))
    }

    fn of_runtime(&mut self, runtime: Id) -> &mut RuntimeLink {
        // Runtimes that have ended leave their connections behind.
        if self.links.len() >= MAX_RUNTIMES && !self.links.contains_key(&runtime) {
            self.links.clear();
        }
        self.links.entry(runtime).or_default()
    }

    fn close(&mut self) {
        self.links.values_mut().for_each(|link| link.open = None);
        self.epoch += 1;
    }

    fn succeed(&mut self) {
        self.failures = 0;
        self.paused_until = None;
    }
}

/// A command without success.
struct FailedCommand {
    error: RedisError,
    /// True if the server replied with an error: the connection works.
    is_refusal: bool,
}

impl FailedCommand {
    fn sent(error: RedisError) -> Self {
        Self { is_refusal: failure::is_reply(&error), error }
    }

    /// No connection was opened; a refused password is such a case.
    fn unsent(error: RedisError) -> Self {
        Self { is_refusal: false, error }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("servers", &self.servers).finish_non_exhaustive()
    }
}
