//! A link, a network and a peer in virtual time: same seed, same run.

use std::collections::BTreeMap;

use super::{End, HangUpReason, Link, LinkConfig, LinkEffect, LinkState};
use crate::time::Millis;

/// What becomes of a dial.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door {
    Welcomes,
    /// Ends it after so many ms, for good or not.
    Refuses {
        after: u64,
        for_good: bool,
    },
    /// Welcomes, and ends it so many ms later.
    Drops {
        after: u64,
    },
    /// Opens, and never welcomes.
    Idles,
    Silent,
}

enum Event {
    Connected,
    Welcomed,
    Pong(u64),
    Ended(End),
}

pub(super) struct World {
    pub(super) link: Link,
    pub(super) now: u64,
    pub(super) door: Door,
    /// Round trip in ms, and how much longer or shorter one can be.
    pub(super) trip: (u64, u64),
    /// Pings of 1,000 that get lost.
    pub(super) loss: u64,
    /// When each state began.
    pub(super) states: Vec<(u64, LinkState)>,
    pub(super) dials: Vec<u64>,
    pub(super) pings: Vec<u64>,
    pub(super) hung_up: Vec<(u64, HangUpReason)>,
    events: BTreeMap<(u64, u64), (usize, Event)>,
    chance: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        // It does not begin at 0: nothing may depend on that.
        let now = 1_000_000;
        Self {
            link: Link::new(LinkConfig::default(), seed, Millis(now)),
            now,
            door: Door::Welcomes,
            trip: (50, 0),
            loss: 0,
            states: vec![(now, LinkState::Transitioning)],
            dials: Vec::new(),
            pings: Vec::new(),
            hung_up: Vec::new(),
            events: BTreeMap::new(),
            chance: seed,
        }
    }

    /// One that is welcomed and has been for a while.
    pub(super) fn online(seed: u64) -> Self {
        let mut world = Self::new(seed);
        world.run(120_000);
        assert_eq!(world.link.state(), LinkState::Online);
        world.states = vec![(world.now, LinkState::Online)];
        world
    }

    pub(super) fn millis(&self) -> Millis {
        Millis(self.now)
    }

    /// Lets so many ms pass.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        self.turn();
        loop {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let deadline = self.link.deadline().map(|at| at.0);
            let next = [event, deadline].into_iter().flatten().min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = next.max(self.now);
            if event == Some(next) {
                let (_, (dial, event)) = self.events.pop_first().unwrap();
                self.happen(dial, event);
            }
            self.turn();
        }
        self.now = end;
        self.turn();
    }

    /// Ends what is open.
    pub(super) fn cut(&mut self) {
        self.events.clear();
        self.link.ended(self.millis(), lost());
        self.turn();
    }

    pub(super) fn states_seen(&self) -> Vec<LinkState> {
        self.states.iter().map(|(_, state)| *state).collect()
    }

    /// Carries out what the link wants now.
    pub(super) fn turn(&mut self) {
        self.see();
        let mut effects = 0;
        while let Some(effect) = self.link.poll(self.millis()) {
            effects += 1;
            assert!(effects < 5, "turns in circles: {effect:?}");
            match effect {
                LinkEffect::Dial => {
                    self.dials.push(self.now);
                    self.dial();
                }
                LinkEffect::Ping { token } => {
                    self.pings.push(self.now);
                    if self.chance(1_000) >= self.loss {
                        let trip = self.trip();
                        self.later(trip, Event::Pong(token));
                    }
                }
                LinkEffect::HangUp { reason } => {
                    self.events.clear();
                    self.hung_up.push((self.now, reason));
                }
            }
            self.see();
        }
        self.see();
        let deadline = self.link.deadline();
        assert!(deadline.is_none_or(|at| at.0 > self.now), "{deadline:?} at {}", self.now);
    }

    fn see(&mut self) {
        if self.states.last().unwrap().1 != self.link.state() {
            self.states.push((self.now, self.link.state()));
        }
    }

    fn dial(&mut self) {
        let trip = self.trip();
        match self.door {
            Door::Welcomes | Door::Drops { .. } | Door::Idles => self.later(trip, Event::Connected),
            Door::Refuses { after, for_good: false } => self.later(after, Event::Ended(lost())),
            Door::Refuses { after, for_good: true } => {
                self.later(after, Event::Ended(End::Permanent { reason: "the token is unknown".into() }));
            }
            Door::Silent => {}
        }
        if let Door::Welcomes | Door::Drops { .. } = self.door {
            self.later(2 * trip, Event::Welcomed);
        }
        if let Door::Drops { after } = self.door {
            self.later(2 * trip + after, Event::Ended(lost()));
        }
    }

    fn happen(&mut self, dial: usize, event: Event) {
        if dial != self.dials.len() {
            return;
        }
        let now = self.millis();
        match event {
            Event::Connected => self.link.connected(now),
            Event::Welcomed => self.link.welcomed(now),
            Event::Pong(token) => self.link.pong(now, token),
            Event::Ended(end) => self.link.ended(now, end),
        }
    }

    fn later(&mut self, ms: u64, event: Event) {
        let order = self.chance(u64::MAX);
        self.events.insert((self.now + ms, order), (self.dials.len(), event));
    }

    fn trip(&mut self) -> u64 {
        let (trip, around) = self.trip;
        trip - around + self.chance(2 * around + 1)
    }

    /// xorshift64 (Marsaglia 2003).
    pub(super) fn chance(&mut self, below: u64) -> u64 {
        self.chance |= 1;
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) % below
    }
}

pub(super) fn lost() -> End {
    End::Retriable { reason: "the connection was reset".into() }
}
