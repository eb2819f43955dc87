//! Configuration and state that all requests of a client share.

use std::sync::Arc;
use std::time::Duration;

use symbolon_transport::{HttpClient, RetryPolicy};
use symbolon_types::{Error, ErrorKind};

use super::throttle::Throttle;
use crate::cache::TokenCache;
use crate::credential::ErasedCredential;
use crate::oauth::CallerSdk;

/// Configuration and state that all requests of a client share.
#[derive(Debug)]
pub(crate) struct ClientParts {
    pub(super) http: HttpClient,
    pub(super) credential: Arc<dyn ErasedCredential>,
    pub(super) cache: TokenCache,
    pub(super) throttle: Throttle,
    pub(super) retry: RetryPolicy,
    pub(super) deadline: Duration,
    pub(super) caller: CallerSdk,
    pub(super) capabilities: Vec<String>,
}

pub(super) fn timed_out() -> Error {
    Error::new(ErrorKind::Network, "timeout", "no token was issued in time")
        .with_advice("check that the services involved are reachable from here, or allow more time")
        .with_transient(true)
}
