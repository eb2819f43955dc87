//! Access tokens with their certificates.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use symbolon_transport::{HttpClient, Idempotence, Request, RetryPolicy, Route, TransportError};
use symbolon_types::{
    CacheLevel, ClientIdentity, CorrelationId, Error, ErrorKind, RefreshReason, RequestMetadata, Secret,
    TokenOrigin,
};

use super::delivery::{Delivery, Micros};
use super::issuance::Issuance;
use super::key::TokenKey;
use super::owner::TokenOwner;
use crate::oauth::{Account, ResponseParameters, Scheme};

/// An access token and, if it is bound, its certificate. Immutable; clones are cheap.
///
/// A bound token is valid only on a connection that presents its certificate, so the two stay
/// together until they are used: [`authorize`](Self::authorize) builds a request with both.
#[derive(Clone)]
pub struct Token {
    parts: Arc<TokenParts>,
    delivery: Delivery,
}

/// A token in the cache, smaller than a [`Token`]: an entry with it fits in one cache line.
#[derive(Clone)]
pub(crate) struct CachedToken {
    parts: Arc<TokenParts>,
    source: LoadSource,
    in_store: Micros,
}

/// The source of a token that was loaded into the cache.
#[derive(Clone, Copy)]
enum LoadSource {
    Issuer,
    Store,
}

impl CachedToken {
    /// Returns the token as it is served from memory.
    pub(crate) fn in_memory(self) -> Token {
        Token { parts: self.parts, delivery: Delivery::MEMORY }
    }

    /// Returns the token as it is delivered to the requests for which it was loaded.
    pub(crate) fn loaded(self, reason: RefreshReason) -> Token {
        let delivery = match self.source {
            LoadSource::Issuer => Delivery::fetched(reason),
            LoadSource::Store => Delivery::STORE,
        };
        Token { parts: self.parts, delivery: Delivery { in_store: self.in_store, ..delivery } }
    }

    pub(crate) fn is(&self, token: &Token) -> bool {
        Arc::ptr_eq(&self.parts, &token.parts)
    }
}

impl From<Token> for CachedToken {
    fn from(token: Token) -> Self {
        let source = match token.delivery.cache_level {
            Some(CacheLevel::Store) => LoadSource::Store,
            _ => LoadSource::Issuer,
        };
        Self { source, in_store: token.delivery.in_store, parts: token.parts }
    }
}

/// The content of a token. Its members are small, because a cache holds thousands of them.
pub(crate) struct TokenParts {
    pub(crate) secret: Secret,
    pub(crate) scheme: Scheme,
    pub(crate) owner: Arc<TokenOwner>,
    pub(crate) account: Option<Account>,
    pub(crate) expires_on: UnixMicros,
    pub(crate) refresh_on: UnixMicros,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) attempts: u32,
    pub(crate) duration_ms: u32,
    pub(crate) issuance: Option<Arc<Issuance>>,
    pub(crate) key: TokenKey,
}

/// Microseconds since 1970: half the size of a `SystemTime`.
#[derive(Clone, Copy)]
pub(crate) struct UnixMicros(u64);

impl UnixMicros {
    pub(crate) fn from_time(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(since.as_micros().try_into().unwrap_or(u64::MAX))
    }

    pub(crate) fn to_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

impl Token {
    /// The deadline of [`call`](Self::call): one minute.
    pub const CALL_DEADLINE: Duration = Duration::from_secs(60);

    pub(crate) fn new(parts: TokenParts, delivery: Delivery) -> Self {
        Self { parts: Arc::new(parts), delivery }
    }

    pub(crate) fn delivery(&self) -> Delivery {
        self.delivery
    }

    pub(crate) fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    pub(crate) fn key(&self) -> &TokenKey {
        &self.parts.key
    }

    /// Returns the text of the token.
    ///
    /// Prefer [`authorize`](Self::authorize): a resource server refuses a bound token unless the
    /// connection presents its certificate.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.parts.secret
    }

    /// Returns `Bearer` or `mtls_pop`, which is also the scheme of the `Authorization` header.
    #[must_use]
    pub fn token_type(&self) -> &'static str {
        self.parts.scheme.token_type()
    }

    /// Returns the certificate that the token is bound to, ready for the next handshake.
    #[must_use]
    pub fn bound_to(&self) -> Option<&ClientIdentity> {
        self.parts.scheme.bound_to()
    }

    /// Returns the scopes or the resource of the token, as they were requested.
    #[must_use]
    pub fn audience(&self) -> &str {
        self.parts.key.audience()
    }

    /// Returns the client that the token was issued to, if known.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.parts.owner.client_id.as_deref()
    }

    /// Returns the tenant that the token was issued in, if known.
    #[must_use]
    pub fn tenant_id(&self) -> Option<&str> {
        self.parts.owner.tenant_id.as_deref()
    }

    /// Returns the user that the token is about; `None` for a token of the client itself.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        self.parts.account.as_ref()
    }

    /// Returns the time at which the token expires.
    #[must_use]
    pub fn expires_on(&self) -> SystemTime {
        self.parts.expires_on.to_time()
    }

    /// Returns the time from which a request for the token renews it.
    #[must_use]
    pub fn refresh_on(&self) -> SystemTime {
        self.parts.refresh_on.to_time()
    }

    /// Returns the origin of the token.
    #[must_use]
    pub fn origin(&self) -> TokenOrigin {
        self.delivery.origin
    }

    /// Returns the correlation id of the request that the token was issued for.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.parts.correlation_id
    }

    /// Returns the number of HTTP requests until the token was issued, at least 1.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.parts.attempts as usize
    }

    /// Returns the duration of these requests, including the delays between them.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.parts.duration_ms.into())
    }

    /// Returns the way in which the request got the token: the reason for its fetch, the token
    /// endpoint, the region, the durations. [`Error::metadata`] has the same of a failed request.
    #[must_use]
    pub fn metadata(&self) -> RequestMetadata {
        let mut metadata = RequestMetadata::default();
        metadata.cache_level = self.delivery.cache_level;
        metadata.refresh_reason = self.delivery.refresh_reason;
        metadata.total_duration = self.delivery.total();
        metadata.cache_duration = self.delivery.time_in_store();
        metadata.http_duration = self.duration();
        if let Some(issuance) = &self.parts.issuance {
            issuance.describe(&mut metadata);
        }
        metadata
    }

    /// Returns a parameter of the token response that this library does not interpret, such as
    /// `spa_accountid`: a text, or a number or boolean as text. Parameters are in memory only, not
    /// in a store, and those beyond 4 KiB in total are left out. A value can be a secret.
    #[must_use]
    pub fn response_parameter(&self, name: &str) -> Option<&Secret> {
        self.response_parameters()?.get(name)
    }

    /// Returns the names of these parameters, sorted.
    pub fn response_parameter_names(&self) -> impl Iterator<Item = &str> {
        self.response_parameters().into_iter().flat_map(ResponseParameters::names)
    }

    fn response_parameters(&self) -> Option<&ResponseParameters> {
        self.parts.issuance.as_ref()?.parameters.as_ref()
    }

    /// Calls a resource: sends a request with the token and, for a bound token, its certificate.
    /// Responses of any status are returned; nothing is retried. A request whose connection is lost
    /// is sent once more, but a `POST` or `PATCH` only if the resource has provably not processed
    /// it. After [`CALL_DEADLINE`](Self::CALL_DEADLINE) without a complete response, the call ends
    /// with `timeout`.
    ///
    /// # Errors
    /// Those of [`authorize`](Self::authorize), and those of the transport. An error is transient
    /// only if the request may be sent again.
    pub async fn call(
        &self,
        http: &HttpClient,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        self.call_within(http, request, Self::CALL_DEADLINE).await
    }

    /// Like [`call`](Self::call), with a deadline for the complete response.
    ///
    /// # Errors
    /// Those of [`call`](Self::call).
    pub async fn call_within(
        &self,
        http: &HttpClient,
        request: http::Request<Bytes>,
        deadline: Duration,
    ) -> Result<http::Response<Bytes>, Error> {
        let request = self.authorize(request)?;
        let is_idempotent = request.idempotence() == Idempotence::Message;
        let policy = RetryPolicy::once().with_attempt_timeout(deadline);
        match http.send(&policy, || Ok::<_, TransportError>(request.clone())).await {
            Ok(sent) => Ok(sent.response.into()),
            Err(error) => {
                let may_repeat = is_idempotent || error.is_unprocessed();
                let error = error.into_error("the resource could not be called");
                Err(match error.is_transient() && !may_repeat {
                    true => error.with_transient(false).with_advice(
                        "check if the resource has processed the request before you send it again",
                    ),
                    false => error,
                })
            }
        }
    }

    /// Builds a request with the token in its header and, for a bound token, with the certificate
    /// for its connection.
    ///
    /// ```no_run
    /// # use symbolon_token::Token;
    /// # use symbolon_transport::{SharedTransport, Transport};
    /// # async fn example(token: Token, transport: SharedTransport) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = http::Request::get("https://vault.example/secrets/x").body(bytes::Bytes::new())?;
    /// let response = transport.send(token.authorize(request)?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`authorize_http`](Self::authorize_http).
    pub fn authorize(&self, request: http::Request<impl Into<Bytes>>) -> Result<Request, Error> {
        let request = Request::from_http(self.authorize_http(request)?, Route::Public);
        Ok(request.map_err(|_| not_absolute())?.with_identity(self.bound_to().cloned()))
    }

    /// Sets the `Authorization` header of a request with any body, for another HTTP library.
    ///
    /// The connection of a bound token must present [`bound_to`](Self::bound_to); prefer
    /// [`authorize`](Self::authorize) or a client that ensures it.
    ///
    /// # Errors
    /// Those of [`check_url`].
    pub fn authorize_http<B>(&self, mut request: http::Request<B>) -> Result<http::Request<B>, Error> {
        check_url(request.uri())?;
        let credentials = [self.token_type(), " ", self.secret().expose()].concat();
        let mut credentials = HeaderValue::try_from(credentials).map_err(|_| {
            let error = "the token contains characters that are not allowed in an HTTP header";
            Error::new(ErrorKind::Response, "invalid_response", error)
                .with_advice("check the source of the token: no token service issues such a token")
        })?;
        credentials.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, credentials);
        Ok(request)
    }
}

/// Refuses a URL to which no token is sent.
///
/// # Errors
/// `insecure_endpoint` if the URL is not `https`, `invalid_request` if it is not absolute.
pub fn check_url(url: &http::Uri) -> Result<(), Error> {
    match url.scheme_str() {
        Some("https") if url.host().is_some_and(|host| !host.is_empty()) => Ok(()),
        Some("https") | None => Err(not_absolute()),
        Some(scheme) => {
            let error = format!(
                "the URL of the request has the scheme {scheme}, and a token is only sent over https; nothing was sent"
            );
            Err(Error::new(ErrorKind::Request, "insecure_endpoint", error)
                .with_advice("use the https URL of the resource"))
        }
    }
}

fn not_absolute() -> Error {
    let error = "the URL of the request is not absolute; nothing was sent";
    Error::new(ErrorKind::Request, "invalid_request", error)
        .with_advice("use a URL of the form https://host/path")
}

symbolon_types::debug_fields!(
    Token |this|
    token_type: this.token_type(), audience: this.audience(), expires_on: this.expires_on(),
    origin: this.origin()
);
