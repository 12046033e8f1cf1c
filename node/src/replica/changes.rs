//! Who watches a document, and in which order they hear.
//!
//! Guarantees: each change is told once, when it is durable, in the order in which it was made; nothing is locked while
//! an observer runs, so that it may read and edit. What it edits is told after it has returned.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tombolo_core::id::DocumentId;

use super::link::LinkId;

/// Where a change came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An edit of this process.
    Local,
    /// Brought by [`YjsDocument::apply`](super::YjsDocument::apply), or by
    /// [`apply`](super::AutomergeDocument::apply) or [`sync_receive`](super::AutomergeDocument::sync_receive) of an
    /// Automerge document.
    Remote,
    /// Brought over a link.
    Link(LinkId),
}

/// One operation that was added to a document.
#[derive(Clone, Debug)]
pub struct Change {
    /// To which.
    pub document: DocumentId,
    /// By whom.
    pub origin: Origin,
    /// What: a Yjs update, v1, or Automerge change chunks, among which a saved document may be. `apply` takes both
    /// elsewhere. It may wait for others that are not there.
    pub update: Bytes,
}

type Observer = Arc<Mutex<dyn FnMut(&Change) + Send>>;

#[derive(Default)]
struct State {
    observers: Vec<(u64, Observer)>,
    next: u64,
    /// Durable, and not told yet.
    queue: VecDeque<Change>,
    telling: bool,
}

/// The observers of one document.
#[derive(Clone, Default)]
pub(super) struct Changes {
    state: Arc<Mutex<State>>,
}

impl Changes {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn observe(&self, observer: impl FnMut(&Change) + Send + 'static) -> Observation {
        let mut state = self.lock();
        let key = state.next;
        state.next += 1;
        state.observers.push((key, Arc::new(Mutex::new(observer))));
        Observation { state: Arc::downgrade(&self.state), key }
    }

    /// Notes what is durable now; whoever made it tells it.
    pub(super) fn push(&self, change: Change) {
        let mut state = self.lock();
        if !state.observers.is_empty() {
            state.queue.push_back(change);
        }
    }

    /// Tells what is to be told, unless somebody is at it.
    pub(super) fn tell(&self) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.telling, true) {
            return;
        }
        // Also when an observer panics.
        let _end = EndOfTelling(self);
        while let Some(change) = state.queue.pop_front() {
            let observers = state.observers.clone();
            drop(state);
            for (_, observer) in observers {
                observer.lock().unwrap_or_else(PoisonError::into_inner)(&change);
            }
            state = self.lock();
        }
        // Under the lock, so that what is pushed from here on is told by who pushes it.
        state.telling = false;
    }
}

struct EndOfTelling<'a>(&'a Changes);

impl Drop for EndOfTelling<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().telling = false;
        }
    }
}

/// Watches for as long as it is held.
#[must_use = "nobody watches any more when this is dropped"]
pub struct Observation {
    state: Weak<Mutex<State>>,
    key: u64,
}

impl Drop for Observation {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.observers.retain(|(key, _)| *key != self.key);
            if state.observers.is_empty() {
                state.queue.clear();
            }
        }
    }
}
