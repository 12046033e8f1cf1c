//! Pings one at a time, what became of the last of them, and silence.

use std::collections::VecDeque;

use super::config::LinkConfig;
use super::quality::Quality;
use crate::time::Moment;

/// Heartbeats that loss is counted over.
const KEPT: usize = 16;
/// Lost in a row: the link is degraded. One that is late happens everywhere.
const MISSED: usize = 2;
/// Lost of those that are kept: degraded from the first figure on, until it is below the second.
const LOSSY: (usize, usize) = (3, 2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    Answered,
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Beat {
    token: u64,
    sent: Moment,
    outcome: Outcome,
}

/// The heartbeats of one connection after another.
#[derive(Clone, Debug)]
pub(super) struct Heartbeat {
    beats: VecDeque<Beat>,
    token: u64,
    /// When the next ping is due, if none is open.
    next: Moment,
    heard: Moment,
    /// Heard by then, or given up: the network is said to have changed.
    probe: Option<Moment>,
    /// Loss when something was heard last: what silence itself loses must not make it last longer.
    loss_heard: f32,
    is_slow: bool,
    is_lossy: bool,
    quality: Quality,
}

impl Heartbeat {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            beats: VecDeque::new(),
            token: 0,
            next: now,
            heard: now,
            probe: None,
            loss_heard: 0.0,
            is_slow: false,
            is_lossy: false,
            quality: Quality::default(),
        }
    }

    pub(super) fn quality(&self) -> &Quality {
        &self.quality
    }

    /// Lost of the last heartbeats, from 0.0 to 1.0; nothing before one was answered or lost.
    pub(super) fn loss(&self) -> Option<f32> {
        let settled = self.beats.len() - self.count(Outcome::Open);
        let settled = u16::try_from(settled).ok().filter(|settled| *settled > 0)?;
        let lost = u16::try_from(self.count(Outcome::Lost)).ok()?;
        Some(f32::from(lost) / f32::from(settled))
    }

    /// A new connection was welcomed.
    pub(super) fn begin(&mut self, now: Moment) {
        self.beats.clear();
        self.quality.renew();
        (self.next, self.heard, self.probe) = (now, now, None);
        (self.loss_heard, self.is_lossy) = (0.0, false);
    }

    /// Anything was heard.
    pub(super) fn heard(&mut self, now: Moment) {
        (self.heard, self.probe) = (now, None);
        self.loss_heard = self.loss().unwrap_or(0.0);
    }

    /// An answer was heard; one to no ping of this connection is like anything else.
    pub(super) fn pong(&mut self, now: Moment, token: u64) {
        let beat =
            self.beats.iter_mut().find(|beat| beat.token == token && beat.outcome != Outcome::Answered);
        if let Some(beat) = beat {
            // One that comes late was not lost, and its time is the best that is known of the link.
            beat.outcome = Outcome::Answered;
            self.quality.sample(now.since(beat.sent));
        }
        self.heard(now);
    }

    /// Ping at once, unless an answer is under way, and hear something within `ms` or give up.
    pub(super) fn probe(&mut self, now: Moment, ms: u64) {
        self.next = now;
        self.probe = Some(self.probe.unwrap_or(now.plus(ms.max(2 * self.quality.patience_ms()))));
    }

    /// The token of a ping that is due.
    pub(super) fn beat(&mut self, now: Moment, ping_ms: u64) -> Option<u64> {
        if self.open().is_some() || now < self.next {
            return None;
        }
        self.token = self.token.wrapping_add(1);
        self.next = now.plus(ping_ms);
        if self.beats.len() == KEPT {
            self.beats.pop_front();
        }
        self.beats.push_back(Beat { token: self.token, sent: now, outcome: Outcome::Open });
        Some(self.token)
    }

    /// Whoever did not answer in time is lost; what that says of the link.
    pub(super) fn settle(&mut self, now: Moment, slow_ms: u64) {
        if self.open().is_some_and(|beat| beat.sent.plus(self.quality.patience_ms()) <= now) {
            self.lose_open();
        }
        let slow_ms = if self.is_slow { slow_ms - slow_ms / 4 } else { slow_ms };
        self.is_slow = self.quality.round_trip_ms().is_some_and(|ms| ms > slow_ms);
        let lossy = if self.is_lossy { LOSSY.1 } else { LOSSY.0 };
        self.is_lossy = self.count(Outcome::Lost) >= lossy;
    }

    /// Whether the connection is worse than it should be, whatever was heard last.
    pub(super) fn is_poor(&self) -> bool {
        let settled = self.beats.iter().rev().filter(|beat| beat.outcome != Outcome::Open);
        let missed = settled.take_while(|beat| beat.outcome == Outcome::Lost).count();
        self.is_slow || self.is_lossy || missed >= MISSED
    }

    /// When something happens by itself next: a ping, or the end of the wait for its answer.
    pub(super) fn next(&self) -> Moment {
        self.open().map_or(self.next, |beat| beat.sent.plus(self.quality.patience_ms()))
    }

    pub(super) fn last_heard(&self) -> Moment {
        self.heard
    }

    /// When silence means that it is not online any more, and when that it is offline. Silence of a round of pings is
    /// usual where so many get lost, so as many are waited for as leave less than one chance in a hundred.
    pub(super) fn limits(&self, config: &LinkConfig) -> (Moment, Moment) {
        let (mut tries, mut chance) = (1, self.loss_heard);
        while chance > 0.01 && tries < 8 {
            (tries, chance) = (tries + 1, chance * self.loss_heard);
        }
        let measured = self.quality.round_trip_ms().map_or(0, |_| self.quality.patience_ms());
        let online = config.ping_ms.max(measured).saturating_mul(tries).saturating_add(measured);
        let online = online.clamp(config.online_ms, config.online_ms.max(config.offline_ms_max / 4));
        let offline = config.offline_ms.max(online.saturating_mul(4)).min(config.offline_ms_max);
        (self.heard.plus(online), self.heard.plus(offline))
    }

    /// When it is given up for what a probe did not bring, or for silence.
    pub(super) fn given_up(&self, config: &LinkConfig) -> Moment {
        let (_, offline) = self.limits(config);
        self.probe.map_or(offline, |probe| probe.min(offline))
    }

    fn open(&self) -> Option<&Beat> {
        self.beats.back().filter(|beat| beat.outcome == Outcome::Open)
    }

    fn lose_open(&mut self) {
        if let Some(beat) = self.beats.back_mut().filter(|beat| beat.outcome == Outcome::Open) {
            beat.outcome = Outcome::Lost;
        }
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.beats.iter().filter(|beat| beat.outcome == outcome).count()
    }
}
