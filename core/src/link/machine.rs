//! The machine: what becomes of a connection, from the first dial to the next.

use super::backoff::Backoff;
use super::config::LinkConfig;
use super::heartbeat::Heartbeat;
use super::state::{End, HangUpReason, LinkEffect, LinkState};
use crate::time::{Millis, Moment, Steady};

/// Between two dials that hints bring about, in ms: systems report one change many times.
const HINT_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is open; the next dial is due then, or never if the peer refused for good.
    Waiting { at: Option<Moment> },
    /// A dial is under way; it has until then.
    Dialing { since: Moment, until: Moment },
    /// The transport is up, a welcome has until then.
    Opened { since: Moment, until: Moment },
    /// Welcomed; a success from then on, if it is not one already.
    Welcomed { stays: Option<Moment> },
    /// For good.
    Closed,
}

/// One connection to one peer, made again whenever it ends. Driven like this: tell it what happens, then call
/// [`Link::poll`] until it says nothing, and again at [`Link::deadline`].
#[derive(Clone, Debug)]
pub struct Link {
    config: LinkConfig,
    clock: Steady,
    phase: Phase,
    state: LinkState,
    /// When not being there becomes being offline.
    offline: Moment,
    heartbeat: Heartbeat,
    backoff: Backoff,
    last_heard: Option<Moment>,
    last_error: Option<End>,
    /// When a hint last led to a dial.
    hinted: Option<Moment>,
    /// The next attempt is made without waiting.
    is_hurried: bool,
    /// [`Link::close`] was called with a connection open.
    hangs_up: bool,
}

impl Link {
    /// A link that dials at once. `seed` decides about the waits between its attempts; two links have two.
    #[must_use]
    pub fn new(config: LinkConfig, seed: u64, now: Millis) -> Self {
        let config = config.sound();
        let clock = Steady::new(now);
        let start = clock.passed();
        Self {
            config,
            clock,
            phase: Phase::Waiting { at: Some(start) },
            state: LinkState::Transitioning,
            offline: start.plus(config.transition_ms),
            heartbeat: Heartbeat::new(start),
            backoff: Backoff::new(config.backoff_ms, config.backoff_ms_max, seed),
            last_heard: None,
            last_error: None,
            hinted: None,
            is_hurried: false,
            hangs_up: false,
        }
    }

    /// The transport that was dialed is up.
    pub fn connected(&mut self, now: Millis) {
        let now = self.clock.tell(now);
        if let Phase::Dialing { .. } = self.phase {
            self.phase = Phase::Opened { since: now, until: now.plus(self.open_ms()) };
            self.last_heard = Some(now);
        }
        self.settle();
    }

    /// The peer agreed to talk to us.
    pub fn welcomed(&mut self, now: Millis) {
        let now = self.clock.tell(now);
        if let Phase::Dialing { .. } | Phase::Opened { .. } = self.phase {
            self.phase = Phase::Welcomed { stays: Some(now.plus(self.config.stay_ms)) };
            self.heartbeat.begin(now);
            self.is_hurried = false;
            self.last_heard = Some(now);
        }
        self.settle();
    }

    /// A frame came in, whichever.
    pub fn heard(&mut self, now: Millis) {
        let now = self.clock.tell(now);
        if self.is_open() {
            self.last_heard = Some(now);
            self.heartbeat.heard(now);
        }
        self.settle();
    }

    /// The answer to a ping came in; [`Link::heard`] is in it.
    pub fn pong(&mut self, now: Millis, token: u64) {
        let now = self.clock.tell(now);
        if self.is_open() {
            self.last_heard = Some(now);
            self.heartbeat.pong(now, token);
        }
        self.settle();
    }

    /// The connection, or the attempt at one, ended there or on the way. Not to be said of one that
    /// [`LinkEffect::HangUp`] ended.
    pub fn ended(&mut self, now: Millis, end: End) {
        self.clock.tell(now);
        if let Phase::Dialing { .. } | Phase::Opened { .. } | Phase::Welcomed { .. } = self.phase {
            self.settle();
            self.lose(end);
        }
        self.settle();
    }

    /// The system says that the network changed. Dials at once if nothing is open, pings at once if something is:
    /// what was open before may never say that it ended. Brings no peer back that refused for good.
    pub fn network_changed(&mut self, now: Millis) {
        let now = self.clock.tell(now);
        match &mut self.phase {
            Phase::Waiting { at: Some(at) } => {
                *at = hinted(&mut self.hinted, now).min(*at);
                self.backoff.reset();
            }
            Phase::Dialing { until, .. } | Phase::Opened { until, .. } => {
                *until = now.plus(self.config.probe_ms).min(*until);
                self.is_hurried = true;
            }
            Phase::Welcomed { .. } => {
                self.heartbeat.probe(now, self.config.probe_ms);
                self.is_hurried = true;
            }
            Phase::Waiting { at: None } | Phase::Closed => {}
        }
        self.settle();
    }

    /// A person wants it tried again now, or its settings changed. The only way back to a peer that refused for good.
    pub fn retry(&mut self, now: Millis) {
        let now = self.clock.tell(now);
        if let Phase::Waiting { at } = &mut self.phase {
            *at = Some(now);
            self.backoff.reset();
        }
        self.settle();
    }

    /// Ends the link for good.
    pub fn close(&mut self) {
        self.hangs_up |= !matches!(self.phase, Phase::Waiting { .. } | Phase::Closed);
        self.phase = Phase::Closed;
        self.settle();
    }

    /// What to do next, nothing if there is nothing to do before [`Link::deadline`].
    pub fn poll(&mut self, now: Millis) -> Option<LinkEffect> {
        let now = self.clock.tell(now);
        self.settle();
        let effect = self.due(now);
        self.settle();
        effect
    }

    /// When to poll at the latest if nothing happens before, in the driver's time as it was told last.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let next = match self.phase {
            _ if self.hangs_up => Some(self.clock.passed()),
            Phase::Waiting { at } => at,
            Phase::Dialing { until, .. } | Phase::Opened { until, .. } => Some(until),
            Phase::Welcomed { stays } => {
                let (online, _) = self.heartbeat.limits(&self.config);
                let gives_up = self.heartbeat.given_up(&self.config);
                let online = Some(online).filter(|online| *online > self.clock.passed());
                [Some(self.heartbeat.next()), Some(gives_up), online, stays].into_iter().flatten().min()
            }
            Phase::Closed => None,
        };
        let offline = Some(self.offline).filter(|_| self.state == LinkState::Transitioning);
        [next, offline].into_iter().flatten().min().map(|moment| self.clock.at(moment))
    }

    /// Whether the peer is there, as of the last call that told the time.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// The smoothed round trip of heartbeats in ms; between connections that of the last one.
    #[must_use]
    pub fn round_trip_ms(&self) -> Option<u64> {
        self.heartbeat.quality().round_trip_ms()
    }

    /// Heartbeats without an answer, of the last 16 of this connection: 0.0 to 1.0.
    #[must_use]
    pub fn loss(&self) -> Option<f32> {
        self.heartbeat.loss()
    }

    /// When the peer was heard last, also if that was on an earlier connection.
    #[must_use]
    pub fn last_heard(&self) -> Option<Millis> {
        self.last_heard.map(|moment| self.clock.at(moment))
    }

    /// When it dials next, if it is waiting for that.
    #[must_use]
    pub fn next_attempt(&self) -> Option<Millis> {
        let Phase::Waiting { at } = self.phase else { return None };
        at.map(|moment| self.clock.at(moment))
    }

    /// Why the last connection or attempt ended; nothing once a peer welcomed us and stayed. If this is
    /// [`End::Permanent`] and nothing is open, it is not tried again by itself.
    #[must_use]
    pub fn last_error(&self) -> Option<&End> {
        self.last_error.as_ref()
    }

    /// Attempts since a peer last welcomed us and stayed.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.backoff.attempts()
    }

    fn due(&mut self, now: Moment) -> Option<LinkEffect> {
        if std::mem::take(&mut self.hangs_up) {
            return Some(LinkEffect::HangUp { reason: HangUpReason::Closed });
        }
        match self.phase {
            Phase::Waiting { at: Some(at) } if at <= now => {
                self.backoff.attempt();
                self.phase = Phase::Dialing { since: now, until: now.plus(self.open_ms()) };
                Some(LinkEffect::Dial)
            }
            Phase::Dialing { since, until } if until <= now => {
                Some(self.hang_up(HangUpReason::Unanswered { ms: now.since(since) }))
            }
            Phase::Opened { since, until } if until <= now => {
                Some(self.hang_up(HangUpReason::Unwelcomed { ms: now.since(since) }))
            }
            Phase::Welcomed { .. } if self.heartbeat.given_up(&self.config) <= now => {
                let ms = now.since(self.heartbeat.last_heard());
                Some(self.hang_up(HangUpReason::Silent { ms }))
            }
            Phase::Welcomed { .. } => {
                self.heartbeat.beat(now, self.config.ping_ms).map(|token| LinkEffect::Ping { token })
            }
            _ => None,
        }
    }

    fn hang_up(&mut self, reason: HangUpReason) -> LinkEffect {
        self.lose(End::Retriable { reason: reason.to_string() });
        LinkEffect::HangUp { reason }
    }

    /// Nothing is open any more.
    fn lose(&mut self, end: End) {
        let now = self.clock.passed();
        if let Phase::Welcomed { .. } = self.phase {
            self.offline = now.plus(self.heartbeat.quality().at_least_trips(self.config.transition_ms, 8));
        }
        let drawn = now.plus(self.backoff.draw());
        let is_hurried = std::mem::take(&mut self.is_hurried);
        let at = if is_hurried { hinted(&mut self.hinted, now).min(drawn) } else { drawn };
        self.phase = Phase::Waiting { at: Some(at).filter(|_| !end.is_permanent()) };
        if end.is_permanent() {
            self.offline = now;
        }
        self.last_error = Some(end);
    }

    /// Brings everything up to the time that it is.
    fn settle(&mut self) {
        let now = self.clock.passed();
        if let Phase::Welcomed { stays } = &mut self.phase {
            self.heartbeat.settle(now, self.config.slow_ms);
            if stays.is_some_and(|stays| stays <= now) {
                *stays = None;
                self.backoff.reset();
                self.last_error = None;
            }
        }
        self.state = self.look(now);
    }

    fn look(&self, now: Moment) -> LinkState {
        if self.phase == Phase::Closed {
            return LinkState::Offline;
        }
        if let Phase::Welcomed { .. } = self.phase {
            let (online, offline) = self.heartbeat.limits(&self.config);
            return match self.heartbeat.is_poor() {
                _ if offline <= now => LinkState::Offline,
                true => LinkState::Degraded,
                false if online <= now => LinkState::Degraded,
                false => LinkState::Online,
            };
        }
        if self.state == LinkState::Offline || self.offline <= now {
            return LinkState::Offline;
        }
        LinkState::Transitioning
    }

    /// Whether frames can come in.
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Opened { .. } | Phase::Welcomed { .. })
    }

    fn open_ms(&self) -> u64 {
        self.heartbeat.quality().at_least_trips(self.config.open_ms, 8)
    }
}

/// When a hint may make a dial, and that it did.
fn hinted(last: &mut Option<Moment>, now: Moment) -> Moment {
    let at = last.map_or(now, |last| last.plus(HINT_MS).max(now));
    *last = Some(at);
    at
}
