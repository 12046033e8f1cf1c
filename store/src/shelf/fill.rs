//! Operations into a shelf: rows of the tail durable, then the record that counts them.
//!
//! Guarantees: filling the same operations again changes nothing; a stop at any instant leaves each document as it
//! was or with all of them; what a deleted document is handed goes nowhere.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use tombolo_core::id::{DocumentId, Seq};
use tombolo_core::operation::{Kind, Operation};

use super::document::{DocumentRecord, place};
use super::open_shelf::{OpenShelf, Writing};
use super::shelves::Stuck;
use super::{ShelfError, Tree, quarantine, snapshot, tail};

/// What a fill is going to write.
type Filling<'a> = BTreeMap<&'a DocumentId, Filled<'a>>;

/// What it is going to write of one document.
struct Filled<'a> {
    record: DocumentRecord,
    /// Where its operations go.
    position: u64,
    operations: Vec<&'a Operation>,
    deleted: bool,
}

impl OpenShelf {
    /// Takes operations, but for documents that cannot; see [`Shelves::fill`](super::Shelves::fill). If the engine
    /// fails at one document, that is the suspect.
    pub(super) fn fill(
        &self,
        operations: &[&Operation],
        stuck: &mut Stuck,
        suspect: &mut Option<DocumentId>,
    ) -> Result<(), ShelfError> {
        self.change(|writing| self.fill_rows(writing, operations, stuck, suspect))
    }

    fn fill_rows(
        &self,
        writing: &mut Writing,
        operations: &[&Operation],
        stuck: &mut Stuck,
        suspect: &mut Option<DocumentId>,
    ) -> Result<(), ShelfError> {
        let mut filling = Filling::default();
        for operation in operations {
            if stuck.contains_key(&operation.document) {
                continue;
            }
            match self.add(&mut filling, operation) {
                Ok(()) => {}
                Err(error) if error.is_contained() && !error.is_of_engine() => {
                    stuck.insert(operation.document.clone(), error);
                }
                Err(error) => {
                    *suspect = Some(operation.document.clone());
                    return Err(error);
                }
            }
        }
        if filling.is_empty() && !writing.dirty {
            return Ok(());
        }
        let (mut tails, mut records) = (Vec::new(), Vec::new());
        for (id, filled) in &filling {
            records.push(filled.record.to_row(&self.rows, id)?);
            let prefix = place(id).0;
            // Where the next operation goes something may lie that was stopped before it counted.
            tails.append(&mut tail::removals(&self.rows, &prefix, filled.position..u64::MAX)?);
            tails.append(&mut tail::rows(
                &self.rows,
                &prefix,
                filled.position,
                filled.operations.iter().copied(),
            ));
        }
        writing.dirty = true;
        self.rows.engine.batch(Tree::Tails, tails)?;
        self.rows.engine.sync()?;
        self.write_records(records)?;
        writing.dirty = false;
        let mut deleted = filling.iter().filter(|(_, filled)| filled.deleted);
        deleted.try_for_each(|(id, filled)| self.clear(id, &filled.record))
    }

    /// Counts an operation in its document's record, unless it is here already.
    fn add<'a>(&self, filling: &mut Filling<'a>, operation: &'a Operation) -> Result<(), ShelfError> {
        let id = &operation.document;
        let (replica, seq) = (operation.replica, operation.seq);
        let known = filling.get(id).map(|filled| filled.record.clone());
        let mut record = match known {
            Some(record) => record,
            None => self.record(id, seq == Seq(1))?.unwrap_or_default(),
        };
        let have = record.version.get(replica);
        if seq <= have {
            return Ok(());
        }
        let before = record.version.clone();
        if !record.version.observe(replica, seq) {
            return Err(ShelfError::Gap { document: id.clone(), have: have.0, found: seq.0 });
        }
        let position = record.tail_end();
        let deleted = operation.kind == Kind::Deletion;
        let taken = !deleted && record.deleted_ms == 0;
        if deleted {
            record.delete(operation.stamp.ms());
            if record.to_row(&self.rows, id).is_err() {
                // It is full and stays so: nobody writes under this name again, so nobody needs to know of this one.
                record.version = before;
            }
        } else if taken {
            record.tail_count += 1;
            record.tail_bytes += operation.payload.len() as u64;
        }
        record.to_row(&self.rows, id)?; // One that is too large is refused here, before anything is written.
        let filled = filling.entry(id).or_insert_with(|| Filled {
            record: DocumentRecord::default(),
            position,
            operations: Vec::new(),
            deleted: false,
        });
        filled.record = record;
        if deleted {
            filled.operations.clear();
            filled.deleted = true;
        } else if taken {
            filled.operations.push(operation);
        }
        Ok(())
    }

    /// Removes everything that the record does not count any more.
    pub(super) fn clear(&self, id: &DocumentId, record: &DocumentRecord) -> Result<(), ShelfError> {
        let prefix = place(id).0;
        let _nobody_reads = self.reading.write().unwrap_or_else(PoisonError::into_inner);
        let rows = &self.rows;
        rows.engine.batch(Tree::Tails, tail::removals(rows, &prefix, 0..record.tail_first)?)?;
        rows.engine.batch(Tree::Snapshots, snapshot::removals(rows, &prefix, 0..u64::MAX)?)?;
        rows.engine.batch(Tree::Quarantine, quarantine::removals_of_all(rows, &prefix)?)
    }
}
