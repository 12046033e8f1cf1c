//! A world of relays that a backplane joins: a room on each, stock clients spread over them, and perhaps an archive on
//! one.
//!
//! Between two rooms there are two streams: what is said to a room, with the rolls, and what is told to one peer. Each
//! arrives in its order; either may overtake the other.

mod people;
mod relays;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::*;
use super::client::Client;
use crate::dialect::y_protocols::Message;
use crate::id::PeerId;
use crate::time::Millis;
use crate::update::{Coverage, Update};

/// The relay that has the archive, in a world with one.
pub(super) const ARCHIVE: usize = 3;

/// What one room says to all others.
#[derive(Clone, Debug)]
enum Packet {
    Roll {
        roll: Roll,
        opening: u64,
        /// Whom it answers, by its opening, and whether that one is known to hear us.
        heard: Option<(PeerId, u64, bool)>,
    },
    Gone,
    Lost,
    Said(PeerMessage),
}

/// What one room tells another.
#[derive(Clone, Debug)]
enum Word {
    /// Something that was said to us was lost.
    Missed,
    Lost,
    /// For this opening of the room.
    Said(u64, PeerMessage),
}

/// From one relay to another, with the name that the first had.
#[derive(Default)]
struct Link {
    said: VecDeque<(PeerId, Packet)>,
    told: VecDeque<(PeerId, Word)>,
}

/// Another relay that has the room open; it has come when it is known to hear us.
#[derive(Clone, Copy)]
struct Neighbour {
    roll: Roll,
    opening: u64,
    has_come: bool,
    /// Something that it said before was lost.
    missed: bool,
}

struct Relay {
    id: PeerId,
    policy: Acknowledgement,
    room: Option<Room>,
    on_plane: bool,
    /// Counts how often the room was opened or called anew.
    opening: u64,
    neighbours: BTreeMap<PeerId, Neighbour>,
    /// Whose answers the roll call waits for.
    awaited: BTreeSet<PeerId>,
    told: Roll,
}

struct Seat {
    relay: usize,
    outbox: VecDeque<Message>,
    /// `SyncStep1` sent, `SyncStep2` received.
    asked: usize,
    answered: usize,
}

struct Person {
    client: Client,
    seat: Option<Seat>,
    /// What it wrote itself, which is what its count is about.
    own: Coverage,
    clock: u64,
    /// Who it sees, with the newest clock of each.
    sees: BTreeMap<u64, (u64, bool)>,
}

pub(super) struct Cluster {
    relays: Vec<Relay>,
    people: Vec<Person>,
    durable: Vec<Update>,
    durable_coverage: Coverage,
    /// Written, and lost with the archive's relay.
    written: VecDeque<(Ticket, Update)>,
    links: BTreeMap<(usize, usize), Link>,
    /// Everything of the one kind of stream, told or not, is overtaken by all of the other.
    held: Option<bool>,
    next_member: u64,
    next_peer: u64,
    now: Millis,
}

impl Cluster {
    pub(super) fn new(people: u64, policy: Acknowledgement, with_archive: bool) -> Self {
        let relay = |policy| Relay {
            id: PeerId(0),
            policy,
            room: None,
            on_plane: true,
            opening: 0,
            neighbours: BTreeMap::new(),
            awaited: BTreeSet::new(),
            told: Roll::default(),
        };
        let mut relays: Vec<_> = (0..3).map(|_| relay(policy)).collect();
        if with_archive {
            relays.push(relay(Acknowledgement::Durable));
        }
        let person = |n| Person {
            client: Client::new(n),
            seat: None,
            own: Coverage::default(),
            clock: 0,
            sees: BTreeMap::new(),
        };
        Self {
            relays,
            people: (1..=people).map(person).collect(),
            durable: Vec::new(),
            durable_coverage: Coverage::default(),
            written: VecDeque::new(),
            links: BTreeMap::new(),
            held: None,
            next_member: 1,
            next_peer: 1,
            now: Millis(0),
        }
    }

    /// Each step: what happens, to whom, and a number for what else there is to choose.
    pub(super) fn play(&mut self, steps: &[(u8, usize, usize)]) {
        for (action, who, what) in steps {
            self.step(*action, *who, *what);
            self.check();
        }
    }

    fn step(&mut self, action: u8, who: usize, what: usize) {
        let person = who % self.people.len();
        let relay = what % self.relays.len();
        match action {
            0..=3 => self.edit(person, what.is_multiple_of(4)),
            4..=6 if self.people[person].seat.is_none() => self.connect(person, relay),
            4..=6 => self.read_one(person),
            7..=9 => self.send_one(person),
            10..=19 => drop(self.deliver_one(who * 8 + what)),
            20 => self.cut(person),
            21 => self.die(relay, who),
            22 => self.lose(who * 8 + what),
            23 if self.relays[relay].on_plane => self.go_away(relay),
            23 | 24 => self.come_back(relay),
            25 | 26 => self.sync_disk(1 + what),
            27 => drop(self.wait()),
            28 => self.announce(person),
            30 => self.held = [None, Some(false), Some(true)][what % 3],
            _ => self.settle(who),
        }
    }

    /// Everything arrives; then those from `absent` on go with their relays, and whoever is silent has been silent for long.
    pub(super) fn rest(&mut self, absent: usize) {
        for relay in 0..self.relays.len() {
            self.come_back(relay);
        }
        for person in 0..self.people.len() {
            if self.people[person].seat.is_none() {
                self.connect(person, person % self.relays.len());
            }
        }
        self.settle(0);
        // They go with their relay: nobody but the others can say goodbye for them.
        for person in absent..self.people.len() {
            if let Some(Seat { relay, .. }) = self.people[person].seat {
                self.die(relay, 0);
            }
        }
        for person in 0..absent {
            if self.people[person].seat.is_none() {
                self.connect(person, person % self.relays.len());
            }
        }
        for person in 0..absent {
            self.announce(person);
        }
        self.settle(0);
    }

    fn settle(&mut self, seed: usize) {
        if self.relays.len() > ARCHIVE {
            self.open(ARCHIVE);
        }
        loop {
            let mut turn = seed;
            while self.deliver_one(turn) || !self.written.is_empty() || self.people_are_busy() {
                turn = turn.wrapping_mul(7).wrapping_add(3);
                let person = turn % self.people.len();
                self.send_one(person);
                self.read_one(person);
                for person in 0..self.people.len() {
                    self.send_one(person);
                    self.read_one(person);
                }
                self.sync_disk(turn % 3);
                self.check();
            }
            if !self.wait() {
                return self.check_settled();
            }
        }
    }

    fn people_are_busy(&self) -> bool {
        self.people.iter().any(|person| {
            person.seat.as_ref().is_some_and(|seat| !seat.outbox.is_empty())
                || !person.client.inbox.is_empty()
        })
    }

    // What is true at every moment.

    fn check(&self) {
        for person in self.people.iter().filter(|person| person.seat.is_some()) {
            assert!(person.client.unsynced >= 0, "one acknowledgement too many");
            let is_told = person.client.unsynced == 0;
            if is_told && self.relays.len() > ARCHIVE {
                let n = person.client.doc.client_id();
                assert!(self.durable_coverage.includes(&person.own), "{n:?} was told what is not true");
            }
            let seat = person.seat.as_ref().unwrap();
            assert!(seat.answered <= seat.asked, "an answer that nobody asked for");
        }
    }

    /// What is true when everything has arrived, whoever is away: all have the same, with or without holes.
    fn check_settled(&self) {
        let on_plane = |seat: &Seat| self.relays[seat.relay].on_plane;
        let here = self.people.iter().filter(|person| person.seat.as_ref().is_some_and(on_plane));
        let mut all: Vec<_> = here.map(|person| person.client.received()).collect();
        if self.relays.get(ARCHIVE).is_some_and(|relay| relay.on_plane) && !all.is_empty() {
            all.push(self.durable_coverage.clone());
        }
        assert!(all.iter().all(|one| one.includes(&all[0]) && all[0].includes(one)), "apart: {all:?}");
    }

    /// What is true at rest.
    pub(super) fn check_at_rest(&self) {
        let here: Vec<_> = self.people.iter().filter(|person| person.seat.is_some()).collect();
        let texts: Vec<_> = here.iter().map(|person| super::client::text(&person.client.doc)).collect();
        assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "apart: {texts:?}");
        for person in &here {
            assert!(person.client.coverage.includes(&here[0].client.coverage), "deletes are missing");
            let seat = person.seat.as_ref().unwrap();
            assert_eq!(seat.asked, seat.answered, "each question is answered once");
        }
        let has_archive = self.relays.len() > ARCHIVE;
        if has_archive {
            let unsynced: Vec<_> = here.iter().map(|person| person.client.unsynced).collect();
            assert_eq!(unsynced, vec![0; here.len()], "something is owed");
            let mut reader = Client::new(99);
            self.durable.iter().for_each(|update| reader.take(update.clone()));
            assert_eq!(super::client::text(&reader.doc), texts[0], "the archive");
        }
        let present: BTreeSet<_> = here.iter().map(|person| person.client.doc.client_id().get()).collect();
        for person in &here {
            let sees = person.sees.iter().filter(|(_, (_, there))| *there).map(|(client, _)| *client);
            assert_eq!(sees.collect::<BTreeSet<_>>(), present, "presence");
        }
        for room in self.relays.iter().filter_map(|relay| relay.room.as_ref()) {
            let known = room.presence_since(0).flat_map(|update| update.entries).collect::<Vec<_>>();
            let there = known.iter().filter(|entry| entry.state.is_some()).map(|entry| entry.client);
            assert_eq!(there.collect::<BTreeSet<_>>(), present, "presence in a room");
        }
    }
}
