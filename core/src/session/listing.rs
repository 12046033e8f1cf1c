//! What changed at the other end, and up to where all of it is here.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::effect::Effect;
use super::machine::Session;
use crate::id::{DocumentId, Format};

/// Checkpoints of the other end that are not reached yet, in order.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The first answer was heard to its end.
    heard: bool,
    ahead: VecDeque<Ahead>,
    /// What was added at work: what changed before it was is not listed again.
    added: BTreeSet<DocumentId>,
}

#[derive(Debug)]
struct Ahead {
    until: Bytes,
    /// What must be caught up with before it.
    missing: BTreeSet<DocumentId>,
}

impl Listing {
    /// No checkpoint is reached before this one is caught up with.
    pub(super) fn add(&mut self, document: &DocumentId) {
        self.added.insert(document.clone());
    }

    /// What is missing for a later checkpoint alone begins another; so there are at most as many as documents.
    fn push(&mut self, until: Bytes, missing: BTreeSet<DocumentId>) {
        match self.ahead.back_mut() {
            Some(last) if missing.is_subset(&last.missing) => last.until = until,
            _ => self.ahead.push_back(Ahead { until, missing }),
        }
    }

    /// Nobody waits for this one.
    pub(super) fn forget(&mut self, document: &DocumentId) {
        for ahead in &mut self.ahead {
            ahead.missing.remove(document);
        }
        self.added.remove(document);
    }

    /// The connection is gone; it is asked again from the last one that was reached.
    pub(super) fn end(&mut self) {
        self.ahead.clear();
        self.heard = false;
    }

    /// What was listed, and not caught up with.
    pub(super) fn missing(&self) -> impl Iterator<Item = &DocumentId> {
        self.ahead.iter().flat_map(|ahead| &ahead.missing)
    }

    /// Whether it is known what had changed when the connection began.
    pub(super) fn was_heard(&self) -> bool {
        self.heard
    }

    /// Checkpoints that are not reached.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.ahead.len()
    }
}

impl Session {
    /// These changed there.
    pub(super) fn listed(&mut self, more: bool, until: Bytes, documents: Vec<DocumentId>) {
        let is_first = !more && !self.listing.heard;
        self.listing.heard |= is_first;
        let mut missing = BTreeSet::new();
        for id in documents {
            let Some(entry) = self.documents.get_mut(&id) else {
                self.effects.push_back(Effect::Found(id.clone()));
                missing.insert(id);
                continue;
            };
            let is_open = entry.handle.is_some();
            let is_late = is_open && id.format() == Format::Automerge;
            if is_open && !is_late && entry.caught_up && entry.bringing == 0 {
                // What it has was said before it was listed.
                continue;
            }
            entry.listed = true;
            entry.late |= is_late;
            self.unsettle(&id);
            if is_late {
                // It comes with the talk, soon; whether it has, nobody can tell before the next talk.
                self.settle(self.clock.passed(), &id);
            }
            missing.insert(id);
        }
        self.listing.push(until, missing);
        self.reach();
        if is_first {
            self.marked(None);
        }
    }

    /// A document may have been caught up with.
    pub(super) fn caught_up(&mut self, id: &DocumentId) {
        let Some(entry) = self.documents.get_mut(id).filter(|entry| entry.caught_up) else { return };
        self.waiting.forget(id);
        if entry.bringing == 0 && !entry.late {
            entry.listed = false;
            self.listing.forget(id);
            self.reach();
        }
    }

    /// Whether all that was listed is here, as far as anybody can tell: what is open and listed late has all that was said of
    /// it so far, and of what is parked nothing more is said; some may be left out.
    pub(super) fn has_what_was_listed(&self, is_left_out: impl Fn(&DocumentId) -> bool) -> bool {
        let is_left_out = |id: &DocumentId| {
            is_left_out(id) || self.documents.get(id).is_some_and(|entry| entry.late || entry.is_parked())
        };
        self.listing.heard && self.listing.ahead.iter().flat_map(|ahead| &ahead.missing).all(is_left_out)
    }

    /// Tells of the last checkpoint that is reached.
    pub(super) fn reach(&mut self) {
        if !self.listing.added.is_empty() {
            return;
        }
        let mut reached = None;
        while self.listing.ahead.front().is_some_and(|ahead| ahead.missing.is_empty()) {
            reached = self.listing.ahead.pop_front();
        }
        let (Some(Ahead { until, .. }), Some(known)) = (reached, &mut self.known) else { return };
        known.checkpoint = until.clone();
        self.effects.push_back(Effect::Reached { keeper: known.keeper, checkpoint: until });
    }

    /// Tells how far all is acknowledged, if that is farther than before.
    pub(super) fn tell_acknowledged(&mut self) {
        let position = self.acknowledged();
        let Some(known) = &mut self.known else { return };
        if position > known.acknowledged && self.peer.is_some() && !self.adding {
            known.acknowledged = position;
            self.effects.push_back(Effect::Acknowledged { keeper: known.keeper, position });
        }
    }

    /// What was learned and did not come out yet is not about a document that is added only now, with its last change here:
    /// whoever forgot what came out before must not keep that.
    pub(super) fn take_back(&mut self, last: u64) {
        self.effects.retain(|effect| !matches!(effect, Effect::Reached { .. }));
        if last == 0 {
            // Nothing of it can be lacking there.
            return;
        }
        self.effects.retain(|effect| !matches!(effect, Effect::Acknowledged { .. }));
        if let Some(known) = &mut self.known {
            // It is told again once it is so.
            known.acknowledged = 0;
        }
    }
}
