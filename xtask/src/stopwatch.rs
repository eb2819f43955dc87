//! How long a step took. The only place that reads a real clock.

use std::fmt;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "measures real work; nothing here is simulated")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Elapsed {
        Elapsed(self.0.elapsed())
    }
}

/// A duration as people read it: `0.4 s`, `12.3 s`, `2 min 05 s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elapsed(Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let text = if seconds < 60 {
            format!("{:.1} s", self.0.as_secs_f64())
        } else {
            format!("{} min {:02} s", seconds / 60, seconds % 60)
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_as_people_say_it() {
        for (milliseconds, text) in
            [(49, "0.0 s"), (12_340, "12.3 s"), (60_000, "1 min 00 s"), (125_900, "2 min 05 s")]
        {
            assert_eq!(Elapsed(Duration::from_millis(milliseconds)).to_string(), text);
        }
    }
}
