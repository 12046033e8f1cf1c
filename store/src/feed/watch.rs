//! Who hears of changes as they come.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tombolo_core::id::DocumentId;

/// Called with each change that is durable and its number, in the order of numbers, on a thread that many wait for: it
/// must be quick, and must not open or write documents nor begin or end another watch.
pub type Heard = Box<dyn Fn(&DocumentId, u64) + Send + Sync>;

/// Ends with this: nothing is heard any more once it was dropped.
#[must_use = "nothing is heard any more once it is dropped"]
pub struct ChangeWatch {
    watchers: Weak<Watchers>,
    id: u64,
}

impl fmt::Debug for ChangeWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChangeWatch({})", self.id)
    }
}

impl Drop for ChangeWatch {
    fn drop(&mut self) {
        if let Some(watchers) = self.watchers.upgrade() {
            watchers.lock().retain(|(id, _)| *id != self.id);
        }
    }
}

/// All who listen.
#[derive(Default)]
pub(crate) struct Watchers {
    list: Mutex<Vec<(u64, Heard)>>,
    begun: AtomicU64,
    /// What the numbers of this opening are above.
    start: AtomicU64,
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watchers({})", self.lock().len())
    }
}

impl Watchers {
    pub(super) fn watch(self: &Arc<Self>, heard: Heard) -> ChangeWatch {
        let id = self.begun.fetch_add(1, Ordering::Relaxed);
        self.lock().push((id, heard));
        ChangeWatch { watchers: Arc::downgrade(self), id }
    }

    pub(super) fn set_start(&self, start: u64) {
        self.start.store(start, Ordering::Release);
    }

    /// Held while a number is given, so that all hear of changes in the order of numbers.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn { list: self.lock(), watchers: self }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Heard)>> {
        // Each change under this lock is a single step, so a poisoned list is whole.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody else gives numbers meanwhile.
pub(crate) struct Turn<'a> {
    list: MutexGuard<'a, Vec<(u64, Heard)>>,
    watchers: &'a Watchers,
}

impl Turn<'_> {
    /// Whether nobody listens.
    pub(crate) fn is_idle(&self) -> bool {
        self.list.is_empty()
    }

    /// Tells everybody of a change; `given` is its number since the opening.
    pub(crate) fn tell(&self, id: &DocumentId, given: u64) {
        let number = self.watchers.start.load(Ordering::Acquire).saturating_add(given);
        self.list.iter().for_each(|(_, heard)| heard(id, number));
    }
}
