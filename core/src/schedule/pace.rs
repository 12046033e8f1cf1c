//! How much may be in flight, after BBR (Cardwell, Cheng, Gunn, Yeganeh and Jacobson, *BBR: Congestion-Based
//! Congestion Control*, ACM Queue 2016): the bandwidth is the greatest delivery rate of the last seconds, the round
//! trip the shortest, and twice their product fills the link without filling its buffers.
//!
//! Below TCP there is such a control already; but it fills the socket's buffer, and what is in there cannot be overtaken.
//! Here an item counts as delivered when the peer says so, which is after it was handled.

use std::collections::VecDeque;

use super::config::ScheduleConfig;
use crate::time::Moment;

/// How long a measured rate counts in ms: no longer, or a link that became slow is filled to the brim.
const RATE_MS: u64 = 10_000;
/// How long a shortest round trip counts: ten of them, and at least and at most so many ms. A new one costs a
/// round trip or two of sending.
const TRIP_MS: (u64, u64) = (10_000, 30_000);
/// Rates within this time count as one, in ms.
const GRAIN_MS: u64 = 1_000;
/// Shorter round trips count as this in ms: twice as much in flight is no delay that anybody notices, and answers
/// are gathered for some ms before they are sent.
const TRIP_MS_MIN: u64 = 50;

/// What was known when an item was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    at: Moment,
    delivered: u64,
    delivered_at: Moment,
    is_limited: bool,
}

/// Measures one connection.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    config: ScheduleConfig,
    /// Greatest rates in bytes per second, later ones smaller than earlier ones.
    rates: VecDeque<(Moment, u64)>,
    /// The shortest round trip in ms, and when it was measured.
    trip: Option<(u64, Moment)>,
    in_flight: u64,
    delivered: u64,
    delivered_at: Moment,
    /// Until so much is delivered, rates say what there was to send and not what the link can do.
    limited_until: u64,
    probe: Option<Probe>,
}

/// The shortest round trip is old: the buffers have to run empty for a new one to be seen.
#[derive(Clone, Copy, Debug)]
enum Probe {
    Draining,
    /// What is sent from then on meets no queue of ours.
    Drained(Moment),
}

impl Pace {
    pub(super) fn new(config: ScheduleConfig, now: Moment) -> Self {
        Self {
            config,
            rates: VecDeque::new(),
            trip: None,
            in_flight: 0,
            delivered: 0,
            delivered_at: now,
            limited_until: 0,
            probe: None,
        }
    }

    /// Bytes per second.
    pub(super) fn rate(&self) -> Option<u64> {
        self.rates.front().map(|(_, rate)| *rate)
    }

    /// Bytes that arrived so far.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Most bytes in flight.
    pub(super) fn window(&self) -> usize {
        let (Some(rate), Some((trip, _))) = (self.rate(), self.trip) else { return self.config.window_first };
        let product = rate.saturating_mul(trip.max(TRIP_MS_MIN)) / 1_000;
        let window = if self.probe.is_some() { product / 8 } else { product.saturating_mul(2) };
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        window.min(self.config.window_max).max(self.config.window_min)
    }

    /// Whether an item may be sent now. The last one may reach over the window: were it to fit, two items that are
    /// as large as the window would never be in flight together, and never show that the link can carry them.
    pub(super) fn is_open(&self) -> bool {
        self.in_flight < count(self.window())
    }

    pub(super) fn send(&mut self, now: Moment, bytes: usize) -> Sent {
        if self.in_flight == 0 {
            self.delivered_at = now;
            if let Some(probe) = &mut self.probe {
                *probe = Probe::Drained(now);
            }
        }
        self.in_flight = self.in_flight.saturating_add(count(bytes));
        Sent {
            at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            is_limited: self.delivered < self.limited_until,
        }
    }

    /// There was nothing to send.
    pub(super) fn idle(&mut self) {
        if self.is_open() {
            self.limited_until = self.delivered.saturating_add(self.in_flight.max(1));
        }
    }

    /// Bytes arrived; `whole` are the items that have arrived completely now, in the order in which they were sent.
    pub(super) fn deliver(&mut self, now: Moment, bytes: usize, whole: &[Sent]) {
        self.in_flight = self.in_flight.saturating_sub(count(bytes));
        self.delivered = self.delivered.saturating_add(count(bytes));
        self.delivered_at = now;
        for sent in whole {
            self.see_trip(now, sent);
            self.see_rate(now, sent);
        }
        if matches!(self.probe, Some(Probe::Draining)) && self.in_flight <= count(self.window()) {
            self.probe = Some(Probe::Drained(now));
        }
    }

    fn see_trip(&mut self, now: Moment, sent: &Sent) {
        let ms = now.since(sent.at);
        let answers = matches!(self.probe, Some(Probe::Drained(at)) if at <= sent.at);
        match self.trip {
            Some((shortest, at)) if ms > shortest && !answers => {
                let memory = shortest.saturating_mul(10).clamp(TRIP_MS.0, TRIP_MS.1);
                if now.since(at) > memory && self.probe.is_none() {
                    self.probe = Some(Probe::Draining);
                }
            }
            _ => {
                self.trip = Some((ms, now));
                self.probe = None;
            }
        }
    }

    fn see_rate(&mut self, now: Moment, sent: &Sent) {
        let ms = now.since(sent.delivered_at).max(1);
        let rate = self.delivered.saturating_sub(sent.delivered).saturating_mul(1_000) / ms;
        if sent.is_limited && self.rate().is_none_or(|known| rate < known) {
            return;
        }
        while self.rates.back().is_some_and(|(at, known)| *known <= rate && now.since(*at) < RATE_MS) {
            self.rates.pop_back();
        }
        if self.rates.back().is_none_or(|(at, _)| now.since(*at) >= GRAIN_MS) {
            self.rates.push_back((now, rate));
        }
        while self.rates.len() > 1 && self.rates.front().is_some_and(|(at, _)| now.since(*at) >= RATE_MS) {
            self.rates.pop_front();
        }
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_that_fall_all_the_time_are_not_all_remembered() {
        let now = |ms| Moment::default().plus(ms);
        let mut pace = Pace::new(ScheduleConfig::default(), now(0));
        for n in 0..60_000 {
            let sent = pace.send(now(n), 600_000);
            pace.deliver(now(n + 1), 600_000 - 10 * usize::try_from(n).unwrap_or(0), &[sent]);
            pace.in_flight = 0;
        }
        assert!(pace.rates.len() <= 11, "{}", pace.rates.len());
    }
}
