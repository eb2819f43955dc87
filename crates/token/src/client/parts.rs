//! Configuration and state that all requests of a client share.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symbolon_transport::{HttpClient, RetryPolicy, timeout_or_pending};
use symbolon_types::{Error, ErrorKind, SharedClock, SteadyTime, Thumbprint};

use super::bound_tokens::BoundTokens;
use super::throttle::Throttle;
use crate::cache::TokenCache;
use crate::credential::{ClientAuth, ErasedCredential};
use crate::oauth::CallerSdk;
use crate::token::Issuance;

/// Configuration and state that all requests of a client share.
#[derive(Debug)]
pub(crate) struct ClientParts {
    pub(super) http: HttpClient,
    pub(super) credential: Arc<dyn ErasedCredential>,
    pub(super) cache: TokenCache,
    pub(super) bound_tokens: BoundTokens,
    pub(super) throttle: Throttle,
    pub(super) retry: RetryPolicy,
    pub(super) deadline: Duration,
    pub(super) caller: CallerSdk,
    pub(super) capabilities: Vec<String>,
    /// The endpoint and the region of the last token, which the next one probably has too.
    pub(super) last_issuance: Mutex<Option<Arc<Issuance>>>,
}

/// The start and the time limit of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Started {
    pub(super) at: SteadyTime,
    timer: SteadyTime,
    deadline: Duration,
}

impl Started {
    /// Starts a request now.
    pub(super) fn now(clock: &SharedClock, deadline: Duration) -> Self {
        Self { at: clock.steady_now(), timer: clock.timer_now(), deadline }
    }
}

impl ClientParts {
    /// Records that exactly this certificate was refused: its tokens are neither served in place of
    /// others nor kept in the store.
    pub(super) fn refuse_certificate(&self, certificate: Thumbprint) {
        self.bound_tokens.refuse(certificate);
        self.cache.forget_certificate(certificate);
    }

    /// Returns endpoint and region of requests with this authentication. Tokens share them.
    pub(super) fn issuance(&self, auth: &ClientAuth) -> Arc<Issuance> {
        let (endpoint, region) = (auth.token_endpoint(), auth.region().to_use());
        let mut last = self.last_issuance.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(last) if last.endpoint == *endpoint && last.region == region => Arc::clone(last),
            _ => {
                let issuance = Issuance { endpoint: endpoint.clone(), region, parameters: None };
                Arc::clone(last.insert(Arc::new(issuance)))
            }
        }
    }

    /// Returns the time until the deadline of a request.
    pub(super) fn time_left(&self, started: Started) -> Duration {
        started.deadline.saturating_sub(self.http.context().clock().timer_now().since(started.timer))
    }

    /// Runs one step of a request within what is left of its time limit.
    pub(super) async fn until<T>(
        &self,
        started: Started,
        waited_for: &str,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let (clock, left) = (self.http.context().clock(), self.time_left(started));
        timeout_or_pending(clock, left, step).await.unwrap_or_else(|pending| {
            let waited_for = pending.map_or(waited_for.into(), |pending| Cow::Owned(pending.to_string()));
            let error = format!("no token was issued within {:?}; waited for {waited_for}", started.deadline);
            Err(Error::new(ErrorKind::Network, "timeout", error)
                .with_advice("check that the services involved are reachable, or allow more time")
                .with_transient(true))
        })
    }
}
