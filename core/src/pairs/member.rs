//! What is known of one member.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::effect::Slot;
use crate::limits::HEADS_KEPT_MAX;
use crate::room::MemberId;
use crate::time::Millis;

/// How long the one partner of a member has, in ms, before another takes its place; doubled with each change, because
/// a large document on a thin line takes its time.
pub(super) const PATIENCE_MS: u64 = 10_000;
/// Where doubling ends.
pub(super) const PATIENCE_MS_MAX: u64 = 160_000;

/// One member. A member that does not hold the document has at most one partner, and that one holds it.
#[derive(Debug)]
pub(super) struct Member {
    /// The storage behind it.
    pub(super) storage: Option<Arc<str>>,
    /// Whether it wants to hear of any heads.
    pub(super) listens: bool,
    /// Whether it is one of those that are paired.
    pub(super) seated: bool,
    /// Whether it ever synced: who only says something is paired with nobody.
    pub(super) open: bool,
    /// Whether it has the document, whatever the age.
    pub(super) has: bool,
    /// Whether it has caught up with the others, so that those who come may have the document from it.
    pub(super) holds: bool,
    /// Where it stands; empty if that is not known or too long.
    pub(super) heads: Vec<u8>,
    /// By slot.
    pub(super) partners: Vec<Option<MemberId>>,
    /// Members that had nothing for it.
    pub(super) refused: BTreeSet<MemberId>,
    /// Its last partner while it did not hold the document.
    pub(super) last: Option<MemberId>,
    /// Whether it asked that one for the document.
    pub(super) asked: bool,
    /// Whether that one sent it changes.
    pub(super) delivered: bool,
    /// Whether it said something since the document was last handed to it as an answer. Who does not read is not heard,
    /// so documents that others push at it do not pile up.
    pub(super) spoke: bool,
    /// When that one was silent for too long.
    pub(super) deadline: Option<Millis>,
    /// How long the next one has, in ms.
    pub(super) patience: u64,
}

impl Member {
    pub(super) fn new(storage: Option<Arc<str>>, seated: bool) -> Self {
        Self {
            storage,
            listens: false,
            seated,
            open: false,
            has: false,
            holds: false,
            heads: Vec::new(),
            partners: Vec::new(),
            refused: BTreeSet::new(),
            last: None,
            asked: false,
            delivered: false,
            spoke: false,
            deadline: None,
            patience: PATIENCE_MS,
        }
    }

    /// Whom a slot stands for.
    pub(super) fn partner(&self, slot: Slot) -> Option<MemberId> {
        self.partners.get(slot.0).copied().flatten()
    }

    /// The slot that stands for a member.
    pub(super) fn slot_of(&self, partner: MemberId) -> Option<Slot> {
        self.partners.iter().position(|other| *other == Some(partner)).map(Slot)
    }

    /// Takes the first free slot.
    pub(super) fn take_slot(&mut self, partner: MemberId) -> Slot {
        let free = self.partners.iter().position(Option::is_none).unwrap_or(self.partners.len());
        match self.partners.get_mut(free) {
            Some(slot) => *slot = Some(partner),
            None => self.partners.push(Some(partner)),
        }
        Slot(free)
    }

    /// Frees the slot of a member.
    pub(super) fn free_slot(&mut self, partner: MemberId) -> Option<Slot> {
        let slot = self.slot_of(partner)?;
        *self.partners.get_mut(slot.0)? = None;
        Some(slot)
    }

    pub(super) fn all_partners(&self) -> impl Iterator<Item = MemberId> {
        self.partners.iter().copied().flatten()
    }

    /// Notes where it stands; whether that is news.
    pub(super) fn note_heads(&mut self, heads: &[u8]) -> bool {
        self.has |= !heads.is_empty();
        if self.heads == heads {
            return false;
        }
        self.heads.clear();
        if heads.len() <= 32 * HEADS_KEPT_MAX {
            self.heads.extend_from_slice(heads);
        }
        !self.heads.is_empty()
    }
}
