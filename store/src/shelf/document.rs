//! The record of one document: which snapshot and which part of the tail are it, and what they contain.

use bincode::{Decode, Encode};
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Version, bincode as codec};

use super::row::{self, NoRow, Row, body_bytes_max};
use super::rows::Rows;
use super::stub::{StoredStub, Stub};
use super::{Change, ShelfError, Tree};

/// What the shelf knows of a document without reading its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentRecord {
    /// Which operations are here.
    pub version: Version,
    /// Generation of the snapshot, or of the last one if it was deleted.
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
    /// When it was deleted, in ms since 1970; 0 if it was not. Then it has no content and takes none.
    pub deleted_ms: u64,
    /// Operations in quarantine.
    pub set_aside: u64,
    /// What is left of it if it was evicted. Content besides is what was fetched so far, and served to nobody.
    pub stub: Option<Stub>,
}

/// More than anything can be counted to; so sums of what a record says do not overflow, whatever that is.
const COUNT_MAX: u64 = 1 << 60;

/// A state of a document from one fold or deletion to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    tail_first: u64,
    generation: u64,
}

/// As rows of version 1 have it. Fields are only ever added in a later row version.
#[derive(Encode, Decode)]
struct Stored1 {
    generation: u64,
    snapshot_bytes: u64,
    snapshot_stored: u64,
    tail_first: u64,
    tail_count: u64,
    tail_bytes: u64,
    version: Vec<([u8; 16], u64)>,
}

/// What rows of version 2 have behind that.
#[derive(Encode, Decode)]
struct Stored2 {
    first: Stored1,
    deleted_ms: u64,
    set_aside: u64,
}

/// What rows of version 3 have behind that.
#[derive(Encode, Decode)]
struct Stored3 {
    second: Stored2,
    stub: StoredStub,
}

impl DocumentRecord {
    /// The record of a document, if it has one.
    pub(super) fn load(rows: &Rows, id: &DocumentId) -> Result<Option<Self>, ShelfError> {
        match rows.get(Tree::Documents, &id.to_key())? {
            None => Ok(None),
            Some(Err(fault)) => Err(fault.of(id)),
            Some(Ok(row)) => match Self::decode(Row { version: row.version, body: &row.body }) {
                Some(record) => Ok(Some(record)),
                None => {
                    Err(ShelfError::Damaged { document: id.clone(), found: "its record cannot be decoded" })
                }
            },
        }
    }

    /// The record that a row holds, if it is one.
    pub(super) fn decode(row: Row<'_>) -> Option<Self> {
        let (stored, stub) = match row.version {
            1 => (Stored2 { first: codec::decode(row.body).ok()?, deleted_ms: 0, set_aside: 0 }, None),
            row::EVICTED => {
                let Stored3 { second, stub } = codec::decode(row.body).ok()?;
                (second, Some(Stub::from(stub)))
            }
            _ => (codec::decode(row.body).ok()?, None),
        };
        let Stored1 {
            generation, snapshot_bytes, snapshot_stored, tail_first, tail_count, tail_bytes, ..
        } = stored.first;
        let had = stub.as_ref().map_or(0, |stub| stub.bytes);
        let counts = [snapshot_bytes, snapshot_stored, tail_count, tail_bytes, stored.set_aside, had];
        if counts.into_iter().chain([generation, tail_first]).any(|count| count > COUNT_MAX) {
            return None;
        }
        let mut version = Version::default();
        for (replica, seq) in stored.first.version {
            version.advance(ReplicaId(replica), Seq(seq));
        }
        Some(Self {
            version,
            generation,
            snapshot_bytes,
            snapshot_stored,
            tail_first,
            tail_count,
            tail_bytes,
            deleted_ms: stored.deleted_ms,
            set_aside: stored.set_aside,
            stub,
        })
    }

    /// The change that stores it.
    pub(super) fn to_row(&self, rows: &Rows, id: &DocumentId) -> Result<Change, ShelfError> {
        let (version, body) = self.body(id)?;
        let key = id.to_key();
        let row = rows.mark.seal_as(version, Tree::Documents, &key, &body);
        Ok((key, Some(row)))
    }

    /// Whether operations of these replicas can be counted, too: a version lies in one row, so there is an end to them.
    ///
    /// # Errors
    /// [`ShelfError::TooLarge`] if not.
    pub(crate) fn check_room(
        &self,
        id: &DocumentId,
        replicas: impl Iterator<Item = ReplicaId>,
    ) -> Result<(), ShelfError> {
        let mut version = self.version.clone();
        replicas.for_each(|replica| version.advance(replica, version.get(replica).next()));
        Self { version, ..self.clone() }.body(id).map(drop)
    }

    /// The version of its row, and what is in there.
    fn body(&self, id: &DocumentId) -> Result<(u8, Vec<u8>), ShelfError> {
        let first = Stored1 {
            generation: self.generation,
            snapshot_bytes: self.snapshot_bytes,
            snapshot_stored: self.snapshot_stored,
            tail_first: self.tail_first,
            tail_count: self.tail_count,
            tail_bytes: self.tail_bytes,
            version: self.version.iter().map(|(replica, seq)| (replica.0, seq.0)).collect(),
        };
        let second = Stored2 { first, deleted_ms: self.deleted_ms, set_aside: self.set_aside };
        let what = "its record is full of replicas that wrote to it, one for each copy or restore of the data \
                    folder; it can still be read: export it and import it under another name";
        let too_large = || ShelfError::TooLarge { document: id.clone(), what };
        let (version, encoded) = match &self.stub {
            None => (row::VERSION, codec::encode(&second)),
            Some(stub) => (row::EVICTED, codec::encode(&Stored3 { second, stub: stub.clone().into() })),
        };
        let body = encoded.map_err(|_| too_large())?;
        if body.len() > body_bytes_max(id.to_key().len()) {
            return Err(too_large());
        }
        Ok((version, body))
    }

    /// Deletes it: nothing of it counts any more.
    pub(crate) fn delete(&mut self, at_ms: u64) {
        let (tail_first, version) = (self.tail_end(), std::mem::take(&mut self.version));
        // Positions and generations go on, so that what is left over can never count again.
        let generation = self.generation;
        *self = Self { tail_first, generation, version, deleted_ms: at_ms.max(1), ..Self::default() };
    }

    /// Takes its content away and leaves a stub, or the one that it is already: nothing else of it counts any more.
    pub(super) fn evict(&mut self, stub: Stub) {
        let (tail_first, version) = (self.tail_end(), std::mem::take(&mut self.version));
        // As for a deletion. A fold that is under way is of another life.
        let generation = self.generation.saturating_add(1);
        let stub = self.stub.take().unwrap_or(stub);
        *self = Self { tail_first, generation, version, stub: Some(stub), ..Self::default() };
    }

    /// Where the next operation goes.
    pub(super) fn tail_end(&self) -> u64 {
        self.tail_first.saturating_add(self.tail_count)
    }

    /// Whether there is anything to serve.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.has_snapshot() || self.tail_count > 0 || self.set_aside > 0
    }

    /// Whether there is a document of this name, here or, if it was evicted, where that says.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.has_content() || self.stub.is_some()
    }

    /// Bytes of it as it lies here: of the packed snapshot, and of payloads behind it.
    #[must_use]
    pub fn bytes_at_rest(&self) -> u64 {
        self.snapshot_stored.saturating_add(self.tail_bytes)
    }

    /// Whether there is a snapshot; a packed one is never empty.
    pub(super) fn has_snapshot(&self) -> bool {
        self.snapshot_stored > 0
    }

    /// Which state of the document this is the record of, as far as a fold goes.
    #[must_use]
    pub fn life(&self) -> Life {
        Life { tail_first: self.tail_first, generation: self.generation }
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
    use super::super::row::Mark;
    use super::*;

    #[test]
    fn golden_bytes_of_a_record() {
        let id = DocumentId::yjs("d").unwrap();
        let mut version = Version::default();
        version.advance(ReplicaId([7; 16]), Seq(9));
        let record = DocumentRecord {
            deleted_ms: 7,
            set_aside: 8,
            version,
            generation: 1,
            snapshot_bytes: 2,
            snapshot_stored: 3,
            tail_first: 4,
            tail_count: 5,
            tail_bytes: 6,
            stub: None,
        };
        let rows = Rows { engine: Box::new(MemoryShelf::default()), mark: Mark(*b"\xd4ROWmark") };
        let (key, row) = record.to_row(&rows, &id).unwrap();
        assert_eq!(key, [1, b'd']);
        let first =
            [(1u64..=6).flat_map(u64::to_be_bytes).collect(), 1u64.to_be_bytes().to_vec(), vec![7; 16]]
                .concat();
        let first = [&first[..], &9u64.to_be_bytes()].concat();
        let row = row.unwrap();
        let body = &row[14 + key.len()..];
        assert_eq!(body, [&first[..], &7u64.to_be_bytes(), &8u64.to_be_bytes()].concat());
        rows.engine.batch(Tree::Documents, vec![(key, Some(row.clone()))]).unwrap();
        assert_eq!(DocumentRecord::load(&rows, &id).unwrap(), Some(record.clone()));
        for field in 0..6 {
            let mut wild = first.clone();
            wild[field * 8] = 0xff;
            assert_eq!(DocumentRecord::decode(Row { version: 1, body: &wild }), None, "number {field}");
        }
        let old = DocumentRecord { deleted_ms: 0, set_aside: 0, ..record };
        assert_eq!(DocumentRecord::decode(Row { version: 1, body: &first }), Some(old));
    }
}
