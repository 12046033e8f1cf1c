//! The machine itself: one method an event, effects in order.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::dialect::y_protocols::{self, Message};
use crate::id::PeerId;
use crate::time::Millis;
use crate::update::{Coverage, StateVector};
use crate::validate::AwarenessUpdate;

use super::asking::{Answerer, Asker, Question};
use super::early::Early;
use super::effect::{Acknowledgement, Arrival, Effect, MemberId, StoreRefused, Ticket, Violation};
use super::member::Member;
use super::peer::{AskId, PeerMessage};
use super::peers::{Peer, Plane};
use super::presence::{Owner, Presence, PresenceLimits};
use super::storing::Waits;

/// One room. Members are ordered by id, so the driver's growing ids make the lowest the oldest.
#[derive(Debug)]
pub struct Room {
    pub(super) acknowledgement: Acknowledgement,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) presence: Presence,
    /// Invariant without an archive here: each member that has caught up was handed all of it.
    pub(super) coverage: Coverage,
    /// What all members that have caught up had then, as far as they said. Only what is asked of peers in their name
    /// leans on it: that need not come once more.
    pub(super) common: Option<StateVector>,
    pub(super) plane: Plane,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    /// How many came, so that the last can be told.
    pub(super) arrivals: u64,
    /// The peer with the archive, if none is here.
    pub(super) archive_peer: Option<PeerId>,
    /// Counts how often what is in the archive's reach had to be settled from the beginning.
    pub(super) reign: u64,
    pub(super) questions: BTreeMap<AskId, Question>,
    /// How many questions there were.
    pub(super) asks: u64,
    /// Questions of members that a peer did not answer in time.
    pub(super) late: BTreeMap<(AskId, PeerId), MemberId>,
    /// Questions of peers at the archive here, under the names that it knows them by.
    pub(super) readers: BTreeMap<MemberId, (PeerId, AskId)>,
    pub(super) next_reader: u64,
    /// What is on its way to the archive.
    pub(super) tickets: BTreeMap<Ticket, Waits>,
    pub(super) next_ticket: Ticket,
    /// Some updates had no ticket because too many were under way: the next ticket when the first of them came.
    pub(super) overflowed: Option<Ticket>,
    /// What waits for the archive to come.
    pub(super) early: Early,
    /// Something passed by here that the archive may lack.
    pub(super) loose: bool,
    pub(super) effects: VecDeque<Effect>,
    /// Acknowledgements that follow the effects.
    pub(super) payments: VecDeque<(MemberId, u64)>,
}

impl Room {
    /// An empty room.
    #[must_use]
    pub fn new(acknowledgement: Acknowledgement) -> Self {
        Self {
            acknowledgement,
            members: BTreeMap::new(),
            presence: Presence::default(),
            coverage: Coverage::default(),
            common: None,
            plane: Plane::default(),
            peers: BTreeMap::new(),
            arrivals: 0,
            archive_peer: None,
            reign: 0,
            questions: BTreeMap::new(),
            asks: 0,
            late: BTreeMap::new(),
            readers: BTreeMap::new(),
            next_reader: 0,
            tickets: BTreeMap::new(),
            next_ticket: Ticket(1),
            overflowed: None,
            early: Early::default(),
            loose: false,
            effects: VecDeque::new(),
            payments: VecDeque::new(),
        }
    }

    /// The same with other bounds on what a member may show.
    #[must_use]
    pub fn with_presence(acknowledgement: Acknowledgement, limits: PresenceLimits) -> Self {
        Self { presence: Presence::new(limits), ..Self::new(acknowledgement) }
    }

    /// Numbers what it asks and has stored from here on. What peers still say to an earlier room of the document on this
    /// relay must not be taken for an answer to this one: an update would be acknowledged for another.
    pub fn number_from(&mut self, number: u64) {
        self.asks = number;
        self.next_ticket = Ticket(number + 1);
    }

    /// The highest number that it has given.
    #[must_use]
    pub fn numbered_to(&self) -> u64 {
        self.asks.max(self.next_ticket.0.saturating_sub(1))
    }

    /// The newest entry of each awareness client that changed after the first so many changes of presence, in messages
    /// that are no larger than a client may send them back.
    pub fn presence_since(&self, changes: u64) -> impl Iterator<Item = AwarenessUpdate> {
        self.presence.since(changes)
    }

    /// Whether nobody is in it and nothing is on its way to the archive. With the archive here a room is also kept for
    /// its peers; without, they do without it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let is_used = !self.tickets.is_empty() || !self.readers.is_empty() || !self.peers.is_empty();
        self.members.is_empty() && !(self.archive_here() && is_used)
    }

    /// Number of members that are connected here.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The next thing to do, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        // The next one goes to the beginning again, not wherever the last one was.
        self.effects.clear();
        let (to, times) = self.payments.front_mut()?;
        *times -= 1;
        let effect = Effect::Acknowledge { to: *to, applied: true };
        if *times == 0 {
            self.payments.pop_front();
        }
        Some(effect)
    }

    /// When [`Room::handle_timeout`] must be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        let asked = self.questions.values().filter_map(|question| question.asked?.deadline);
        let call = match self.plane {
            Plane::Calling(deadline) => Some(deadline),
            Plane::Alone | Plane::Called => None,
        };
        asked.chain(call).chain(self.doubts()).min()
    }

    /// Time has passed: who was asked too long ago is passed over.
    pub fn handle_timeout(&mut self, now: Millis) {
        if matches!(self.plane, Plane::Calling(deadline) if deadline <= now) {
            self.called(now);
        }
        self.end_doubts(now);
        let is_due = |deadline: Millis| deadline <= now;
        self.next_choice(now, |question| {
            question.asked.is_some_and(|asked| asked.deadline.is_some_and(is_due))
        });
    }

    /// As [`Room::join`], of a member whose content is not to be had: the driver hands on none of it but empty answers.
    pub fn join_to_read(&mut self, id: MemberId, counts_acknowledgements: bool) {
        self.seat(id, Member { counts_acknowledgements, reads_only: true, ..Member::default() });
    }

    /// A member comes; it is shown who is present.
    pub fn join(&mut self, id: MemberId, counts_acknowledgements: bool) {
        self.seat(id, Member { counts_acknowledgements, ..Member::default() });
    }

    /// From now on what this member is acknowledged stands for all that it was handed as well, whoever made it, as with
    /// a replica. So when the archive here does not take something, it is closed, too, and compares anew.
    pub fn rely(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.relies = true;
        }
    }

    fn seat(&mut self, id: MemberId, member: Member) {
        self.members.insert(id, member);
        self.show_presence(id);
    }

    /// A validated message of a member. Of a member that is not in the room it is ignored.
    ///
    /// # Errors
    /// [`Violation`] if the member must be closed; the driver then calls [`Room::leave`].
    pub fn handle(&mut self, now: Millis, id: MemberId, message: Message) -> Result<(), Violation> {
        if !self.members.contains_key(&id) {
            return Ok(());
        }
        match message {
            Message::SyncStep1(state_vector) => self.sync_requested(now, id, state_vector),
            Message::SyncStep2(update) => {
                self.answer_arrived(now, id, update);
                Ok(())
            }
            Message::Update(update) => {
                self.accept(id, update, Arrival::Change, 1);
                Ok(())
            }
            Message::Awareness(update) => {
                let before = self.presence.changes();
                if let Some(news) = self.presence.observe(Owner::Member(id), update)? {
                    // Back to its sender as well: the echo is what keeps a lone idle client connected.
                    let body = y_protocols::awareness(&news.encode());
                    self.effects.push_back(Effect::Spread { except: None, body, presence: Some(before) });
                    self.publish(PeerMessage::Presence(news));
                }
                Ok(())
            }
            Message::QueryAwareness => {
                self.show_presence(id);
                Ok(())
            }
        }
    }

    /// The archive's own program shows presence: bounded as a member's, and its last word, until it says goodbye.
    pub fn archive_shows(&mut self, update: AwarenessUpdate) {
        let before = self.presence.changes();
        if let Ok(Some(news)) = self.presence.observe(Owner::Member(MemberId::ARCHIVE), update) {
            self.spread_presence(before, &news);
            self.publish(PeerMessage::Presence(news));
        }
    }

    /// Everybody present.
    #[must_use]
    pub fn present(&self) -> Option<AwarenessUpdate> {
        self.presence.snapshot()
    }

    /// A member goes: goodbyes are said for it, its open answers are asked of others.
    pub fn leave(&mut self, now: Millis, id: MemberId) {
        let held = self.is_held();
        if self.members.remove(&id).is_none() {
            return;
        }
        let before = self.presence.changes();
        if let Some(goodbyes) = self.presence.leave(Owner::Member(id)) {
            self.spread_presence(before, &goodbyes);
            self.publish(PeerMessage::Presence(goodbyes));
        }
        self.close_questions(|question| question.asker == Asker::Member(id));
        self.ask_anew_if_lost(held);
        self.next_choice(now, |question| {
            question.asked.is_some_and(|asked| asked.answerer == Answerer::Member(id))
        });
        // Its own questions may have kept others from being put.
        self.ask_waiting(now);
    }

    /// A deleted document is gone for everybody in its room, whoever was told of it.
    pub(super) fn close(&mut self, id: MemberId, reason: StoreRefused) {
        match reason {
            StoreRefused::Deleted => self.close_everybody(reason),
            _ if self.members.contains_key(&id) => {
                self.effects.push_back(Effect::Close { member: id, reason });
            }
            _ => {}
        }
    }

    pub(super) fn close_everybody(&mut self, reason: StoreRefused) {
        self.effects.extend(self.members.keys().map(|member| Effect::Close { member: *member, reason }));
        if self.archive_here() {
            // Members elsewhere may not have asked.
            self.publish(PeerMessage::Answer { ask: AskId(0), result: Err(reason) });
        }
    }

    pub(super) fn answer(&mut self, to: MemberId, body: Bytes) {
        self.effects.push_back(Effect::Send { to, body, asked_for: true });
    }

    pub(super) fn serve(&mut self, to: MemberId, update: Bytes) {
        self.effects.push_back(Effect::Serve { to, update });
    }

    pub(super) fn tell(&mut self, to: MemberId, body: Bytes) {
        self.effects.push_back(Effect::Send { to, body, asked_for: false });
    }

    pub(super) fn spread(&mut self, except: Option<MemberId>, body: Bytes) {
        let others =
            self.members.len() - usize::from(except.is_some_and(|id| self.members.contains_key(&id)));
        if others > 0 {
            self.effects.push_back(Effect::Spread { except, body, presence: None });
        }
    }

    fn show_presence(&mut self, to: MemberId) {
        if let Some(present) = self.presence.snapshot() {
            self.answer(to, y_protocols::awareness(&present.encode()));
        }
    }

    /// What the room believes to be known may be nowhere.
    pub(super) fn ask_everybody_anew(&mut self) {
        self.coverage.clear();
        let everybody: Vec<_> = self.members.keys().copied().collect();
        for id in everybody {
            self.ask_own_content(id, &StateVector::default(), false, None);
        }
    }
}
