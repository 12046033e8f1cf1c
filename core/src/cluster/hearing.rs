//! What comes in from the backplane.

use bytes::Bytes;

use super::address::To;
use super::codec::{InvalidEnvelope, Letter, Place, Sender};
use super::draft::{Read, ReadBody, Unread, UnreadPlace};
use super::envelope::{Here, Part, ToEverybody, ToPeer, ToRoom, Who};
use super::machine::Cluster;
use super::output::Output;
use crate::id::{DocumentId, PeerId};
use crate::time::Millis;

impl Cluster {
    /// Another one said something. What was not meant for this relay is passed over.
    pub fn heard(&mut self, now: Millis, to: &To, message: &Bytes) {
        if self.link.is_none() {
            return;
        }
        let (head, letter) = match Letter::open(message) {
            Ok(opened) => opened,
            Err(error) => return self.outputs.push_back(Output::Refused { peer: None, error }),
        };
        let Sender { peer, .. } = head.sender;
        if peer == self.me.peer || matches!(to, To::Peer(other) if *other != self.me.peer) {
            return;
        }
        let read = match (to, head.place) {
            (To::Everybody, Place::Everybody) => self.hear_everybody(now, head.sender, &letter),
            (To::Room(document), Place::Room { number }) => {
                self.introduce(now, head.sender, false);
                self.hear_in_room(now, document, head.sender, number, &letter)
            }
            (To::Peer(_), Place::Peer { starts, meeting, number }) => {
                if starts != self.me.starts {
                    return;
                }
                self.introduce(now, head.sender, false);
                self.hear_alone(now, head.sender, meeting, number, &letter)
            }
            _ => Err(InvalidEnvelope::Misplaced),
        };
        if let Err(error) = read {
            self.outputs.push_back(Output::Refused { peer: Some(peer), error });
        }
    }

    /// Until now nothing was heard, though something may have been said: who is silent is so from now on only.
    pub fn was_deaf(&mut self, now: Millis) {
        self.peers.values_mut().for_each(|peer| peer.heard_at = now);
    }

    /// Meets whoever speaks, and greets it if it is new; `has_greeted` if it knows that by what it says.
    fn introduce(&mut self, now: Millis, sender: Sender, has_greeted: bool) -> bool {
        let is_new = self.meet(now, sender);
        if is_new == Some(true) {
            self.greet(now, sender.peer, !has_greeted);
        }
        is_new == Some(true)
    }

    /// Whether this start of a peer is the one that is known.
    fn is_known(&self, sender: Sender) -> bool {
        self.peers.get(&sender.peer).is_some_and(|known| known.starts == sender.starts)
    }

    fn hear_everybody(
        &mut self,
        now: Millis,
        sender: Sender,
        letter: &Letter,
    ) -> Result<(), InvalidEnvelope> {
        let body = letter.to_everybody()?;
        if matches!(body, ToEverybody::Bye) {
            self.hear_bye(now, sender);
            return Ok(());
        }
        let is_new = self.introduce(now, sender, matches!(body, ToEverybody::Here(_)));
        if !self.is_known(sender) {
            return Ok(());
        }
        match body {
            ToEverybody::Here(here) => {
                self.hear_here(sender.peer, here);
                if here.hello && !is_new {
                    self.answer_hello(sender.peer);
                }
            }
            // Those that have it open heard the roll in it.
            ToEverybody::Who(who) if !self.rooms.contains_key(&who.document) => {
                self.answer_who(now, sender.peer, who);
            }
            _ => {}
        }
        Ok(())
    }

    fn hear_in_room(
        &mut self,
        now: Millis,
        document: &DocumentId,
        sender: Sender,
        number: u64,
        letter: &Letter,
    ) -> Result<(), InvalidEnvelope> {
        let peer = sender.peer;
        let Some(room) = self.rooms.get(document).filter(|_| self.is_known(sender)) else { return Ok(()) };
        let roll = if letter.is_roll() { Some(letter.to_room()?) } else { None };
        if let (Some(ToRoom::Roll { opening, .. }), Some(seat)) = (&roll, room.members.get(&peer))
            && seat.opening != *opening
        {
            self.leave(document, peer, true);
        }
        if !self.count_in_room(document, peer, number) && roll.is_none() {
            self.want(now, document, peer);
            return Ok(());
        }
        match roll {
            Some(ToRoom::Roll { roll, opening, heard }) => {
                self.hear_roll(now, document, peer, number, (roll, opening, heard));
            }
            Some(_) => {
                self.leave(document, peer, false);
                self.answered(now, document, peer);
                if self.peers.get(&peer).is_some_and(|about| about.archive == Some(true)) {
                    // It did not know that the room is open here.
                    self.await_one(now, document, peer);
                }
            }
            None => self.hear_said(now, document, sender, letter)?,
        }
        Ok(())
    }

    /// Counts a message of a peer in a room; false if it has no seat there.
    fn count_in_room(&mut self, document: &DocumentId, peer: PeerId, number: u64) -> bool {
        let seat = self.rooms.get_mut(document).and_then(|room| room.members.get_mut(&peer));
        let Some(seat) = seat else { return false };
        if number < seat.next {
            // It has opened the room anew, and the roll was lost.
            self.leave(document, peer, true);
            return false;
        }
        let has_gap = number > seat.next;
        seat.next = number + 1;
        if has_gap {
            seat.assembly.clear(&mut self.held);
            if seat.has_come() {
                self.lose(document, peer);
            } else {
                seat.missed = true;
            }
        }
        true
    }

    fn hear_said(
        &mut self,
        now: Millis,
        document: &DocumentId,
        sender: Sender,
        letter: &Letter,
    ) -> Result<(), InvalidEnvelope> {
        let peer = sender.peer;
        let seat = self.rooms.get_mut(document).and_then(|room| room.members.get_mut(&peer));
        let Some(seat) = seat.filter(|seat| seat.has_come()) else { return Ok(()) };
        let opening = seat.opening;
        let read = match letter.to_room() {
            Ok(ToRoom::Part(part)) => match seat.assembly.add(&part, &mut self.held) {
                Ok(None) => return Ok(()),
                Ok(Some(letter)) => {
                    let place = UnreadPlace::Room { document: document.clone(), opening };
                    self.outputs.push_back(Output::Unread(Unread { sender, place, letter }));
                    return Ok(());
                }
                Err(error) => Err(error),
            },
            read => {
                seat.assembly.clear(&mut self.held);
                read
            }
        };
        self.take_in_room(now, document, peer, read)
    }

    /// What a peer that has come said to a room. What cannot be read is lost.
    fn take_in_room(
        &mut self,
        now: Millis,
        document: &DocumentId,
        peer: PeerId,
        read: Result<ToRoom, InvalidEnvelope>,
    ) -> Result<(), InvalidEnvelope> {
        match read {
            Ok(ToRoom::Said(message)) => {
                self.outputs.push_back(Output::Said { document: document.clone(), peer, message });
            }
            Ok(_) => {}
            Err(error) => {
                self.unreadable(now, peer, Some(document));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes in what came as [`Output::Unread`], if whoever said it is still there.
    pub fn take_in(&mut self, now: Millis, read: Read) {
        let Read { sender, body } = read;
        if !self.is_known(sender) {
            return;
        }
        let peer = sender.peer;
        let taken = match body {
            ReadBody::Room { document, opening, read } => {
                let seat = self.rooms.get(&document).and_then(|room| room.members.get(&peer));
                if seat.is_none_or(|seat| seat.opening != opening || !seat.has_come()) {
                    return;
                }
                self.take_in_room(now, &document, peer, read)
            }
            ReadBody::Peer { meeting, read } => {
                if self.peers.get(&peer).is_none_or(|about| about.its_meeting != Some(meeting)) {
                    return;
                }
                self.take_in_alone(now, peer, meeting, read)
            }
        };
        if let Err(error) = taken {
            self.outputs.push_back(Output::Refused { peer: Some(peer), error });
        }
    }

    fn hear_alone(
        &mut self,
        now: Millis,
        sender: Sender,
        meeting: u64,
        number: u64,
        letter: &Letter,
    ) -> Result<(), InvalidEnvelope> {
        if !self.is_known(sender) || !self.count_alone(sender.peer, meeting, number) {
            return Ok(());
        }
        let peer = sender.peer;
        let read = match letter.to_peer() {
            Ok(ToPeer::Part(part)) => match self.assemble(peer, &part) {
                Ok(None) => return Ok(()),
                Ok(Some(letter)) => {
                    let place = UnreadPlace::Peer { meeting };
                    self.outputs.push_back(Output::Unread(Unread { sender, place, letter }));
                    return Ok(());
                }
                Err(error) => Err(error),
            },
            read => read,
        };
        self.take_in_alone(now, peer, meeting, read)
    }

    /// What a peer said to this relay. What cannot be read is lost.
    fn take_in_alone(
        &mut self,
        now: Millis,
        peer: PeerId,
        meeting: u64,
        read: Result<ToPeer, InvalidEnvelope>,
    ) -> Result<(), InvalidEnvelope> {
        let body = match read {
            Ok(body) => body,
            Err(error) => {
                self.unreadable(now, peer, None);
                return Err(error);
            }
        };
        match body {
            ToPeer::Part(_) | ToPeer::Mark | ToPeer::Unknown => {}
            ToPeer::Here(here) => {
                self.hear_here(peer, here);
                if here.hello {
                    self.answer_hello(peer);
                }
            }
            ToPeer::Who(who) => self.answer_who(now, peer, who),
            ToPeer::NotHere { who, until } => self.hear_not_here(now, peer, &who, until),
            ToPeer::Missed(Some(document)) => self.hear_missed(&document, peer),
            ToPeer::Missed(None) => self.lose_all(peer),
            ToPeer::Said { document, opening, message } => {
                let room = self.rooms.get(&document);
                if room.is_some_and(|room| room.opening == opening && room.members.contains_key(&peer)) {
                    // It would not say it if it had not heard us.
                    self.hears_us_by_word(now, &document, peer, meeting);
                    self.outputs.push_back(Output::Said { document, peer, message });
                }
            }
            ToPeer::Tunnel(frame) => {
                if let Some(about) = self.peers.get_mut(&peer) {
                    about.has_tunnels = true;
                }
                self.outputs.push_back(Output::Tunnel { peer, frame });
            }
        }
        Ok(())
    }

    /// Counts a message of a peer to this relay; false if it is of no use any more.
    fn count_alone(&mut self, peer: PeerId, meeting: u64, number: u64) -> bool {
        let Some(about) = self.peers.get_mut(&peer) else { return false };
        let before = about.its_meeting.unwrap_or(0);
        if meeting > before {
            // It had forgotten this relay; what is shared is found out by the rolls of the rooms.
            about.its_meeting = Some(meeting);
            about.next = 1;
            about.assembly.clear(&mut self.held);
            if before > 0 {
                self.break_tunnels(peer);
            }
        }
        let Some(about) = self.peers.get_mut(&peer) else { return false };
        if meeting < before || number < about.next {
            return false;
        }
        let has_gap = number > about.next;
        about.next = number + 1;
        if has_gap {
            about.assembly.clear(&mut self.held);
            self.lose_all_both(peer);
        }
        true
    }

    fn assemble(&mut self, peer: PeerId, part: &Part) -> Result<Option<Letter>, InvalidEnvelope> {
        let Some(about) = self.peers.get_mut(&peer) else { return Ok(None) };
        about.assembly.add(part, &mut self.held)
    }

    fn answer_hello(&mut self, peer: PeerId) {
        self.note_to_peer(peer, &ToPeer::Here(Here { archive: self.archive, hello: false }));
    }

    /// Says what there is of a room. An archive joins it.
    fn answer_who(&mut self, now: Millis, peer: PeerId, who: Who) {
        if let Some(room) = self.rooms.get(&who.document) {
            let is_known = room.members.contains_key(&peer);
            self.say_roll(&who.document, Some(peer));
            if !is_known {
                // It has the room open, and what said so was lost.
                self.want(now, &who.document, peer);
            }
        } else if self.archive {
            self.outputs.push_back(Output::Wanted(who.document));
        } else if self.closed.contains_key(&who.document) {
            // In the stream of the room, behind what was said to it.
            self.note_to_room(&who.document, &ToRoom::Gone);
        } else {
            let until = self.count;
            self.note_to_peer(peer, &ToPeer::NotHere { who, until });
        }
    }

    fn hear_not_here(&mut self, now: Millis, peer: PeerId, who: &Who, until: u64) {
        let Some(room) = self.rooms.get(&who.document) else { return };
        let is_of_now = room.opening == who.opening;
        if room.members.get(&peer).is_some_and(|seat| seat.opening <= until) {
            self.leave(&who.document, peer, true);
        }
        if is_of_now {
            self.answered(now, &who.document, peer);
        }
    }

    fn hears_us_by_word(&mut self, now: Millis, document: &DocumentId, peer: PeerId, meeting: u64) {
        self.hears_us(document, peer, meeting);
        self.answered(now, document, peer);
    }
}
