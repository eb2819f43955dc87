//! What a token client is made of.

use std::sync::Arc;
use std::time::Duration;

use symbolon_transport::{HttpClient, RetryPolicy, SharedTransport};
use symbolon_types::{Jitter, SharedClock};

use super::TokenClient;
use crate::TokenCache;
use crate::credential::ErasedCredential;
use crate::current_telemetry::CallerSdk;
use crate::exchange::Exchanger;
use crate::throttle::Throttle;

/// How long an acquisition may take, minting and retries included.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a [`TokenClient`] is made of.
#[derive(Debug)]
pub struct TokenClientBuilder {
    credential: Arc<dyn ErasedCredential>,
    transport: SharedTransport,
    clock: SharedClock,
    jitter: Jitter,
    cache: Option<TokenCache>,
    capabilities: Vec<String>,
    retry: RetryPolicy,
    retry_scale: f64,
    deadline: Duration,
    caller: CallerSdk,
}

impl TokenClientBuilder {
    pub(super) fn new(credential: Arc<dyn ErasedCredential>, transport: SharedTransport) -> Self {
        Self {
            credential,
            transport,
            clock: SharedClock::system(),
            jitter: Jitter::os(),
            cache: None,
            capabilities: Vec::new(),
            retry: RetryPolicy::token_endpoint(),
            retry_scale: 1.0,
            deadline: DEADLINE,
            caller: CallerSdk::default(),
        }
    }

    /// Reads the time off this clock. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Spreads renewals and retries with this randomness. Default: the operating system's.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Keeps tokens in this cache, which other clients may share. Default: one of its own with
    /// [`TokenCache::DEFAULT_CAPACITY`].
    #[must_use]
    pub fn cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Declares what the client can handle, such as `cp1` for claims challenges. Sent in the
    /// claims of every request.
    #[must_use]
    pub fn capabilities(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.capabilities = names.into_iter().map(Into::into).collect();
        self
    }

    /// Tries again by this policy. Default: [`RetryPolicy::token_endpoint`].
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Multiplies every delay between attempts, those of discovery and of the detection of the region
    /// included: 0 tries again at once. Timeouts stay. Default: 1.
    #[must_use]
    pub fn retry_scale(mut self, factor: f64) -> Self {
        self.retry_scale = factor;
        self
    }

    /// Bounds an acquisition as a whole. Default: two minutes.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Tells Entra which library of yours asks: the first 10 characters of its name and the first 20
    /// of its version, in `x-client-current-telemetry`. Default: none.
    #[must_use]
    pub fn caller_sdk(mut self, name: &str, version: &str) -> Self {
        self.caller = CallerSdk { id: name.to_owned(), version: version.to_owned() };
        self
    }

    /// The client. Does no I/O and needs no runtime.
    #[must_use]
    pub fn build(self) -> TokenClient {
        let new_cache =
            || TokenCache::new(TokenCache::DEFAULT_CAPACITY, self.clock.clone(), self.jitter.clone());
        let cache = self.cache.unwrap_or_else(new_cache);
        TokenClient {
            exchanger: Arc::new(Exchanger {
                throttle: Throttle::new(self.clock.clone()),
                http: HttpClient::new(self.transport, self.clock, self.jitter)
                    .with_retry_scale(self.retry_scale),
                credential: self.credential,
                cache,
                retry: self.retry,
                deadline: self.deadline,
                caller: self.caller,
            }),
            capabilities: self.capabilities.into(),
        }
    }
}
