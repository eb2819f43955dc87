//! The way in which a request got a token.

use std::time::Duration;

use symbolon_types::{CacheLevel, RefreshReason, TokenOrigin};

/// The way in which a request got a token. Its members are small, because each token in the cache
/// has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) origin: TokenOrigin,
    pub(crate) cache_level: Option<CacheLevel>,
    pub(crate) refresh_reason: RefreshReason,
    pub(crate) total: Micros,
    pub(crate) in_store: Micros,
}

/// A duration of at most 71 minutes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Micros(u32);

impl Delivery {
    /// A token in memory that needs no refresh.
    pub(crate) const MEMORY: Self = Self {
        origin: TokenOrigin::Cache,
        cache_level: Some(CacheLevel::Memory),
        refresh_reason: RefreshReason::NotApplicable,
        total: Micros(0),
        in_store: Micros(0),
    };

    /// A token from the store.
    pub(crate) const STORE: Self = Self { cache_level: Some(CacheLevel::Store), ..Self::MEMORY };

    /// A token that was fetched for this reason.
    pub(crate) fn fetched(refresh_reason: RefreshReason) -> Self {
        Self { origin: TokenOrigin::Network, cache_level: None, refresh_reason, ..Self::MEMORY }
    }

    /// Sets the time that the request spent in the store.
    pub(crate) fn with_time_in_store(mut self, time: Duration) -> Self {
        self.in_store = time.into();
        self
    }

    /// Sets the duration of the request.
    pub(crate) fn with_total(mut self, total: Duration) -> Self {
        self.total = total.into();
        self
    }

    pub(crate) fn total(&self) -> Duration {
        self.total.into()
    }

    pub(crate) fn time_in_store(&self) -> Duration {
        self.in_store.into()
    }
}

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        Self(duration.as_micros().try_into().unwrap_or(u32::MAX))
    }
}

impl From<Micros> for Duration {
    fn from(micros: Micros) -> Self {
        Self::from_micros(micros.0.into())
    }
}
