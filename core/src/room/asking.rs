//! Who answers a question: a `SyncStep1` of a member, a question of a peer, or one of the room itself.
//!
//! Each question is put to exactly one answerer at a time, and answered once. The archive answers if it is in reach;
//! else a local member that has caught up, else a peer that has such a one, else whoever is there. A peer's question
//! goes to local members only, so that questions do not wander.

use std::collections::{BTreeMap, BTreeSet};

use crate::dialect::y_protocols;
use crate::id::PeerId;
use crate::time::Millis;
use crate::update::{Coverage, StateVector, Update};

use super::effect::{Effect, MemberId, Violation};
use super::machine::Room;
use super::member::{Content, OPEN_MAX, Purpose, READS_MAX};
use super::peer::{AskId, PeerMessage};
use super::peers::PEER_OPEN_MAX;

/// How long one answerer has, in milliseconds, before a second one is asked.
pub(super) const ANSWER_MS: u64 = 5_000;
/// How long a peer has: it may have to ask two of its members.
pub(super) const PEER_ANSWER_MS: u64 = 2 * ANSWER_MS + 1_000;
/// Rounds through all answerers before an asker is left with what it has.
pub(super) const ROUNDS_MAX: u32 = 3;

/// Most questions of members that are open at an archive elsewhere at once. It always answers, so the next ones need
/// not wait long; and after a loss all are put again, while it may still be at the old ones.
const ARCHIVE_OPEN_MAX: usize = 16;
/// Most questions that a peer did not answer in time and whose askers are remembered; 32 bytes each.
const LATE_MAX: usize = 1024;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A member, by `SyncStep1`.
    Member(MemberId),
    /// A peer, in its own words.
    Peer(PeerId, AskId),
    /// The room itself asks this peer what it has that may not be here.
    Room(PeerId),
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answerer {
    Member(MemberId),
    Peer(PeerId),
}

/// To whom a question was put last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) answerer: Answerer,
    /// Whether a member had caught up when it was asked.
    pub(super) of_caught_up: bool,
    /// The archive has none: nobody else knows what it would have said.
    pub(super) deadline: Option<Millis>,
}

/// An open question.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) asker: Asker,
    pub(super) state_vector: StateVector,
    /// None while it waits for the end of the roll call, or for a peer that has too many.
    pub(super) asked: Option<Asked>,
    pub(super) tried: BTreeSet<Answerer>,
    rounds: u32,
    /// The asking member was asked for its own content.
    pub(super) own_asked: bool,
    /// The asking member was answered and has this, which is less than passed by here. What it lacks is asked of
    /// others, and handed to it as updates.
    pub(super) served: Option<Coverage>,
}

enum Choice {
    Ask(Answerer),
    Wait,
    Nobody,
}

impl Room {
    /// A member's `SyncStep1`.
    pub(super) fn sync_requested(
        &mut self,
        now: Millis,
        id: MemberId,
        state_vector: StateVector,
    ) -> Result<(), Violation> {
        let archive_in_reach = self.archive_in_reach();
        let archive_here = self.archive_here();
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        let asking = member.questions.len();
        if member.reads >= READS_MAX || (asking >= READS_MAX && archive_in_reach) {
            return Err(Violation::TooManyRequests { max: READS_MAX });
        }
        if member.expected.len() >= OPEN_MAX {
            return Err(Violation::TooManyRequests { max: OPEN_MAX });
        }
        if archive_here {
            member.reads += 1;
            self.effects.push_back(Effect::Read { asker: id, state_vector });
            return Ok(());
        }
        if asking >= READS_MAX
            && let Some(oldest) = member.questions.pop_first()
        {
            // A client that asks anew instead of waiting: its oldest answer will reach it as an update.
            self.close_question(oldest);
        }
        self.open_question(now, Asker::Member(id), state_vector);
        Ok(())
    }

    /// Puts a new question to whoever is best.
    pub(super) fn open_question(&mut self, now: Millis, asker: Asker, state_vector: StateVector) {
        let ask = self.new_ask();
        self.reopen(now, ask, Question::new(asker, state_vector));
    }

    fn new_ask(&mut self) -> AskId {
        self.new_ask_that(false, false)
    }

    pub(super) fn new_ask_that(&mut self, reaches_archive: bool, asks_back: bool) -> AskId {
        self.asks += 1;
        AskId::new(self.asks, reaches_archive, asks_back)
    }

    /// Puts a question that is not open, or no more.
    pub(super) fn reopen(&mut self, now: Millis, ask: AskId, question: Question) {
        self.enter(ask, question);
        self.ask(now, ask);
    }

    fn enter(&mut self, ask: AskId, question: Question) {
        match question.asker {
            Asker::Member(id) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.questions.insert(ask);
                }
            }
            Asker::Peer(id, _) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.asking += 1;
                }
            }
            Asker::Room(_) => {}
        }
        self.questions.insert(ask, question);
    }

    /// A question is answered, or is no more.
    pub(super) fn close_question(&mut self, ask: AskId) -> Option<Question> {
        let question = self.questions.remove(&ask)?;
        if self.questions.is_empty() {
            // An empty map keeps room for eleven.
            self.questions = BTreeMap::new();
        }
        self.ask_no_more(question.asked);
        match question.asker {
            Asker::Member(id) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.asks_no_more(ask);
                }
            }
            Asker::Peer(id, _) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.asking = peer.asking.saturating_sub(1);
                }
            }
            Asker::Room(_) => {}
        }
        Some(question)
    }

    fn ask_no_more(&mut self, asked: Option<Asked>) {
        if let Some(Asked { answerer: Answerer::Peer(id), .. }) = asked
            && let Some(peer) = self.peers.get_mut(&id)
        {
            peer.asked = peer.asked.saturating_sub(1);
        }
    }

    /// Closes all questions that `which` names, unanswered.
    pub(super) fn close_questions(&mut self, which: impl Fn(&Question) -> bool) {
        for ask in self.questions_that(which) {
            self.close_question(ask);
        }
    }

    fn questions_that(&self, which: impl Fn(&Question) -> bool) -> Vec<AskId> {
        self.questions.iter().filter(|(_, question)| which(question)).map(|(ask, _)| *ask).collect()
    }

    /// Puts the questions that `which` names to the next best.
    pub(super) fn next_choice(&mut self, now: Millis, which: impl Fn(&Question) -> bool) {
        for ask in self.questions_that(which) {
            self.ask(now, ask);
        }
    }

    /// Puts the questions that `which` names again, also to whom they were put before: not everything that these said
    /// was heard. An answer to the old ones would be from before that.
    pub(super) fn put_anew(&mut self, now: Millis, which: impl Fn(&Question) -> bool) {
        for old in self.questions_that(which) {
            let Some(mut question) = self.close_question(old) else { continue };
            if let Some(asked) = question.asked.take() {
                question.tried.remove(&asked.answerer);
                self.may_be_late(old, Some(asked), question.asker);
            }
            let ask = self.new_ask();
            self.reopen(now, ask, question);
        }
    }

    /// Lets the questions that `which` names wait for the next choice, under other names.
    pub(super) fn take_back(&mut self, which: impl Fn(&Question) -> bool) {
        for old in self.questions_that(which) {
            let Some(mut question) = self.close_question(old) else { continue };
            question.asked = None;
            let ask = self.new_ask();
            self.enter(ask, question);
        }
    }

    /// A peer did not answer yet, and may still.
    fn may_be_late(&mut self, ask: AskId, asked: Option<Asked>, asker: Asker) {
        if let (Some(Asked { answerer: Answerer::Peer(peer), .. }), Asker::Member(id)) = (asked, asker) {
            if self.late.len() >= LATE_MAX {
                self.late.pop_first();
            }
            self.late.insert((ask, peer), id);
        }
    }

    /// Whoever waits for someone to be asked may have one now.
    pub(super) fn ask_waiting(&mut self, now: Millis) {
        self.next_choice(now, |question| question.asked.is_none());
    }

    /// Puts a question to the best who was not tried yet; answers with nothing only when nobody else is there.
    pub(super) fn ask(&mut self, now: Millis, ask: AskId) {
        let Some(question) = self.questions.get_mut(&ask) else { return };
        let (before, asker) = (question.asked.take(), question.asker);
        self.ask_no_more(before);
        self.may_be_late(ask, before, asker);
        let Some(question) = self.questions.get(&ask) else { return };
        let mut choice = self.choose(question, &question.tried);
        if matches!(choice, Choice::Nobody) && question.may_go_round() {
            choice = self.choose(question, &BTreeSet::new());
            if let Some(question) = self.questions.get_mut(&ask) {
                question.rounds = question.rounds.saturating_add(1);
                question.tried.clear();
            }
        }
        match choice {
            Choice::Ask(answerer) => self.put(now, ask, answerer),
            Choice::Wait => {}
            Choice::Nobody => self.nobody_answers(now, ask),
        }
    }

    fn choose(&self, question: &Question, tried: &BTreeSet<Answerer>) -> Choice {
        match question.asker {
            Asker::Room(peer) => {
                match self.peers.contains_key(&peer) && !tried.contains(&Answerer::Peer(peer)) {
                    true => Choice::Ask(Answerer::Peer(peer)),
                    false => Choice::Nobody,
                }
            }
            Asker::Peer(..) => match self.best_member(None, tried) {
                Some((id, _)) => Choice::Ask(Answerer::Member(id)),
                None => Choice::Nobody,
            },
            Asker::Member(asker) => self.choose_for_member(asker, question, tried),
        }
    }

    fn choose_for_member(&self, asker: MemberId, question: &Question, tried: &BTreeSet<Answerer>) -> Choice {
        let most = |id| if self.archive_peer == Some(id) { ARCHIVE_OPEN_MAX } else { PEER_OPEN_MAX };
        let is_free = |id: PeerId| self.peers.get(&id).is_some_and(|peer| peer.asked < most(id));
        let of_peer = |id: PeerId| match is_free(id) {
            true => Choice::Ask(Answerer::Peer(id)),
            false => Choice::Wait,
        };
        let untried = |id: &PeerId| !tried.contains(&Answerer::Peer(*id));
        if let Some(archive) = self.archive_peer.filter(untried) {
            return of_peer(archive);
        }
        let member = self.best_member(Some(asker), tried);
        if let Some((id, true)) = member {
            return Choice::Ask(Answerer::Member(id));
        }
        if self.is_calling() && question.served.is_none() {
            return Choice::Wait;
        }
        let mut peers = self.peers.iter().filter(|(id, _)| untried(id));
        let first_peer = peers.clone().next().map(|(id, _)| *id);
        let caught_up = peers.find(|(_, peer)| peer.roll.caught_up || peer.roll.archive).map(|(id, _)| *id);
        match (caught_up, member, first_peer) {
            (Some(peer), _, _) | (None, None, Some(peer)) => of_peer(peer),
            (None, Some((id, _)), _) => Choice::Ask(Answerer::Member(id)),
            (None, None, None) => Choice::Nobody,
        }
    }

    /// The oldest member that has caught up, else the oldest at all; and whether it has caught up.
    fn best_member(&self, asker: Option<MemberId>, tried: &BTreeSet<Answerer>) -> Option<(MemberId, bool)> {
        let mut candidates = self.members.iter().filter(|(id, member)| {
            Some(**id) != asker
                && !member.reads_only
                && !tried.contains(&Answerer::Member(**id))
                && member.expected.len() < OPEN_MAX
        });
        let first = candidates.clone().next().map(|(id, member)| (*id, member.caught_up));
        candidates.find(|(_, member)| member.caught_up).map(|(id, _)| (*id, true)).or(first)
    }

    fn put(&mut self, now: Millis, ask: AskId, answerer: Answerer) {
        let Some(question) = self.questions.get(&ask) else { return };
        let (asker, state_vector) = (question.asker, question.state_vector.clone());
        let to_archive = self.archive_peer.map(Answerer::Peer) == Some(answerer);
        if !to_archive {
            self.ask_own_content_first(ask);
        }
        let (mut of_caught_up, mut deadline) = (false, None);
        match answerer {
            Answerer::Member(id) => {
                deadline = Some(now.plus(ANSWER_MS));
                if let Some(member) = self.members.get_mut(&id) {
                    of_caught_up = member.caught_up;
                    member.expected.push_back(Purpose::AnswerFor(ask, asker));
                }
                self.tell(id, y_protocols::sync_step1(&state_vector.encode()));
            }
            Answerer::Peer(peer) => {
                if !to_archive {
                    deadline = Some(now.plus(PEER_ANSWER_MS));
                }
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.asked += 1;
                }
                self.late.remove(&(ask, peer));
                self.tell_peer(peer, PeerMessage::Ask { ask, state_vector });
            }
        }
        if let Some(question) = self.questions.get_mut(&ask) {
            question.tried.insert(answerer);
            question.asked = Some(Asked { answerer, of_caught_up, deadline });
        }
    }

    /// Without the archive's word for what it has, a member is asked for its own content before it is answered.
    fn ask_own_content_first(&mut self, ask: AskId) {
        let Some(question) = self.questions.get_mut(&ask) else { return };
        let Asker::Member(id) = question.asker else { return };
        if !std::mem::replace(&mut question.own_asked, true) {
            // What the others hold need not be pushed again, but only if all of them really hold it.
            let all_caught_up = self.members.iter().all(|(other, member)| *other == id || member.caught_up);
            let known = if all_caught_up { self.coverage.state_vector() } else { StateVector::default() };
            self.ask_own_content(id, &known, true, None);
        }
    }

    /// Asks a member for what it has beyond `known`; if that is what the archive has, `reign` says of which reign.
    pub(super) fn ask_own_content(
        &mut self,
        id: MemberId,
        known: &StateVector,
        counted: bool,
        reign: Option<u64>,
    ) {
        if let Some(member) = self.members.get_mut(&id) {
            if reign.is_some() {
                member.settled = reign;
            }
            if !counted && member.is_asked_for_all() {
                // Its answer to that will do.
                return;
            }
            if member.reads_only {
                // What it answers does not come here, unless it is empty: no order is to be kept.
                member.expected.clear();
            }
            let content = Content { counted, whole: known.is_empty(), reign };
            member.expected.push_back(Purpose::OwnContent(content));
            self.answer(id, y_protocols::sync_step1(&known.encode()));
        }
    }

    fn nobody_answers(&mut self, now: Millis, ask: AskId) {
        self.ask_own_content_first(ask);
        let Some(question) = self.close_question(ask) else { return };
        match question.asker {
            Asker::Member(id) => {
                if question.served.is_none() {
                    self.serve(id, Update::empty().bytes().clone());
                }
                self.hold(&question.state_vector);
                self.caught_up(now, id, false);
            }
            Asker::Peer(peer, ask) => self.tell_peer(peer, PeerMessage::Answer { ask, result: Ok(None) }),
            Asker::Room(_) => {}
        }
    }
}

impl Question {
    pub(super) fn new(asker: Asker, state_vector: StateVector) -> Self {
        let (tried, served) = (BTreeSet::new(), None);
        Self { asker, state_vector, asked: None, tried, rounds: 0, own_asked: false, served }
    }

    fn may_go_round(&self) -> bool {
        match self.asker {
            Asker::Member(_) => {
                self.served.is_none() && !self.tried.is_empty() && self.rounds + 1 < ROUNDS_MAX
            }
            // Until the peer answers or goes.
            Asker::Room(_) => true,
            Asker::Peer(..) => false,
        }
    }
}
