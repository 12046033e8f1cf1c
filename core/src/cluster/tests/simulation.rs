//! Four relays in trouble, with many seeds. `TOMBOLO_CLUSTER_SEEDS` makes it more.

use std::collections::{BTreeMap, BTreeSet};

use super::bus::Bus;
use crate::cluster::{TunnelFrame, TunnelId};
use crate::id::{DocumentId, PeerId};
use crate::room::{AskId, PeerMessage, Roll, Ticket};
use crate::update::StateVector;

const ROOMS: u64 = 3;
const BUSY_MS: u64 = 20_000;
const REST_MS: u64 = 15_000;

fn seeds() -> u64 {
    std::env::var("TOMBOLO_CLUSTER_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(12)
}

fn document(number: u64) -> DocumentId {
    DocumentId::yjs(&format!("room {number}")).unwrap()
}

/// What may go wrong.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    Nothing,
    Losses,
    All,
}

struct Run {
    bus: Bus,
    trouble: Trouble,
    names: u64,
    frames: BTreeMap<(PeerId, PeerId), u64>,
}

impl Run {
    fn new(seed: u64, trouble: Trouble) -> Self {
        let mut run = Self { bus: Bus::new(seed), trouble, names: 0, frames: BTreeMap::new() };
        for index in 0..4 {
            run.begin(index == 3 && seed.is_multiple_of(2));
        }
        run
    }

    fn begin(&mut self, archive: bool) {
        self.names += 1;
        let name = self.names * 1_000 + self.bus.chance.below(1_000);
        // Low names come late as often as early.
        let peer = self.bus.start(name.reverse_bits() >> 1 | 1, archive);
        self.bus.up(peer);
    }

    fn any(&mut self) -> PeerId {
        let index = self.bus.chance.below(self.bus.nodes.len() as u64);
        *self.bus.nodes.keys().nth(usize::try_from(index).unwrap()).unwrap()
    }

    fn room(&mut self) -> DocumentId {
        document(self.bus.chance.below(ROOMS))
    }

    fn roll(&mut self, peer: PeerId) -> Roll {
        Roll { archive: self.bus.nodes[&peer].archive, caught_up: self.bus.chance.one_in(2) }
    }

    fn act(&mut self) {
        let (peer, room) = (self.any(), self.room());
        let is_open = self.bus.nodes[&peer].open.contains_key(&room);
        match self.bus.chance.below(40) {
            0..4 => {
                let roll = self.roll(peer);
                self.bus.open(peer, &room, roll);
            }
            4..6 if !self.bus.nodes[&peer].archive || !self.bus.nodes[&peer].machine.is_shared(&room) => {
                self.bus.close(peer, &room);
            }
            6..9 if is_open => {
                let roll = self.roll(peer);
                self.bus.nodes.get_mut(&peer).unwrap().open.insert(room.clone(), roll);
                self.bus.act(peer, |machine, _| machine.roll_changed(&room, roll));
            }
            9..24 if is_open => self.say(peer, &room),
            24..36 if is_open => self.tell(peer, &room),
            36..38 => self.send_frame(peer),
            38..40 => self.make_trouble(peer),
            _ => {}
        }
    }

    fn say(&mut self, peer: PeerId, room: &DocumentId) {
        let id = self.bus.judge.says(peer, room, None);
        let times = if self.bus.chance.one_in(80) { 300_000 } else { 1 };
        let message = PeerMessage::Stored(vec![(Ticket(id), Ok(())); times]);
        self.bus.act(peer, |machine, _| machine.say(room, message).unwrap());
    }

    fn tell(&mut self, peer: PeerId, room: &DocumentId) {
        let members = self.bus.judge.members_of(peer, room);
        let Some(to) = members.keys().nth(usize::try_from(self.bus.chance.below(3)).unwrap()) else { return };
        let id = self.bus.judge.says(peer, room, Some(*to));
        let message = PeerMessage::Ask { ask: AskId(id), state_vector: StateVector::default() };
        self.bus.act(peer, |machine, _| machine.tell(room, *to, message).unwrap());
    }

    fn send_frame(&mut self, peer: PeerId) {
        let to = self.any();
        let number = self.frames.entry((peer, to)).or_default();
        if self.bus.nodes[&peer].machine.peers().any(|(other, _)| other == to) {
            *number += 1;
            let frame = TunnelFrame::Data { tunnel: TunnelId(*number), payload: b"frame"[..].into() };
            self.bus.act(peer, |machine, _| machine.tunnel(to, frame).unwrap());
        }
    }

    fn make_trouble(&mut self, peer: PeerId) {
        match (self.trouble, self.bus.chance.below(6)) {
            (Trouble::Nothing, _) => {}
            (_, 0) => self.bus.loses = [0, 4, 30][usize::try_from(self.bus.chance.below(3)).unwrap()],
            (Trouble::Losses, _) => {}
            (_, 1) => {
                let other = self.any();
                if !self.bus.cut.remove(&(peer, other)) {
                    self.bus.cut.insert((peer, other));
                }
            }
            (_, 2) if self.bus.nodes[&peer].is_up => self.bus.down(peer),
            (_, 2 | 3) if !self.bus.nodes[&peer].is_up => self.bus.up(peer),
            (_, 4) => {
                self.bus.judge.losses += 1;
                let archive = self.bus.nodes[&peer].archive;
                if self.bus.chance.one_in(2) {
                    self.bus.act(peer, crate::cluster::Cluster::stop);
                }
                self.bus.kill(peer);
                self.begin(archive);
            }
            _ => {}
        }
    }

    fn run(mut self) -> Bus {
        while self.bus.now < BUSY_MS {
            let pause = 1 + self.bus.chance.below(60);
            let end = self.bus.now + pause;
            self.bus.run_until(end);
            self.act();
        }
        self.bus.loses = 0;
        self.bus.cut.clear();
        let away: Vec<_> =
            self.bus.nodes.iter().filter(|(_, node)| !node.is_up).map(|(peer, _)| *peer).collect();
        for peer in away {
            self.bus.up(peer);
        }
        self.bus.run_until(BUSY_MS + 60 + REST_MS);
        self.bus
    }
}

/// At rest all agree who has what.
fn check_agreement(bus: &Bus) {
    let archives: BTreeSet<_> =
        bus.nodes.iter().filter(|(_, node)| node.archive).map(|(peer, _)| *peer).collect();
    let home = archives.first().or(bus.nodes.keys().next()).unwrap();
    for (peer, node) in &bus.nodes {
        assert_eq!(bus.judge.homes[peer], *home, "the home of {peer}");
        for room in node.open.keys() {
            let others = bus.nodes.iter().filter(|(other, _)| *other != peer);
            let truth: BTreeMap<_, _> =
                others.filter_map(|(other, node)| Some((*other, *node.open.get(room)?))).collect();
            assert_eq!(bus.judge.members_of(*peer, room), truth, "{peer} in {room}");
            assert!(
                archives.iter().all(|archive| archive == peer || truth.contains_key(archive)),
                "not joined"
            );
        }
    }
}

fn check(trouble: Trouble) {
    let (mut delivered, mut lost, mut losses) = (0, 0, 0);
    for seed in 0..seeds() {
        println!("seed {seed}"); // shown if it fails
        let bus = Run::new(seed, trouble).run();
        bus.judge.check_promises();
        check_agreement(&bus);
        if trouble == Trouble::Nothing {
            assert_eq!(bus.judge.lost, 0, "lost without a loss");
        }
        delivered += bus.judge.delivered;
        lost += bus.judge.lost;
        losses += bus.judge.losses;
    }
    println!("{delivered} delivered, {losses} lost, {lost} found lost");
    assert!(delivered > 50 * seeds(), "too little happened");
    assert_eq!(lost > 0, trouble != Trouble::Nothing);
}

#[test]
fn nothing_is_lost_without_a_loss() {
    check(Trouble::Nothing);
}

#[test]
fn losses_are_found() {
    check(Trouble::Losses);
}

#[test]
fn relays_come_and_go() {
    check(Trouble::All);
}
