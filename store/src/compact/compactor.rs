//! The compaction thread, and what waits for it.
//!
//! It rests as long as its last fold took, so that it uses half a core at most, but not while somebody waits for it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tombolo_core::id::DocumentId;

use super::fold::{NotFolded, fold};
use super::policy::{CompactionPolicy, Left};
use crate::store::Inner;
use crate::worker::Worker;

/// Most documents of which is remembered what a fold left in their tail.
const LEFT_MAX: usize = 10_000;
/// How long a fold that was given up has to end before it is given up again.
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct Waiting {
    due: BTreeSet<DocumentId>,
    /// Left by their last user: due with fewer updates.
    left: BTreeSet<DocumentId>,
    /// Asked for, whether due or not; each with whoever waits for it.
    pub(super) asked: VecDeque<(DocumentId, Option<SyncSender<()>>)>,
    /// Documents that killed a session, until a fold has looked for the reason.
    pub(super) suspects: BTreeSet<DocumentId>,
    pub(super) closing: bool,
    ended: bool,
}

/// A document to look at, and why.
pub(super) struct Task {
    pub(super) id: DocumentId,
    user_left: bool,
    /// Whether the policy is not asked.
    asked: bool,
    /// Dropped when it was looked at.
    waits: Option<SyncSender<()>>,
}

/// What waits for compaction.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    policy: CompactionPolicy,
    waiting: Mutex<Waiting>,
    pub(super) changed: Condvar,
}

impl Compactor {
    pub(crate) fn new(policy: CompactionPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// The tail of a document has grown.
    pub(crate) fn consider(&self, id: &DocumentId) {
        if self.lock().due.insert(id.clone()) {
            self.changed.notify_all();
        }
    }

    /// The last user of a document has left it.
    pub(crate) fn left(&self, id: &DocumentId) {
        if self.lock().left.insert(id.clone()) {
            self.changed.notify_all();
        }
    }

    /// Ends the thread after the request that it is in; see [`Compactor::wait_for_the_end`].
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closing = true;
        // Whoever waits goes on.
        waiting.asked.clear();
        self.changed.notify_all();
    }

    /// Waits until the closed thread has ended; a fold that it is in is given up if the worker can do that.
    pub(crate) fn wait_for_the_end(&self, worker: &dyn Worker) {
        let mut waiting = self.lock();
        while !waiting.ended {
            drop(waiting);
            worker.abandon();
            // Again and again: the thread may have been about to ask.
            waiting = self.changed.wait_timeout(self.lock(), AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// The compaction thread.
    pub(crate) fn run(&self, inner: &Inner, worker: &dyn Worker) {
        let _ended = Ended(self);
        let mut left: HashMap<DocumentId, Left> = HashMap::new();
        let mut rest_until = Instant::now();
        while let Some(task) = self.next(rest_until) {
            let began = Instant::now();
            if self.look_at(&task, &mut left, inner, worker) {
                rest_until = Instant::now() + began.elapsed();
            }
            self.lock().suspects.remove(&task.id);
        }
    }

    /// Folds a document if that is to be done; true if it took an engine.
    fn look_at(
        &self,
        task: &Task,
        known: &mut HashMap<DocumentId, Left>,
        inner: &Inner,
        worker: &dyn Worker,
    ) -> bool {
        let Task { id, user_left, asked, waits } = task;
        let before = known.get(id).copied().unwrap_or_default();
        let record = match inner.shelves.record(id, true) {
            // Whoever connects again and again to a document that cannot be helped does not keep it busy.
            Ok(Some(record)) if *asked && (waits.is_some() || before != Left::all(&record)) => record,
            Ok(Some(record)) if !asked && self.policy.is_due(id, &record, before, *user_left) => record,
            Ok(_) => return false,
            Err(error) => {
                tracing::warn!(document = %id, %error, "cannot look at a document for compaction");
                return false;
            }
        };
        if inner.space.admits(record.snapshot_bytes + record.tail_bytes).is_err() {
            // It is looked at again when its tail grows or it is left the next time.
            return false;
        }
        let left = match fold(id, inner, worker, &|| self.is_closing()) {
            Ok(left) => left,
            Err(NotFolded::Closing) => return true,
            Err(error) => {
                tracing::warn!(document = %id, reason = %error, "a tail was not folded; it stays as it is");
                if matches!(error, NotFolded::NotNow(_)) {
                    return true;
                }
                Left::all(&record)
            }
        };
        if left == Left::default() {
            known.remove(id);
        } else {
            if known.len() >= LEFT_MAX {
                // Then some are tried once more than they need be.
                known.clear();
            }
            known.insert(id.clone(), left);
        }
        true
    }

    /// The next document, after a rest; what is asked for does not wait for that.
    pub(super) fn next(&self, rest_until: Instant) -> Option<Task> {
        let mut waiting = self.lock();
        loop {
            if waiting.closing {
                return None;
            }
            if let Some((id, waits)) = waiting.asked.pop_front() {
                return Some(Task { id, user_left: false, asked: true, waits });
            }
            let rest = rest_until.saturating_duration_since(Instant::now());
            if rest > Duration::ZERO {
                waiting = self.changed.wait_timeout(waiting, rest).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if let Some(id) = waiting.left.pop_first() {
                waiting.due.remove(&id);
                return Some(Task { id, user_left: true, asked: false, waits: None });
            }
            if let Some(id) = waiting.due.pop_first() {
                return Some(Task { id, user_left: false, asked: false, waits: None });
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change under this lock is a single step, so a poisoned state is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However the thread ends, nobody waits for it for ever.
struct Ended<'a>(&'a Compactor);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("compaction panicked; tails are folded again after the next start");
        }
        self.0.close();
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}
