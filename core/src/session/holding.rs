//! Held: what both sides did in a long time apart is told before any of it is merged, and waits until somebody says so.
//!
//! Guarantees: of a held document nothing is sent and nothing is asked, and nothing of it counts as acknowledged or
//! reached; what is not held goes on. What changes later in a document that is not among them is not held either.

use std::collections::BTreeSet;

use super::effect::Effect;
use super::machine::Session;
use crate::id::DocumentId;
use crate::pattern::{Pattern, Rules};

/// What both sides did apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Apart {
    /// Documents that changed here only; all, where it is not known what changed there.
    pub here: Vec<DocumentId>,
    /// Documents that changed there only.
    pub there: Vec<DocumentId>,
    /// Documents that changed on both sides; all, where it is not known what the other end has of this replica.
    pub both: Vec<DocumentId>,
    /// Whether the other end said what changed there; a relay that keeps nothing cannot.
    pub knows_there: bool,
}

impl Apart {
    /// Documents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.here.len() + self.there.len() + self.both.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is held.
#[derive(Debug)]
pub(super) struct Holding {
    stale: Rules<bool>,
    /// What was let go of them.
    released: Vec<Pattern>,
    /// It is known what waits, and nothing else does.
    told: bool,
    documents: BTreeSet<DocumentId>,
    /// Of each of these that changed here as much is acknowledged at least.
    floor: u64,
}

impl Holding {
    fn is_stale(&self, document: &DocumentId) -> bool {
        self.stale.get(document) == Some(&true) && !self.released.iter().any(|pattern| pattern.fits(document))
    }

    fn holds(&self, document: &DocumentId) -> bool {
        self.documents.contains(document) || (!self.told && self.is_stale(document))
    }
}

impl Session {
    /// What is held from the next [`Session::begin`] on: documents for which the rules say so. What was let go of with a
    /// pattern, and is held still, stays let go of.
    pub fn hold(&mut self, stale: Rules<bool>) {
        self.let_go(|_| true);
        let before = self.holding.take().map(|holding| holding.released);
        if stale.iter().any(|(_, is_stale)| *is_stale) {
            let (released, documents) = (before.unwrap_or_default(), BTreeSet::new());
            self.holding = Some(Holding { stale, released, told: false, documents, floor: u64::MAX });
        }
    }

    /// What waits, once, when all of it is known: to be asked when [`Effect::All`] and [`Effect::Found`] were carried out
    /// to their ends, as often as one likes. If nothing does, nothing is held any more.
    pub fn backlog(&mut self) -> Option<Apart> {
        let holding = self.holding.as_ref().filter(|holding| !holding.told)?;
        let lists = self.peer.as_ref()?.lists;
        let is_open = |effect: &Effect| matches!(effect, Effect::All | Effect::Found(_));
        if (lists && !self.listing.was_heard()) || self.effects.iter().any(is_open) {
            return None;
        }
        let mut apart = Apart { knows_there: lists, ..Apart::default() };
        let listed: BTreeSet<_> = self.listing.missing().collect();
        let mut waiting = BTreeSet::new();
        for (id, entry) in self.documents.iter().filter(|(id, _)| holding.is_stale(id)) {
            match (entry.last > entry.acknowledged || !lists, listed.contains(id)) {
                (true, true) => apart.both.push(id.clone()),
                (true, false) => apart.here.push(id.clone()),
                (false, true) => apart.there.push(id.clone()),
                (false, false) => continue,
            }
            waiting.insert(id.clone());
        }
        self.keep_only(waiting);
        (!apart.is_empty()).then_some(apart)
    }

    /// It is known what waits: this.
    fn keep_only(&mut self, waiting: BTreeSet<DocumentId>) {
        self.let_go(|id| !waiting.contains(id));
        for id in &waiting {
            self.restless.remove(id);
            self.put_by(id);
        }
        match &mut self.holding {
            Some(holding) if !waiting.is_empty() => (holding.told, holding.documents) = (true, waiting),
            _ => self.holding = None,
        }
        self.look();
    }

    /// Goes on with all that is held, or with what a pattern fits.
    pub fn release(&mut self, only: Option<&Pattern>) {
        self.let_go(|id| only.is_none_or(|pattern| pattern.fits(id)));
        let Some(holding) = &mut self.holding else { return };
        holding.released.extend(only.cloned());
        if only.is_none() || (holding.told && holding.documents.is_empty()) {
            self.holding = None;
        }
    }

    /// How many documents are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.holding.as_ref().map_or(0, |holding| holding.documents.len())
    }

    /// Whether a decision is waited for, and nothing else: [`Session::is_in_sync`], but for what is held.
    #[must_use]
    pub fn waits_for_decision(&self) -> bool {
        self.holding.as_ref().is_some_and(|holding| holding.told) && self.is_settled_but(|id| self.holds(id))
    }

    pub(super) fn holds(&self, document: &DocumentId) -> bool {
        self.holding.as_ref().is_some_and(|holding| holding.holds(document))
    }

    /// It wants to be opened, and waits.
    pub(super) fn put_by(&mut self, document: &DocumentId) {
        let Some(entry) = self.documents.get_mut(document) else { return };
        entry.held = true;
        if let Some(holding) = &mut self.holding {
            if entry.last > entry.acknowledged {
                holding.floor = holding.floor.min(entry.acknowledged);
            }
            holding.documents.insert(document.clone());
        }
    }

    /// Changes of held documents up to here are acknowledged; none if there are no others.
    pub(super) fn held_floor(&self) -> Option<u64> {
        self.holding.as_ref().map(|holding| holding.floor).filter(|floor| *floor < u64::MAX)
    }

    /// Held documents, which are not among the restless.
    pub(super) fn held_documents(&self) -> impl Iterator<Item = &DocumentId> {
        self.holding.iter().flat_map(|holding| &holding.documents)
    }

    /// The connection is gone: the next one tells anew what waits.
    pub(super) fn end_holding(&mut self) {
        self.let_go(|_| true);
        if let Some(holding) = &mut self.holding {
            holding.told = false;
        }
    }

    /// It is not kept in sync any more.
    pub(super) fn drop_held(&mut self, document: &DocumentId) {
        if let Some(holding) = &mut self.holding {
            holding.documents.remove(document);
        }
    }

    fn let_go(&mut self, is_it: impl Fn(&DocumentId) -> bool) {
        let Some(holding) = &mut self.holding else { return };
        let (go, stay) = std::mem::take(&mut holding.documents).into_iter().partition(|id| is_it(id));
        (holding.documents, holding.floor) = (BTreeSet::new(), u64::MAX);
        let (go, stay): (BTreeSet<_>, BTreeSet<_>) = (go, stay);
        for id in &stay {
            self.put_by(id);
        }
        for id in go {
            if let Some(entry) = self.documents.get_mut(&id) {
                entry.held = false;
                self.unsettle(&id);
            }
        }
    }
}
