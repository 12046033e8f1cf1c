//! Operations into a shelf: rows of the tail durable, then the record that counts them.
//!
//! Guarantees: filling the same operations again changes nothing; a stop at any instant leaves each document as it
//! was or with all of them; what a deleted document is handed goes nowhere.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use tombolo_core::id::{DocumentId, Seq};
use tombolo_core::operation::{Kind, Operation};

use super::document::{DocumentRecord, place};
use super::open_shelf::OpenShelf;
use super::shelves::Stuck;
use super::{Change, ShelfError, Tree, quarantine, snapshot, tail};

/// What a fill is going to write.
#[derive(Default)]
struct Filling<'a> {
    records: BTreeMap<&'a DocumentId, DocumentRecord>,
    rows: Vec<Change>,
    /// Documents that are deleted by it.
    deleted: Vec<&'a DocumentId>,
}

impl OpenShelf {
    /// Takes operations, but for documents that cannot; see [`Shelves::fill`](super::Shelves::fill).
    pub(super) fn fill(&self, operations: &[&Operation], stuck: &mut Stuck) -> Result<(), ShelfError> {
        let mut writing = self.writing()?;
        let mut filling = Filling::default();
        for operation in operations {
            if stuck.contains_key(&operation.document) {
                continue;
            }
            match self.add(&mut filling, operation) {
                Ok(()) => {}
                Err(error) if error.is_contained() => {
                    stuck.insert(operation.document.clone(), error);
                }
                Err(error) => return Err(error),
            }
        }
        if filling.records.is_empty() && !writing.dirty {
            return Ok(());
        }
        let record = |(id, record): (&&DocumentId, &DocumentRecord)| record.to_row(&self.rows, id);
        let records: Vec<_> = filling.records.iter().map(record).collect::<Result<_, _>>()?;
        writing.dirty = true;
        self.rows.engine.batch(Tree::Tails, filling.rows)?;
        self.rows.engine.sync()?;
        self.write_records(records)?;
        writing.dirty = false;
        filling.deleted.into_iter().try_for_each(|id| self.clear(id, filling.records.get(id)))
    }

    /// Counts an operation in its document's record and adds its rows, unless it is here already.
    fn add<'a>(&self, filling: &mut Filling<'a>, operation: &'a Operation) -> Result<(), ShelfError> {
        let id = &operation.document;
        let prefix = place(id).0;
        let (mut record, known) = match filling.records.get(id) {
            Some(record) => (record.clone(), true),
            None => (self.record(id, operation.seq == Seq(1))?.unwrap_or_default(), false),
        };
        let have = record.version.get(operation.replica);
        if operation.seq <= have {
            return Ok(());
        }
        if !record.version.observe(operation.replica, operation.seq) {
            return Err(ShelfError::Gap { document: id.clone(), have: have.0, found: operation.seq.0 });
        }
        if operation.kind == Kind::Deletion {
            record.delete(operation.stamp.ms());
            filling.deleted.push(id);
        } else if record.deleted_ms == 0 {
            let position = record.tail_end();
            record.tail_count += 1;
            record.tail_bytes += operation.payload.len() as u64;
            record.to_row(&self.rows, id)?; // One that is too large is refused here, before any of its rows is written.
            if !known {
                // Where the next operation goes something may lie that was stopped before it counted.
                filling.rows.append(&mut tail::removals(&self.rows, &prefix, position..u64::MAX)?);
            }
            filling.rows.append(&mut tail::rows(&self.rows, &prefix, position, operation));
        }
        filling.records.insert(id, record);
        Ok(())
    }

    /// Removes everything that the record does not count any more.
    fn clear(&self, id: &DocumentId, record: Option<&DocumentRecord>) -> Result<(), ShelfError> {
        let Some(record) = record else { return Ok(()) };
        let prefix = place(id).0;
        let _nobody_reads = self.reading.write().unwrap_or_else(PoisonError::into_inner);
        let rows = &self.rows;
        rows.engine.batch(Tree::Tails, tail::removals(rows, &prefix, 0..record.tail_first)?)?;
        rows.engine.batch(Tree::Snapshots, snapshot::removals(rows, &prefix, 0..u64::MAX)?)?;
        rows.engine.batch(Tree::Quarantine, quarantine::removals_of_all(rows, &prefix)?)
    }
}
