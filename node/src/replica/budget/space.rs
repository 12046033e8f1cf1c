//! What is counted with each edit: how much is stored, and what waits for each link that has a bound.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tombolo_core::id::DocumentId;
use tombolo_store::Store;

use super::Budget;
use super::ledger::Ledger;
use crate::replica::changes::Origin;
use crate::replica::error::ReplicaError;
use crate::replica::link::Outbox;

/// What is known of the room there is; all handles of a replica share it.
#[derive(Default)]
pub(in crate::replica) struct Space {
    /// In force since a budget was set; 0 means none.
    limit: AtomicU64,
    warn_at: AtomicU64,
    budget: Mutex<Option<Budget>>,
    /// Bytes that are stored, at most.
    used: AtomicU64,
    /// Bytes that were ever added.
    added: AtomicU64,
    /// Bytes that can be evicted, as far as was seen last.
    room: AtomicU64,
    /// Bytes that were not synced then.
    unsynced: AtomicU64,
    warned: AtomicBool,
    /// Others were told that nothing is given up here.
    keeps_all: Mutex<bool>,
    pub(super) ledger: Mutex<Ledger>,
    fetching: Mutex<BTreeMap<DocumentId, usize>>,
    outboxes: Mutex<Vec<Arc<Outbox>>>,
    has_outboxes: AtomicBool,
    /// One at a time.
    pub(super) making_room: Mutex<()>,
    bell: Mutex<Bell>,
    rung: Condvar,
}

#[derive(Default)]
struct Bell {
    rung: bool,
    closing: bool,
    /// The thread that hears it.
    heard: bool,
}

impl Space {
    /// That of the replica over this store.
    pub(in crate::replica) fn of(store: &Store) -> Arc<Self> {
        let space = Self::default();
        if let Err(error) = lock(&space.ledger).open(store.path()) {
            // Who pins or sets a budget is told; without that nothing of it is needed.
            tracing::warn!(%error, "what is pinned cannot be read");
        }
        Arc::new(space)
    }

    /// From now on nothing is given up, as long as the replica is open: others may count on that.
    ///
    /// # Errors
    /// [`ReplicaError::KeepsAll`] if there is a budget.
    pub(in crate::replica) fn keep_all(&self) -> Result<(), ReplicaError> {
        let mut keeps_all = lock(&self.keeps_all);
        if self.budget().is_some() {
            return Err(ReplicaError::KeepsAll);
        }
        *keeps_all = true;
        Ok(())
    }

    pub(super) fn set_budget(&self, budget: Option<Budget>) -> Result<(), ReplicaError> {
        let keeps_all = lock(&self.keeps_all);
        if *keeps_all && budget.is_some() {
            return Err(ReplicaError::KeepsAll);
        }
        *lock(&self.budget) = budget;
        self.warn_at.store(budget.map_or(u64::MAX, |budget| budget.warn_at()), Ordering::Release);
        // One of nothing is still one.
        self.limit.store(budget.map_or(0, |budget| budget.bytes.max(1)), Ordering::Release);
        self.warned.store(false, Ordering::Release);
        Ok(())
    }

    pub(super) fn budget(&self) -> Option<Budget> {
        *lock(&self.budget)
    }

    fn has_budget(&self) -> bool {
        self.limit.load(Ordering::Acquire) > 0
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Everything that was ever added, to tell what came meanwhile.
    pub(super) fn added(&self) -> u64 {
        self.added.load(Ordering::Acquire)
    }

    /// What was found: so much was stored when this much had been added, and so much of it could go or is not synced.
    pub(super) fn found(&self, used: u64, added: u64, room: u64, unsynced: u64) {
        let since = self.added().saturating_sub(added);
        self.used.store(used.saturating_add(since), Ordering::Release);
        self.room.store(room, Ordering::Release);
        self.unsynced.store(unsynced, Ordering::Release);
        if self.used() <= self.warn_at.load(Ordering::Acquire) {
            self.warned.store(false, Ordering::Release);
        }
        self.warn();
    }

    /// Lets so many bytes of a document in, or says why not. What it gives back is told when they are stored.
    pub(in crate::replica) fn admit(
        self: &Arc<Self>,
        document: &DocumentId,
        bytes: usize,
        origin: Origin,
    ) -> Result<Admitted, ReplicaError> {
        let bytes = bytes as u64;
        let limit = self.limit.load(Ordering::Acquire);
        let room = self.room.load(Ordering::Acquire);
        let used = self.used();
        if limit > 0 && used.saturating_add(bytes) > limit.saturating_add(room) {
            // It may be out of date.
            self.ring();
            let unsynced = self.unsynced.load(Ordering::Acquire);
            return Err(ReplicaError::BudgetFull {
                document: document.clone(),
                used,
                budget: limit,
                unsynced,
            });
        }
        let mut admitted =
            Admitted { space: Arc::clone(self), document: document.clone(), bytes, outboxes: Vec::new() };
        // What links bring is no work of this replica, and nobody would hear of the error.
        if self.has_outboxes.load(Ordering::Acquire) && !matches!(origin, Origin::Link(_)) {
            for outbox in lock(&self.outboxes).iter() {
                if outbox.reserve(document, bytes)? {
                    admitted.outboxes.push(Arc::clone(outbox));
                }
            }
        }
        Ok(admitted)
    }

    fn stored(&self, bytes: u64) {
        self.added.fetch_add(bytes, Ordering::AcqRel);
        self.used.fetch_add(bytes, Ordering::AcqRel);
        if self.has_budget() {
            self.warn();
        }
    }

    /// Says so, once, and has room made, if it gets narrow.
    fn warn(&self) {
        let (used, warn_at) = (self.used(), self.warn_at.load(Ordering::Acquire));
        if !self.has_budget() || used <= warn_at {
            return;
        }
        if !self.warned.swap(true, Ordering::AcqRel) {
            let budget = self.limit.load(Ordering::Acquire);
            tracing::warn!(
                used,
                budget,
                "the replica has nearly used its budget; what others keep is evicted"
            );
        }
        self.ring();
    }

    pub(super) fn is_narrow(&self) -> bool {
        self.has_budget() && self.used() > self.warn_at.load(Ordering::Acquire)
    }

    /// Somebody opened or edited it.
    pub(in crate::replica) fn touch(&self, document: &DocumentId) {
        if self.has_budget() {
            lock(&self.ledger).touch(document);
        }
    }

    /// Pins a document, or lets it go; false if that was so before.
    pub(in crate::replica) fn pin(
        &self,
        folder: &std::path::Path,
        document: &DocumentId,
        pinned: bool,
    ) -> Result<bool, ReplicaError> {
        // What is chosen to go has gone, or stays.
        let _one = lock(&self.making_room);
        let mut ledger = lock(&self.ledger);
        ledger.open(folder)?;
        ledger.pin(document, pinned)
    }

    /// Whether there may be evicted documents.
    pub(in crate::replica) fn has_stubs(&self) -> bool {
        lock(&self.ledger).has_evicted()
    }

    /// Whether this one is being fetched: links may open it although it was evicted.
    pub(in crate::replica) fn is_fetching(&self, document: &DocumentId) -> bool {
        lock(&self.fetching).contains_key(document)
    }

    pub(super) fn fetch(self: &Arc<Self>, document: &DocumentId) -> Fetching {
        *lock(&self.fetching).entry(document.clone()).or_default() += 1;
        Fetching { space: Arc::clone(self), document: document.clone() }
    }

    pub(in crate::replica) fn watch_outbox(&self, outbox: &Arc<Outbox>) {
        lock(&self.outboxes).push(Arc::clone(outbox));
        self.has_outboxes.store(true, Ordering::Release);
    }

    pub(in crate::replica) fn forget_outbox(&self, outbox: &Arc<Outbox>) {
        let mut outboxes = lock(&self.outboxes);
        outboxes.retain(|other| !Arc::ptr_eq(other, outbox));
        self.has_outboxes.store(!outboxes.is_empty(), Ordering::Release);
    }

    /// Has room made.
    pub(super) fn ring(&self) {
        lock(&self.bell).rung = true;
        self.rung.notify_all();
    }

    /// True for the first who asks: who hears the bell.
    pub(super) fn begin_hearing(&self) -> bool {
        let mut bell = lock(&self.bell);
        !bell.closing && !std::mem::replace(&mut bell.heard, true)
    }

    /// Waits until it is rung, or this long; false at the end.
    pub(super) fn hear(&self, limit: Duration) -> bool {
        let bell = lock(&self.bell);
        let waits = |bell: &mut Bell| !bell.rung && !bell.closing;
        let waited = self.rung.wait_timeout_while(bell, limit, waits);
        let (mut bell, _) = waited.unwrap_or_else(PoisonError::into_inner);
        bell.rung = false;
        !bell.closing
    }

    /// Waits this long, whatever is rung; false at the end.
    pub(super) fn rest(&self, limit: Duration) -> bool {
        let waited = self.rung.wait_timeout_while(lock(&self.bell), limit, |bell| !bell.closing);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closing
    }

    /// Whether the replica is being closed.
    pub(super) fn is_closing(&self) -> bool {
        lock(&self.bell).closing
    }

    /// No room is made from here on; waits for who is at it.
    pub(in crate::replica) fn close(&self) {
        lock(&self.bell).closing = true;
        self.rung.notify_all();
        drop(lock(&self.making_room));
        if let Err(error) = lock(&self.ledger).save() {
            tracing::warn!(%error, "when documents were used last was not written down");
        }
    }
}

/// Bytes that were let in.
pub(in crate::replica) struct Admitted {
    space: Arc<Space>,
    document: DocumentId,
    bytes: u64,
    outboxes: Vec<Arc<Outbox>>,
}

impl Admitted {
    /// They are stored.
    pub(in crate::replica) fn stored(mut self) {
        self.outboxes.clear();
        self.space.stored(self.bytes);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.outboxes.iter().for_each(|outbox| outbox.release(&self.document, self.bytes));
    }
}

/// For as long as a document is being fetched.
pub(super) struct Fetching {
    space: Arc<Space>,
    document: DocumentId,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let mut fetching = lock(&self.space.fetching);
        if let Some(count) = fetching.get_mut(&self.document) {
            *count -= 1;
            if *count == 0 {
                fetching.remove(&self.document);
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Single steps under each of them, so a poisoned one is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
