//! What relays do: they open and close rooms, hear each other, die, and lose the backplane.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::super::super::*;
use super::{ARCHIVE, Cluster, Packet, Relay};
use crate::dialect::y_protocols;
use crate::id::PeerId;
use crate::time::Millis;
use crate::update::{Coverage, diff};

impl Cluster {
    pub(super) fn open(&mut self, at: usize) {
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

    pub(super) fn call(&mut self, at: usize) {
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

    pub(super) fn end_call(&mut self, at: usize) {
        if self.relays[at].awaited.is_empty() {
            self.drive(at, |room, now| room.called(now));
        }
    }

    pub(super) fn close_if_empty(&mut self, at: usize) {
        let is_empty = self.relays[at].room.as_ref().is_some_and(Room::is_empty);
        if is_empty && at != ARCHIVE {
            self.relays[at].room = None;
            self.forget_links_to(at);
            self.say_to_all(at, &Packet::Bye);
        }
    }

    /// A relay dies; all but so many of its last words arrive.
    pub(super) fn die(&mut self, at: usize, unheard: usize) {
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
                packets.pop_back_if(|(_, packet)| packet.is_said());
            }
        }
        self.say_to_all(at, &Packet::Bye);
        self.relays[at].id = PeerId(0);
    }

    pub(super) fn go_away(&mut self, at: usize) {
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

    pub(super) fn come_back(&mut self, at: usize) {
        if !self.relays[at].on_plane {
            self.relays[at].on_plane = true;
            if self.relays[at].room.is_some() {
                self.call(at);
            }
        }
    }

    /// Who else has the document open and is on the backplane.
    pub(super) fn listeners(&self, at: usize) -> Vec<usize> {
        let listens = |other: &usize| {
            *other != at && self.relays[*other].room.is_some() && self.relays[*other].on_plane
        };
        (0..self.relays.len()).filter(listens).collect()
    }

    pub(super) fn say(&mut self, at: usize, to: PeerId, packet: Packet) {
        if let Some(other) = self.listeners(at).into_iter().find(|other| self.relays[*other].id == to) {
            let id = self.relays[at].id;
            self.links.entry((at, other)).or_default().push_back((id, packet));
        }
    }

    pub(super) fn say_to_all(&mut self, at: usize, packet: &Packet) {
        if self.relays[at].on_plane {
            for other in self.listeners(at) {
                let id = self.relays[at].id;
                self.links.entry((at, other)).or_default().push_back((id, packet.clone()));
            }
        }
    }

    pub(super) fn forget_links_to(&mut self, at: usize) {
        self.links.retain(|(_, to), _| *to != at);
    }

    /// Loses what one room said to another, up to something that is not said by members.
    pub(super) fn lose(&mut self, which: usize) {
        let busy: Vec<_> = self.links.iter().filter(|(_, packets)| !packets.is_empty()).collect();
        let Some((link, _)) = busy.get(which % busy.len().max(1)) else { return };
        let packets = self.links.get_mut(&(*link).clone()).unwrap();
        let said = packets.iter().take_while(|packet| packet.1.is_said()).count();
        let first = packets.drain(..said).next();
        if let Some((id, _)) = first {
            packets.push_front((id, Packet::Lost));
        }
    }

    pub(super) fn deliver_one(&mut self, which: usize) -> bool {
        self.links.retain(|_, packets| !packets.is_empty());
        let busy: Vec<_> = self.links.keys().copied().collect();
        let Some((from, to)) = busy.get(which % busy.len().max(1)).copied() else { return false };
        let packets = self.links.get_mut(&(from, to)).unwrap();
        let overtaking = if (which / busy.len()).is_multiple_of(2) { 0 } else { overtakes(packets) };
        let (peer, packet) = packets.remove(overtaking).unwrap();
        self.hear(to, peer, packet);
        true
    }

    pub(super) fn hear(&mut self, to: usize, peer: PeerId, packet: Packet) {
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
            Packet::Said(message) | Packet::Told(message) => {
                self.drive(to, |room, now| room.peer_said(now, peer, message));
            }
        }
    }

    /// Whoever was asked has been silent for too long.
    pub(super) fn wait(&mut self) -> bool {
        let due = |relay: &Relay| relay.room.as_ref().and_then(Room::poll_timeout);
        let Some(deadline) = self.relays.iter().filter_map(due).min() else { return false };
        self.now = self.now.max(deadline);
        for at in 0..self.relays.len() {
            self.drive(at, |room, now| room.handle_timeout(now));
        }
        true
    }

    pub(super) fn sync_disk(&mut self, writes: usize) {
        for _ in 0..writes {
            let Some((ticket, update)) = self.written.pop_front() else { return };
            self.durable_coverage.add(&update);
            self.durable.push(update);
            self.drive(ARCHIVE, |room, _| room.stored(ticket, Ok(())));
        }
    }

    pub(super) fn read(&self, have: &crate::update::StateVector) -> Answer {
        let written = self.written.iter().map(|(_, update)| update);
        let all: Vec<_> = self.durable.iter().chain(written).cloned().collect();
        let mut coverage = Coverage::default();
        for update in &all {
            coverage.add(update);
        }
        Answer { update: diff(&all, have), state_vector: coverage.state_vector() }
    }

    pub(super) fn drive(&mut self, at: usize, event: impl FnOnce(&mut Room, Millis)) {
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

    pub(super) fn carry_out(&mut self, at: usize, effect: Effect) {
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
                self.say(at, peer, Packet::Told(message));
            }
        }
    }

    pub(super) fn hand(&mut self, at: usize, to: impl Fn(MemberId) -> bool, body: &Bytes) {
        for person in &mut self.people {
            let is_here = person.seat.as_ref().is_some_and(|seat| seat.relay == at);
            if is_here && person.client.seat.is_some_and(&to) {
                person.client.inbox.push_back(body.clone());
            }
        }
    }
}

/// What is said to all and what is told to one go different ways, so the first of one kind may overtake those of the
/// other.
fn overtakes(packets: &VecDeque<(PeerId, Packet)>) -> usize {
    let said = packets.iter().map(|(_, packet)| packet).take_while(|packet| packet.is_said());
    let is_told = |packet: &Packet| matches!(packet, Packet::Told(_));
    let first = packets.front().is_some_and(|(_, packet)| is_told(packet));
    said.map(is_told).position(|told| told != first).unwrap_or(0)
}
