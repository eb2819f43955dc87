//! A token as its issuer returned it, before the cache holds it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use symbolon_types::{ClientIdentity, CorrelationId, Jitter, Secret};

use super::access_token::{Token, TokenParts};
use super::key::TokenKey;
use crate::oauth::{Account, Expiry, Scheme};

/// What a fetch brings.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    secret: Secret,
    expiry: Expiry,
    pub(crate) scheme: Scheme,
    client_id: Option<Arc<str>>,
    tenant_id: Option<Arc<str>>,
    account: Option<Account>,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) attempts: usize,
    duration: Duration,
    pub(crate) key: Option<TokenKey>,
}

impl IssuedToken {
    /// A bearer token, issued for the request of this id.
    #[must_use]
    pub fn bearer(secret: Secret, expiry: Expiry, correlation_id: CorrelationId) -> Self {
        Self::new(secret, expiry, Scheme::Bearer, correlation_id)
    }

    pub(crate) fn new(secret: Secret, expiry: Expiry, scheme: Scheme, correlation_id: CorrelationId) -> Self {
        Self {
            secret,
            expiry,
            scheme,
            client_id: None,
            tenant_id: None,
            account: None,
            correlation_id,
            attempts: 1,
            duration: Duration::ZERO,
            key: None,
        }
    }

    /// The same, issued to this client.
    #[must_use]
    pub fn with_client_id(mut self, client_id: Option<Arc<str>>) -> Self {
        self.client_id = client_id;
        self
    }

    /// The same, after this many attempts that took this long together.
    #[must_use]
    pub fn after(mut self, attempts: usize, duration: Duration) -> Self {
        self.attempts = attempts;
        self.duration = duration;
        self
    }

    pub(crate) fn with_tenant_id(mut self, tenant_id: Option<Arc<str>>) -> Self {
        self.tenant_id = tenant_id;
        self
    }

    pub(crate) fn about(mut self, account: Option<Account>) -> Self {
        self.account = account;
        self
    }

    /// The token, and until when it is served.
    pub(crate) fn issued(self, key: TokenKey, now: SystemTime, jitter: &Jitter) -> (Token, SystemTime) {
        let bound_until = self.scheme.bound_to().map(ClientIdentity::not_after);
        let deadlines = self.expiry.deadlines(now, bound_until, jitter);
        let token = Token::new(TokenParts {
            secret: self.secret,
            scheme: self.scheme,
            client_id: self.client_id,
            tenant_id: self.tenant_id,
            account: self.account,
            expires_on: deadlines.expires_on,
            refresh_on: deadlines.refresh_on,
            correlation_id: self.correlation_id,
            attempts: self.attempts,
            duration: self.duration,
            key,
        });
        (token, deadlines.served_until)
    }

    /// The same, to be stored under the key of the credential that got it in the end.
    pub(crate) fn stored_under(mut self, key: TokenKey) -> Self {
        self.key = Some(key);
        self
    }
}
