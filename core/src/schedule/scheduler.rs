//! The scheduler: lanes, whose turn it is, and what is in flight.

use std::collections::{BTreeMap, VecDeque};

use super::config::ScheduleConfig;
use super::lane::{Item, Lane};
use super::pace::{Pace, Sent};
use super::priority::{Mode, Priority};
use super::turns::{Place, Turns};
use crate::limits::UPDATE_BYTES_MAX;
use crate::time::{Millis, Moment, Steady};

/// An item to send now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending<T> {
    /// The lane that it was pushed to.
    pub lane: u64,
    /// The priority that it was pushed with.
    pub priority: Priority,
    /// The bytes that it counts for: what [`Scheduler::delivered`] counts.
    pub bytes: usize,
    /// What was pushed.
    pub item: T,
}

/// What is to be sent over one link. Driven like this: push, then call [`Scheduler::next`] until it says nothing; again
/// whenever something was pushed or delivered, and at [`Scheduler::deadline`].
#[derive(Debug)]
pub struct Scheduler<T> {
    config: ScheduleConfig,
    clock: Steady,
    mode: Mode,
    lanes: BTreeMap<u64, (Lane<T>, Place)>,
    turns: Turns,
    flight: VecDeque<(Item<T>, Sent)>,
    /// Bytes of the first item in flight that the peer has.
    credit: usize,
    pace: Pace,
    queued: usize,
    queued_bytes: usize,
    in_flight_bytes: usize,
    gate: Gate,
}

/// While saving: what holds Normal back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// There is none.
    Idle,
    /// It is gathered, since then.
    Gathering(Moment),
    /// What was gathered is being sent, and what comes meanwhile as well.
    Open,
}

impl<T: Clone> Scheduler<T> {
    /// A scheduler for a connection that begins now.
    #[must_use]
    pub fn new(config: ScheduleConfig, now: Millis) -> Self {
        let clock = Steady::new(now);
        Self {
            config,
            clock,
            mode: Mode::Normal,
            lanes: BTreeMap::new(),
            turns: Turns::default(),
            flight: VecDeque::new(),
            credit: 0,
            pace: Pace::new(config, clock.passed()),
            queued: 0,
            queued_bytes: 0,
            in_flight_bytes: 0,
            gate: Gate::Idle,
        }
    }

    /// Puts an item at the end of a lane. `bytes` is what it takes on the wire; more than [`UPDATE_BYTES_MAX`] counts as
    /// that.
    pub fn push(&mut self, lane: u64, priority: Priority, bytes: usize, item: T, now: Millis) {
        self.clock.tell(now);
        let bytes = bytes.min(UPDATE_BYTES_MAX);
        self.queued += 1;
        self.queued_bytes = self.queued_bytes.saturating_add(bytes);
        self.change(lane, |waiting| waiting.push_back(Item { lane, priority, bytes, item }));
        self.gather();
    }

    /// What goes out now, which is in flight from then on; nothing if there is nothing, or enough is in flight.
    pub fn next(&mut self, now: Millis) -> Option<Sending<T>> {
        let now = self.clock.tell(now);
        self.gather();
        let Some(lane) = self.turns.first(|class| self.may(class)) else {
            self.pace.idle();
            return None;
        };
        if !self.pace.is_open() {
            return None;
        }
        let (mut waiting, place) = self.lanes.remove(&lane)?;
        let item = waiting.pop_front()?;
        self.turns.serve(place, item.bytes);
        self.keep(lane, waiting, None);
        self.gather();
        self.queued = self.queued.saturating_sub(1);
        self.queued_bytes = self.queued_bytes.saturating_sub(item.bytes);
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(item.bytes);
        let sending = Sending { lane, priority: item.priority, bytes: item.bytes, item: item.item.clone() };
        let sent = self.pace.send(now, item.bytes);
        self.flight.push_back((item, sent));
        Some(sending)
    }

    /// The peer has so many bytes more, of what was sent first. More than is in flight count as all that is.
    pub fn delivered(&mut self, now: Millis, bytes: usize) {
        let now = self.clock.tell(now);
        let bytes = bytes.min(self.in_flight_bytes());
        self.credit += bytes;
        let mut whole = Vec::new();
        while let Some((item, sent)) = self.flight.front()
            && item.bytes <= self.credit
        {
            self.credit -= item.bytes;
            self.in_flight_bytes = self.in_flight_bytes.saturating_sub(item.bytes);
            whole.push(*sent);
            self.flight.pop_front();
        }
        self.pace.deliver(now, bytes, &whole);
    }

    /// A new connection: all that is in flight goes back to the front of its lane, in order, and will be sent again.
    /// The link is measured anew.
    pub fn reset(&mut self, now: Millis) {
        let now = self.clock.tell(now);
        while let Some((item, _)) = self.flight.pop_back() {
            // What was gathered and sent in vain has waited enough.
            self.gate = Gate::Open;
            self.queued += 1;
            self.queued_bytes = self.queued_bytes.saturating_add(item.bytes);
            self.change(item.lane, |waiting| waiting.push_front(item));
        }
        (self.credit, self.in_flight_bytes) = (0, 0);
        self.pace = Pace::new(self.config, now);
        self.gather();
    }

    /// Forgets everything that waits or is in flight; the link is measured anew.
    pub fn clear(&mut self, now: Millis) {
        let mode = self.mode;
        *self = Self::new(self.config, now);
        self.mode = mode;
    }

    /// What the app says of the link from now on.
    pub fn set_mode(&mut self, mode: Mode, now: Millis) {
        self.clock.tell(now);
        if self.mode == Mode::Saving && mode == Mode::Normal {
            self.turns.resume(Priority::Low);
            self.turns.resume(Priority::Normal);
        }
        self.mode = mode;
        self.gate = Gate::Idle;
        self.gather();
    }

    /// When to call [`Scheduler::next`] at the latest if nothing is pushed or delivered before: while saving, when what
    /// is gathered is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let Gate::Gathering(since) = self.gate else { return None };
        Some(self.clock.at(since.plus(self.config.gather_ms)))
    }

    /// How large a page of a long answer should be now, in bytes: what the link carries in a quarter of a second, since up
    /// to three of them are under way; small before that is known. And no more than a small part of what this connection has
    /// carried so far: a link that breaks again and again loses what is under way each time.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        let quarter = self.bytes_per_second().and_then(|rate| usize::try_from(rate / 4).ok());
        let part = usize::try_from(self.pace.delivered() / 16).unwrap_or(usize::MAX);
        let page_max = self.config.page_max.min(part.max(self.config.page_first));
        quarter.unwrap_or(0).min(page_max).max(self.config.page_min)
    }

    /// The measured bandwidth; nothing before there was enough to send to measure it.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        self.pace.rate()
    }

    /// Bytes that wait, without those in flight. Whoever pushes bounds them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Items that wait, without those in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queued
    }

    /// Whether something waits in this lane.
    #[must_use]
    pub fn waits(&self, lane: u64) -> bool {
        self.lanes.contains_key(&lane)
    }

    /// Whether nothing waits. Something may be in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Bytes that were sent and that the peer did not acknowledge yet.
    #[must_use]
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes.saturating_sub(self.credit)
    }

    /// Most bytes in flight now, but for the last item, which may reach over it.
    #[must_use]
    pub fn window_bytes(&self) -> usize {
        self.pace.window()
    }

    fn may(&self, class: Priority) -> bool {
        match (self.mode, class) {
            (Mode::Normal, _) | (_, Priority::Critical | Priority::High) => true,
            (Mode::Saving, Priority::Normal) => self.gate == Gate::Open,
            (Mode::Saving, Priority::Low) => false,
        }
    }

    fn gather(&mut self) {
        let waits = self.turns.bytes(Priority::Normal).filter(|_| self.mode == Mode::Saving);
        let Some(bytes) = waits else {
            self.gate = Gate::Idle;
            return;
        };
        let now = self.clock.passed();
        if self.gate == Gate::Idle {
            self.gate = Gate::Gathering(now);
        }
        let Gate::Gathering(since) = self.gate else { return };
        if bytes >= self.config.gather_bytes || since.plus(self.config.gather_ms) <= now {
            self.gate = Gate::Open;
            self.turns.resume(Priority::Normal);
        }
    }

    fn change(&mut self, lane: u64, change: impl FnOnce(&mut Lane<T>)) {
        let (mut waiting, place) = match self.lanes.remove(&lane) {
            Some((waiting, place)) => (waiting, Some(place)),
            None => (Lane::default(), None),
        };
        change(&mut waiting);
        self.keep(lane, waiting, place);
    }

    fn keep(&mut self, lane: u64, waiting: Lane<T>, place: Option<Place>) {
        if let Some(class) = waiting.class() {
            let place = self.turns.enter(lane, class, waiting.bytes(), place);
            self.lanes.insert(lane, (waiting, place));
        }
    }
}
