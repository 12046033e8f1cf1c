//! What becomes of an update: spread, published, stored, acknowledged; and of acknowledgements that no archive can
//! give.
//!
//! An acknowledgement is given for an update that the archive in reach stored. Without one it is *owed*, as a number
//! and no bytes, until an archive comes: then the member is asked for all that this archive lacks, and that being
//! durable, so is everything that the member sent before on this connection.

use crate::dialect::y_protocols;
use crate::id::PeerId;
use crate::time::Millis;
use crate::update::{StateVector, Update};

use super::answering::Reply;
use super::asking::{Answerer, Asker, Question};
use super::effect::{Acknowledgement, Answer, Arrival, Effect, MemberId, StoreRefused, Ticket};
use super::machine::Room;
use super::member::{Content, Member, Purpose};
use super::peer::{AskId, PeerAnswer, PeerMessage};

/// Most updates of one room on their way to an archive elsewhere, some 100 bytes each. More are owed, and settled
/// together when those are through.
const TICKETS_MAX: usize = 16 * 1024;

/// Who waits for an update to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// A member, for so many acknowledgements.
    Member(MemberId, u64),
    /// A peer, under its own ticket.
    Peer(PeerId, Ticket),
    /// Nobody.
    Nobody,
}

impl Room {
    /// A `SyncStep2` of a member.
    pub(super) fn answer_arrived(&mut self, now: Millis, id: MemberId, update: Update) {
        let purpose = self.members.get_mut(&id).and_then(Member::answers);
        match purpose {
            Some(Purpose::AnswerFor(ask, asker)) => self.member_answers(now, id, ask, asker, &update),
            Some(Purpose::OwnContent(content)) => self.content_arrived(id, update, content),
            // Nobody asked for it: news like any other.
            None => self.accept(id, update, Arrival::Content, 1),
        }
    }

    fn content_arrived(&mut self, id: MemberId, update: Update, content: Content) {
        let counted = u64::from(content.counted);
        if self.archive_in_reach() && (content.whole || content.reign == Some(self.reign)) {
            let owed = self.members.get_mut(&id).map_or(0, |member| std::mem::take(&mut member.owed));
            self.accept(id, update, Arrival::Content, owed.saturating_add(counted));
        } else {
            // It lacks what was known when it was asked for, and that need not be known to the archive.
            self.owe(id, counted);
            self.accept(id, update, Arrival::Content, 0);
        }
    }

    /// A member's update is spread and published if it may be news to anyone, stored where there is an archive, and
    /// acknowledged so many times by policy.
    pub(super) fn accept(&mut self, id: MemberId, update: Update, arrival: Arrival, times: u64) {
        let is_news = self.pass_on(Some(id), &update, arrival);
        if self.archive_here() {
            if is_news {
                self.publish(PeerMessage::Update { ticket: None, arrival, update: update.clone() });
            }
            // An empty one, too: it says "I have nothing that you lack", and what is here may not be durable yet.
            self.store(Waits::Member(id, times), update, arrival);
            return;
        }
        let Some(archive) = self.archive_peer.filter(|_| self.tickets.len() < TICKETS_MAX) else {
            if self.archive_peer.is_some() {
                self.overflowed.get_or_insert(self.next_ticket);
            }
            if times == 0 || !self.keep_early(id, times, arrival, &update) {
                self.loose |= !update.is_empty();
                self.owe(id, times);
            }
            if is_news {
                self.publish(PeerMessage::Update { ticket: None, arrival, update });
            }
            return;
        };
        let ticket = Some(self.ticket(Waits::Member(id, times)));
        let message = PeerMessage::Update { ticket, arrival, update };
        match is_news {
            true => self.publish(message),
            false => self.tell_peer(archive, message),
        }
    }

    /// An update of a peer: for the members here, and for the archive if it is here.
    pub(super) fn accept_of_peer(&mut self, peer: PeerId, update: Update, arrival: Arrival, waits: Waits) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.brought |= !update.is_empty();
        }
        self.pass_on(None, &update, arrival);
        if self.archive_here() {
            self.store(waits, update, arrival);
        }
    }

    /// Spreads what may be news to a member; tells whether it may be to anyone.
    fn pass_on(&mut self, except: Option<MemberId>, update: &Update, arrival: Arrival) -> bool {
        let news = self.coverage.add(update) || arrival == Arrival::Change;
        let everybody_has = || self.archive_here() || self.members.values().all(|member| member.caught_up);
        let is_news = !update.is_empty() && (news || !everybody_has());
        if is_news {
            self.spread(except, y_protocols::update(update.bytes()));
        }
        is_news
    }

    pub(super) fn ticket(&mut self, waits: Waits) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket = Ticket(ticket.0.saturating_add(1));
        self.tickets.insert(ticket, waits);
        ticket
    }

    fn store(&mut self, waits: Waits, update: Update, arrival: Arrival) {
        let ticket = self.ticket(waits);
        self.effects.push_back(Effect::Store { ticket, update, arrival });
    }

    /// The archive answers [`Effect::Store`].
    pub fn stored(&mut self, ticket: Ticket, result: Result<(), StoreRefused>) {
        let Some(waits) = self.tickets.remove(&ticket) else { return };
        if result.is_err() {
            // What was not stored must be news when it comes again, also to those who joined since.
            self.coverage.clear();
            self.loose = true;
        }
        match (waits, result) {
            (Waits::Member(id, times), Ok(())) => self.acknowledge(id, times),
            (Waits::Member(id, _), Err(reason)) => {
                if self.members.get(&id).is_some_and(|member| member.counts_acknowledgements) {
                    self.effects.push_back(Effect::Acknowledge { to: id, applied: false });
                }
                // Stock clients send again what was not taken only after they reconnected.
                self.close(id, reason);
            }
            (Waits::Peer(peer, ticket), result) => self.tell_stored(peer, ticket, result),
            (Waits::Nobody, _) => {}
        }
        if let Err(reason) = result {
            self.close_who_relies(waits, reason);
        }
    }

    /// Others were handed what was not stored. An acknowledgement of what they say next would stand for it.
    fn close_who_relies(&mut self, waits: Waits, reason: StoreRefused) {
        if reason == StoreRefused::Deleted || !self.archive_here() {
            return;
        }
        // A change that is refused for good is so of who sends it.
        let reason = if reason.is_permanent() { StoreRefused::Trouble } else { reason };
        let is_other = |id: MemberId| !matches!(waits, Waits::Member(sender, _) if sender == id);
        let relying = self.members.iter().filter(|(id, member)| member.relies && is_other(**id));
        for id in relying.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close(id, reason);
        }
    }

    /// What one turn stored for a peer is told in one message.
    fn tell_stored(&mut self, peer: PeerId, ticket: Ticket, result: Result<(), StoreRefused>) {
        if let Some(Effect::Tell { peer: to, message: PeerMessage::Stored(results) }) =
            self.effects.back_mut()
            && *to == peer
        {
            results.push((ticket, result));
        } else {
            self.tell_peer(peer, PeerMessage::Stored(vec![(ticket, result)]));
        }
    }

    /// The archive elsewhere stored what it was sent. Another than the one that everything is settled with says
    /// nothing.
    pub(super) fn stored_by_peer(
        &mut self,
        now: Millis,
        peer: PeerId,
        results: Vec<(Ticket, Result<(), StoreRefused>)>,
    ) {
        if self.archive_peer != Some(peer) {
            return;
        }
        for (ticket, result) in results {
            self.stored(ticket, result);
        }
        // All that was under way before; there may always be others.
        let first = self.tickets.first_key_value().map(|(ticket, _)| *ticket);
        if self.overflowed.is_some_and(|overflowed| first.is_none_or(|first| first >= overflowed)) {
            self.archive_anew(now);
        }
    }

    /// The archive answers [`Effect::Read`].
    pub fn answered(&mut self, asker: MemberId, result: Result<Answer, StoreRefused>) {
        if asker.is_of_peer() {
            self.read_for_peer(asker, result);
            return;
        }
        if let Some(member) = self.members.get_mut(&asker) {
            member.reads = member.reads.saturating_sub(1);
            member.caught_up |= result.is_ok();
        } else if result.is_ok() {
            return;
        }
        match result {
            Ok(answer) => {
                self.coverage.add_state_vector(&answer.state_vector);
                self.ask_own_content(asker, &answer.state_vector, true, Some(self.reign));
                self.serve(asker, answer.update);
            }
            Err(reason) => self.close(asker, reason),
        }
    }

    fn read_for_peer(&mut self, reader: MemberId, result: Result<Answer, StoreRefused>) {
        if let Err(reason @ StoreRefused::Deleted) = result {
            self.close_everybody(reason);
        }
        let Some((peer, ask)) = self.readers.remove(&reader) else { return };
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.asking = peer.asking.saturating_sub(1);
        }
        let result = result.map(|Answer { update, state_vector }| {
            self.coverage.add_state_vector(&state_vector);
            Some(PeerAnswer { update, archived: Some(state_vector), caught_up: true })
        });
        self.tell_peer(peer, PeerMessage::Answer { ask, result });
    }

    /// The archive serves an update from now on that it had kept back: everybody who is here is sent it, as who joins
    /// will be. It is stored already.
    pub fn released(&mut self, update: &Update) {
        self.coverage.add(update);
        self.spread(None, y_protocols::update(update.bytes()));
        let (ticket, arrival) = (None, Arrival::Change);
        self.publish(PeerMessage::Update { ticket, arrival, update: update.clone() });
    }

    /// Whether updates are stored by the archive here.
    pub(super) fn archive_here(&self) -> bool {
        self.acknowledgement == Acknowledgement::Durable
    }

    pub(super) fn archive_in_reach(&self) -> bool {
        self.archive_here() || self.archive_peer.is_some()
    }

    /// Another archive elsewhere is in reach than before, or none, or messages between it and here were lost: what was
    /// under way is owed, and is settled by what the members still have.
    pub(super) fn archive_anew(&mut self, now: Millis) {
        if self.archive_here() {
            return;
        }
        self.loose |= self.reign > 0;
        self.reign += 1;
        self.overflowed = None;
        for waits in std::mem::take(&mut self.tickets).into_values() {
            if let Waits::Member(id, times) = waits {
                self.owe(id, times);
            }
        }
        let archive = self.archive_peer;
        if archive.is_some() {
            // Before it is asked for what others brought.
            self.end_early();
        }
        self.close_questions(|question| matches!(question.asker, Asker::Room(peer) if archive == Some(peer)));
        // What an archive may not have heard, which alone has no deadline; and what it knows better than who was asked.
        let is_there = archive.is_some();
        self.put_anew(now, |question| {
            let is_better =
                is_there && question.served.is_none() && matches!(question.asker, Asker::Member(_));
            question.asked.is_some_and(|asked| is_better || asked.deadline.is_none())
        });
        self.ask_waiting(now);
        let Some(archive) = self.archive_peer else {
            self.pay_if_forwarded();
            return;
        };
        let is_apart = |(id, member): (&MemberId, &Member)| {
            member.caught_up
                || (member.owed > 0 || !member.questions.is_empty()) && !self.will_settle(*id, archive)
        };
        if self.members.iter().any(is_apart) {
            self.ask_peer(now, archive, false);
        }
    }

    /// A peer shows what it has that may not have been here; the archive's state vector settles what is owed.
    pub(super) fn peer_showed(&mut self, now: Millis, peer: PeerId, ask: AskId, reply: Reply) {
        let Ok(update) = Update::parse(reply.update) else { return };
        if !update.is_empty() {
            self.accept_of_peer(peer, update, Arrival::Content, Waits::Nobody);
        } else if ask.reaches_archive() {
            self.referred(now, peer);
        }
        if let Some(archived) = reply.archived.filter(|_| self.archive_peer == Some(peer)) {
            self.settle(peer, &archived);
        }
    }

    /// Each member that was not yet in this reign is asked for what the archive lacks.
    fn settle(&mut self, archive: PeerId, archived: &StateVector) {
        let reign = Some(self.reign);
        let unsettled: Vec<_> =
            self.members.iter().filter(|(_, member)| member.settled != reign).map(|(id, _)| *id).collect();
        for id in unsettled {
            if !self.will_settle(id, archive) {
                self.ask_own_content(id, archived, false, reign);
            }
        }
    }

    /// Whether a question of the member is at the archive, whose answer will settle it.
    fn will_settle(&self, id: MemberId, archive: PeerId) -> bool {
        let questions = self.members.get(&id).into_iter().flat_map(|member| &member.questions);
        let mut open = questions.filter_map(|ask| self.questions.get(ask));
        open.any(|question| question.asked.is_none_or(|asked| asked.answerer == Answerer::Peer(archive)))
    }

    /// Whether the archive elsewhere has an answer or an acknowledgement to give.
    pub(super) fn awaits_archive(&self) -> bool {
        let is_there = |question: &Question| question.asked.is_some_and(|asked| asked.deadline.is_none());
        !self.tickets.is_empty()
            || self.members.values().any(|member| member.owed > 0)
            || self.questions.values().any(is_there)
    }

    /// Without an archive in reach an acknowledgement is given at once or owed, by policy.
    pub(super) fn owe(&mut self, id: MemberId, times: u64) {
        if self.acknowledgement == Acknowledgement::Forwarded && !self.archive_in_reach() {
            self.acknowledge(id, times);
        } else if let Some(member) = self.members.get_mut(&id)
            && member.counts_acknowledgements
        {
            member.owed = member.owed.saturating_add(times);
        }
    }

    fn pay_if_forwarded(&mut self) {
        if self.acknowledgement == Acknowledgement::Forwarded {
            let owed: Vec<_> =
                self.members.iter_mut().map(|(id, member)| (*id, std::mem::take(&mut member.owed))).collect();
            for (id, times) in owed {
                self.acknowledge(id, times);
            }
        }
    }

    fn acknowledge(&mut self, id: MemberId, times: u64) {
        if times > 0 && self.members.get(&id).is_some_and(|member| member.counts_acknowledgements) {
            match times {
                1 => self.effects.push_back(Effect::Acknowledge { to: id, applied: true }),
                // Many, perhaps: they are made when they are fetched.
                _ => self.payments.push_back((id, times)),
            }
        }
    }
}
