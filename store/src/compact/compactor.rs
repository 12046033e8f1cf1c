//! The compaction thread, and what waits for it.
//!
//! It rests as long as its last fold took, so that it uses half a core at most, but not while somebody waits for it.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tombolo_core::id::DocumentId;

use super::fold::{Attempt, Ended as Attempted, NotFolded, fold};
use super::folding::Unfinished;
use super::policy::{CompactionPolicy, Left};
use super::queue::{Task, Waiting};
use crate::store::Inner;
use crate::worker::Worker;

/// Most documents of which is remembered what a fold left in their tail.
const LEFT_MAX: usize = 10_000;
/// Most documents of which is remembered how far a search has come. With more of them some start over each time, until
/// others are done.
const UNFINISHED_MAX: usize = 64;
/// How long a document that killed a session waits when it cannot be looked at now.
const PUT_OFF: Duration = Duration::from_secs(10);
/// How long a fold that was given up has to end before it is given up again.
const AGAIN: Duration = Duration::from_millis(20);

/// What is remembered of documents that were looked at.
#[derive(Default)]
struct Memory {
    left: HashMap<DocumentId, Left>,
    unfinished: HashMap<DocumentId, Unfinished>,
}

/// What came of looking at a document.
enum Looked {
    /// No engine was asked.
    Nothing,
    Folded,
    /// There is more to do.
    Again,
    /// It cannot be done now.
    NotNow,
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
        let mut memory = Memory::default();
        let mut rest_until = Instant::now();
        while let Some(task) = self.next(rest_until) {
            let began = Instant::now();
            let looked = self.look_at(&task, &mut memory, inner, worker);
            let now = Instant::now();
            if !matches!(looked, Looked::Nothing) {
                rest_until = now + (now - began);
            }
            if task.asked && matches!(looked, Looked::Nothing) {
                // It is gone, or nothing of it is left to look for.
                memory.unfinished.remove(&task.id);
            }
            let mut waiting = self.lock();
            match looked {
                Looked::Again => waiting.again(&task.id, now),
                Looked::NotNow if waiting.suspects.contains(&task.id) => {
                    waiting.again(&task.id, now + PUT_OFF);
                }
                Looked::Nothing | Looked::Folded | Looked::NotNow => waiting.looked_for(&task.id),
            }
        }
    }

    /// Folds a document if that is to be done.
    fn look_at(&self, task: &Task, memory: &mut Memory, inner: &Inner, worker: &dyn Worker) -> Looked {
        let Task { id, user_left, asked, waits } = task;
        let kept = memory.left.get(id).copied().unwrap_or_default();
        let record = match inner.shelves.record(id, true) {
            // Whoever connects again and again to a document that cannot be helped does not keep it busy.
            Ok(Some(record)) if *asked && (waits.is_some() || kept != Left::all(&record)) => record,
            Ok(Some(record)) if !asked && self.policy.is_due(id, &record, kept, *user_left) => record,
            Ok(_) => return Looked::Nothing,
            Err(error) => {
                tracing::warn!(document = %id, %error, "cannot look at a document for compaction");
                return Looked::Nothing;
            }
        };
        if inner.space.admits(record.snapshot_bytes + record.tail_bytes).is_err() {
            // It is looked at again when its tail grows or it is left the next time.
            return Looked::NotNow;
        }
        let attempt = Attempt {
            worker,
            is_closing: &|| self.is_closing(),
            time: Duration::from_millis(self.policy.attempt_ms_max),
            before: memory.unfinished.remove(id),
        };
        let left = match fold(id, inner, attempt) {
            Ok(Attempted::Done(left)) => left,
            Ok(Attempted::Again(unfinished)) => {
                memory.left.remove(id);
                if let Some(unfinished) = unfinished.filter(|_| memory.unfinished.len() < UNFINISHED_MAX) {
                    memory.unfinished.insert(id.clone(), unfinished);
                }
                return Looked::Again;
            }
            Err(NotFolded::Closing) => return Looked::Folded,
            Err(error) => {
                tracing::warn!(document = %id, reason = %error, "a tail was not folded; it stays as it is");
                if matches!(error, NotFolded::NotNow(_)) {
                    return Looked::NotNow;
                }
                Left::all(&record)
            }
        };
        memory.keep(id, left);
        Looked::Folded
    }

    /// The next document, after a rest; what is asked for does not wait for that.
    pub(super) fn next(&self, rest_until: Instant) -> Option<Task> {
        let mut waiting = self.lock();
        loop {
            if waiting.closing {
                return None;
            }
            if let Some(task) = waiting.next_asked() {
                return Some(task);
            }
            let now = Instant::now();
            if now >= rest_until
                && let Some(task) = waiting.next_due(now)
            {
                return Some(task);
            }
            let until = if now < rest_until { Some(rest_until) } else { waiting.wakes() };
            let changed = &self.changed;
            waiting = match until {
                Some(until) => {
                    let patience = until.saturating_duration_since(now);
                    changed.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner).0
                }
                None => changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change under this lock is a single step, so a poisoned state is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// This stays in the tail of a document.
    fn keep(&mut self, id: &DocumentId, left: Left) {
        if left == Left::default() {
            self.left.remove(id);
            return;
        }
        if self.left.len() >= LEFT_MAX {
            // Then some are tried once more than they need be.
            self.left.clear();
        }
        self.left.insert(id.clone(), left);
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
