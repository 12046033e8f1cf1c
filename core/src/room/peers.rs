//! The peers of a room: who of them is there, and what they say.
//!
//! A peer is the room of the same document on another relay. Guarantees: what is said of peers costs bounded memory;
//! of two rooms that may have been apart each asks the other what it lacks; what was said to an archive that may not
//! have heard it is settled anew.
//!
//! It leans on what the cluster keeps: what a peer says to all arrives in its order, with its rolls and its end among
//! it, and what it tells one peer arrives in its order after it came; where some of it did not, both are told by
//! [`Room::peer_lost`]. What is told may overtake what was said to all, and be overtaken, also by the end of the room
//! that it is from and the beginning of the next one there: so no number is given twice ([`Room::number_from`]), and a
//! goodbye is remembered although nobody was shown.

use crate::dialect::y_protocols;
use crate::id::PeerId;
use crate::time::Millis;
use crate::update::StateVector;
use crate::validate::AwarenessUpdate;

use super::asking::{Answerer, Asker, Question};
use super::effect::{Acknowledgement, Effect, MemberId, StoreRefused};
use super::machine::Room;
use super::peer::{AskId, PeerMessage, Roll};
use super::presence::Owner;
use super::storing::Waits;

/// Most questions that are open from one peer to another in one room. Who has more to ask waits; who is asked more
/// refuses. An open one costs some 200 bytes and its state vector.
pub(super) const PEER_OPEN_MAX: usize = 256;
/// How long presence of a peer is believed, in milliseconds, after its goodbye may have been lost: clients renew
/// theirs every 15 s.
const RENEWAL_MS: u64 = 45_000;

/// Whether the room is on a backplane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Plane {
    /// It is not.
    #[default]
    Alone,
    /// It is, and asks until this moment who else is.
    Calling(Millis),
    /// It is, and knows who else is.
    Called,
}

/// What the room knows of one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    pub(super) roll: Roll,
    /// Which one it was to come.
    came: u64,
    /// What it had that was not here was asked for since it came.
    exchanged: bool,
    /// When that is asked for, it should ask in turn.
    both_ways: bool,
    /// Its open questions here.
    pub(super) asking: usize,
    /// Open questions to it.
    pub(super) asked: usize,
    /// Until when what it showed up to this change of presence is believed without being renewed.
    doubt: Option<(Millis, u64)>,
    /// It brought updates.
    pub(super) brought: bool,
}

impl Room {
    /// The room is on a backplane, for the first time or again. Until the roll call ends, by [`Room::called`] or at
    /// the deadline, nobody is told that there is nothing.
    pub fn clustered(&mut self, deadline: Millis) {
        self.plane = Plane::Calling(deadline);
    }

    /// All peers that have the document open have answered the roll call.
    pub fn called(&mut self, now: Millis) {
        if self.is_calling() {
            self.plane = Plane::Called;
            self.end_early();
            self.ask_waiting(now);
        }
    }

    /// The backplane is away and about to come back: all peers went, and until this moment nobody is told that there is
    /// nothing.
    pub fn rejoining(&mut self, now: Millis, deadline: Millis) {
        self.plane = Plane::Calling(deadline);
        self.loose = true;
        let held = self.is_held();
        while let Some((peer, _)) = self.peers.pop_first() {
            self.forget(peer);
        }
        self.peers_changed(now, held);
    }

    pub(super) fn is_calling(&self) -> bool {
        matches!(self.plane, Plane::Calling(_))
    }

    /// The backplane is away: all peers went, and no roll call runs.
    pub fn alone(&mut self, now: Millis) {
        self.plane = Plane::Alone;
        self.loose = true;
        let held = self.is_held();
        while let Some((peer, _)) = self.peers.pop_first() {
            self.forget(peer);
        }
        self.peers_changed(now, held);
        self.end_early();
    }

    /// Whether it is on a backplane.
    #[must_use]
    pub fn is_clustered(&self) -> bool {
        self.plane != Plane::Alone
    }

    /// What this room has; the driver tells the peers when it changes.
    #[must_use]
    pub fn roll(&self) -> Roll {
        Roll { archive: self.archive_here(), caught_up: self.can_answer() }
    }

    /// A peer has the document open, or what it has there changed.
    pub fn peer_came(&mut self, now: Millis, peer: PeerId, roll: Roll) {
        if self.plane == Plane::Alone {
            return;
        }
        let held = self.is_held();
        self.arrivals += 1;
        // Relays settle with an archive by themselves.
        let exchanged = self.archive_here() && !roll.archive;
        let fresh = Peer { came: self.arrivals, exchanged, ..Peer::default() };
        let is_new = !self.peers.contains_key(&peer);
        let known = self.peers.entry(peer).or_insert(fresh);
        if roll.archive && !known.roll.archive {
            known.came = fresh.came;
        }
        known.roll = roll;
        if is_new && let Some(present) = self.presence.of_members() {
            self.tell_peer(peer, PeerMessage::Presence(present));
        }
        self.peers_changed(now, held);
    }

    /// Messages of a peer to this room were lost.
    pub fn peer_lost(&mut self, now: Millis, peer: PeerId) {
        let change = self.presence.changes();
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.exchanged = false;
        known.doubt = Some((now.plus(RENEWAL_MS), change));
        if self.archive_here() {
            // It waits for updates to be stored that may not have come.
            self.ask_peer(now, peer, true);
            return;
        }
        if self.archive_peer == Some(peer) {
            self.archive_anew(now);
            return;
        }
        self.close_questions(|question| question.asker == Asker::Room(peer));
        self.put_anew(now, |question| {
            question.asked.is_some_and(|asked| asked.answerer == Answerer::Peer(peer))
        });
        self.exchange(now);
    }

    /// A peer closed the document, or is gone.
    pub fn peer_went(&mut self, now: Millis, peer: PeerId) {
        let held = self.is_held();
        let Some(known) = self.peers.remove(&peer) else { return };
        // What it said may have come here and not to the archive.
        self.loose |= known.brought;
        self.forget(peer);
        // Of its last words some may have reached one peer and not another.
        self.exchange_anew(true);
        self.peers_changed(now, held);
    }

    /// Says goodbye for those that a peer showed; nobody waits for an answer to it.
    fn forget(&mut self, peer: PeerId) {
        let before = self.presence.changes();
        if let Some(goodbyes) = self.presence.leave(Owner::Peer(peer)) {
            self.spread_presence(before, &goodbyes);
        }
        self.readers.retain(|_, (reader, _)| *reader != peer);
        self.late.retain(|(_, answerer), _| *answerer != peer);
        self.close_questions(|question| match question.asker {
            Asker::Peer(asker, _) | Asker::Room(asker) => asker == peer,
            Asker::Member(_) => false,
        });
        // Under another name: an answer of this one would not be of the one that may come in its place.
        self.take_back(|question| question.asked.is_some_and(|asked| asked.answerer == Answerer::Peer(peer)));
    }

    /// A message of a peer. Of one that did not come, or went, it is ignored.
    pub fn peer_said(&mut self, now: Millis, peer: PeerId, message: PeerMessage) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        match message {
            PeerMessage::Update { ticket, arrival, update } => {
                let waits = ticket.map_or(Waits::Nobody, |ticket| Waits::Peer(peer, ticket));
                self.accept_of_peer(peer, update, arrival, waits);
            }
            PeerMessage::Presence(update) => {
                let before = self.presence.changes();
                if let Ok(Some(news)) = self.presence.observe(Owner::Peer(peer), update) {
                    self.spread_presence(before, &news);
                }
            }
            PeerMessage::Ask { ask, state_vector } => self.peer_asks(now, peer, ask, state_vector),
            PeerMessage::Answer { ask, result } => self.peer_answers(now, peer, ask, result),
            PeerMessage::Stored(results) => self.stored_by_peer(now, peer, results),
            PeerMessage::Stateless(_) => {}
        }
    }

    /// The peer that asks under this name, while it waits for the answer.
    #[must_use]
    pub fn peer_of(&self, asker: MemberId) -> Option<PeerId> {
        self.readers.get(&asker).map(|(peer, _)| *peer)
    }

    fn peer_asks(&mut self, now: Millis, peer: PeerId, ask: AskId, state_vector: StateVector) {
        let archive_here = self.archive_here();
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if known.asking >= PEER_OPEN_MAX {
            let result = Err(StoreRefused::Trouble);
            self.tell_peer(peer, PeerMessage::Answer { ask, result });
        } else if archive_here {
            known.asking += 1;
            let asker = MemberId(MemberId::PEERS | self.next_reader);
            self.next_reader = (self.next_reader + 1) % MemberId::PEERS;
            self.readers.insert(asker, (peer, ask));
            self.effects.push_back(Effect::Read { asker, state_vector });
        } else if !self.refer(peer, ask) {
            self.open_question(now, Asker::Peer(peer, ask), state_vector);
        }
        if !ask.asks_back() {
            return;
        }
        if self.archive_peer == Some(peer) && self.awaits_archive() {
            // What is waited for may not have come to it.
            self.archive_anew(now);
        } else {
            self.exchanged(peer, false);
            self.exchange(now);
        }
    }

    /// Somebody came or went, or has other things than before.
    fn peers_changed(&mut self, now: Millis, held: bool) {
        let archives = self.peers.iter().filter(|(_, peer)| peer.roll.archive);
        // The last to come: one that crashed may seem to be there for a while beside the one in its place.
        let archive = archives.max_by_key(|(_, peer)| peer.came).map(|(id, _)| *id);
        let archive = archive.filter(|_| !self.archive_here());
        if archive != self.archive_peer {
            self.archive_peer = archive;
            self.archive_anew(now);
        }
        self.ask_anew_if_lost(held);
        self.ask_waiting(now);
        self.exchange(now);
    }

    pub(super) fn exchange_anew(&mut self, both_ways: bool) {
        for peer in self.peers.values_mut() {
            peer.exchanged = false;
            peer.both_ways |= both_ways;
        }
    }

    /// Asks each peer once what it has that may not be here, if both sides have what others were told is all: they may
    /// have been apart, and whoever answered a joiner may not have heard everything yet.
    pub(super) fn exchange(&mut self, now: Millis) {
        if !self.archive_here() && !self.has_caught_up() {
            return;
        }
        let mut due = Vec::new();
        for (id, peer) in &mut self.peers {
            if !peer.exchanged && (peer.roll.archive || peer.roll.caught_up) {
                due.push((*id, std::mem::take(&mut peer.both_ways)));
            }
        }
        for (peer, both_ways) in due {
            self.ask_peer(now, peer, both_ways);
        }
    }

    /// The room's own question to a peer, in place of an older one.
    pub(super) fn ask_peer(&mut self, now: Millis, peer: PeerId, asks_back: bool) {
        self.exchanged(peer, true);
        self.close_questions(|question| question.asker == Asker::Room(peer));
        let covered = self.coverage.state_vector();
        let known = match &self.common {
            _ if self.archive_here() => covered,
            Some(common) if self.has_caught_up() => covered.upper(common),
            None if self.has_caught_up() => covered,
            _ => StateVector::default(),
        };
        let reaches_archive = self.archive_peer.is_some_and(|archive| archive != peer);
        let ask = self.new_ask_that(reaches_archive, asks_back);
        self.reopen(now, ask, Question::new(Asker::Room(peer), known));
    }

    pub(super) fn exchanged(&mut self, peer: PeerId, exchanged: bool) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.exchanged = exchanged;
        }
    }

    /// When presence that may be of ghosts is believed no more.
    pub(super) fn doubts(&self) -> impl Iterator<Item = Millis> + '_ {
        self.peers.values().filter_map(|peer| peer.doubt.map(|(deadline, _)| deadline))
    }

    pub(super) fn end_doubts(&mut self, now: Millis) {
        let mut due = Vec::new();
        for (id, peer) in &mut self.peers {
            if let Some((_, change)) = peer.doubt.take_if(|(deadline, _)| *deadline <= now) {
                due.push((*id, change));
            }
        }
        for (peer, change) in due {
            let before = self.presence.changes();
            if let Some(goodbyes) = self.presence.end(Owner::Peer(peer), change) {
                self.spread_presence(before, &goodbyes);
            }
        }
    }

    /// Says something to all peers; before the roll call has ended, also to those that are not known yet.
    pub(super) fn publish(&mut self, message: PeerMessage) {
        if self.is_calling() || !self.peers.is_empty() {
            self.effects.push_back(Effect::Publish(message));
        }
    }

    pub(super) fn tell_peer(&mut self, peer: PeerId, message: PeerMessage) {
        if self.peers.contains_key(&peer) {
            self.effects.push_back(Effect::Tell { peer, message });
        }
    }

    pub(super) fn has_caught_up(&self) -> bool {
        self.members.values().any(|member| member.caught_up)
    }

    /// Whether one of those who have caught up can answer others.
    fn can_answer(&self) -> bool {
        self.members.values().any(|member| member.caught_up && !member.reads_only)
    }

    /// Whether anybody who can answer, here or elsewhere, has everything that could be reached.
    pub(super) fn is_held(&self) -> bool {
        self.can_answer() || self.peers.values().any(|peer| peer.roll.archive || peer.roll.caught_up)
    }

    /// If the last that held everything is gone, what the room believes to be known may be nowhere.
    pub(super) fn ask_anew_if_lost(&mut self, held: bool) {
        if self.archive_here() {
            return;
        }
        if !self.has_caught_up() {
            // Who catches up next need not have what those had.
            self.coverage.clear();
            self.exchange_anew(false);
        }
        if held && !self.is_held() {
            self.ask_everybody_anew();
        }
    }

    pub(super) fn spread_presence(&mut self, before: u64, update: &AwarenessUpdate) {
        // An archive may look on when nobody else does.
        if !self.members.is_empty() || self.acknowledgement == Acknowledgement::Durable {
            let body = y_protocols::awareness(&update.encode());
            self.effects.push_back(Effect::Spread { except: None, body, presence: Some(before) });
        }
    }
}
