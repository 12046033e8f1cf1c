//! Who has a room open. A seat goes through two states: its roll was heard, so messages are counted from there; and
//! it is known to have heard ours. Only then has the peer come.

use std::collections::BTreeMap;

use super::envelope::{Heard, ToEverybody, ToPeer, ToRoom, Who};
use super::machine::Cluster;
use super::output::Output;
use super::parts::Assembly;
use crate::id::{DocumentId, PeerId};
use crate::room::Roll;
use crate::time::Millis;

/// A peer in a room.
#[derive(Debug)]
pub(super) struct Seat {
    /// Which opening of its own.
    pub(super) opening: u64,
    pub(super) roll: Roll,
    /// What it says next has this number.
    pub(super) next: u64,
    /// Its meeting with this relay when it said that it heard us; none before.
    pub(super) heard_us: Option<u64>,
    /// Something of it was lost before.
    pub(super) missed: bool,
    pub(super) assembly: Assembly,
}

impl Seat {
    /// Whether both sides hear each other.
    pub(super) fn has_come(&self) -> bool {
        self.heard_us.is_some()
    }
}

/// A room that is open here.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) roll: Roll,
    pub(super) opening: u64,
    /// How much was said to it.
    pub(super) said: u64,
    pub(super) members: BTreeMap<PeerId, Seat>,
    /// Who has not said yet whether it has it open, and when it is asked again; none if it has not been asked.
    pub(super) unanswered: BTreeMap<PeerId, Option<Millis>>,
    /// Whether the roll call is under way.
    pub(super) calling: bool,
}

impl Room {
    /// Whether peers have it open, or may have.
    pub(super) fn is_shared(&self) -> bool {
        self.calling || !self.members.is_empty()
    }
}

/// A room that was open a moment ago. That it is not any more is said again for a while.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) said: u64,
    /// Since when, in beats.
    pub(super) beats: u32,
}

impl Cluster {
    /// A room is open here now, with this in it; nothing but its roll changes if it was already.
    pub fn opened(&mut self, now: Millis, document: &DocumentId, roll: Roll) {
        if self.rooms.contains_key(document) {
            return self.roll_changed(document, roll);
        }
        self.closed.remove(document);
        let (members, unanswered) = (BTreeMap::new(), BTreeMap::new());
        let room = Room { roll, opening: 0, said: 0, members, unanswered, calling: true };
        self.rooms.insert(document.clone(), room);
        self.call(now, document);
    }

    /// A room is not open here any more.
    pub fn closed(&mut self, document: &DocumentId) {
        let Some(mut room) = self.rooms.remove(document) else { return };
        for (peer, due) in &room.unanswered {
            self.asks.forget(document, *peer, *due);
        }
        for seat in room.members.values_mut() {
            seat.assembly.clear(&mut self.held);
        }
        if self.link.is_some() {
            self.closed.insert(document.clone(), Closed { said: room.said, beats: 0 });
            self.note_to_room(document, &ToRoom::Gone);
            self.outputs.push_back(Output::Unlisten(document.clone()));
        }
    }

    /// A room that is open here has something else in it now.
    pub fn roll_changed(&mut self, document: &DocumentId, roll: Roll) {
        let Some(room) = self.rooms.get_mut(document) else { return };
        if std::mem::replace(&mut room.roll, roll) != roll && !room.members.is_empty() {
            self.spoken.insert(document.clone());
            self.say_roll(document, None);
        }
    }

    /// Opens a room anew and calls its roll.
    pub(super) fn call(&mut self, now: Millis, document: &DocumentId) {
        let Some(room) = self.rooms.get_mut(document) else { return };
        self.count += 1;
        (room.opening, room.said, room.calling) = (self.count, 0, true);
        let opening = room.opening;
        self.calls.push_back((now.plus(self.timing.call), document.clone(), opening));
        if self.link.is_some() {
            self.outputs.push_back(Output::Listen(document.clone()));
            // To the room first: its members take the answer to everybody's question from it.
            self.say_roll(document, None);
            self.say_to_everybody(&ToEverybody::Who(Who { document: document.clone(), opening }));
            self.await_everybody(now, document);
            self.end_call(document);
        }
    }

    /// Ends a roll call if everybody has answered.
    pub(super) fn end_call(&mut self, document: &DocumentId) {
        let knows_all = self.link.as_ref().is_some_and(|link| link.settles.is_none());
        if let Some(room) = self.rooms.get_mut(document)
            && room.calling
            && room.unanswered.is_empty()
            && knows_all
        {
            room.calling = false;
            self.outputs.push_back(Output::Called(document.clone()));
        }
    }

    /// Ends the roll calls that nobody waits for any longer.
    pub(super) fn end_late_calls(&mut self, now: Millis) {
        while self.calls.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, document, opening)) = self.calls.pop_front() else { return };
            if let Some(room) = self.rooms.get_mut(&document)
                && room.calling
                && room.opening == opening
            {
                room.calling = false;
                self.outputs.push_back(Output::Called(document));
            }
        }
    }

    /// Says what is in a room, to all of it; with whom it answers.
    pub(super) fn say_roll(&mut self, document: &DocumentId, answers: Option<PeerId>) {
        let Some(room) = self.rooms.get(document) else { return };
        let heard = answers.and_then(|peer| {
            let (seat, about) = (room.members.get(&peer)?, self.peers.get(&peer)?);
            let (opening, mutual) = (seat.opening, seat.has_come());
            Some(Heard { peer, opening, meeting: about.meeting, mutual })
        });
        let body = ToRoom::Roll { roll: room.roll, opening: room.opening, heard };
        self.note_to_room(document, &body);
    }

    /// A peer has a room open that is open here, by a message of this number.
    pub(super) fn hear_roll(
        &mut self,
        now: Millis,
        document: &DocumentId,
        peer: PeerId,
        number: u64,
        (roll, opening, heard): (Roll, u64, Option<Heard>),
    ) {
        let me = self.me.peer;
        let Some(room) = self.rooms.get_mut(document) else { return };
        let heard = heard.filter(|heard| heard.peer == me && heard.opening == room.opening);
        let is_new = !room.members.contains_key(&peer);
        let seat = room.members.entry(peer).or_insert_with(|| Seat {
            opening,
            roll,
            next: number + 1,
            heard_us: None,
            missed: false,
            assembly: Assembly::default(),
        });
        let has_changed = std::mem::replace(&mut seat.roll, roll) != roll;
        if has_changed && seat.has_come() {
            self.outputs.push_back(Output::Changed { document: document.clone(), peer, roll });
        }
        if let Some(heard) = heard {
            self.hears_us(document, peer, heard.meeting);
        }
        // It must hear that it was heard, before anything that is said to it.
        if is_new || heard.is_some_and(|heard| !heard.mutual) {
            self.say_roll(document, Some(peer));
        }
        let seat = self.rooms.get(document).and_then(|room| room.members.get(&peer));
        if seat.is_some_and(Seat::has_come) {
            self.answered(now, document, peer);
        } else {
            self.await_one(now, document, peer);
        }
    }

    /// A peer whose roll was heard has heard ours.
    pub(super) fn hears_us(&mut self, document: &DocumentId, peer: PeerId, meeting: u64) {
        let Some(seat) = self.rooms.get_mut(document).and_then(|room| room.members.get_mut(&peer)) else {
            return;
        };
        let document = document.clone();
        match seat.heard_us.replace(meeting) {
            None => {
                let (roll, missed) = (seat.roll, std::mem::take(&mut seat.missed));
                self.outputs.push_back(Output::Came { document: document.clone(), peer, roll });
                if missed {
                    self.note_to_peer(peer, &ToPeer::Missed(Some(document)));
                }
            }
            // It had forgotten this relay in between.
            Some(before) if before != meeting => {
                self.outputs.push_back(Output::Lost { document, peer });
            }
            Some(_) => {}
        }
    }

    /// A peer leaves a room; if that is found late, what it said last may be missing.
    pub(super) fn leave(&mut self, document: &DocumentId, peer: PeerId, is_late: bool) {
        let Some(room) = self.rooms.get_mut(document) else { return };
        let Some(mut seat) = room.members.remove(&peer) else { return };
        seat.assembly.clear(&mut self.held);
        let document = document.clone();
        if !seat.has_come() && seat.missed {
            // The room was never told of it, but may lack what it said.
            let (document, roll) = (document.clone(), seat.roll);
            self.outputs.push_back(Output::Came { document, peer, roll });
        }
        if seat.missed || (is_late && seat.has_come()) {
            self.outputs.push_back(Output::Lost { document: document.clone(), peer });
        }
        if seat.missed || seat.has_come() {
            self.outputs.push_back(Output::Went { document, peer });
        }
    }
}
