//! A value with its two deadlines.

use std::time::SystemTime;

use crate::unix_nanos::UnixNanos;

/// A value with a soft deadline, from which it is renewed, and a hard one, at which it expires.
#[derive(Clone, Debug)]
pub struct Lease<V> {
    value: V,
    /// `UnixNanos::NEVER` if there is no soft deadline.
    refresh_at: UnixNanos,
    expires_at: UnixNanos,
}

impl<V> Lease<V> {
    /// Creates a lease that expires at `expires_at` and is not renewed before.
    pub fn new(value: V, expires_at: SystemTime) -> Self {
        Self { value, refresh_at: UnixNanos::NEVER, expires_at: UnixNanos::from_time(expires_at) }
    }

    /// Sets the soft deadline.
    #[must_use]
    pub fn with_refresh_at(mut self, refresh_at: Option<SystemTime>) -> Self {
        self.refresh_at = refresh_at.map_or(UnixNanos::NEVER, UnixNanos::from_time);
        self
    }

    /// Returns the value.
    pub fn value(&self) -> &V {
        &self.value
    }

    /// Returns the soft deadline, if there is one.
    pub fn refresh_at(&self) -> Option<SystemTime> {
        (self.refresh_at != UnixNanos::NEVER).then(|| self.refresh_at.to_time())
    }

    /// Returns the hard deadline.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at.to_time()
    }

    /// Returns the hard deadline in its stored form, which compares without a conversion.
    pub(crate) fn expires_at_nanos(&self) -> UnixNanos {
        self.expires_at
    }

    /// Returns the soft deadline in its stored form.
    pub(crate) fn refresh_at_nanos(&self) -> UnixNanos {
        self.refresh_at
    }
}
