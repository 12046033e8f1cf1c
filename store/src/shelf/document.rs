//! The record of one document: which snapshot and which part of the tail are it, and what they contain.

use bincode::{Decode, Encode};
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Version, bincode as codec};

use super::row::{self, BODY_BYTES_MAX, NoRow};
use super::{Shelf, ShelfError, Tree};

/// What the shelf knows of a document without reading its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentRecord {
    /// Which operations are here.
    pub version: Version,
    /// Generation of the snapshot; 0 if there is none.
    pub(super) generation: u64,
    /// Bytes of the snapshot as it is served.
    pub snapshot_bytes: u64,
    /// Bytes of the snapshot as it lies here, compressed.
    pub(super) snapshot_stored: u64,
    /// Position of the first operation behind the snapshot.
    pub(super) tail_first: u64,
    /// Number of operations behind the snapshot.
    pub tail_count: u64,
    /// Their payload bytes.
    pub tail_bytes: u64,
}

/// As stored. Fields are only ever added in a later row version.
#[derive(Encode, Decode)]
struct Stored {
    generation: u64,
    snapshot_bytes: u64,
    snapshot_stored: u64,
    tail_first: u64,
    tail_count: u64,
    tail_bytes: u64,
    version: Vec<([u8; 16], u64)>,
}

impl DocumentRecord {
    /// The record of a document, if it has one.
    pub(super) fn load(shelf: &dyn Shelf, id: &DocumentId) -> Result<Option<Self>, ShelfError> {
        let key = id.to_key();
        let Some(row) = shelf.get(Tree::Documents, &key)? else { return Ok(None) };
        let body = row::open(Tree::Documents, &key, &row).map_err(|fault| fault.of(id))?;
        let damaged = |_| ShelfError::Damaged { document: id.clone(), found: "its record cannot be decoded" };
        let stored: Stored = codec::decode(body).map_err(damaged)?;
        let mut version = Version::default();
        for (replica, seq) in stored.version {
            version.advance(ReplicaId(replica), Seq(seq));
        }
        Ok(Some(Self {
            version,
            generation: stored.generation,
            snapshot_bytes: stored.snapshot_bytes,
            snapshot_stored: stored.snapshot_stored,
            tail_first: stored.tail_first,
            tail_count: stored.tail_count,
            tail_bytes: stored.tail_bytes,
        }))
    }

    /// The row that stores it.
    pub(super) fn to_row(&self, id: &DocumentId) -> Result<(Vec<u8>, Vec<u8>), ShelfError> {
        let stored = Stored {
            generation: self.generation,
            snapshot_bytes: self.snapshot_bytes,
            snapshot_stored: self.snapshot_stored,
            tail_first: self.tail_first,
            tail_count: self.tail_count,
            tail_bytes: self.tail_bytes,
            version: self.version.iter().map(|(replica, seq)| (replica.0, seq.0)).collect(),
        };
        let too_large =
            || ShelfError::TooLarge { document: id.clone(), what: "its version names too many replicas" };
        let body = codec::encode(&stored).map_err(|_| too_large())?;
        if body.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        let key = id.to_key();
        let row = row::seal(Tree::Documents, &key, &body);
        Ok((key, row))
    }
}

impl NoRow {
    /// The error that names the document.
    pub(super) fn of(self, document: &DocumentId) -> ShelfError {
        match self {
            Self::Broken => {
                ShelfError::Damaged { document: document.clone(), found: "a row is not as it was written" }
            }
            Self::TooNew(version) => ShelfError::TooNew { document: document.clone(), version },
        }
    }
}

/// What rows of a document start with in trees that keep many for each: 16 bytes of a hash of its key.
pub(super) type Prefix = [u8; 16];

/// The prefix of a document, and the number that spreads documents over shelves.
pub(super) fn place(id: &DocumentId) -> (Prefix, u16) {
    let hash = *blake3::hash(&id.to_key()).as_bytes();
    let prefix = hash.first_chunk().copied().unwrap_or_default();
    let spread = hash.last_chunk().copied().map(u16::from_be_bytes).unwrap_or_default();
    (prefix, spread)
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryShelf;
    use super::*;

    #[test]
    fn golden_bytes_of_a_record() {
        let id = DocumentId::yjs("d").unwrap();
        let mut version = Version::default();
        version.advance(ReplicaId([7; 16]), Seq(9));
        let record = DocumentRecord {
            version,
            generation: 1,
            snapshot_bytes: 2,
            snapshot_stored: 3,
            tail_first: 4,
            tail_count: 5,
            tail_bytes: 6,
        };
        let (key, row) = record.to_row(&id).unwrap();
        assert_eq!(key, [1, b'd']);
        let mut expected: Vec<u8> = (1u64..=6).flat_map(u64::to_be_bytes).collect();
        expected.extend(1u64.to_be_bytes());
        expected.extend([7; 16]);
        expected.extend(9u64.to_be_bytes());
        assert_eq!(row[5..], expected);
        let shelf = MemoryShelf::default();
        shelf.batch(Tree::Documents, vec![(key, Some(row))]).unwrap();
        assert_eq!(DocumentRecord::load(&shelf, &id).unwrap(), Some(record));
    }
}
