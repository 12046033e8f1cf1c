//! A world of relays that a backplane joins: a room on each, stock clients spread over them, and perhaps an archive on
//! one. What one room says to another arrives in its order; nothing else is promised.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::super::*;
use super::client::Client;
use crate::dialect::y_protocols::{self, Message};
use crate::id::PeerId;
use crate::time::Millis;
use crate::update::{Coverage, Update, diff};
use crate::validate::{AwarenessEntry, AwarenessUpdate};

/// The relay that has the archive, in a world with one.
pub(super) const ARCHIVE: usize = 3;

/// What the machine of the cluster would make of what one relay says to another.
#[derive(Clone, Debug)]
enum Packet {
    Call(Roll),
    Roll(Roll),
    Bye,
    Lost,
    Said(PeerMessage),
}

struct Relay {
    id: PeerId,
    policy: Acknowledgement,
    room: Option<Room>,
    on_plane: bool,
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
    /// From one relay to another, with the name that the first had.
    links: BTreeMap<(usize, usize), VecDeque<(PeerId, Packet)>>,
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
            _ => self.settle(who),
        }
    }

    /// Everything arrives; then those from `absent` on leave, and whoever is silent has been silent for long.
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
        for person in absent..self.people.len() {
            self.cut(person);
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
                return;
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
            let known = room.presence_since(0).map(|update| update.entries).unwrap_or_default();
            let there = known.iter().filter(|entry| entry.state.is_some()).map(|entry| entry.client);
            assert_eq!(there.collect::<BTreeSet<_>>(), present, "presence in a room");
        }
    }

    // What people do.

    fn edit(&mut self, person: usize, erases: bool) {
        let person = &mut self.people[person];
        let update = if erases { person.client.erase() } else { person.client.edit() };
        person.own.add(&update);
        if let Some(seat) = &mut person.seat {
            person.client.unsynced += 1;
            seat.outbox.push_back(Message::Update(update));
        }
    }

    fn connect(&mut self, person: usize, relay: usize) {
        self.open(relay);
        let id = MemberId(self.next_member);
        self.next_member += 1;
        let state_vector = self.people[person].client.state_vector();
        let outbox = VecDeque::from([Message::SyncStep1(state_vector)]);
        let who = &mut self.people[person];
        who.seat = Some(Seat { relay, outbox, asked: 1, answered: 0 });
        who.client.seat = Some(id);
        who.client.unsynced = 1;
        who.sees.clear();
        self.drive(relay, |room, _| room.join(id, true));
        self.announce(person);
    }

    fn announce(&mut self, person: usize) {
        let person = &mut self.people[person];
        if let Some(seat) = &mut person.seat {
            person.clock += 1;
            let (client, clock) = (person.client.doc.client_id().get(), person.clock);
            person.sees.insert(client, (clock, true));
            let entry = AwarenessEntry { client, clock, state: Some(Bytes::from_static(b"{}")) };
            seat.outbox.push_back(Message::Awareness(AwarenessUpdate { entries: vec![entry] }));
        }
    }

    fn cut(&mut self, person: usize) {
        let Some(Seat { relay, .. }) = self.people[person].seat.take() else { return };
        let id = self.people[person].client.seat.take().unwrap();
        self.people[person].client.inbox.clear();
        self.drive(relay, |room, now| room.leave(now, id));
        self.close_if_empty(relay);
    }

    fn send_one(&mut self, person: usize) {
        let Some(seat) = &mut self.people[person].seat else { return };
        let Some(message) = seat.outbox.pop_front() else { return };
        let (relay, id) = (seat.relay, self.people[person].client.seat.unwrap());
        self.now = self.now.plus(1);
        self.drive(relay, |room, now| room.handle(now, id, message).unwrap());
    }

    fn read_one(&mut self, person: usize) {
        let Person { client, seat: Some(seat), sees, .. } = &mut self.people[person] else { return };
        let Some(body) = client.inbox.pop_front() else { return };
        match y_protocols::parse(&body).unwrap() {
            Message::SyncStep1(have) => {
                seat.outbox.push_back(Message::SyncStep2(client.lacking(&have)));
            }
            Message::SyncStep2(update) => {
                seat.answered += 1;
                client.take(update);
            }
            Message::Update(update) => client.take(update),
            Message::Awareness(update) => {
                let me = client.doc.client_id().get();
                let mut is_denied = false;
                for AwarenessEntry { client, clock, state } in update.entries {
                    let (known, there) = sees.get(&client).copied().unwrap_or((0, false));
                    if clock > known || (clock == known && state.is_none() && there) {
                        is_denied |= client == me && state.is_none();
                        sees.insert(client, (clock, state.is_some()));
                    }
                }
                if is_denied {
                    let newest = sees[&me].0;
                    self.people[person].clock = newest;
                    self.announce(person);
                }
            }
            Message::QueryAwareness => {}
        }
    }

    // What relays do.

    fn open(&mut self, at: usize) {
        if self.relays[at].room.is_some() {
            return;
        }
        let room = Room::new(self.relays[at].policy);
        self.relays[at].room = Some(room);
        self.relays[at].told = Roll::default();
        if self.relays[at].id == PeerId(0) {
            self.relays[at].id = PeerId(self.next_peer);
            self.next_peer += 1;
        }
        self.call(at);
    }

    fn call(&mut self, at: usize) {
        if !self.relays[at].on_plane {
            return;
        }
        let awaited: BTreeSet<_> =
            self.listeners(at).into_iter().map(|other| self.relays[other].id).collect();
        self.relays[at].awaited = awaited;
        let roll = self.relays[at].room.as_ref().unwrap().roll();
        self.relays[at].told = roll;
        self.say_to_all(at, &Packet::Call(roll));
        self.drive(at, |room, now| room.clustered(now.plus(1_000)));
        self.end_call(at);
    }

    fn end_call(&mut self, at: usize) {
        if self.relays[at].awaited.is_empty() {
            self.drive(at, |room, now| room.called(now));
        }
    }

    fn close_if_empty(&mut self, at: usize) {
        let is_empty = self.relays[at].room.as_ref().is_some_and(Room::is_empty);
        if is_empty && at != ARCHIVE {
            self.relays[at].room = None;
            self.forget_links_to(at);
            self.say_to_all(at, &Packet::Bye);
        }
    }

    /// A relay dies; all but so many of its last words arrive.
    fn die(&mut self, at: usize, unheard: usize) {
        if self.relays[at].room.take().is_none() {
            return;
        }
        if at == ARCHIVE {
            self.written.clear();
        }
        for person in &mut self.people {
            if person.seat.as_ref().is_some_and(|seat| seat.relay == at) {
                person.seat = None;
                person.client.seat = None;
                person.client.inbox.clear();
            }
        }
        self.forget_links_to(at);
        for (_, packets) in self.links.iter_mut().filter(|((from, _), _)| *from == at) {
            for _ in 0..unheard {
                packets.pop_back_if(|(_, packet)| matches!(packet, Packet::Said(_)));
            }
        }
        self.say_to_all(at, &Packet::Bye);
        self.relays[at].id = PeerId(0);
    }

    fn go_away(&mut self, at: usize) {
        if self.relays[at].room.is_none() {
            return;
        }
        self.forget_links_to(at);
        for ((from, _), packets) in &mut self.links {
            if *from == at {
                packets.retain(|(_, packet)| matches!(packet, Packet::Bye));
            }
        }
        self.say_to_all(at, &Packet::Bye);
        self.relays[at].on_plane = false;
        self.drive(at, |room, now| room.alone(now));
    }

    fn come_back(&mut self, at: usize) {
        if !self.relays[at].on_plane {
            self.relays[at].on_plane = true;
            if self.relays[at].room.is_some() {
                self.call(at);
            }
        }
    }

    /// Who else has the document open and is on the backplane.
    fn listeners(&self, at: usize) -> Vec<usize> {
        let listens = |other: &usize| {
            *other != at && self.relays[*other].room.is_some() && self.relays[*other].on_plane
        };
        (0..self.relays.len()).filter(listens).collect()
    }

    fn say(&mut self, at: usize, to: PeerId, packet: Packet) {
        if let Some(other) = self.listeners(at).into_iter().find(|other| self.relays[*other].id == to) {
            let id = self.relays[at].id;
            self.links.entry((at, other)).or_default().push_back((id, packet));
        }
    }

    fn say_to_all(&mut self, at: usize, packet: &Packet) {
        if self.relays[at].on_plane {
            for other in self.listeners(at) {
                let id = self.relays[at].id;
                self.links.entry((at, other)).or_default().push_back((id, packet.clone()));
            }
        }
    }

    fn forget_links_to(&mut self, at: usize) {
        self.links.retain(|(_, to), _| *to != at);
    }

    /// Loses what one room said to another, up to something that is not said by members.
    fn lose(&mut self, which: usize) {
        let busy: Vec<_> = self.links.iter().filter(|(_, packets)| !packets.is_empty()).collect();
        let Some((link, _)) = busy.get(which % busy.len().max(1)) else { return };
        let packets = self.links.get_mut(&(*link).clone()).unwrap();
        let said = packets.iter().take_while(|packet| matches!(packet, (_, Packet::Said(_)))).count();
        let first = packets.drain(..said).next();
        if let Some((id, _)) = first {
            packets.push_front((id, Packet::Lost));
        }
    }

    fn deliver_one(&mut self, which: usize) -> bool {
        self.links.retain(|_, packets| !packets.is_empty());
        let busy: Vec<_> = self.links.keys().copied().collect();
        let Some((from, to)) = busy.get(which % busy.len().max(1)).copied() else { return false };
        let (peer, packet) = self.links.get_mut(&(from, to)).unwrap().pop_front().unwrap();
        self.hear(to, peer, packet);
        true
    }

    fn hear(&mut self, to: usize, peer: PeerId, packet: Packet) {
        match packet {
            Packet::Call(roll) => {
                // Who we are comes before what we say.
                let ours = self.relays[to].told;
                self.say(to, peer, Packet::Roll(ours));
                self.drive(to, |room, now| room.peer_came(now, peer, roll));
            }
            Packet::Roll(roll) => {
                self.drive(to, |room, now| room.peer_came(now, peer, roll));
                self.relays[to].awaited.remove(&peer);
                self.end_call(to);
            }
            Packet::Bye => {
                self.drive(to, |room, now| room.peer_went(now, peer));
                self.relays[to].awaited.remove(&peer);
                self.end_call(to);
            }
            Packet::Lost => self.drive(to, |room, now| room.peer_lost(now, peer)),
            Packet::Said(message) => self.drive(to, |room, now| room.peer_said(now, peer, message)),
        }
    }

    /// Whoever was asked has been silent for too long.
    fn wait(&mut self) -> bool {
        let due = |relay: &Relay| relay.room.as_ref().and_then(Room::poll_timeout);
        let Some(deadline) = self.relays.iter().filter_map(due).min() else { return false };
        self.now = self.now.max(deadline);
        for at in 0..self.relays.len() {
            self.drive(at, |room, now| room.handle_timeout(now));
        }
        true
    }

    fn sync_disk(&mut self, writes: usize) {
        for _ in 0..writes {
            let Some((ticket, update)) = self.written.pop_front() else { return };
            self.durable_coverage.add(&update);
            self.durable.push(update);
            self.drive(ARCHIVE, |room, _| room.stored(ticket, Ok(())));
        }
    }

    fn read(&self, have: &crate::update::StateVector) -> Answer {
        let written = self.written.iter().map(|(_, update)| update);
        let all: Vec<_> = self.durable.iter().chain(written).cloned().collect();
        let mut coverage = Coverage::default();
        for update in &all {
            coverage.add(update);
        }
        Answer { update: diff(&all, have), state_vector: coverage.state_vector() }
    }

    fn drive(&mut self, at: usize, event: impl FnOnce(&mut Room, Millis)) {
        let now = self.now;
        let Some(room) = &mut self.relays[at].room else { return };
        event(room, now);
        while let Some(effect) = self.relays[at].room.as_mut().and_then(Room::poll_effect) {
            self.carry_out(at, effect);
        }
        let Some(room) = &self.relays[at].room else { return };
        let roll = room.roll();
        if roll != self.relays[at].told {
            self.relays[at].told = roll;
            self.say_to_all(at, &Packet::Roll(roll));
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Send { to, body, .. } => self.hand(at, |id| id == to, &body),
            Effect::Serve { to, update } => {
                self.hand(at, |id| id == to, &y_protocols::sync_step2(&update));
            }
            Effect::Spread { except, body, .. } => self.hand(at, |id| Some(id) != except, &body),
            Effect::Acknowledge { to, applied } => {
                assert!(applied);
                for person in self.people.iter_mut().filter(|person| person.client.seat == Some(to)) {
                    person.client.unsynced -= 1;
                }
            }
            Effect::Store { ticket, update, .. } => {
                assert_eq!(at, ARCHIVE);
                self.written.push_back((ticket, update));
            }
            Effect::Read { asker, state_vector } => {
                assert_eq!(at, ARCHIVE);
                let answer = self.read(&state_vector);
                self.relays[at].room.as_mut().unwrap().answered(asker, Ok(answer));
            }
            Effect::Close { .. } => unreachable!("nothing is refused here"),
            Effect::Publish(message) => {
                assert!(self.relays[at].on_plane, "published while alone");
                self.say_to_all(at, &Packet::Said(message));
            }
            Effect::Tell { peer, message } => {
                assert!(self.relays[at].on_plane, "told while alone");
                self.say(at, peer, Packet::Said(message));
            }
        }
    }

    fn hand(&mut self, at: usize, to: impl Fn(MemberId) -> bool, body: &Bytes) {
        for person in &mut self.people {
            let is_here = person.seat.as_ref().is_some_and(|seat| seat.relay == at);
            if is_here && person.client.seat.is_some_and(&to) {
                person.client.inbox.push_back(body.clone());
            }
        }
    }
}
