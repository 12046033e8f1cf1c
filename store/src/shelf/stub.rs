//! What is left of a document whose content was evicted: enough to name it, to fetch it again, and to know that it came.

use bincode::{Decode, Encode};
use tombolo_core::id::{DocumentId, Incarnation, ReplicaId};

use super::ShelfError;
use super::document::DocumentRecord;
use super::open_shelf::OpenShelf;

/// Most bytes of a stub's address; what is longer is cut.
pub const ADDRESS_BYTES_MAX: usize = 512;
/// Most bytes of what a stub says it had; what is longer is left out.
pub const HAD_BYTES_MAX: usize = 1024;

/// A document that is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// When it was evicted, in ms since 1970.
    pub evicted_ms: u64,
    /// Who had all of it, fsynced.
    pub keeper: (ReplicaId, Incarnation),
    /// Where that was reached; at most [`ADDRESS_BYTES_MAX`] bytes.
    pub address: String,
    /// What it had, in the words of its format: a Yjs state vector, or Automerge heads, one behind the other. Empty if
    /// that was more than [`HAD_BYTES_MAX`] bytes.
    pub had: Vec<u8>,
    /// Bytes that it took here.
    pub bytes: u64,
}

/// As rows have it. Fields are only ever added in a later row version.
#[derive(Encode, Decode)]
pub(super) struct StoredStub {
    evicted_ms: u64,
    replica: [u8; 16],
    incarnation: [u8; 16],
    bytes: u64,
    address: String,
    had: Vec<u8>,
}

impl OpenShelf {
    /// See [`Shelves::evict`](super::Shelves::evict).
    pub(super) fn evict(
        &self,
        id: &DocumentId,
        is_it: &dyn Fn(&DocumentRecord) -> bool,
        stub: Stub,
    ) -> Result<Option<Stub>, ShelfError> {
        self.change(|writing| {
            let Some(mut record) = self.record(id, false)?.filter(|record| is_it(record)) else {
                return Ok(None);
            };
            let stub = Stub { bytes: record.bytes_at_rest(), ..stub };
            record.evict(stub);
            let row = record.to_row(&self.rows, id)?;
            let was_dirty = std::mem::replace(&mut writing.dirty, true);
            self.write_records(vec![row])?;
            writing.dirty = was_dirty;
            // A stop before this leaves rows that nothing counts.
            self.clear(id, &record)?;
            Ok(record.stub)
        })
    }

    /// See [`Shelves::fetched`](super::Shelves::fetched).
    pub(super) fn fetched(&self, id: &DocumentId) -> Result<(), ShelfError> {
        self.change(|writing| {
            let Some(record) = self.record(id, false)?.filter(|record| record.stub.is_some()) else {
                return Ok(());
            };
            let row = DocumentRecord { stub: None, ..record }.to_row(&self.rows, id)?;
            let was_dirty = std::mem::replace(&mut writing.dirty, true);
            self.write_records(vec![row])?;
            writing.dirty = was_dirty;
            Ok(())
        })
    }
}

impl From<Stub> for StoredStub {
    fn from(stub: Stub) -> Self {
        let Stub { evicted_ms, keeper: (replica, incarnation), mut address, mut had, bytes } = stub;
        let whole = |at: &usize| address.is_char_boundary(*at);
        let cut = (0..=ADDRESS_BYTES_MAX).rev().find(whole).unwrap_or_default();
        if address.len() > ADDRESS_BYTES_MAX {
            address.truncate(cut);
        }
        if had.len() > HAD_BYTES_MAX {
            had.clear();
        }
        Self { evicted_ms, replica: replica.0, incarnation: incarnation.0, bytes, address, had }
    }
}

impl From<StoredStub> for Stub {
    fn from(stored: StoredStub) -> Self {
        let StoredStub { evicted_ms, replica, incarnation, bytes, address, had } = stored;
        Self { evicted_ms, keeper: (ReplicaId(replica), Incarnation(incarnation)), address, had, bytes }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::id::Seq;
    use tombolo_core::operation::Version;

    use super::super::Tree;
    use super::super::memory::MemoryShelf;
    use super::super::row::{Mark, NoRow, Row};
    use super::super::rows::Rows;
    use super::*;

    fn stub() -> Stub {
        Stub {
            evicted_ms: 7,
            keeper: (ReplicaId([8; 16]), Incarnation([9; 16])),
            address: "ws://a".to_owned(),
            had: vec![1, 2, 3],
            bytes: 10,
        }
    }

    #[test]
    fn golden_bytes_of_the_record_of_an_evicted_document() {
        let id = DocumentId::yjs("d").unwrap();
        let mut version = Version::default();
        version.advance(ReplicaId([7; 16]), Seq(9));
        let mut record =
            DocumentRecord { version, tail_count: 5, tail_bytes: 6, ..DocumentRecord::default() };
        record.evict(stub());
        let rows = Rows { engine: Box::new(MemoryShelf::default()), mark: Mark(*b"\xd4ROWmark") };
        let (key, row) = record.to_row(&rows, &id).unwrap();
        let row = row.unwrap();
        let golden = [
            &[1u64, 0, 0, 5, 0, 0, 1].map(u64::to_be_bytes).concat()[..],
            &[7; 16],
            &9u64.to_be_bytes(),
            &[0u64, 0].map(u64::to_be_bytes).concat(),
            &7u64.to_be_bytes(),
            &[8; 16],
            &[9; 16],
            &10u64.to_be_bytes(),
            &6u64.to_be_bytes(),
            b"ws://a",
            &3u64.to_be_bytes(),
            &[1, 2, 3],
        ]
        .concat();
        assert_eq!(row[4], 3, "the version that says that it is a stub");
        assert_eq!(row[14 + key.len()..], golden);
        rows.engine.batch(Tree::Documents, vec![(key.clone(), Some(row))]).unwrap();
        assert_eq!(DocumentRecord::load(&rows, &id).unwrap(), Some(record.clone()));
        assert!(!record.has_content() && record.is_listed());
        // Of no other tree, and no record of before.
        let other = rows.mark.seal_as(3, Tree::Tails, &key, &golden);
        assert_eq!(rows.mark.open(Tree::Tails, &key, &other), Err(NoRow::TooNew(3)));
        assert_eq!(DocumentRecord::decode(Row { version: 2, body: &golden }), None);
        for cut in 0..golden.len() {
            assert_eq!(DocumentRecord::decode(Row { version: 3, body: &golden[..cut] }), None, "{cut}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_or_left_out() {
        let long = Stub { address: "é".repeat(400), had: vec![0; HAD_BYTES_MAX + 1], ..stub() };
        let kept = Stub::from(StoredStub::from(long));
        assert_eq!((kept.address, kept.had), ("é".repeat(ADDRESS_BYTES_MAX / 2), vec![]));
        let odd = Stub { address: format!("a{}", "é".repeat(400)), had: vec![0; HAD_BYTES_MAX], ..stub() };
        let kept = Stub::from(StoredStub::from(odd));
        assert_eq!((kept.address.len(), kept.had.len()), (ADDRESS_BYTES_MAX - 1, HAD_BYTES_MAX));
    }

    #[test]
    fn a_stub_stays_what_it_was_when_it_is_evicted_once_more() {
        let mut record = DocumentRecord::default();
        record.evict(stub());
        record.tail_count = 1;
        record.evict(Stub { evicted_ms: 70, ..stub() });
        assert_eq!((record.stub.as_ref(), record.has_content()), (Some(&stub()), false));
    }
}
