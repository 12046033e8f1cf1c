//! The machine itself: one method an event, effects in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::dialect::y_protocols::{self, Message};
use crate::time::Millis;
use crate::update::{Coverage, StateVector, Update};
use crate::validate::AwarenessUpdate;

use super::answer::{ANSWER_MS, Ask, Member, OPEN_MAX, Purpose, READS_MAX, ROUNDS_MAX};
use super::effect::{Acknowledgement, Answer, Arrival, Effect, MemberId, StoreRefused, Ticket, Violation};
use super::presence::{Presence, PresenceLimits};

/// One room. Members are ordered by id, so the driver's growing ids make the lowest the oldest.
#[derive(Debug)]
pub struct Room {
    acknowledgement: Acknowledgement,
    members: BTreeMap<MemberId, Member>,
    presence: Presence,
    /// Invariant without an archive: each member that has caught up was handed all of it.
    coverage: Coverage,
    tickets: BTreeMap<Ticket, MemberId>,
    next_ticket: Ticket,
    effects: VecDeque<Effect>,
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
            tickets: BTreeMap::new(),
            next_ticket: Ticket(1),
            effects: VecDeque::new(),
        }
    }

    /// The same with other bounds on what a member may show.
    #[must_use]
    pub fn with_presence(acknowledgement: Acknowledgement, limits: PresenceLimits) -> Self {
        Self { presence: Presence::new(limits), ..Self::new(acknowledgement) }
    }

    /// The newest entry of each awareness client that changed after the first so many changes of presence.
    #[must_use]
    pub fn presence_since(&self, changes: u64) -> Option<AwarenessUpdate> {
        self.presence.since(changes)
    }

    /// Whether nobody is in it and nothing is on its way to the archive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.tickets.is_empty()
    }

    /// Number of members.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The next thing to do, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Room::handle_timeout`] must be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.members.values().filter_map(|member| member.ask.as_ref().map(|ask| ask.deadline)).min()
    }

    /// A member comes; it is shown who is present.
    pub fn join(&mut self, id: MemberId, counts_acknowledgements: bool) {
        self.members.insert(id, Member { counts_acknowledgements, ..Member::default() });
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
                self.answer_arrived(id, update);
                Ok(())
            }
            Message::Update(update) => {
                self.accept(id, update, Arrival::Change);
                Ok(())
            }
            Message::Awareness(update) => {
                let before = self.presence.changes();
                if let Some(news) = self.presence.observe(id, update)? {
                    // Back to its sender as well: the echo is what keeps a lone idle client connected.
                    let body = y_protocols::awareness(&news.encode());
                    self.effects.push_back(Effect::Spread { except: None, body, presence: Some(before) });
                }
                Ok(())
            }
            Message::QueryAwareness => {
                self.show_presence(id);
                Ok(())
            }
        }
    }

    /// A member goes: goodbyes are said for it, its open answers are asked of others.
    pub fn leave(&mut self, now: Millis, id: MemberId) {
        let Some(gone) = self.members.remove(&id) else { return };
        let before = self.presence.changes();
        if let Some(goodbyes) = self.presence.leave(id)
            && !self.members.is_empty()
        {
            let body = y_protocols::awareness(&goodbyes.encode());
            self.effects.push_back(Effect::Spread { except: None, body, presence: Some(before) });
        }
        if self.has_archive() {
            return;
        }
        if gone.caught_up && !self.members.values().any(|member| member.caught_up) {
            self.ask_everybody_anew();
        }
        self.next_choice(now, |ask| ask.answerer == id);
    }

    /// The archive answers [`Effect::Store`].
    pub fn stored(&mut self, ticket: Ticket, result: Result<(), StoreRefused>) {
        let Some(id) = self.tickets.remove(&ticket) else { return };
        if result.is_err() {
            // What was not stored must be news when it comes again, also to those who joined since.
            self.coverage.clear();
        }
        if self.members.get(&id).is_some_and(|member| member.counts_acknowledgements) {
            self.effects.push_back(Effect::Acknowledge { to: id, applied: result.is_ok() });
        }
        if let Err(reason) = result {
            // Stock clients send again what was not taken only after they reconnected.
            self.close(id, reason);
        }
    }

    /// The archive answers [`Effect::Read`].
    pub fn answered(&mut self, asker: MemberId, result: Result<Answer, StoreRefused>) {
        if let Some(member) = self.members.get_mut(&asker) {
            member.reads = member.reads.saturating_sub(1);
            member.caught_up |= result.is_ok();
        } else if result.is_ok() {
            return;
        }
        match result {
            Ok(answer) => {
                self.coverage.add_state_vector(&answer.state_vector);
                self.ask_own_content(asker, &answer.state_vector);
                self.serve(asker, answer.update);
            }
            Err(reason) => self.close(asker, reason),
        }
    }

    /// The archive serves an update from now on that it had kept back: everybody who is here is sent it, as who joins
    /// will be. It is stored already.
    pub fn released(&mut self, update: &Update) {
        self.coverage.add(update);
        self.spread(None, y_protocols::update(update.bytes()));
    }

    /// Time has passed: who was asked too long ago is passed over.
    pub fn handle_timeout(&mut self, now: Millis) {
        self.next_choice(now, |ask| ask.deadline <= now);
    }

    fn has_archive(&self) -> bool {
        self.acknowledgement == Acknowledgement::Durable
    }

    /// A deleted document is gone for everybody in its room, whoever was told of it.
    fn close(&mut self, id: MemberId, reason: StoreRefused) {
        let members = self.members.keys().filter(|member| **member == id || reason == StoreRefused::Deleted);
        self.effects.extend(members.map(|member| Effect::Close { member: *member, reason }));
    }

    fn answer(&mut self, to: MemberId, body: Bytes) {
        self.effects.push_back(Effect::Send { to, body, asked_for: true });
    }

    fn serve(&mut self, to: MemberId, update: Bytes) {
        self.effects.push_back(Effect::Serve { to, update });
    }

    fn tell(&mut self, to: MemberId, body: Bytes) {
        self.effects.push_back(Effect::Send { to, body, asked_for: false });
    }

    fn spread(&mut self, except: Option<MemberId>, body: Bytes) {
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

    fn sync_requested(
        &mut self,
        now: Millis,
        id: MemberId,
        state_vector: StateVector,
    ) -> Result<(), Violation> {
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        if member.reads >= READS_MAX {
            return Err(Violation::TooManyRequests { max: READS_MAX });
        }
        if member.expected.len() >= OPEN_MAX {
            return Err(Violation::TooManyRequests { max: OPEN_MAX });
        }
        if self.acknowledgement == Acknowledgement::Durable {
            member.reads += 1;
            self.effects.push_back(Effect::Read { asker: id, state_vector });
            return Ok(());
        }
        // What the others hold need not be pushed again, but only if all of them really hold it.
        let all_caught_up = self.members.iter().all(|(other, member)| *other == id || member.caught_up);
        let known = if all_caught_up { self.coverage.state_vector() } else { StateVector::default() };
        self.ask_own_content(id, &known);
        self.ask(now, id, state_vector, BTreeSet::new(), 0);
        Ok(())
    }

    fn ask_own_content(&mut self, id: MemberId, known: &StateVector) {
        if let Some(member) = self.members.get_mut(&id) {
            member.expected.push_back(Purpose::OwnContent);
            self.answer(id, y_protocols::sync_step1(&known.encode()));
        }
    }

    /// Asks the best member that was not tried yet; answers with nothing only when nobody else is there.
    fn ask(
        &mut self,
        now: Millis,
        asker: MemberId,
        sv: StateVector,
        mut tried: BTreeSet<MemberId>,
        mut rounds: u32,
    ) {
        let mut answerer = self.choose(asker, &tried);
        if answerer.is_none() && !tried.is_empty() {
            rounds += 1;
            tried.clear();
            answerer = if rounds < ROUNDS_MAX { self.choose(asker, &tried) } else { None };
        }
        let Some(answerer) = answerer else {
            self.caught_up(asker, false);
            self.serve(asker, Update::empty().bytes().clone());
            return;
        };
        tried.insert(answerer);
        let mut of_caught_up = false;
        if let Some(member) = self.members.get_mut(&answerer) {
            of_caught_up = member.caught_up;
            member.expected.push_back(Purpose::AnswerFor(asker));
        }
        self.tell(answerer, y_protocols::sync_step1(&sv.encode()));
        if let Some(member) = self.members.get_mut(&asker) {
            let deadline = now.plus(ANSWER_MS);
            member.ask = Some(Ask { state_vector: sv, answerer, of_caught_up, deadline, tried, rounds });
        }
    }

    /// The asker has all that could be reached. Only if that came `from_caught_up` is it sure to hold everything
    /// that is covered; what others pushed before may have gone with them, and is asked for again.
    fn caught_up(&mut self, asker: MemberId, from_caught_up: bool) {
        if let Some(member) = self.members.get_mut(&asker) {
            member.ask = None;
            member.caught_up = true;
        }
        if !from_caught_up {
            self.coverage.clear();
        }
    }

    /// The oldest member that has caught up, else the oldest at all.
    fn choose(&self, asker: MemberId, tried: &BTreeSet<MemberId>) -> Option<MemberId> {
        let free = |id: &MemberId, member: &Member| {
            *id != asker && !tried.contains(id) && member.expected.len() < OPEN_MAX
        };
        let mut candidates = self.members.iter().filter(|(id, member)| free(id, member));
        let first = candidates.clone().next().map(|(id, _)| *id);
        candidates.find(|(_, member)| member.caught_up).map(|(id, _)| *id).or(first)
    }

    fn next_choice(&mut self, now: Millis, due: impl Fn(&Ask) -> bool) {
        let askers: Vec<_> = self
            .members
            .iter()
            .filter_map(|(id, member)| {
                member.ask.as_ref().filter(|ask| due(ask)).map(|ask| (*id, ask.clone()))
            })
            .collect();
        for (asker, ask) in askers {
            self.ask(now, asker, ask.state_vector, ask.tried, ask.rounds);
        }
    }

    fn answer_arrived(&mut self, id: MemberId, update: Update) {
        let purpose = self.members.get_mut(&id).and_then(|member| member.expected.pop_front());
        let Some(Purpose::AnswerFor(asker)) = purpose else {
            // Own content, or an answer that nobody asked for: news like any other.
            self.accept(id, update, Arrival::Content);
            return;
        };
        self.acknowledge_forwarded(id);
        let Some(member) = self.members.get(&asker) else { return };
        if let Some(ask) = member.ask.as_ref().filter(|ask| ask.answerer == id) {
            self.caught_up(asker, ask.of_caught_up);
            self.serve(asker, update.bytes().clone());
        } else if !update.is_empty() {
            // Too late: another answered. What it has may still be more.
            self.tell(asker, y_protocols::update(update.bytes()));
        }
    }

    /// An update is spread if it may be news to anyone, stored where there is an archive, and acknowledged by
    /// policy.
    fn accept(&mut self, id: MemberId, update: Update, arrival: Arrival) {
        let news = self.coverage.add(&update) || arrival == Arrival::Change;
        let everybody_has = self.has_archive() || self.members.values().all(|member| member.caught_up);
        if !update.is_empty() && (news || !everybody_has) {
            self.spread(Some(id), y_protocols::update(update.bytes()));
        }
        if self.has_archive() {
            // An empty one, too: it says "I have nothing that you lack", and what is here may not be durable yet.
            let ticket = self.next_ticket;
            self.next_ticket = Ticket(ticket.0.saturating_add(1));
            self.tickets.insert(ticket, id);
            self.effects.push_back(Effect::Store { ticket, update, arrival });
        } else {
            self.acknowledge_forwarded(id);
        }
    }

    fn acknowledge(&mut self, id: MemberId) {
        if self.members.get(&id).is_some_and(|member| member.counts_acknowledgements) {
            self.effects.push_back(Effect::Acknowledge { to: id, applied: true });
        }
    }

    fn acknowledge_forwarded(&mut self, id: MemberId) {
        if self.acknowledgement == Acknowledgement::Forwarded {
            self.acknowledge(id);
        }
    }

    /// The last member that held everything is gone: what the room believes to be known may be nowhere.
    fn ask_everybody_anew(&mut self) {
        self.coverage.clear();
        let everybody: Vec<_> = self.members.keys().copied().collect();
        for id in everybody {
            self.ask_own_content(id, &StateVector::default());
        }
    }
}
