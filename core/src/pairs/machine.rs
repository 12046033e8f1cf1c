//! The machine itself: one method an event, effects in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::effect::{Effect, Slot};
use super::member::Member;
use crate::room::MemberId;
use crate::time::Millis;
use crate::validate::SyncOutline;

/// The members of one Automerge document. They are ordered by id, so the driver's growing ids make the lowest the
/// oldest.
#[derive(Debug)]
pub struct Pairs {
    /// Most members that are paired; none where an archive answers.
    pub(super) seats: usize,
    /// The archive's storage, of which only it may speak.
    pub(super) home: Option<Arc<str>>,
    pub(super) members: BTreeMap<MemberId, Member>,
    /// When storages stood somewhere that are not here, in ms since 1970, as far as somebody said.
    pub(super) reports: BTreeMap<Arc<str>, u64>,
    /// Whose event this is.
    pub(super) acting: Option<MemberId>,
    pub(super) effects: VecDeque<Effect>,
}

impl Pairs {
    /// Nobody yet. At most so many members are paired with each other.
    #[must_use]
    pub fn new(seats: usize) -> Self {
        Self {
            seats,
            home: None,
            members: BTreeMap::new(),
            reports: BTreeMap::new(),
            acting: None,
            effects: VecDeque::new(),
        }
    }

    /// For a document that an archive with this storage id answers for: nobody is paired.
    #[must_use]
    pub fn at_an_archive(storage: &str) -> Self {
        let mut pairs = Self::new(0);
        pairs.home = Some(storage.into());
        pairs
    }

    /// Whether nobody is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The next thing to do, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Pairs::handle_timeout`] must be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.members.values().filter_map(|member| member.deadline).min()
    }

    /// A member comes, with the storage that it says is behind it.
    pub fn enter(&mut self, id: MemberId, storage: Option<&str>) {
        let storage = storage.filter(|storage| self.home.as_deref() != Some(storage)).map(Arc::from);
        let seated = self.members.values().filter(|member| member.seated).count() < self.seats;
        self.members.entry(id).or_insert_with(|| Member::new(storage, seated));
    }

    /// A validated sync message of a member to one of its slots; none if it was for a peer that is none of them.
    pub fn sync(&mut self, now: Millis, id: MemberId, slot: Option<Slot>, data: Bytes, is_request: bool) {
        let Ok(outline) = SyncOutline::of(&data) else { return };
        let Some(member) = self.members.get_mut(&id) else { return };
        self.acting = Some(id);
        (member.open, member.spoke) = (true, true);
        if is_request && outline.heads.is_empty() && member.has {
            self.lost(now, id);
        }
        self.hear_heads(id, outline.heads);
        let brings = outline.brings;
        if self.is_to_be_heard(id, outline)
            && let Some(partner) = slot.and_then(|slot| self.partner(id, slot))
        {
            self.forward(id, partner, data, brings);
        }
        if self.is_seated(id) {
            self.settle(now, id);
            for partner in self.partners(id) {
                self.settle(now, partner);
            }
        }
        if is_request
            && self.seats > 0
            && let Some(slot) = slot
            && self.partner(id, slot).is_none()
        {
            self.effects.push_back(Effect::Unavailable { to: id, slot, asked_for: true });
        }
        self.acting = None;
    }

    /// A member has not got the document, or may not give it, for one of its slots.
    pub fn unavailable(&mut self, now: Millis, id: MemberId, slot: Slot) {
        let Some(asker) = self.partner(id, slot) else { return };
        if let Some(member) = self.members.get_mut(&asker)
            && !member.holds
        {
            member.refused.insert(id);
            self.replace(now, asker, id);
        }
    }

    /// An ephemeral message of a member. What is not for slot 0 is a copy.
    pub fn say(&mut self, id: MemberId, slot: Slot, count: u64, session: &str, data: &Bytes) {
        if slot != Slot(0) || !self.members.contains_key(&id) {
            return;
        }
        let session: Arc<str> = session.into();
        let others = self.members.keys().filter(|other| **other != id);
        self.effects.extend(others.map(|to| Effect::Say {
            to: *to,
            from: id,
            count,
            session: Arc::clone(&session),
            data: data.clone(),
        }));
    }

    /// A member goes; the next that waits for a seat has one.
    pub fn leave(&mut self, now: Millis, id: MemberId) {
        let Some(gone) = self.members.remove(&id) else { return };
        for member in self.members.values_mut() {
            member.refused.remove(&id);
        }
        for partner in gone.all_partners() {
            self.replace(now, partner, id);
        }
        if gone.seated
            && let Some((next, member)) = self.members.iter_mut().find(|(_, member)| !member.seated)
        {
            member.seated = true;
            let next = *next;
            self.settle(now, next);
        }
    }

    /// Time has passed: partners that were silent for too long are passed over.
    pub fn handle_timeout(&mut self, now: Millis) {
        let due = |member: &Member| member.deadline.is_some_and(|deadline| deadline <= now);
        let late: Vec<_> = self.members.iter().filter(|(_, member)| due(member)).map(|(id, _)| *id).collect();
        for id in late {
            self.pass_over(now, id);
        }
    }

    pub(super) fn partner(&self, id: MemberId, slot: Slot) -> Option<MemberId> {
        self.members.get(&id)?.partner(slot)
    }

    pub(super) fn partners(&self, id: MemberId) -> Vec<MemberId> {
        self.members.get(&id).map(|member| member.all_partners().collect()).unwrap_or_default()
    }

    fn is_seated(&self, id: MemberId) -> bool {
        self.members.get(&id).is_some_and(|member| member.seated)
    }

    /// Whoever has nothing asks each time that its partner greets it, and is answered each time with the whole
    /// document. Once is enough.
    fn is_to_be_heard(&mut self, id: MemberId, outline: SyncOutline<'_>) -> bool {
        let Some(member) = self.members.get_mut(&id).filter(|_| outline.heads.is_empty() && !outline.brings)
        else {
            return true;
        };
        let is_heard = outline.asks && (!member.asked || member.delivered);
        member.asked |= is_heard;
        is_heard
    }

    /// The document itself is what a member without it waits for, and comes once from each partner.
    fn forward(&mut self, from: MemberId, to: MemberId, data: Bytes, brings: bool) {
        let Some(member) = self.members.get_mut(&to) else { return };
        let Some(slot) = member.slot_of(from) else { return };
        let asked_for = brings && !member.holds && !member.delivered && member.spoke;
        member.delivered |= brings;
        member.spoke &= !asked_for;
        self.effects.push_back(Effect::Sync { to, slot, data, asked_for });
    }
}
