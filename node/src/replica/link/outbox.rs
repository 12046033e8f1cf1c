//! What waits for a link that has a bound: an edit that would be too much is refused before it is written.
//!
//! A document is in it from the edit on until the other end has fsynced all of it. Each edit costs a look at one map.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tombolo_core::id::DocumentId;
use tombolo_store::Checkpoint;

use super::driver::Driver;
use super::hub::News;
use super::{Shelves, Subscription};
use crate::replica::error::ReplicaError;

/// Documents asked for at once.
const PAGE: usize = 1_000;

/// How much may wait for a link; no bound where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxMax {
    /// Documents.
    pub documents: Option<usize>,
    /// Bytes of their changes; of those that were made before the replica was opened, of all of them.
    pub bytes: Option<u64>,
}

impl OutboxMax {
    pub(super) fn is_bound(&self) -> bool {
        self.documents.is_some() || self.bytes.is_some()
    }
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: u64,
    /// Edits that are on their way to the disk here, or that the link has not heard of.
    coming: usize,
    /// The last change that it has heard of.
    position: u64,
}

#[derive(Debug, Default)]
struct State {
    documents: BTreeMap<DocumentId, Waiting>,
    bytes: u64,
}

/// What waits for one link.
#[derive(Debug)]
pub(in crate::replica) struct Outbox {
    url: String,
    subscription: Subscription,
    max: OutboxMax,
    state: Mutex<State>,
}

impl Outbox {
    pub(super) fn new(url: String, subscription: Subscription, max: OutboxMax) -> Self {
        Self { url, subscription, max, state: Mutex::default() }
    }

    pub(super) fn is_bound(&self) -> bool {
        self.max.is_bound()
    }

    /// Takes a place for so many bytes; false if the link does not carry the document.
    pub(in crate::replica) fn reserve(
        &self,
        document: &DocumentId,
        bytes: u64,
    ) -> Result<bool, ReplicaError> {
        if !self.subscription.has(document) {
            return Ok(false);
        }
        let mut state = self.lock();
        let documents = state.documents.len() + usize::from(!state.documents.contains_key(document));
        let total = state.bytes.saturating_add(bytes);
        let is_full = self.max.documents.is_some_and(|max| documents > max)
            || self.max.bytes.is_some_and(|max| total > max);
        if is_full {
            return Err(ReplicaError::OutboxFull {
                document: document.clone(),
                url: self.url.clone(),
                documents: state.documents.len(),
                bytes: state.bytes,
            });
        }
        let waiting = state.documents.entry(document.clone()).or_default();
        (waiting.coming, waiting.bytes) = (waiting.coming + 1, waiting.bytes.saturating_add(bytes));
        state.bytes = total;
        Ok(true)
    }

    /// They were not stored.
    pub(in crate::replica) fn release(&self, document: &DocumentId, bytes: u64) {
        let mut state = self.lock();
        let Some(waiting) = state.documents.get_mut(document) else { return };
        waiting.coming = waiting.coming.saturating_sub(1);
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        if waiting.coming == 0 && waiting.position == 0 {
            state.documents.remove(document);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// The link has heard of a change that was let in.
    pub(super) fn heard(&self, document: &DocumentId, position: u64) {
        let mut state = self.lock();
        let waiting = state.documents.entry(document.clone()).or_default();
        waiting.coming = waiting.coming.saturating_sub(1);
        waiting.position = waiting.position.max(position);
    }

    /// The link has heard of a change that nobody asked about: of before, or of another link.
    pub(super) fn add(&self, document: &DocumentId, position: u64, bytes: u64) {
        let mut state = self.lock();
        let waiting = state.documents.entry(document.clone()).or_default();
        waiting.position = waiting.position.max(position);
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        state.bytes = state.bytes.saturating_add(bytes);
    }

    /// A document that has changed since the other end was known to have all of it; one that waits already is counted.
    pub(super) fn add_stored(&self, document: &DocumentId, position: u64, bytes: impl FnOnce() -> u64) {
        let is_counted = self.lock().documents.contains_key(document);
        self.add(document, position, if is_counted { 0 } else { bytes() });
    }

    /// What waits already when the link is made. Blocking.
    pub(super) fn fill(&self, shelves: &Shelves, since: Option<&Checkpoint>) -> Result<(), ReplicaError> {
        let mut since = since.copied();
        while self.is_bound() {
            let page = shelves.store.changes(since.as_ref(), PAGE).map_err(ReplicaError::read)?;
            for (document, position) in &page.documents {
                if self.subscription.has(document) && !shelves.is_evicted(document) {
                    self.add_stored(document, *position, || shelves.bytes(document));
                }
            }
            if !page.more {
                break;
            }
            since = Some(page.up_to);
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().documents.is_empty()
    }

    pub(super) fn forget(&self, document: &DocumentId) {
        let mut state = self.lock();
        let bytes = state.documents.remove(document).map_or(0, |waiting| waiting.bytes);
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// What has arrived, as far as this says how far each has, waits no more; nor does what it knows nothing of.
    pub(super) fn sweep(&self, acknowledged: impl Fn(&DocumentId) -> Option<u64>) {
        let mut state = self.lock();
        let mut gone = 0_u64;
        state.documents.retain(|document, waiting| {
            let waits = waiting.coming > 0 || acknowledged(document).is_some_and(|at| at < waiting.position);
            if !waits {
                gone = gone.saturating_add(waiting.bytes);
            }
            waits
        });
        state.bytes = state.bytes.saturating_sub(gone);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Sums may be off after a panic, on the safe side: until the next restart.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often it is looked what has arrived, in ms.
const SWEEP_MS: u64 = 20;

impl Driver {
    /// What changed before may be lacking there.
    pub(super) fn lacks(&self, document: &DocumentId, position: u64) {
        if self.outbox.is_bound() {
            self.outbox.add_stored(document, position, || 0);
        }
    }

    /// What changes now is lacking there, unless it came from there.
    pub(super) fn lacks_change(&self, News { document, position, update, via, .. }: &News) {
        match via {
            _ if !self.outbox.is_bound() => {}
            None => self.outbox.heard(document, *position),
            Some(via) if *via == self.id => {}
            Some(_) => self.outbox.add(document, *position, update.len() as u64),
        }
    }

    /// What has arrived there waits no more.
    pub(super) fn sweep_outbox(&self) {
        // Before what changed is listed, the session knows nothing of it.
        if self.outbox.is_bound() && self.listed_since.is_some() {
            self.outbox.sweep(|document| Some(self.session.standing(document)?.acknowledged));
        }
    }

    /// In how many ms that is looked at again.
    pub(super) fn outbox_wait_ms(&self) -> u64 {
        let waits = self.session.peer().is_some() && self.outbox.is_bound() && !self.outbox.is_empty();
        if waits { SWEEP_MS } else { u64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> DocumentId {
        DocumentId::yjs(name).unwrap()
    }

    fn of(documents: Option<usize>, bytes: Option<u64>) -> Outbox {
        Outbox::new("ws://a".to_owned(), Subscription::prefixes(["n/"]), OutboxMax { documents, bytes })
    }

    fn counts(outbox: &Outbox) -> (usize, u64) {
        let state = outbox.lock();
        (state.documents.len(), state.bytes)
    }

    #[test]
    fn what_would_be_too_much_is_refused_and_what_has_arrived_makes_room() {
        let outbox = of(Some(2), Some(100));
        assert!(!outbox.reserve(&id("other"), 1_000).unwrap(), "the link does not carry it");
        assert!(outbox.reserve(&id("n/a"), 60).unwrap());
        let refused = outbox.reserve(&id("n/a"), 41).unwrap_err();
        assert!(matches!(refused, ReplicaError::OutboxFull { documents: 1, bytes: 60, .. }), "{refused}");
        assert!(outbox.reserve(&id("n/a"), 20).unwrap() && outbox.reserve(&id("n/b"), 20).unwrap());
        assert!(matches!(outbox.reserve(&id("n/c"), 0), Err(ReplicaError::OutboxFull { documents: 2, .. })));
        // One of two edits was not stored.
        outbox.release(&id("n/b"), 20);
        assert!(outbox.reserve(&id("n/c"), 20).unwrap());
        outbox.heard(&id("n/a"), 1);
        outbox.sweep(|_| Some(9));
        assert_eq!(counts(&outbox).0, 2, "one edit of the first is not heard of");
        outbox.heard(&id("n/a"), 2);
        outbox.heard(&id("n/c"), 3);
        outbox.sweep(|_| Some(2));
        assert_eq!(counts(&outbox), (1, 20));
        outbox.sweep(|_| None);
        assert_eq!(counts(&outbox), (0, 0));
    }

    #[test]
    fn what_was_there_before_counts() {
        let outbox = of(Some(1), None);
        outbox.add(&id("n/a"), 5, 1_000);
        assert!(outbox.reserve(&id("n/a"), 1_000).unwrap(), "one that waits already");
        assert!(outbox.reserve(&id("n/b"), 1).is_err());
        outbox.forget(&id("n/a"));
        assert!(outbox.is_empty() && outbox.reserve(&id("n/b"), 1).unwrap());
    }
}
