//! A value with its two deadlines.

use symbolon_types::SteadyTime;

/// A value with a soft deadline, from which it is renewed, and a hard one, at which it expires.
///
/// Deadlines are on the steady clock, so that setting the clock of the machine does not prolong
/// them.
#[derive(Clone, Debug)]
pub struct Lease<V> {
    value: V,
    /// `SteadyTime::NEVER` if there is no soft deadline.
    refresh_at: SteadyTime,
    expires_at: SteadyTime,
}

impl<V> Lease<V> {
    /// Creates a lease that expires at `expires_at` and is not renewed before.
    pub fn new(value: V, expires_at: SteadyTime) -> Self {
        Self { value, refresh_at: SteadyTime::NEVER, expires_at }
    }

    /// Sets the soft deadline.
    #[must_use]
    pub fn with_refresh_at(mut self, refresh_at: SteadyTime) -> Self {
        self.refresh_at = refresh_at;
        self
    }

    /// Changes the value, and keeps the deadlines.
    #[must_use]
    pub fn map<T>(self, change: impl FnOnce(V) -> T) -> Lease<T> {
        Lease { value: change(self.value), refresh_at: self.refresh_at, expires_at: self.expires_at }
    }

    /// Returns the value.
    pub fn value(&self) -> &V {
        &self.value
    }

    /// Returns the soft deadline; [`SteadyTime::NEVER`] if there is none.
    pub fn refresh_at(&self) -> SteadyTime {
        self.refresh_at
    }

    /// Returns the hard deadline.
    pub fn expires_at(&self) -> SteadyTime {
        self.expires_at
    }
}
