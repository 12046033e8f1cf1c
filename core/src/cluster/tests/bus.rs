//! Relays on a bus that delays and loses: in order from each sender to each addressee, and not otherwise.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::chance::Chance;
use super::judge::Judge;
use crate::cluster::{Cluster, MESSAGE_BYTES_MAX, Output, Timing, To};
use crate::id::{DocumentId, PeerId};
use crate::room::Roll;
use crate::time::Millis;

pub(super) struct Node {
    pub(super) machine: Cluster,
    pub(super) archive: bool,
    pub(super) is_up: bool,
    pub(super) listening: BTreeSet<DocumentId>,
    pub(super) open: BTreeMap<DocumentId, Roll>,
}

struct Flight {
    from: PeerId,
    to: To,
    receiver: PeerId,
    message: Bytes,
    /// Whether the receiver listened when it was said. If not, the bus may deliver it or not.
    listened: bool,
}

pub(super) struct Bus {
    pub(super) now: u64,
    pub(super) chance: Chance,
    pub(super) nodes: BTreeMap<PeerId, Node>,
    pub(super) judge: Judge,
    /// One message in so many is lost; 0 for none.
    pub(super) loses: u64,
    /// What is said in these directions is lost altogether.
    pub(super) cut: BTreeSet<(PeerId, PeerId)>,
    flights: BTreeMap<(u64, u64), Flight>,
    last: BTreeMap<(PeerId, To, PeerId), u64>,
    open_ways: BTreeSet<(DocumentId, PeerId, PeerId)>,
    count: u64,
    pub(super) transmitted: u64,
}

impl Bus {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            chance: Chance(seed),
            nodes: BTreeMap::new(),
            judge: Judge::default(),
            loses: 0,
            cut: BTreeSet::new(),
            flights: BTreeMap::new(),
            last: BTreeMap::new(),
            open_ways: BTreeSet::new(),
            count: 0,
            transmitted: 0,
        }
    }

    pub(super) fn start(&mut self, id: u64, archive: bool) -> PeerId {
        let peer = PeerId(id);
        let machine = Cluster::new(peer, archive, Timing::default());
        let (listening, open) = (BTreeSet::new(), BTreeMap::new());
        self.nodes.insert(peer, Node { machine, archive, is_up: false, listening, open });
        peer
    }

    pub(super) fn up(&mut self, peer: PeerId) {
        let node = self.nodes.get_mut(&peer).unwrap();
        node.is_up = true;
        let rooms: Vec<_> = node.open.keys().cloned().collect();
        for document in rooms {
            self.judge.opens(self.now, peer, &document);
        }
        self.act(peer, |machine, now| machine.up(now));
    }

    /// What is under way to it is lost, and perhaps the last that it said.
    pub(super) fn down(&mut self, peer: PeerId) {
        let node = self.nodes.get_mut(&peer).unwrap();
        node.is_up = false;
        node.listening.clear();
        self.flights.retain(|_, flight| flight.receiver != peer);
        let own: Vec<_> =
            self.flights.iter().filter(|(_, flight)| flight.from == peer).map(|(key, _)| *key).collect();
        for key in own {
            if self.chance.one_in(2) {
                self.flights.remove(&key);
            }
        }
        self.judge.is_away(peer);
        self.act(peer, |machine, now| machine.down(now));
    }

    pub(super) fn kill(&mut self, peer: PeerId) {
        self.judge.dies(peer);
        self.nodes.remove(&peer);
        self.flights.retain(|_, flight| flight.receiver != peer);
    }

    pub(super) fn open(&mut self, peer: PeerId, document: &DocumentId, roll: Roll) {
        let node = self.nodes.get_mut(&peer).unwrap();
        if node.open.insert(document.clone(), roll).is_none() {
            self.judge.opens(self.now, peer, document);
        }
        self.act(peer, |machine, now| machine.opened(now, document, roll));
    }

    pub(super) fn close(&mut self, peer: PeerId, document: &DocumentId) {
        let node = self.nodes.get_mut(&peer).unwrap();
        if node.open.remove(document).is_some() {
            self.judge.closes(peer, document);
            self.act(peer, |machine, _| machine.closed(document));
        }
    }

    pub(super) fn act(&mut self, peer: PeerId, act: impl FnOnce(&mut Cluster, Millis)) {
        let now = Millis(self.now);
        act(&mut self.nodes.get_mut(&peer).unwrap().machine, now);
        while let Some(output) = self.nodes.get_mut(&peer).unwrap().machine.poll() {
            self.carry_out(peer, output);
        }
    }

    fn carry_out(&mut self, peer: PeerId, output: Output) {
        let node = self.nodes.get_mut(&peer).unwrap();
        match output {
            Output::Transmit { to, message } => self.transmit(peer, &to, &message),
            Output::Listen(document) => {
                self.open_ways.retain(|(room, receiver, _)| *room != document || *receiver != peer);
                node.listening.insert(document);
            }
            Output::Unlisten(document) => {
                node.listening.remove(&document);
            }
            Output::Wanted(document) => {
                assert!(node.archive);
                if !node.open.contains_key(&document) {
                    let roll = Roll { archive: true, caught_up: true };
                    node.open.insert(document.clone(), roll);
                    self.judge.opens(self.now, peer, &document);
                    // Not through act: its loop goes on with what comes of this.
                    node.machine.opened(Millis(self.now), &document, roll);
                }
            }
            // Not through act, either.
            Output::Unread(unread) => node.machine.take_in(Millis(self.now), unread.read()),
            Output::Refused { error, .. } => panic!("{error}"),
            output => self.judge.hears(self.now, peer, output),
        }
    }

    fn transmit(&mut self, from: PeerId, to: &To, message: &Bytes) {
        assert!(message.len() <= MESSAGE_BYTES_MAX);
        self.transmitted += 1;
        let mut flights = vec![];
        for (receiver, node) in &self.nodes {
            let listened = match to {
                To::Everybody => true,
                To::Room(document) => node.listening.contains(document),
                To::Peer(peer) => peer == receiver,
            };
            if node.is_up && *receiver != from && (listened || matches!(to, To::Room(_))) {
                flights.push((*receiver, listened));
            }
        }
        for (receiver, listened) in flights {
            let is_lost =
                (self.loses > 0 && self.chance.one_in(self.loses)) || self.cut.contains(&(from, receiver));
            if is_lost {
                self.judge.losses += 1;
                continue;
            }
            let delay =
                if self.chance.one_in(20) { 1 + self.chance.below(800) } else { 1 + self.chance.below(40) };
            let last = self.last.entry((from, to.clone(), receiver)).or_default();
            *last = (self.now + delay).max(*last);
            let at = *last;
            self.count += 1;
            let flight = Flight { from, to: to.clone(), receiver, message: message.clone(), listened };
            self.flights.insert((at, self.count), flight);
        }
    }

    /// Goes on to the next thing that happens before `end`; false if that is `end`.
    pub(super) fn step(&mut self, end: u64) -> bool {
        let timers =
            self.nodes.iter().filter_map(|(peer, node)| Some((node.machine.poll_timeout()?.0, *peer)));
        let timer = timers.min();
        let flight = self.flights.first_key_value().map(|((at, _), _)| *at);
        let at = [timer.map(|(at, _)| at), flight].into_iter().flatten().min().unwrap_or(end);
        if at >= end {
            self.now = end;
            return false;
        }
        self.now = self.now.max(at);
        if flight == Some(at) {
            let (_, flight) = self.flights.pop_first().unwrap();
            self.arrive(&flight);
        } else if let Some((_, peer)) = timer {
            self.act(peer, Cluster::handle_timeout);
            let late = self.nodes[&peer].machine.poll_timeout();
            assert!(late.is_none_or(|late| late.0 > self.now), "a timer that does not go on");
        }
        true
    }

    pub(super) fn run_until(&mut self, end: u64) {
        while self.step(end) {}
    }

    fn arrive(&mut self, flight: &Flight) {
        let Some(node) = self.nodes.get(&flight.receiver).filter(|node| node.is_up) else { return };
        if let To::Room(document) = &flight.to {
            if !node.listening.contains(document) {
                return;
            }
            // Of what was said before it listened, it hears what comes from some moment on.
            let way = (document.clone(), flight.receiver, flight.from);
            if !flight.listened && !self.open_ways.contains(&way) && self.chance.one_in(2) {
                return;
            }
            self.open_ways.insert(way);
        }
        self.act(flight.receiver, |machine, now| machine.heard(now, &flight.to, &flight.message));
    }
}
