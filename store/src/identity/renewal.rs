//! Another witness from time to time, while a store is at work.
//!
//! A tool that restores a backup in place leaves alone what looks the same in both. So a witness that was made before
//! the backup would stand beside older documents, and the store would give names anew that it gave before. One that
//! is made anew while operations come in is older than a backup only if hardly anything was lost by restoring it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tombolo_core::id::Identity;

/// Renews the witness of one folder.
#[derive(Debug)]
pub(crate) struct Renewal {
    folder: PathBuf,
    identity: Identity,
    every: Duration,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    operations: u64,
}

impl Renewal {
    /// For a folder whose witness was made just now.
    pub(crate) fn new(folder: PathBuf, identity: Identity, every: Duration) -> Self {
        Self { folder, identity, every, last: Mutex::new(Last { at: Instant::now(), operations: 0 }) }
    }

    /// Who the store is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Renews it if it is old and `operations`, which have come in since the start, have become more.
    pub(crate) fn tick(&self, operations: u64) {
        // Plain values, replaced in one step.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if operations == last.operations || last.at.elapsed() < self.every {
            return;
        }
        *last = Last { at: Instant::now(), operations };
        if let Err(error) = super::renew(&self.folder, &self.identity) {
            tracing::warn!(%error, "the witness of the data folder could not be made anew; the old one stands");
        }
    }
}
