//! A token as its issuer returned it, before the cache holds it.

use std::sync::Arc;
use std::time::Duration;

use symbolon_lease::Lease;
use symbolon_types::{ClockReading, CorrelationId, Jitter};

use super::access_token::{Token, TokenParts, UnixMicros};
use super::delivery::Delivery;
use super::issuance::Issuance;
use super::key::TokenKey;
use super::owner::TokenOwner;
use crate::oauth::{AccessToken, Account, Expiry, Scheme};

/// A newly issued token with its lifetime, as a [`TokenCache`](crate::TokenCache) takes it.
#[derive(Clone, Debug)]
#[must_use]
pub struct IssuedToken {
    token: AccessToken,
    expiry: Expiry,
    pub(crate) scheme: Scheme,
    owner: Arc<TokenOwner>,
    account: Option<Account>,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) attempts: usize,
    duration: Duration,
    pub(crate) key: Option<TokenKey>,
    issuance: Option<Arc<Issuance>>,
}

impl IssuedToken {
    /// Creates a bearer token that was issued for the request with this id.
    pub fn bearer(token: AccessToken, expiry: Expiry, correlation_id: CorrelationId) -> Self {
        Self::new(token, expiry, Scheme::Bearer, correlation_id)
    }

    pub(crate) fn new(
        token: AccessToken,
        expiry: Expiry,
        scheme: Scheme,
        correlation_id: CorrelationId,
    ) -> Self {
        Self {
            token,
            expiry,
            scheme,
            owner: Arc::default(),
            account: None,
            correlation_id,
            attempts: 1,
            duration: Duration::ZERO,
            key: None,
            issuance: None,
        }
    }

    /// Sets the client that the token was issued to.
    pub fn with_client_id(mut self, client_id: Option<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.owner).client_id = client_id;
        self
    }

    /// Sets the number of HTTP requests, and their duration in total.
    pub fn after(mut self, attempts: usize, duration: Duration) -> Self {
        self.attempts = attempts;
        self.duration = duration;
        self
    }

    /// Returns the lifetime of the token.
    pub(crate) fn life(&self) -> Duration {
        self.expiry.life()
    }

    pub(crate) fn with_tenant_id(mut self, tenant_id: Option<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.owner).tenant_id = tenant_id;
        self
    }

    pub(crate) fn with_owner(mut self, owner: Arc<TokenOwner>) -> Self {
        self.owner = owner;
        self
    }

    pub(crate) fn with_issuance(mut self, issuance: Arc<Issuance>) -> Self {
        self.issuance = Some(issuance);
        self
    }

    pub(crate) fn about(mut self, account: Option<Account>) -> Self {
        self.account = account;
        self
    }

    /// Returns the token as a lease that the cache holds.
    ///
    /// Its deadlines are on the steady clock; the dates of the token are those of the wall clock.
    pub(crate) fn into_lease(
        self,
        key: TokenKey,
        delivery: Delivery,
        now: ClockReading,
        jitter: &Jitter,
    ) -> Lease<Token> {
        let bound_to = self.scheme.bound_to();
        let bound_for = bound_to.map(|identity| identity.time_until(identity.not_after(), now));
        let deadlines = self.expiry.deadlines(bound_for, jitter);
        let refresh_on = UnixMicros::from_time(now.wall + deadlines.refresh_in);
        let parts = TokenParts {
            secret: self.token.into_secret(),
            scheme: self.scheme,
            owner: self.owner,
            account: self.account,
            expires_on: UnixMicros::from_time(now.wall + deadlines.expires_in),
            refresh_on,
            correlation_id: self.correlation_id,
            attempts: self.attempts.try_into().unwrap_or(u32::MAX),
            duration_ms: self.duration.as_millis().try_into().unwrap_or(u32::MAX),
            issuance: self.issuance,
            key,
        };
        Lease::new(Token::new(parts, delivery), now.steady.plus(deadlines.served_for))
            .with_refresh_at(now.steady_at(refresh_on.to_time()))
    }

    /// Sets the key of the authentication with which the token was issued.
    pub(crate) fn stored_under(mut self, key: TokenKey) -> Self {
        self.key = Some(key);
        self
    }
}
