//! Asking an open store for changes.

use crate::error::StoreError;
use crate::store::Store;

use super::checkpoint::{Changes, Checkpoint};
use super::watch::{ChangeWatch, Heard};

impl Store {
    /// Documents that changed since a checkpoint: every one that got an operation, a deletion, or something back from
    /// quarantine, each once, in the order of the numbers of their latest changes; at most `limit`, and at least one if
    /// there is any. Only what is durable counts. Without a checkpoint, or with one that is not of this feed, all
    /// documents, and [`Changes::anew`] says so. After a kill some may come again that did not change.
    ///
    /// The first call lists all documents once, into a file that is kept up to date from then on. Blocking.
    ///
    /// ```
    /// use tombolo_core::id::DocumentId;
    /// use tombolo_core::operation::Kind;
    /// use tombolo_store::{Store, StoreConfig, worker::ThreadWorker};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let store = Store::open(StoreConfig::new(folder.path()), ThreadWorker::start()?)?;
    /// let checkpoint = store.changes(None, 100)?.up_to;
    /// assert_eq!(store.latest_change()?, checkpoint);
    /// assert!(store.changes(Some(&checkpoint), 100)?.documents.is_empty());
    ///
    /// let id = DocumentId::yjs("notes/1")?;
    /// let (done, receipt) = std::sync::mpsc::channel();
    /// let update = bytes::Bytes::from_static(&[1, 1, 7, 0, 4, 1, 1, b't', 1, b'x', 0]);
    /// store.document(&id)?.append(Kind::YjsUpdate, update, Box::new(move |result| done.send(result).unwrap()))?;
    /// receipt.recv()??;
    /// let changes = store.changes(Some(&checkpoint), 100)?;
    /// assert_eq!(changes.documents.len(), 1);
    /// assert!(!changes.anew && !changes.more);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError`] if the list cannot be written or read, or must be made and a shelf cannot be read.
    pub fn changes(&self, since: Option<&Checkpoint>, limit: usize) -> Result<Changes, StoreError> {
        let inner = self.inner();
        let shelved = |visit: &mut dyn FnMut(&_)| Ok(inner.shelves.names(visit)?);
        inner.feed.changes(&inner.takeover, &shelved, since, limit)
    }

    /// A checkpoint of now: of the last change that is durable, whatever changed before it. Blocking.
    ///
    /// # Errors
    /// As of [`Store::changes`].
    pub fn latest_change(&self) -> Result<Checkpoint, StoreError> {
        let inner = self.inner();
        let shelved = |visit: &mut dyn FnMut(&_)| Ok(inner.shelves.names(visit)?);
        inner.feed.latest(&inner.takeover, &shelved)
    }

    /// Calls `heard` with each document that changes from now on and the number of the change, when that is durable and
    /// in the order of numbers, until what this gives back is dropped. So who begins this first and then asks for
    /// [`Store::changes`] misses nothing: what is behind [`Changes::up_to`] is heard. Blocking.
    ///
    /// # Errors
    /// As of [`Store::changes`].
    pub fn watch_changes(&self, heard: Heard) -> Result<ChangeWatch, StoreError> {
        let inner = self.inner();
        let shelved = |visit: &mut dyn FnMut(&_)| Ok(inner.shelves.names(visit)?);
        inner.feed.watch(&inner.takeover, &shelved, heard)
    }
}
