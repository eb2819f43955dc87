//! The token client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use symbolon_transport::{HttpClient, RetryPolicy, SharedTransport, Transport};
use symbolon_types::{Error, Jitter, SharedClock};

use crate::credential::ErasedCredential;
use crate::exchange::Exchanger;
use crate::scope::Audience;
use crate::{CredentialSource, Token, TokenCache, TokenRequest};

/// How long an acquisition may take, minting and retries included.
const DEADLINE: Duration = Duration::from_secs(120);

/// Gets tokens for one credential and keeps them. Clones are cheap and share everything.
///
/// ```no_run
/// # use symbolon_token::{ClientSecret, TokenClient, TokenEndpoint};
/// # use symbolon_types::Secret;
/// # async fn example(transport: impl symbolon_transport::Transport) -> Result<(), symbolon_token::Error> {
/// let endpoint = TokenEndpoint::parse("https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token")?;
/// let credential = ClientSecret::new(endpoint, "6731de76-14a6-49ae-97bc-6eba6914391e", Secret::new("…"))?;
/// let client = TokenClient::builder(credential, transport).build();
/// let token = client.token("https://graph.microsoft.com/.default").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TokenClient {
    pub(crate) exchanger: Arc<Exchanger>,
    pub(crate) cache: TokenCache,
    pub(crate) capabilities: Arc<[String]>,
}

impl TokenClient {
    /// Starts a client that authenticates with this credential over this transport.
    pub fn builder(credential: impl CredentialSource, transport: impl Transport) -> TokenClientBuilder {
        TokenClientBuilder {
            credential: Arc::new(credential),
            transport: SharedTransport::new(transport),
            clock: SharedClock::system(),
            jitter: Jitter::os(),
            cache: None,
            capabilities: Vec::new(),
            retry: RetryPolicy::token_endpoint(),
            deadline: DEADLINE,
        }
    }

    /// Asks for a token for these scopes, separated by spaces; their order has no meaning.
    pub fn token<'a>(&'a self, scopes: &'a str) -> TokenRequest<'a> {
        TokenRequest::new(self, Audience::scopes(scopes))
    }

    /// Asks for a token for this resource: `https://vault.azure.net`, with or without
    /// `/.default`. It is cached under the resource, and `/.default` is put behind it on the wire.
    pub fn token_for_resource<'a>(&'a self, resource: &'a str) -> TokenRequest<'a> {
        TokenRequest::new(self, Audience::resource(resource))
    }

    /// The tokens that the client keeps.
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        &self.cache
    }

    /// Calls a resource with a token: scheme, header and certificate travel together or not at
    /// all. The answer is returned whatever its status; nothing is retried.
    ///
    /// # Errors
    /// As [`Token::authorize`], and when there is no answer.
    pub async fn call(
        &self,
        token: &Token,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        let sent = self.exchanger.http.transport().send(token.authorize(request)?).await;
        let response = sent.map_err(|error| error.into_error("the resource could not be called"))?;
        let mut answer = http::Response::new(response.body().clone());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer)
    }
}

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
    deadline: Duration,
}

impl TokenClientBuilder {
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

    /// Bounds an acquisition as a whole. Default: two minutes.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The client. Does no I/O and needs no runtime.
    #[must_use]
    pub fn build(self) -> TokenClient {
        let cache = self.cache.unwrap_or_else(|| {
            TokenCache::new(TokenCache::DEFAULT_CAPACITY, self.clock.clone(), self.jitter.clone())
        });
        TokenClient {
            exchanger: Arc::new(Exchanger {
                http: HttpClient::new(self.transport, self.clock, self.jitter),
                credential: self.credential,
                retry: self.retry,
                deadline: self.deadline,
            }),
            cache,
            capabilities: self.capabilities.into(),
        }
    }
}
