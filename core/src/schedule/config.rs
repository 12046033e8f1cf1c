//! The bounds of a scheduler.

/// Bytes and times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleConfig {
    /// In flight before anything was measured, in bytes: as much as TCP starts with.
    pub window_first: usize,
    /// Fewest bytes in flight that the window comes down to.
    pub window_min: usize,
    /// Most bytes in flight, but for the last item, however fast the link is: what a reset has to take back.
    pub window_max: usize,
    /// Smallest page in bytes; below it, heads would cost more than what they carry.
    pub page_min: usize,
    /// Largest page in bytes of a connection that has not carried much yet.
    pub page_first: usize,
    /// Largest page in bytes.
    pub page_max: usize,
    /// While saving: how long Normal is gathered, in ms.
    pub gather_ms: u64,
    /// While saving: how much of Normal is gathered at most, in bytes.
    pub gather_bytes: usize,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            window_first: 16 * 1024,
            window_min: 4 * 1024,
            window_max: 8 * 1024 * 1024,
            page_min: 4 * 1024,
            page_first: 16 * 1024,
            page_max: 1024 * 1024,
            gather_ms: 30_000,
            gather_bytes: 64 * 1024,
        }
    }
}
