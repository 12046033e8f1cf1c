//! What is done from time to time: shelves that nobody uses are closed, so that memory follows what is open and not
//! what is stored; those that have grown far beyond what counts of them are copied; tombstones that stood long enough
//! go; the disk is looked at, and the folder's witness made anew.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::document::now_ms;
use crate::space::LOOK;
use crate::store::Inner;

/// The end of the idle thread, when it is asked for.
#[derive(Debug)]
pub(crate) struct Idle {
    closing: Mutex<bool>,
    changed: Condvar,
    /// How long tombstones stand, in ms.
    tombstone_ms: u64,
}

impl Idle {
    pub(crate) fn new(tombstone_ms: u64) -> Self {
        Self { closing: Mutex::default(), changed: Condvar::new(), tombstone_ms }
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    /// The idle thread.
    pub(crate) fn run(&self, inner: &Inner, idle: Duration) {
        let Inner { shelves, space, renewal, journal, .. } = inner;
        let mut closing = self.lock();
        while !*closing {
            closing = self
                .changed
                .wait_timeout(closing, LOOK.min(idle / 2))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if !*closing {
                drop(closing);
                shelves.purge_expired(now_ms().saturating_sub(self.tombstone_ms));
                shelves.reclaim_where_due(&|bytes| space.admits(bytes).is_ok());
                shelves.close_idle(idle);
                space.tick();
                renewal.tick(journal.stats().operations);
                closing = self.lock();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
