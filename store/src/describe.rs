//! What a store can tell of a document without reading its content.

use std::sync::Arc;

use tombolo_core::id::DocumentId;
use tombolo_core::operation::{Kind, Version};

use crate::error::StoreError;
use crate::shelf::{DocumentRecord, Stub};
use crate::store::Store;

/// A document from the outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Which operations it has had.
    pub version: Version,
    /// Bytes of its snapshot, unpacked; 0 if it has none.
    pub snapshot_bytes: u64,
    /// Operations behind the snapshot.
    pub tail_operations: u64,
    /// Bytes of their payloads.
    pub tail_bytes: u64,
    /// Operations in quarantine.
    pub quarantined: u64,
    /// Bytes of it as it lies on the shelf, packed.
    pub bytes_at_rest: u64,
    /// What is left of it if it was evicted.
    pub stub: Option<Stub>,
}

impl Description {
    /// Bytes of everything that a reader gets.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.snapshot_bytes.saturating_add(self.tail_bytes)
    }

    /// Operations that it has had.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.version.iter().fold(0, |sum, (_, seq)| sum.saturating_add(seq.0))
    }
}

impl From<DocumentRecord> for Description {
    fn from(record: DocumentRecord) -> Self {
        Self {
            bytes_at_rest: record.bytes_at_rest(),
            version: record.version,
            snapshot_bytes: record.snapshot_bytes,
            tail_operations: record.tail_count,
            tail_bytes: record.tail_bytes,
            quarantined: record.set_aside,
            stub: record.stub,
        }
    }
}

impl Store {
    /// As [`Store::documents`], with what [`Store::describe`] says of each; nothing of one whose record is damaged.
    /// Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if a shelf cannot be read.
    pub fn descriptions(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, Description)>, StoreError> {
        let listed = self.list(after, limit)?.into_iter();
        let describe = |(id, record): (DocumentId, Option<DocumentRecord>)| {
            let described = match record {
                Some(record) => record.into(),
                // On its way to the shelf. One that cannot be described says why when it is read.
                None => self.describe(&id).ok().flatten().unwrap_or_default(),
            };
            (id, described)
        };
        Ok(listed.map(describe).collect())
    }

    /// What is known of a document; none if it has no operation, or was deleted. Keeps nothing in memory. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if its shelf cannot be read.
    pub fn describe(&self, id: &DocumentId) -> Result<Option<Description>, StoreError> {
        let inner = self.inner();
        let entry = inner.entries().get(id).map(Arc::clone);
        // First what is pending, then the shelf: an operation leaves the first only when it is in the second.
        let (pending, is_new) = entry.map(|entry| entry.pending(inner.replica)).unwrap_or_default();
        let record = inner.shelves.record(id, is_new)?;
        let mut deleted = record.as_ref().is_none_or(|record| record.deleted_ms > 0);
        let mut described = Description::from(record.unwrap_or_default());
        for operation in pending {
            if !described.version.observe(operation.replica, operation.seq) {
                continue;
            }
            deleted = operation.kind == Kind::Deletion;
            if deleted {
                let version = std::mem::take(&mut described.version);
                described = Description { version, ..Description::default() };
            } else {
                described.tail_operations += 1;
                described.tail_bytes += operation.payload.len() as u64;
                described.bytes_at_rest += operation.payload.len() as u64;
            }
        }
        Ok((!deleted).then_some(described))
    }
}
