//! What relays do: they open and close rooms, hear each other, die, and lose the backplane.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::super::*;
use super::{ARCHIVE, Cluster, Link, Neighbour, Packet, Relay, Word};
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
        let relay = &mut self.relays[at];
        relay.awaited = awaited;
        relay.neighbours.clear();
        relay.opening += 1;
        relay.told = relay.room.as_ref().unwrap().roll();
        self.say_roll(at, None);
        self.drive(at, |room, now| room.clustered(now.plus(1_000)));
        self.end_call(at);
    }

    fn say_roll(&mut self, at: usize, answers: Option<PeerId>) {
        let Relay { opening, told: roll, ref neighbours, .. } = self.relays[at];
        let heard =
            answers.and_then(|peer| neighbours.get(&peer).map(|known| (peer, known.opening, known.has_come)));
        self.say_to_all(at, &Packet::Roll { roll, opening, heard });
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
            self.say_to_all(at, &Packet::Gone);
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
        for (_, link) in self.links.iter_mut().filter(|((from, _), _)| *from == at) {
            for _ in 0..unheard {
                link.said.pop_back_if(|(_, packet)| matches!(packet, Packet::Said(_)));
                link.told.pop_back();
            }
        }
        self.say_to_all(at, &Packet::Gone);
        self.relays[at].id = PeerId(0);
    }

    pub(super) fn go_away(&mut self, at: usize) {
        if self.relays[at].room.is_none() {
            return;
        }
        self.forget_links_to(at);
        for (_, link) in self.links.iter_mut().filter(|((from, _), _)| *from == at) {
            link.said.retain(|(_, packet)| matches!(packet, Packet::Gone));
            link.told.clear();
        }
        self.say_to_all(at, &Packet::Gone);
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

    fn tell(&mut self, at: usize, to: PeerId, message: PeerMessage) {
        if let Some(Neighbour { opening, has_come: true, .. }) = self.relays[at].neighbours.get(&to) {
            self.send_word(at, to, Word::Said(*opening, message));
        }
    }

    fn send_word(&mut self, at: usize, to: PeerId, word: Word) {
        if let Some(other) = self.listeners(at).into_iter().find(|other| self.relays[*other].id == to) {
            let id = self.relays[at].id;
            self.links.entry((at, other)).or_default().told.push_back((id, word));
        }
    }

    fn publish(&mut self, at: usize, message: PeerMessage) {
        if self.relays[at].neighbours.values().any(|known| known.has_come) {
            self.say_to_all(at, &Packet::Said(message));
        }
    }

    pub(super) fn say_to_all(&mut self, at: usize, packet: &Packet) {
        if self.relays[at].on_plane {
            for other in self.listeners(at) {
                let id = self.relays[at].id;
                self.links.entry((at, other)).or_default().said.push_back((id, packet.clone()));
            }
        }
    }

    pub(super) fn forget_links_to(&mut self, at: usize) {
        self.links.retain(|(_, to), _| *to != at);
    }

    /// Loses what one room said to all or told another, up to something that is not said by members.
    pub(super) fn lose(&mut self, which: usize) {
        let Some((link, is_told)) = self.busy(which) else { return };
        let Link { said, told } = self.links.get_mut(&link).unwrap();
        if is_told {
            let lost = told.iter().take_while(|word| matches!(word, (_, Word::Said(..)))).count();
            let first = told.drain(..lost).next();
            if let Some((id, _)) = first {
                told.push_front((id, Word::Lost));
            }
        } else {
            let lost = said.iter().take_while(|packet| matches!(packet, (_, Packet::Said(_)))).count();
            let first = said.drain(..lost).next();
            if let Some((id, _)) = first {
                said.push_front((id, Packet::Lost));
            }
        }
    }

    /// A stream in which something is under way.
    fn busy(&self, which: usize) -> Option<((usize, usize), bool)> {
        let streams = self.links.iter().flat_map(|(link, Link { said, told })| {
            [(*link, false, said.is_empty()), (*link, true, told.is_empty())]
        });
        let mut busy: Vec<_> = streams.filter(|(.., is_empty)| !is_empty).collect();
        if busy.iter().any(|(_, is_told, _)| Some(*is_told) != self.held) {
            busy.retain(|(_, is_told, _)| Some(*is_told) != self.held);
        }
        busy.get(which % busy.len().max(1)).map(|(link, is_told, _)| (*link, *is_told))
    }

    pub(super) fn deliver_one(&mut self, which: usize) -> bool {
        let Some(((from, to), is_told)) = self.busy(which) else { return false };
        let Link { said, told } = self.links.get_mut(&(from, to)).unwrap();
        if is_told {
            let (peer, word) = told.pop_front().unwrap();
            self.hear_word(to, peer, word);
        } else {
            let (peer, packet) = said.pop_front().unwrap();
            self.hear(to, peer, packet);
        }
        true
    }

    fn has_come(&self, at: usize, peer: PeerId) -> bool {
        self.relays[at].neighbours.get(&peer).is_some_and(|known| known.has_come)
    }

    /// A peer that is known hears us.
    fn hears_us(&mut self, at: usize, peer: PeerId) {
        let Some(known) = self.relays[at].neighbours.get_mut(&peer) else { return };
        if !std::mem::replace(&mut known.has_come, true) {
            let Neighbour { roll, missed, .. } = *known;
            self.drive(at, |room, now| room.peer_came(now, peer, roll));
            if missed {
                self.send_word(at, peer, Word::Missed);
            }
        }
        self.answered(at, peer);
    }

    fn answered(&mut self, at: usize, peer: PeerId) {
        self.relays[at].awaited.remove(&peer);
        self.end_call(at);
    }

    fn leaves(&mut self, at: usize, peer: PeerId) {
        let known = self.relays[at].neighbours.remove(&peer);
        if known.is_some_and(|known| known.has_come) {
            self.drive(at, |room, now| room.peer_went(now, peer));
        }
    }

    fn hear(&mut self, to: usize, peer: PeerId, packet: Packet) {
        match packet {
            Packet::Roll { roll, opening, heard } => self.hear_roll(to, peer, roll, opening, heard),
            Packet::Gone => {
                self.leaves(to, peer);
                self.answered(to, peer);
            }
            Packet::Lost if self.has_come(to, peer) => {
                self.drive(to, |room, now| room.peer_lost(now, peer));
                self.send_word(to, peer, Word::Missed);
            }
            Packet::Lost => {
                if let Some(known) = self.relays[to].neighbours.get_mut(&peer) {
                    known.missed = true;
                }
            }
            Packet::Said(_) if !self.has_come(to, peer) => {}
            Packet::Said(message) => self.drive(to, |room, now| room.peer_said(now, peer, message)),
        }
    }

    fn hear_roll(
        &mut self,
        to: usize,
        peer: PeerId,
        roll: Roll,
        opening: u64,
        heard: Option<(PeerId, u64, bool)>,
    ) {
        let me = (self.relays[to].id, self.relays[to].opening);
        let heard = heard.filter(|heard| (heard.0, heard.1) == me);
        if self.relays[to].neighbours.get(&peer).is_some_and(|known| known.opening != opening) {
            self.leaves(to, peer);
        }
        let fresh = Neighbour { roll, opening, has_come: false, missed: false };
        let is_new = !self.relays[to].neighbours.contains_key(&peer);
        let known = self.relays[to].neighbours.entry(peer).or_insert(fresh);
        let has_changed = std::mem::replace(&mut known.roll, roll) != roll;
        if has_changed && known.has_come {
            self.drive(to, |room, now| room.peer_came(now, peer, roll));
        }
        if heard.is_some() {
            self.hears_us(to, peer);
        }
        if is_new || heard.is_some_and(|(.., mutual)| !mutual) {
            self.say_roll(to, Some(peer));
        }
    }

    fn hear_word(&mut self, to: usize, peer: PeerId, word: Word) {
        match word {
            Word::Said(opening, message) => {
                let is_known = self.relays[to].neighbours.contains_key(&peer);
                if is_known && opening == self.relays[to].opening {
                    // It would not say it if it had not heard us.
                    self.hears_us(to, peer);
                    self.drive(to, |room, now| room.peer_said(now, peer, message));
                }
            }
            Word::Lost => {
                self.send_word(to, peer, Word::Missed);
                self.hear_word(to, peer, Word::Missed);
            }
            Word::Missed if !self.has_come(to, peer) => {}
            Word::Missed => self.drive(to, |room, now| room.peer_lost(now, peer)),
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
            self.say_roll(at, None);
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
                self.publish(at, message);
            }
            Effect::Tell { peer, message } => {
                assert!(self.relays[at].on_plane, "told while alone");
                self.tell(at, peer, message);
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
