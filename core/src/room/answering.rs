//! What an answer is for, and whether it was enough.
//!
//! Each question is answered once: what comes later is news at most. A peer that answers a member may not have heard
//! yet what has passed by here; then others are asked for the rest, and the member counts as caught up only when it
//! has it.

use bytes::Bytes;

use crate::dialect::y_protocols;
use crate::id::PeerId;
use crate::time::Millis;
use crate::update::{StateVector, Update};

use super::asking::{ANSWER_MS, Answerer, Asked, Asker, Question};
use super::effect::{Arrival, MemberId, StoreRefused};
use super::machine::Room;
use super::peer::{AskId, PeerAnswer, PeerMessage};

/// What an answerer said.
pub(super) struct Reply {
    pub(super) update: Bytes,
    pub(super) archived: Option<StateVector>,
    pub(super) caught_up: bool,
}

impl Room {
    /// The asker has all that could be reached. Only if that came `from_caught_up` is it sure to hold everything
    /// that is covered; what others pushed before may have gone with them, and is asked for again.
    pub(super) fn caught_up(&mut self, now: Millis, asker: MemberId, from_caught_up: bool) {
        if let Some(member) = self.members.get_mut(&asker) {
            member.caught_up = true;
        }
        if !from_caught_up {
            self.coverage.clear();
        }
        self.exchange(now);
        self.ask_waiting(now);
    }

    /// Somebody who has this will have caught up.
    pub(super) fn hold(&mut self, has: &StateVector) {
        let before = self.common.take().filter(|_| self.has_caught_up());
        let common = before.as_ref().map_or_else(|| has.clone(), |before| before.lower(has));
        if before.is_some_and(|before| before != common) {
            // What peers were not asked for in its name.
            self.exchange_anew(false);
        }
        self.common = Some(common);
    }

    /// A member answers the question that it was asked.
    pub(super) fn member_answers(
        &mut self,
        now: Millis,
        id: MemberId,
        ask: AskId,
        asker: Asker,
        update: &Update,
    ) {
        match self.put_to(ask, Answerer::Member(id)) {
            Some(asked) => {
                let caught_up = asked.of_caught_up;
                let reply = Reply { update: update.bytes().clone(), archived: None, caught_up };
                self.answered_by(now, ask, asked.answerer, reply);
            }
            // Too late: another answered. What it has may still be more.
            None if update.is_empty() => {}
            None => match asker {
                Asker::Member(asker) => {
                    if self.members.contains_key(&asker) {
                        self.tell(asker, y_protocols::update(update.bytes()));
                    }
                }
                Asker::Peer(peer, _) => {
                    let (ticket, arrival, update) = (None, Arrival::Content, update.clone());
                    self.tell_peer(peer, PeerMessage::Update { ticket, arrival, update });
                }
                Asker::Room(_) => {}
            },
        }
    }

    fn put_to(&self, ask: AskId, answerer: Answerer) -> Option<Asked> {
        self.questions.get(&ask)?.asked.filter(|asked| asked.answerer == answerer)
    }

    /// A peer answers a question.
    pub(super) fn peer_answers(
        &mut self,
        now: Millis,
        peer: PeerId,
        ask: AskId,
        result: Result<Option<PeerAnswer>, StoreRefused>,
    ) {
        if self.archive_peer == Some(peer) && matches!(result, Err(StoreRefused::Deleted)) {
            self.close_question(ask);
            self.close_everybody(StoreRefused::Deleted);
            return;
        }
        if self.put_to(ask, Answerer::Peer(peer)).is_none() {
            self.peer_is_late(peer, ask, result.ok().flatten());
            return;
        }
        match result {
            Ok(Some(PeerAnswer { update, archived, caught_up })) => {
                self.answered_by(now, ask, Answerer::Peer(peer), Reply { update, archived, caught_up });
            }
            Ok(None) => {
                let asker = self.questions.get(&ask).map(|question| question.asker);
                if asker == Some(Asker::Room(peer)) {
                    self.exchanged(peer, false);
                    self.close_question(ask);
                } else {
                    self.ask(now, ask);
                }
            }
            Err(reason) => self.peer_refuses(now, peer, ask, reason),
        }
        self.ask_waiting(now);
    }

    /// Another answered. What this one has may still be more.
    fn peer_is_late(&mut self, peer: PeerId, ask: AskId, answer: Option<PeerAnswer>) {
        if let Some(id) = self.late.remove(&(ask, peer))
            && let Some(PeerAnswer { update, .. }) = answer
            && self.members.contains_key(&id)
        {
            self.tell(id, y_protocols::update(&update));
        }
    }

    fn peer_refuses(&mut self, now: Millis, peer: PeerId, ask: AskId, reason: StoreRefused) {
        let of_archive = self.archive_peer == Some(peer);
        let Some(question) = self.questions.get_mut(&ask) else { return };
        match question.asker {
            Asker::Member(id) if of_archive => {
                self.close_question(ask);
                self.close(id, reason);
            }
            Asker::Room(_) if reason == StoreRefused::Deleted => {
                self.close_question(ask);
                self.close_everybody(reason);
            }
            Asker::Room(_) => {
                // Until it can say what it has, nothing is settled.
                if let Some(asked) = &mut question.asked {
                    asked.deadline = Some(now.plus(ANSWER_MS));
                }
            }
            Asker::Member(_) | Asker::Peer(..) => self.ask(now, ask),
        }
    }

    fn answered_by(&mut self, now: Millis, ask: AskId, by: Answerer, reply: Reply) {
        let Some(question) = self.close_question(ask) else { return };
        match question.asker {
            Asker::Peer(peer, ask) => {
                let Reply { update, archived, caught_up } = reply;
                let answer = PeerAnswer { update, archived, caught_up };
                self.tell_peer(peer, PeerMessage::Answer { ask, result: Ok(Some(answer)) });
            }
            Asker::Room(peer) => self.peer_showed(now, peer, ask, reply),
            Asker::Member(id) => self.member_is_answered(now, ask, id, question, by, &reply),
        }
    }

    fn member_is_answered(
        &mut self,
        now: Millis,
        ask: AskId,
        id: MemberId,
        mut question: Question,
        by: Answerer,
        reply: &Reply,
    ) {
        let is_first = question.served.is_none();
        if let Some(archived) = &reply.archived {
            let reign = (self.archive_peer.map(Answerer::Peer) == Some(by)).then_some(self.reign);
            let is_settled = self.members.get(&id).is_none_or(|member| member.settled == reign);
            let counted = !std::mem::replace(&mut question.own_asked, true);
            if counted || !is_settled {
                self.ask_own_content(id, archived, counted, reign);
            }
        }
        match is_first {
            true => self.serve(id, reply.update.clone()),
            false => self.tell(id, y_protocols::update(&reply.update)),
        }
        let by_member = matches!(by, Answerer::Member(_));
        if let Answerer::Peer(peer) = by
            && reply.caught_up
            && is_first
            && self.members.len() == 1
        {
            // All who are here have what it has.
            self.exchanged(peer, true);
        }
        if is_first && by_member && (reply.caught_up || self.peers.is_empty()) {
            // Who has caught up has everything that passed by here.
            if !reply.caught_up || !self.has_caught_up() {
                self.hold(&question.state_vector);
            }
            self.caught_up(now, id, reply.caught_up);
            return;
        }
        let mut has = question.served.take().unwrap_or_default();
        has.add_state_vector(&question.state_vector);
        if let Some(archived) = &reply.archived {
            has.add_state_vector(archived);
        }
        if let Ok(update) = Update::parse(reply.update.clone()) {
            has.add(&update);
        }
        if has.includes(&self.coverage) {
            self.hold(&has.state_vector());
            self.caught_up(now, id, true);
            return;
        }
        // Something passed by here that did not reach whoever answered, or not yet.
        question.state_vector = has.state_vector();
        question.served = Some(has);
        question.asked = None;
        self.reopen(now, ask, question);
    }
}
