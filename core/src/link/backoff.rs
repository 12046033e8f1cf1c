//! How long to wait before the next attempt: doubling, with full jitter.

/// Draws waits.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first_ms: u64,
    longest_ms: u64,
    /// Attempts since the last success.
    attempts: u32,
    /// State of a splitmix64 (Vigna 2015).
    chance: u64,
}

impl Backoff {
    pub(super) fn new(first_ms: u64, longest_ms: u64, seed: u64) -> Self {
        Self { first_ms, longest_ms, attempts: 0, chance: seed }
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// An attempt begins.
    pub(super) fn attempt(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// What came before says nothing any more.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The longest that the next wait can be in ms: doubled with each attempt after the first.
    pub(super) fn bound_ms(&self) -> u64 {
        let doublings = self.attempts.saturating_sub(1).min(63);
        self.first_ms.saturating_mul(1 << doublings).min(self.longest_ms)
    }

    /// The next wait in ms: each value from 0 to [`Backoff::bound_ms`] is as likely as any other.
    pub(super) fn draw(&mut self) -> u64 {
        let values = self.bound_ms().saturating_add(1);
        // The upper half of a product: without the bias, and the division, of a remainder.
        let drawn = (u128::from(self.next()) * u128::from(values)) >> 64;
        u64::try_from(drawn).unwrap_or(self.longest_ms)
    }

    fn next(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_fill_their_range() {
        let mut backoff = Backoff::new(1_000, 300_000, 7);
        let bounds: Vec<_> = std::iter::repeat_with(|| {
            backoff.attempt();
            backoff.bound_ms()
        })
        .take(11)
        .collect();
        let doubled = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map(|s| s * 1_000);
        assert_eq!(bounds, doubled);
        let drawn: Vec<_> = std::iter::repeat_with(|| backoff.draw()).take(4_000).collect();
        assert!(drawn.iter().all(|ms| *ms <= 300_000));
        for tenth in 0..10 {
            let range = tenth * 30_000..(tenth + 1) * 30_000;
            let here = drawn.iter().filter(|ms| range.contains(*ms)).count();
            assert!((300..500).contains(&here), "{here} of 4,000 waits in {range:?}");
        }
        backoff.reset();
        assert_eq!((backoff.attempts(), backoff.bound_ms()), (0, 1_000));
    }

    #[test]
    fn attempts_without_end_overflow_nothing() {
        let mut backoff = Backoff::new(u64::MAX / 2, u64::MAX, 1);
        backoff.attempts = u32::MAX;
        backoff.attempt();
        assert_eq!(backoff.bound_ms(), u64::MAX);
        backoff.draw();
    }

    #[test]
    fn two_seeds_do_not_wait_in_step() {
        let waits = |seed| {
            let mut backoff = Backoff::new(1_000, 300_000, seed);
            std::iter::repeat_with(|| backoff.draw()).take(8).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
