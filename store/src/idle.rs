//! Closes shelves that nobody uses, so that memory follows what is open and not what is stored, and copies those
//! that have grown far beyond what counts of them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::shelf::Shelves;

/// The end of the idle thread, when it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    closing: Mutex<bool>,
    changed: Condvar,
}

impl Idle {
    /// Ends the thread.
    pub(crate) fn close(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    /// The idle thread.
    pub(crate) fn run(&self, shelves: &Shelves, idle: Duration) {
        let mut closing = self.lock();
        while !*closing {
            closing = self.changed.wait_timeout(closing, idle / 2).unwrap_or_else(PoisonError::into_inner).0;
            if !*closing {
                drop(closing);
                shelves.reclaim_where_due();
                shelves.close_idle(idle);
                closing = self.lock();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
