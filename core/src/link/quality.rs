//! The round trip of a link, and how long an answer may take on it (RFC 6298, Jacobson and Karels 1988).

/// How long an answer may take before any was measured, in ms.
const UNKNOWN_MS: u64 = 10_000;
/// The shortest and the longest that an answer may take, in ms: a peer that stalls for a moment is not lost.
const PATIENCE_MS: (u64, u64) = (2_000, 60_000);
/// Longer round trips count as this, in ms.
const SAMPLE_MS_MAX: u64 = 600_000;

/// Smoothed round trip and its variation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quality {
    /// Eight times the smoothed round trip and four times its mean deviation, both in ms.
    scaled: Option<(u64, u64)>,
    /// The next sample is the first of a new connection, and starts anew.
    is_old: bool,
}

impl Quality {
    /// An answer took `ms`.
    pub(super) fn sample(&mut self, ms: u64) {
        let ms = ms.min(SAMPLE_MS_MAX);
        self.scaled = Some(match self.scaled.filter(|_| !self.is_old) {
            None => (8 * ms, 2 * ms),
            Some((smoothed, deviation)) => {
                let difference = (smoothed / 8).abs_diff(ms);
                (smoothed - smoothed / 8 + ms, deviation - deviation / 4 + difference)
            }
        });
        self.is_old = false;
    }

    /// Another connection: what was measured holds until something is measured there.
    pub(super) fn renew(&mut self) {
        self.is_old = true;
    }

    /// The smoothed round trip in ms.
    pub(super) fn round_trip_ms(&self) -> Option<u64> {
        self.scaled.map(|(smoothed, _)| smoothed / 8)
    }

    /// How long an answer may take in ms.
    pub(super) fn patience_ms(&self) -> u64 {
        let (least, most) = PATIENCE_MS;
        self.scaled.map_or(UNKNOWN_MS, |(smoothed, deviation)| smoothed / 8 + deviation).clamp(least, most)
    }

    /// `ms`, or some round trips if they are longer; at most what patience can be.
    pub(super) fn at_least_trips(&self, ms: u64, trips: u64) -> u64 {
        ms.max(trips.saturating_mul(self.round_trip_ms().unwrap_or(0)).min(PATIENCE_MS.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_the_round_trip_and_its_variation() {
        let mut quality = Quality::default();
        assert_eq!((quality.round_trip_ms(), quality.patience_ms()), (None, UNKNOWN_MS));
        quality.sample(4_000);
        assert_eq!((quality.round_trip_ms(), quality.patience_ms()), (Some(4_000), 12_000));
        (0..40).for_each(|_| quality.sample(4_000));
        assert_eq!(quality.round_trip_ms(), Some(4_000));
        assert!((4_000..4_100).contains(&quality.patience_ms()), "{}", quality.patience_ms());
        (0..40).for_each(|n| quality.sample(if n % 2 == 0 { 2_000 } else { 6_000 }));
        assert!(quality.patience_ms() > 8_000, "{}", quality.patience_ms());
        quality.sample(u64::MAX);
        assert!(quality.patience_ms() <= PATIENCE_MS.1);
    }

    #[test]
    fn another_connection_starts_anew_with_its_first_answer() {
        let mut quality = Quality::default();
        (0..9).for_each(|_| quality.sample(4_000));
        quality.renew();
        assert_eq!(quality.round_trip_ms(), Some(4_000));
        quality.sample(20);
        assert_eq!((quality.round_trip_ms(), quality.patience_ms()), (Some(20), PATIENCE_MS.0));
    }
}
