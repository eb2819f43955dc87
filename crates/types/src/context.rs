//! The surroundings of a component.

use crate::{Env, Jitter, Observer, SharedClock, SharedObserver};

/// The largest factor accepted by [`Context::with_retry_scale`].
const MAX_RETRY_SCALE: f64 = 1000.0;

/// Environment variables, clock and randomness, the scale of retry delays, and the observer.
///
/// Every builder of Symbolon takes a `Context`. The default one is the process's own: its
/// variables, the system clock, the operating system's randomness. Creating one reads nothing and
/// needs no runtime; clones are cheap.
///
/// ```
/// # use symbolon_types::{Context, Env, ManualClock};
/// let clock = ManualClock::new();
/// let context = Context::default().with_env(Env::empty()).with_clock(&clock);
/// assert_eq!(context.env().var("PATH"), None);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Context {
    env: Env,
    clock: SharedClock,
    jitter: Jitter,
    retry_scale: f64,
    observer: SharedObserver,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            env: Env::process(),
            clock: SharedClock::system(),
            jitter: Jitter::os(),
            retry_scale: 1.0,
            observer: SharedObserver::none(),
        }
    }
}

impl Context {
    /// Sets the environment variables.
    pub fn with_env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Sets the clock.
    pub fn with_clock(mut self, clock: impl Into<SharedClock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Sets the randomness of refresh times and retry delays.
    pub fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Multiplies every delay between attempts by `factor`, at most 1,000; 0 retries at once.
    /// Timeouts are not scaled. A factor that is not finite counts as 1.
    pub fn with_retry_scale(mut self, factor: f64) -> Self {
        self.retry_scale = if factor.is_finite() { factor.clamp(0.0, MAX_RETRY_SCALE) } else { 1.0 };
        self
    }

    /// Sets the receiver of events, for metrics. Default: none.
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.observer = SharedObserver::new(observer);
        self
    }

    /// Returns the environment variables.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Returns the randomness.
    pub fn jitter(&self) -> &Jitter {
        &self.jitter
    }

    /// Returns the observer.
    #[must_use]
    pub fn observer(&self) -> &SharedObserver {
        &self.observer
    }

    /// Returns the factor that multiplies delays between attempts.
    #[must_use]
    pub fn retry_scale(&self) -> f64 {
        self.retry_scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_retry_scales_are_corrected() {
        for (factor, expected) in
            [(0.5, 0.5), (-3.0, 0.0), (1e9, 1000.0), (f64::NAN, 1.0), (f64::INFINITY, 1.0)]
        {
            assert_eq!(Context::default().with_retry_scale(factor).retry_scale(), expected, "{factor}");
        }
    }
}
