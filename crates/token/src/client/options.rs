//! Options that all kinds of token requests share.

use std::num::NonZeroU64;
use std::time::Duration;

use symbolon_types::CorrelationId;

/// Options that all kinds of token requests share: those of a token client, of a managed identity
/// and of a credential chain. A request takes them as a whole. Parameters, and parts of the cache
/// key that are not sent, are settings of [`TokenRequest`](crate::TokenRequest) alone.
///
/// To add an option: declare it here, apply it in `client/request.rs` or `client/exchange.rs`, and
/// if it deserves a method on [`TokenRequest`](crate::TokenRequest), add that in
/// `client/request.rs`. No other file changes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct RequestOptions<'a> {
    claims: Option<&'a str>,
    client_claims: Option<&'a str>,
    force_refresh: bool,
    /// In microseconds, half the size of a `Duration`: a request is moved often.
    deadline: Option<NonZeroU64>,
    correlation_id: Option<CorrelationId>,
}

impl<'a> RequestOptions<'a> {
    /// Sets the claims of a challenge, as JSON. A blank text is ignored.
    pub fn with_claims(mut self, challenge: &'a str) -> Self {
        self.claims = Some(challenge).filter(|claims| !claims.trim().is_empty());
        self
    }

    /// Sets claims that the client itself originates, as JSON. A blank text is ignored.
    pub fn with_client_claims(mut self, claims: &'a str) -> Self {
        self.client_claims = Some(claims).filter(|claims| !claims.trim().is_empty());
        self
    }

    /// Bypasses the token cache: a new token is requested.
    pub fn with_force_refresh(mut self, force_refresh: bool) -> Self {
        self.force_refresh = force_refresh;
        self
    }

    /// Limits the time of the request as a whole. Requests that share one exchange share the
    /// deadline of the first. Default: that of the client.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        let micros = u64::try_from(deadline.as_micros()).unwrap_or(u64::MAX);
        self.deadline = Some(NonZeroU64::new(micros).unwrap_or(NonZeroU64::MIN));
        self
    }

    /// Sets the id under which every service involved logs the request. Default: a new one.
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Returns the claims of a challenge.
    #[must_use]
    pub fn claims(&self) -> Option<&'a str> {
        self.claims
    }

    /// Returns the claims that the client itself originates.
    #[must_use]
    pub fn client_claims(&self) -> Option<&'a str> {
        self.client_claims
    }

    /// Returns `true` if the token cache is bypassed.
    #[must_use]
    pub fn force_refresh(&self) -> bool {
        self.force_refresh
    }

    /// Returns the limit of the request as a whole.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline.map(|micros| Duration::from_micros(micros.get()))
    }

    /// Returns the correlation id.
    #[must_use]
    pub fn correlation_id(&self) -> Option<CorrelationId> {
        self.correlation_id
    }

    /// Returns the key under which requests that bypass the token cache share an exchange: the
    /// claims of the challenge, or an empty text. `None` if the cache is read.
    #[must_use]
    pub fn bypass_key(&self) -> Option<&'a str> {
        self.claims.or(self.force_refresh.then_some(""))
    }
}

// Hides the claims.
symbolon_types::debug_fields!(
    RequestOptions<'_> |this|
    has_claims: this.claims.is_some(), has_client_claims: this.client_claims.is_some(),
    force_refresh: this.force_refresh, deadline: this.deadline(), correlation_id: this.correlation_id
);
