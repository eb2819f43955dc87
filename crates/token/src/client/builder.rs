//! The builder of a token client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use symbolon_transport::{HttpClient, RetryPolicy, SharedTransport, Transport};
use symbolon_types::Context;

use super::bound_tokens::BoundTokens;
use super::parts::ClientParts;
use super::throttle::Throttle;
use super::token_client::TokenClient;
use crate::cache::TokenCache;
use crate::credential::{CredentialSource, ErasedCredential};
use crate::oauth::CallerSdk;

/// Default time limit of a request, including minting and retries.
const DEADLINE: Duration = Duration::from_secs(120);

/// Builder of a [`TokenClient`].
#[derive(Debug)]
#[must_use]
pub struct TokenClientBuilder {
    credential: Arc<dyn ErasedCredential>,
    transport: SharedTransport,
    context: Context,
    cache: Option<TokenCache>,
    capabilities: Vec<String>,
    retry: RetryPolicy,
    deadline: Duration,
    caller: CallerSdk,
}

impl TokenClient {
    /// Returns the builder of a client that authenticates with this credential over this transport.
    pub fn builder(credential: impl CredentialSource, transport: impl Transport) -> TokenClientBuilder {
        TokenClientBuilder::new(Arc::new(credential), SharedTransport::new(transport))
    }
}

impl TokenClientBuilder {
    pub(super) fn new(credential: Arc<dyn ErasedCredential>, transport: SharedTransport) -> Self {
        Self {
            credential,
            transport,
            context: Context::default(),
            cache: None,
            capabilities: Vec::new(),
            retry: RetryPolicy::token_endpoint(),
            deadline: DEADLINE,
            caller: CallerSdk::default(),
        }
    }

    /// Sets the environment variables, the clock, the randomness of renewals and retries, the scale
    /// of retry delays, and the observer. Default: the process's own, and no observer.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sets the token cache, which clients may share. Default: a cache of the client's own with
    /// [`TokenCache::DEFAULT_CAPACITY`].
    pub fn cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Sets the capabilities of the client, such as `cp1` for claims challenges. They are sent in
    /// the claims of every request.
    pub fn capabilities(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.capabilities = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the retry policy. Default: [`RetryPolicy::token_endpoint`].
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Limits the time of a request as a whole. Default: two minutes.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Names the library that uses this client: the first 10 characters of its name and the first
    /// 20 of its version are sent in `x-client-current-telemetry`. Default: none.
    pub fn caller_sdk(mut self, name: &str, version: &str) -> Self {
        self.caller = CallerSdk { id: name.to_owned(), version: version.to_owned() };
        self
    }

    /// Returns the client. Does no I/O and needs no runtime.
    #[must_use]
    pub fn build(self) -> TokenClient {
        let new_cache = || TokenCache::new(TokenCache::DEFAULT_CAPACITY, &self.context);
        let cache = self.cache.unwrap_or_else(new_cache).for_context(&self.context);
        let clock = self.context.clock();
        TokenClient {
            parts: Arc::new(ClientParts {
                capabilities: self.capabilities,
                throttle: Throttle::new(clock.clone()),
                bound_tokens: BoundTokens::new(cache.capacity(), clock.clone()),
                http: HttpClient::new(self.transport, self.context),
                credential: self.credential,
                cache,
                retry: self.retry,
                deadline: self.deadline,
                caller: self.caller,
                last_issuance: Mutex::default(),
            }),
        }
    }
}
