//! What a connection pays for what it sends: at its own rates, and at those of where it comes from.
//!
//! Each message costs an addition and a comparison. A clock is looked at once for many messages or much of bytes.

use std::sync::Arc;
use std::time::Duration;

use super::gate::Gate;
use super::neighbours::Neighbour;
use crate::config::Rate;

/// Messages after which is paid.
const LOT_MESSAGES: u32 = 64;
/// Bytes after which is paid.
const LOT_BYTES: u64 = 64 * 1024;

/// A rate of messages and one of bytes.
#[derive(Debug)]
pub(crate) struct Meter {
    messages: Gate,
    kib: Gate,
}

impl Meter {
    pub(crate) fn new(messages: Rate, kib: Rate) -> Self {
        Self { messages: Gate::new(messages), kib: Gate::new(kib) }
    }
}

/// What was sent and is not paid for at one meter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tab {
    messages: u32,
    bytes: u64,
}

impl Tab {
    /// Adds one message. Returns whether it is time to pay.
    #[inline]
    pub(crate) fn add(&mut self, bytes: u64) -> bool {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.messages >= LOT_MESSAGES || self.bytes >= LOT_BYTES
    }

    fn take_over(&mut self, other: Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    /// Pays what passes now; what is less than 1 KiB waits for the next time. Returns how long the rest has to wait.
    pub(crate) fn pay(&mut self, meter: &Meter) -> Option<Duration> {
        let mut kib = u32::try_from(self.bytes / 1024).unwrap_or(u32::MAX);
        let before = kib;
        let wait = meter.messages.pay(&mut self.messages).max(meter.kib.pay(&mut kib));
        self.bytes -= u64::from(before - kib) * 1024;
        wait
    }
}

/// The dues of one connection.
#[derive(Debug)]
pub(crate) struct Dues {
    /// What came since it last paid.
    fresh: Tab,
    heard: u64,
    own: Tab,
    rates: (Rate, Rate),
    /// Made when it is first needed.
    meter: Option<Box<Meter>>,
    shared: Tab,
    neighbour: Option<Arc<Neighbour>>,
}

/// Who has to be slowed down, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooFast {
    pub(crate) wait: Duration,
    /// The label of the metric.
    pub(crate) reason: &'static str,
}

impl Dues {
    /// `rates` are of messages and of KiB.
    pub(crate) fn new(rates: (Rate, Rate), neighbour: Option<Arc<Neighbour>>) -> Self {
        let (fresh, own, shared) = (Tab::default(), Tab::default(), Tab::default());
        Self { fresh, heard: 0, own, rates, meter: None, shared, neighbour }
    }

    /// A message, or what else comes as a frame; `heard` bytes came in all. Returns whether it is time to
    /// [pay](Dues::pay).
    #[inline]
    pub(crate) fn count(&mut self, heard: u64) -> bool {
        let bytes = heard - self.heard;
        self.heard = heard;
        self.fresh.add(bytes)
    }

    /// Pays. If something is left, nothing more may be read until all is paid.
    pub(crate) fn pay(&mut self) -> Option<TooFast> {
        let fresh = std::mem::take(&mut self.fresh);
        self.own.take_over(fresh);
        let (messages, kib) = self.rates;
        let new = || Box::new(Meter::new(messages, kib));
        let own = self.own.pay(self.meter.get_or_insert_with(new));
        if let Some(neighbour) = &self.neighbour {
            self.shared.take_over(fresh);
            let shared = self.shared.pay(neighbour.meter());
            if shared > own {
                // All who come from there wait for the same.
                let wait = shared.unwrap_or_default().saturating_mul(neighbour.open());
                return Some(TooFast { wait, reason: "address_rate" });
            }
        }
        own.map(|wait| TooFast { wait, reason: "connection_rate" })
    }
}

impl Drop for Dues {
    fn drop(&mut self) {
        // Whoever comes again and again does not get its first messages for nothing.
        if let Some(neighbour) = &self.neighbour {
            self.shared.take_over(self.fresh);
            let _ = self.shared.pay(neighbour.meter());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_bytes_are_paid_apart_and_nothing_is_forgiven() {
        let rate = Rate { per_s: 1, burst: 100 };
        let meter = Meter::new(rate, rate);
        let mut tab = Tab::default();
        assert!(tab.add(100 * 1024 + 1), "it is time for one large message");
        assert_eq!(tab.pay(&meter), None);
        assert_eq!((tab.messages, tab.bytes), (0, 1));
        assert!(!tab.add(2 * 1024));
        assert_eq!(tab.pay(&meter), Some(Duration::from_secs(2)));
        assert_eq!((tab.messages, tab.bytes), (0, 2 * 1024 + 1));
        let due = (1..).find(|_| tab.add(0));
        assert_eq!(due, Some(LOT_MESSAGES));
        assert_eq!(tab.pay(&meter), Some(Duration::from_secs(2)), "the messages passed");
        assert_eq!((tab.messages, tab.bytes), (0, 2 * 1024 + 1));
    }
}
