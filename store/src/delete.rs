//! Deleting documents so that they stay deleted.
//!
//! A deletion is an operation like any other: durable in the journal first. On the shelf the document's record
//! becomes its tombstone: it keeps the version, so that no operation that came before can come again, and counts no
//! content. While the tombstone stands the document can neither be opened nor written; a client that was away for
//! long is told so instead of bringing it back. A purge takes the tombstone away: the name may be used again, by a
//! document that starts empty.

use std::sync::mpsc::channel;

use bytes::Bytes;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::Kind;

use crate::error::{AppendError, StoreError};
use crate::shelf::{Noted, Release, SetAside};
use crate::store::Store;

impl Store {
    /// Deletes a document; durable when it returns. False if there is none of that name, or no more. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read or the deletion not stored.
    pub fn remove(&self, id: &DocumentId) -> Result<bool, StoreError> {
        let (document, entry) = self.open_document(id)?;
        if entry.is_deleted() || !entry.has_content() {
            return Ok(false);
        }
        let (sender, receiver) = channel();
        let appended =
            document.append(Kind::Deletion, Bytes::new(), Box::new(move |result| drop(sender.send(result))));
        match appended.and_then(|_| receiver.recv().unwrap_or_else(|_| Err(gone(id)))) {
            Ok(_) => Ok(true),
            // Somebody else was first.
            Err(AppendError::Deleted { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a tombstone away, so that the name may be used again. False if there is none. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if the shelf cannot be read or written.
    pub fn purge(&self, id: &DocumentId) -> Result<bool, StoreError> {
        let (_document, entry) = self.open_document(id)?;
        if !entry.is_deleted() {
            return Ok(false);
        }
        // The tombstone may still be on its way there.
        self.settle()?;
        self.inner().shelves.purge(id)?;
        entry.undelete();
        Ok(true)
    }

    /// Tombstones: names of deleted documents and when they were deleted, in ms since 1970. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if a shelf cannot be read.
    pub fn tombstones(&self) -> Result<Vec<(DocumentId, u64)>, StoreError> {
        self.settle()?;
        Ok(self.inner().shelves.tombstones()?)
    }

    /// What of a document is in quarantine, without payloads. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if its shelf cannot be read.
    pub fn quarantine(&self, id: &DocumentId) -> Result<Vec<Noted>, StoreError> {
        Ok(self.inner().shelves.noted(id)?)
    }

    /// One operation in quarantine with its payload; none if there is none of that name. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if its shelf cannot be read.
    pub fn set_aside(&self, id: &DocumentId, name: (ReplicaId, Seq)) -> Result<Option<SetAside>, StoreError> {
        Ok(self.inner().shelves.set_aside(id, name)?)
    }

    /// Documents that have operations in quarantine, and how many. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if a shelf cannot be read.
    pub fn quarantined(&self) -> Result<Vec<(DocumentId, u64)>, StoreError> {
        Ok(self.inner().shelves.quarantined()?)
    }

    /// Puts an operation in quarantine back into its document, or gives its payload up. False if there is none of
    /// that name. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if the shelf cannot be read or written.
    pub fn release(
        &self,
        id: &DocumentId,
        name: (ReplicaId, Seq),
        release: Release,
    ) -> Result<bool, StoreError> {
        let (_document, entry) = self.open_document(id)?;
        let inner = self.inner();
        let named = |noted: &Noted| (noted.replica, noted.seq) == name;
        let Some(noted) = inner.shelves.noted(id)?.into_iter().find(named) else { return Ok(false) };
        let intended = match release {
            Release::Retry => inner.feed.intend(&inner.takeover, id).map_err(StoreError::Feed)?,
            Release::Drop => None,
        };
        let released = inner.shelves.release(id, name, release);
        // Also after a failure, which does not say how far it came.
        entry.renew();
        if release == Release::Retry {
            inner.takeover.touch(id, intended);
        }
        let released = released?;
        if released && release == Release::Retry {
            entry.note_set_aside(noted.hash, false);
            inner.compactor.consider(id);
        }
        Ok(released)
    }
}

/// The journal's thread ended without a word.
fn gone(id: &DocumentId) -> AppendError {
    AppendError::Journal { document: id.clone(), source: crate::journal::JournalError::Closed }
}
