//! Giving up the content of a document that somebody else keeps, and taking it back.
//!
//! What is left is a *stub* in the document's record: its version, so that no seq is given out twice and no operation
//! of before comes again as new, and who had all of it. Nothing is acknowledged by an eviction, so nothing of it is in
//! the journal: the record is switched on the shelf, then the rows go. A stop at any instant leaves the whole document
//! or the stub.
//!
//! A stub is not opened, so that nobody takes it for an empty document. Who fetches it brings its content in besides
//! the stub, and takes that away when all is there.

use std::sync::Arc;

use tombolo_core::id::{DocumentId, Incarnation, ReplicaId};

use crate::document::{Document, Held, Standing, now_ms};
use crate::error::StoreError;
use crate::shelf::Stub;
use crate::store::Store;

/// Who has all of a document, fsynced, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whose store.
    pub keeper: (ReplicaId, Incarnation),
    /// Where that is reached; of a longer one the first 512 bytes are kept.
    pub address: String,
    /// What there is of it, in the words of its format: a Yjs state vector, or Automerge heads. More than 1024 bytes are
    /// not kept.
    pub had: Vec<u8>,
}

impl Store {
    /// Gives the content of a document up and leaves a stub; gives back the bytes that it took, or why it stays. Whoever
    /// calls knows that the keeper has all that the document was made of at `as_it_was`; a document that has become
    /// anything else stays. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if the shelf cannot be read or written; the document is then whole or a stub.
    pub fn evict(
        &self,
        id: &DocumentId,
        as_it_was: &Standing,
        kept: &Kept,
    ) -> Result<Result<u64, Held>, StoreError> {
        let (_document, entry) = self.open_document(id)?;
        let inner = self.inner();
        let Kept { keeper, address, had } = kept.clone();
        let stub = Stub { evicted_ms: now_ms(), keeper, address, had, bytes: 0 };
        let before = entry.stub();
        {
            // Nobody opens it meanwhile.
            let _entries = inner.entries();
            if let Err(held) = entry.begin_eviction(inner.replica, as_it_was, &stub) {
                return Ok(Err(held));
            }
        }
        match inner.shelves.evict(id, &|record| as_it_was.is_of(record), &stub) {
            Ok(Some(stub)) => {
                let bytes = stub.bytes;
                entry.set_stub(Some(stub));
                Ok(Ok(bytes))
            }
            Ok(None) => {
                entry.set_stub(before);
                Ok(Err(Held::Changed))
            }
            Err(error) => {
                // Which of the two it is now the shelf says, or nobody opens it.
                if let Ok(Some(record)) = inner.shelves.record(id, false) {
                    entry.set_stub(record.stub);
                }
                Err(error.into())
            }
        }
    }

    /// What a document is made of now, as for [`Store::evict`]. Blocking.
    ///
    /// # Errors
    /// As of [`Store::document`].
    pub fn standing(&self, id: &DocumentId) -> Result<Standing, StoreError> {
        self.document(id)?.standing()
    }

    /// What is left of a document if it was evicted. Keeps nothing in memory. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if its shelf cannot be read.
    pub fn stub(&self, id: &DocumentId) -> Result<Option<Stub>, StoreError> {
        let inner = self.inner();
        let entry = inner.entries().get(id).map(Arc::clone);
        if let Some(entry) = entry {
            entry.load(inner)?;
            return Ok(entry.stub().filter(|_| !entry.is_deleted()));
        }
        Ok(inner.shelves.record(id, true)?.and_then(|record| record.stub))
    }

    /// Evicted documents and what is left of them, in the order of their keys. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if a shelf cannot be read.
    pub fn stubs(&self) -> Result<Vec<(DocumentId, Stub)>, StoreError> {
        self.settle()?;
        Ok(self.inner().shelves.stubs()?)
    }

    /// Opens a document, also one that was evicted: to bring its content in. Until [`Store::fetched`] nobody else opens
    /// it. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if its shelf cannot be read, or it was deleted.
    pub fn fetch(&self, id: &DocumentId) -> Result<Document, StoreError> {
        let (document, entry) = self.open_document(id)?;
        if entry.is_deleted() {
            return Err(StoreError::Deleted { document: id.clone() });
        }
        Ok(document)
    }

    /// All of an evicted document is here again, and durable: it is one like any other. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if the shelf cannot be read or written.
    pub fn fetched(&self, id: &DocumentId) -> Result<(), StoreError> {
        let (_document, entry) = self.open_document(id)?;
        self.inner().shelves.fetched(id)?;
        entry.set_stub(None);
        Ok(())
    }
}

/// For one that is given up once more: it says who had it.
impl From<Stub> for Kept {
    fn from(stub: Stub) -> Self {
        Self { keeper: stub.keeper, address: stub.address, had: stub.had }
    }
}
