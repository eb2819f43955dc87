//! Random parts of delays.

use std::sync::Arc;

/// A source of the random part of refresh times and retry delays, which spreads clients in time.
///
/// A draw is made once and stored with its value. If each check drew again, the earliest draw would
/// win, and all clients would refresh at the same time.
#[derive(Clone)]
#[must_use]
pub struct Jitter(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Jitter {
    /// Returns a source that draws from the operating system.
    pub fn os() -> Self {
        Self(Arc::new(|| {
            let mut bytes = [0; 4];
            match getrandom::fill(&mut bytes) {
                Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
                Err(_) => 0.5,
            }
        }))
    }

    /// Returns a source that always draws the same number, for tests.
    pub fn fixed(draw: f64) -> Self {
        let draw = if draw.is_finite() { draw.clamp(0.0, 1.0) } else { 0.5 };
        Self(Arc::new(move || draw))
    }

    /// Returns a number from 0 up to, but not including, 1.
    #[must_use]
    pub fn draw(&self) -> f64 {
        (self.0)()
    }
}

impl Default for Jitter {
    fn default() -> Self {
        Self::os()
    }
}

crate::debug_fields!(Jitter);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_the_unit_interval_and_vary() {
        let jitter = Jitter::os();
        let draws: Vec<f64> = (0..64).map(|_| jitter.draw()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        assert!(
            draws.windows(2).any(|pair| pair[0] < pair[1]) && draws.windows(2).any(|pair| pair[0] > pair[1])
        );
    }

    #[test]
    fn fixed_draw_is_clamped() {
        for (given, drawn) in [(0.25, 0.25), (-3.0, 0.0), (9.0, 1.0), (f64::NAN, 0.5)] {
            assert_eq!(Jitter::fixed(given).draw(), drawn);
        }
    }
}
