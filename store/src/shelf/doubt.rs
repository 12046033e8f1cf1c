//! Files that a write or sync failed for: what is read of them need not be on the disk.
//!
//! A system that cannot write a page says so once, and keeps it as if it were written. So an engine that is opened
//! anew finds what was never durable, and a sync says that all is well. If that were believed, operations would be
//! taken for shelved, the journal would give them up, and a power cut would take the only copy.
//!
//! Guarantee: after such a failure a shelf is written to only when all its files were copied and the copy was synced.
//! It is read on meanwhile. A full disk is no such failure: it refuses before it takes. That a shelf is in doubt is
//! noted in a file `NNNN.doubt` for the next process; it need not survive a power cut, which ends all doubt.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::shelves::{Shelves, State};
use super::{ShelfError, open};

/// What is known of one shelf.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Set by whoever has the shelf in hand; without a lock, so that nobody waits for it with the shelf in hand.
    is_there: AtomicBool,
    /// Why the files could not be written anew, and when that was tried. Held while it is.
    failed: Mutex<Option<(ShelfError, Instant)>>,
}

impl Doubt {
    /// As the process before left it.
    pub(super) fn open(folder: &Path) -> Self {
        Self { is_there: AtomicBool::new(note_of(folder).exists()), ..Self::default() }
    }
}

/// How long it is not tried again: it copies all of a shelf.
const PAUSE: Duration = Duration::from_secs(60);

fn note_of(folder: &Path) -> PathBuf {
    folder.with_extension("doubt")
}

impl Shelves {
    /// A write to a shelf failed.
    pub(super) fn doubt(&self, index: usize) {
        let Some(slot) = self.slots.get(index) else { return };
        if !slot.doubt.is_there.swap(true, Ordering::AcqRel) {
            let folder = self.path(index);
            tracing::error!(shelf = %folder.display(), "a write to a shelf failed: its files are copied before anything is written there again");
            if let Err(error) = File::create(note_of(&folder)) {
                tracing::warn!(%error, "that could not be noted for the next start");
            }
        }
    }

    /// Whether there is a shelf of which it is not certain that it is on the disk.
    pub(crate) fn has_doubt(&self) -> bool {
        (0..self.slots.len()).any(|index| self.is_in_doubt(index))
    }

    pub(super) fn is_in_doubt(&self, index: usize) -> bool {
        self.slots.get(index).is_some_and(|slot| slot.doubt.is_there.load(Ordering::Acquire))
    }

    /// Writes a shelf's files anew if they are in doubt. It may be written to then.
    ///
    /// # Errors
    /// [`ShelfError`] if that does not go.
    pub(super) fn clear_doubt(&self, index: usize) -> Result<(), ShelfError> {
        let Some(slot) = self.slots.get(index).filter(|_| self.is_in_doubt(index)) else { return Ok(()) };
        let mut failed = slot.doubt.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((error, _)) = failed.as_ref().filter(|(_, at)| at.elapsed() < PAUSE) {
            return Err(error.clone());
        }
        let mut state = slot.lock();
        if matches!(&*state, State::Ended) {
            return Err(ShelfError::Closed);
        }
        if !self.is_in_doubt(index) {
            // Somebody else was first.
            return Ok(());
        }
        *state = State::Closed;
        let folder = self.path(index);
        if let Err(error) = open::rewrite(&folder) {
            *failed = error.is_contained().then(|| (error.clone(), Instant::now()));
            return Err(error);
        }
        *failed = None;
        // One that stays costs another copy.
        let _ = fs::remove_file(note_of(&folder));
        slot.doubt.is_there.store(false, Ordering::Release);
        tracing::warn!(shelf = %folder.display(), "the files of a shelf were written anew; it goes on");
        Ok(())
    }
}
