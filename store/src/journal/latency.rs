//! How long group commits take, as a histogram with fixed bounds.

use std::time::Duration;

/// Upper bounds in microseconds; a commit above the last one counts beyond it.
const BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// A histogram of durations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Upper bounds in microseconds.
    pub bounds_us: &'static [u64],
    /// Number of durations at most as long as the bound and longer than the one before; the last number
    /// counts those beyond all bounds.
    pub counts: Vec<u64>,
    /// Sum of all durations in microseconds.
    pub sum_us: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { bounds_us: &BOUNDS_US, counts: vec![0; BOUNDS_US.len() + 1], sum_us: 0 }
    }
}

impl Latency {
    pub(super) fn observe(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let index = self.bounds_us.partition_point(|bound| *bound < us);
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us);
    }
}
