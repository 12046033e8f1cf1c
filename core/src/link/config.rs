//! The times of a link, and what counts as a good one.

/// All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Between two heartbeats.
    pub ping_ms: u64,
    /// Nothing heard for so long: not online any more. Longer on a link that is slow or loses much.
    pub online_ms: u64,
    /// Nothing heard for so long: offline, and the connection is given up. Longer on a link that is slow or loses
    /// much, at most [`LinkConfig::offline_ms_max`].
    pub offline_ms: u64,
    /// The longest that [`LinkConfig::offline_ms`] becomes.
    pub offline_ms_max: u64,
    /// A lost connection that is welcomed again within this time was never offline. Eight round trips, if they are
    /// longer.
    pub transition_ms: u64,
    /// For the transport to come up, and then for the peer to welcome us. Eight round trips, if they are longer.
    pub open_ms: u64,
    /// After a hint that the network changed: for the peer to be heard again before the connection is given up.
    /// Two heartbeats' patience, if that is longer.
    pub probe_ms: u64,
    /// A peer that welcomed us and stayed for so long is a success: waits start from the shortest again.
    pub stay_ms: u64,
    /// The first wait is drawn from 0 to this, each further one from 0 to twice as much.
    pub backoff_ms: u64,
    /// The longest wait.
    pub backoff_ms_max: u64,
    /// A smoothed round trip above this is degraded, until it is below three quarters of it.
    pub slow_ms: u64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            ping_ms: 5_000,
            online_ms: 15_000,
            offline_ms: 60_000,
            offline_ms_max: 300_000,
            transition_ms: 5_000,
            open_ms: 20_000,
            probe_ms: 5_000,
            stay_ms: 30_000,
            backoff_ms: 1_000,
            backoff_ms_max: 300_000,
            slow_ms: 1_000,
        }
    }
}

impl LinkConfig {
    /// The same without zeros where they would make a link turn in circles within one moment.
    pub(super) fn sound(mut self) -> Self {
        for ms in [&mut self.ping_ms, &mut self.online_ms, &mut self.open_ms, &mut self.probe_ms] {
            *ms = (*ms).max(1);
        }
        self.backoff_ms = self.backoff_ms.max(1);
        self.backoff_ms_max = self.backoff_ms_max.max(self.backoff_ms);
        self.offline_ms = self.offline_ms.max(self.online_ms);
        self.offline_ms_max = self.offline_ms_max.max(self.offline_ms);
        self
    }
}
