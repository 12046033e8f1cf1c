//! Whether a document is still what it was, for who keeps what was read of it or remembers what became of it.
//!
//! Guarantee: what is served changes otherwise than by an append only with a new edition, which comes when the shelf
//! has the change; so whoever asks for the edition before reading never takes old content for new.

use std::sync::atomic::{AtomicU64, Ordering};

use tombolo_core::operation::Version;

use super::{Document, InUse};
use crate::error::StoreError;
use crate::shelf::Life;

/// Editions of all documents; none is given twice, so that a document that was forgotten and is opened again is never
/// taken for what it was.
static EDITIONS: AtomicU64 = AtomicU64::new(0);

/// Which edition of a document is served.
#[derive(Debug)]
pub(super) struct Edition(AtomicU64);

impl Default for Edition {
    fn default() -> Self {
        Self(AtomicU64::new(next_edition()))
    }
}

impl Edition {
    pub(super) fn renew(&self) {
        self.0.store(next_edition(), Ordering::Release);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

fn next_edition() -> u64 {
    EDITIONS.fetch_add(1, Ordering::Relaxed)
}

/// What a document is made of at a moment, and whether all of it is on the shelf, where it can be folded. Equal ones
/// of one document have the same content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub(super) version: Version,
    pub(super) life: Life,
    pub(super) set_aside: u64,
    /// Operations on their way to the shelf.
    pub(super) pending: usize,
}

impl Document {
    /// Another number whenever what it serves may have changed otherwise than by an append: an operation was set
    /// aside or released, or its name is used anew. Whoever asks before reading and finds it unchanged later has
    /// everything but what was appended since. For as long as the document is held.
    #[must_use]
    pub fn edition(&self) -> u64 {
        self.in_use.entry.edition.get()
    }

    /// What it is made of now, without reading that. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if the shelf cannot be read or is damaged there.
    pub fn standing(&self) -> Result<Standing, StoreError> {
        let InUse { inner, entry } = &*self.in_use;
        let (pending, is_new) = self.pending()?;
        let record = inner.shelves.record(&entry.id, is_new)?.unwrap_or_default();
        let (life, set_aside) = (record.life(), record.set_aside);
        let version = record.version;
        let pending =
            pending.iter().filter(|operation| operation.seq > version.get(operation.replica)).count();
        Ok(Standing { version, life, set_aside, pending })
    }
}
