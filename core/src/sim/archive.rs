//! An archive: stores in order, calls stored what is synced, and reads all that it took.
//!
//! As `node/src/archive` does: an update that brings nothing waits for what is before it; what the disk has no room for
//! is refused only in a new document, the rest waits; content that is known is not stored again.

use std::collections::VecDeque;

use super::feed::Keeper;
use super::log::{Content, Log};
use super::pairs::Pairs;
use crate::id::DocumentId;
use crate::room::{Answer, Arrival, StoreRefused, Ticket};
use crate::update::{StateVector, Update};

/// What waits for the disk.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    position: u64,
    /// Which room of the document.
    pub(super) room: u64,
    pub(super) document: DocumentId,
    pub(super) ticket: Ticket,
}

/// One archive.
pub(super) struct Archive {
    pub(super) name: Keeper,
    pub(super) log: Log,
    pub(super) backup: Option<Log>,
    waiting: VecDeque<Waiting>,
    pub(super) pairs: Pairs,
    pub(super) is_full: bool,
    /// Stores and reads fail.
    pub(super) is_troubled: bool,
}

impl Archive {
    pub(super) fn new(name: Keeper) -> Self {
        Self {
            name,
            log: Log::default(),
            backup: None,
            waiting: VecDeque::new(),
            pairs: Pairs::default(),
            is_full: false,
            is_troubled: false,
        }
    }

    /// Appends an update, or says at once why not.
    ///
    /// # Errors
    /// [`StoreRefused`].
    pub(super) fn store(
        &mut self,
        room: u64,
        document: &DocumentId,
        ticket: Ticket,
        update: &Update,
        arrival: Arrival,
    ) -> Result<(), StoreRefused> {
        let kept = self.log.taken(document);
        let is_known = update.is_empty()
            || (arrival == Arrival::Content && kept.is_some_and(|kept| kept.known.covers(update)));
        if !is_known {
            if self.is_troubled {
                return Err(StoreRefused::Trouble);
            }
            if self.is_full && kept.is_none() {
                return Err(StoreRefused::NoRoom);
            }
            self.log.append(document, Content::Yjs(update.clone()));
        }
        let position = self.log.end();
        self.waiting.push_back(Waiting { position, room, document: document.clone(), ticket });
        Ok(())
    }

    /// All up to here is on the disk; whose tickets those are.
    pub(super) fn synced(&mut self, until: u64) -> Vec<Waiting> {
        self.log.sync(until);
        let mut done = Vec::new();
        while self.waiting.front().is_some_and(|waiting| waiting.position <= self.log.durable()) {
            done.extend(self.waiting.pop_front());
        }
        done
    }

    /// Whether somebody waits.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty() || self.pairs.is_waited_for()
    }

    /// Reads what somebody lacks.
    ///
    /// # Errors
    /// [`StoreRefused`].
    pub(super) fn read(&self, document: &DocumentId, have: &StateVector) -> Result<Answer, StoreRefused> {
        if self.is_troubled {
            return Err(StoreRefused::Trouble);
        }
        let Some(kept) = self.log.taken(document) else {
            let update = Update::empty().bytes().clone();
            return Ok(Answer { update, state_vector: StateVector::default() });
        };
        Ok(Answer { update: kept.lacking(have), state_vector: kept.known.state_vector() })
    }

    pub(super) fn crash(&mut self, more: u64) {
        self.log.crash(more);
        self.waiting.clear();
        self.pairs = Pairs::default();
        (self.is_troubled, self.is_full) = (false, false);
    }
}
