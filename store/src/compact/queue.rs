//! What waits for compaction, and whose turn it is.
//!
//! Guarantee: a document that is to be gone on with has its turn after those that waited when it came, and before
//! those that came later.

use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use tombolo_core::id::DocumentId;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) due: BTreeSet<DocumentId>,
    /// Left by their last user: due with fewer updates.
    pub(super) left: BTreeSet<DocumentId>,
    /// Asked for, whether due or not; each with whoever waits for it.
    pub(super) asked: VecDeque<(DocumentId, Option<SyncSender<()>>)>,
    /// To be gone on with, whether due or not.
    again: VecDeque<Again>,
    /// How many of those that are due, or were left, had their turn.
    served: u64,
    /// Documents that killed a session, until a fold has looked for the reason.
    pub(super) suspects: BTreeSet<DocumentId>,
    pub(super) closing: bool,
    pub(super) ended: bool,
}

#[derive(Debug)]
struct Again {
    id: DocumentId,
    /// Its turn is when so many were served.
    turn: u64,
    not_before: Instant,
}

/// A document to look at, and why.
pub(super) struct Task {
    pub(super) id: DocumentId,
    pub(super) user_left: bool,
    /// Whether the policy is not asked.
    pub(super) asked: bool,
    /// Dropped when it was looked at.
    pub(super) waits: Option<SyncSender<()>>,
}

impl Waiting {
    /// What is asked for.
    pub(super) fn next_asked(&mut self) -> Option<Task> {
        let (id, waits) = self.asked.pop_front()?;
        Some(Task { id, user_left: false, asked: true, waits })
    }

    /// What need not be at once.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<Task> {
        let is_alone = self.left.is_empty() && self.due.is_empty();
        let has_turn = |again: &Again| again.not_before <= now && (is_alone || again.turn <= self.served);
        let again = self.again.iter().position(has_turn).and_then(|at| self.again.remove(at));
        if let Some(Again { id, .. }) = again {
            return Some(Task { id, user_left: false, asked: true, waits: None });
        }
        let (id, user_left) = match self.left.pop_first() {
            Some(id) => {
                self.due.remove(&id);
                (id, true)
            }
            None => (self.due.pop_first()?, false),
        };
        self.served = self.served.wrapping_add(1);
        Some(Task { id, user_left, asked: false, waits: None })
    }

    /// A document goes to the end of those that wait; its turn does not come before that instant.
    pub(super) fn again(&mut self, id: &DocumentId, not_before: Instant) {
        if self.again.iter().all(|again| again.id != *id) {
            let others = self.left.union(&self.due).count() as u64;
            let turn = self.served.saturating_add(others);
            self.again.push_back(Again { id: id.clone(), turn, not_before });
        }
    }

    /// What killed a session in this document was looked for, unless that is still to be done.
    pub(super) fn looked_for(&mut self, id: &DocumentId) {
        let is_asked = self.asked.iter().any(|(asked, _)| asked == id);
        if !is_asked && self.again.iter().all(|again| again.id != *id) {
            self.suspects.remove(id);
        }
    }

    /// When a turn may come that nobody tells of.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.again.iter().map(|again| again.not_before).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(name: &str) -> DocumentId {
        DocumentId::yjs(name).unwrap()
    }

    #[test]
    fn what_goes_on_has_its_turn_behind_those_that_waited_and_before_those_that_come() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.due.extend([id("b"), id("c")]);
        waiting.left.insert(id("c"));
        for _ in 0..2 {
            waiting.again(&id("long"), now);
        }
        waiting.again(&id("later"), now + Duration::from_secs(3600));
        let mut order = Vec::new();
        while let Some(task) = waiting.next_due(now) {
            if let Some(new) = ["a", "d", "e"].get(order.len()) {
                waiting.due.insert(id(new));
            }
            order.push(task.id);
        }
        assert_eq!(order, ["c", "a", "long", "b", "d", "e"].map(id));
        assert_eq!(waiting.wakes(), Some(now + Duration::from_secs(3600)));
        assert_eq!(waiting.next_due(now + Duration::from_secs(3600)).unwrap().id, id("later"));
        assert_eq!(waiting.wakes(), None);
    }
}
