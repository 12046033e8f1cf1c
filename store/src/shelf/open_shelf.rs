//! One open shelf: filling, folding and reading the documents on it.
//!
//! Order is what makes a stop harmless. Filling: rows of the tail durable, then the record that counts them.
//! Folding: rows of the new snapshot durable, then the record that names it, then the old rows go.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

use tombolo_core::id::{DocumentId, Seq};
use tombolo_core::operation::Operation;

use super::census::Census;
use super::document::{DocumentRecord, place};
use super::shelves::{Contents, Stuck};
use super::{Change, Shelf, ShelfError, Tree, open, snapshot, tail};

/// An open shelf and what orders its users.
#[derive(Debug)]
pub(super) struct OpenShelf {
    shelf: Box<dyn Shelf>,
    census: Option<Census>,
    /// One writer at a time. It holds whether something may not be durable yet: at first, and after a failure,
    /// since what was found here may be what an earlier writer could not sync.
    writing: Mutex<Dirty>,
    /// Held shared while a document is read, so that its old rows do not go meanwhile.
    reading: RwLock<()>,
}

impl OpenShelf {
    /// Opens the shelf in this folder, making it if it is missing.
    pub(super) fn open(folder: &Path) -> Result<Self, ShelfError> {
        let (shelf, census) = open::open(folder)?;
        Ok(Self {
            shelf: Box::new(shelf),
            census: Some(census),
            writing: Mutex::new(Dirty(true)),
            reading: RwLock::new(()),
        })
    }

    /// A shelf whose documents nobody counts.
    #[cfg(test)]
    pub(super) fn uncounted(shelf: Box<dyn Shelf>) -> Self {
        Self { shelf, census: None, writing: Mutex::new(Dirty(true)), reading: RwLock::new(()) }
    }

    /// Makes everything durable.
    pub(super) fn sync(&self) -> Result<(), ShelfError> {
        self.shelf.sync()
    }

    /// See [`Shelves::record`](super::Shelves::record).
    pub(super) fn record(&self, id: &DocumentId, is_new: bool) -> Result<Option<DocumentRecord>, ShelfError> {
        let record = DocumentRecord::load(&*self.shelf, id)?;
        if record.is_none() {
            self.check_absence(id, is_new)?;
        }
        Ok(record)
    }

    /// Whether a document without a record was really never here.
    fn check_absence(&self, id: &DocumentId, is_new: bool) -> Result<(), ShelfError> {
        let prefix = place(id).0;
        // Rows of a tail may come from a fill that was stopped before the record: the journal repeats it then,
        // from the first operation on. A snapshot comes after a record.
        if snapshot::any(&*self.shelf, &prefix)? || (!is_new && tail::any(&*self.shelf, &prefix)?) {
            return Err(ShelfError::Damaged { document: id.clone(), found: "its record is missing" });
        }
        match self.census.as_ref().and_then(Census::shortfall) {
            Some((found, expected)) if !is_new => {
                Err(ShelfError::Incomplete { document: id.clone(), found, expected })
            }
            _ => Ok(()),
        }
    }

    /// See [`Shelves::read`](super::Shelves::read).
    pub(super) fn read(
        &self,
        id: &DocumentId,
        is_new: bool,
    ) -> Result<Option<(DocumentRecord, Contents)>, ShelfError> {
        let _reading = self.reading.read().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = self.record(id, is_new)? else { return Ok(None) };
        let prefix = place(id).0;
        let snapshot = snapshot::read(&*self.shelf, id, &prefix, &record)?;
        let tail = tail::read(&*self.shelf, id, &prefix, &record)?;
        Ok(Some((record, Contents { snapshot, tail })))
    }

    /// Takes operations, but for documents that cannot; see [`Shelves::fill`](super::Shelves::fill).
    pub(super) fn fill(&self, operations: &[&Operation], stuck: &mut Stuck) -> Result<(), ShelfError> {
        let mut dirty = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
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
        if filling.rows.is_empty() && !dirty.0 {
            return Ok(());
        }
        dirty.0 = true;
        self.shelf.batch(Tree::Tails, filling.rows)?;
        self.shelf.sync()?;
        let record = |(id, record): (&&DocumentId, &DocumentRecord)| {
            record.to_row(id).map(|(key, row)| (key, Some(row)))
        };
        self.shelf.batch(Tree::Documents, filling.records.iter().map(record).collect::<Result<_, _>>()?)?;
        self.shelf.sync()?;
        if let Some(census) = &self.census {
            census.add(filling.new)?;
        }
        dirty.0 = false;
        Ok(())
    }

    /// Counts an operation in its document's record and adds its rows, unless it is here already.
    fn add<'a>(&self, filling: &mut Filling<'a>, operation: &'a Operation) -> Result<(), ShelfError> {
        let id = &operation.document;
        let (mut record, new) = match filling.records.get(id) {
            Some(record) => (record.clone(), false),
            None => match self.record(id, operation.seq == Seq(1))? {
                Some(record) => (record, false),
                None => (DocumentRecord::default(), true),
            },
        };
        let have = record.version.get(operation.replica);
        if operation.seq <= have {
            return Ok(());
        }
        if !record.version.observe(operation.replica, operation.seq) {
            return Err(ShelfError::Gap { document: id.clone(), have: have.0, found: operation.seq.0 });
        }
        let position = record.tail_first.saturating_add(record.tail_count);
        record.tail_count += 1;
        record.tail_bytes += operation.payload.len() as u64;
        record.to_row(id)?; // One that is too large is refused here, before any of its rows is written.
        filling.rows.append(&mut tail::rows(&place(id).0, position, operation));
        filling.new += u64::from(new);
        filling.records.insert(id, record);
        Ok(())
    }

    /// See [`Shelves::fold`](super::Shelves::fold).
    pub(super) fn fold(&self, id: &DocumentId, count: u64, snapshot: &[u8]) -> Result<(), ShelfError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut record) = self.record(id, false)? else { return Ok(()) };
        let prefix = place(id).0;
        let folded = tail::bytes_of_first(&*self.shelf, id, &prefix, &record, count)?;
        record.generation = record.generation.saturating_add(1);
        record.tail_first = record.tail_first.saturating_add(count);
        record.tail_count = record.tail_count.saturating_sub(count);
        record.tail_bytes = record.tail_bytes.saturating_sub(folded);
        record.snapshot_bytes = snapshot.len() as u64;
        let (rows, stored) = snapshot::rows(&prefix, record.generation, snapshot)?;
        record.snapshot_stored = stored;
        // A fold that was stopped before its record may have left rows of this generation, and more of them.
        let mut changes = snapshot::removals(&*self.shelf, &prefix, record.generation..u64::MAX)?;
        changes.extend(rows);
        self.shelf.batch(Tree::Snapshots, changes)?;
        self.shelf.sync()?;
        let (key, row) = record.to_row(id)?;
        self.shelf.batch(Tree::Documents, vec![(key, Some(row))])?;
        self.shelf.sync()?;
        let _nobody_reads = self.reading.write().unwrap_or_else(PoisonError::into_inner);
        self.shelf.batch(Tree::Tails, tail::removals(&*self.shelf, &prefix, record.tail_first)?)?;
        self.shelf.batch(Tree::Snapshots, snapshot::removals(&*self.shelf, &prefix, 0..record.generation)?)
    }

    /// Appends names of documents behind `after`, at most `limit`.
    pub(super) fn documents(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
        ids: &mut Vec<DocumentId>,
    ) -> Result<(), ShelfError> {
        let from = after.map(DocumentId::to_key).unwrap_or_default();
        let mut found = 0;
        self.shelf.scan(Tree::Documents, &from, None, &mut |key, _| {
            if after.is_none() || key > from.as_slice() {
                // A key that is no name is damage to that row only; its document cannot be named.
                ids.extend(DocumentId::from_key(key).ok());
                found += 1;
            }
            if found < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    }

    #[cfg(test)]
    pub(super) fn into_shelf(self) -> Box<dyn Shelf> {
        self.shelf
    }
}

/// Whether something may not be durable yet.
#[derive(Debug)]
struct Dirty(bool);

/// What a fill is going to write.
#[derive(Default)]
struct Filling<'a> {
    records: BTreeMap<&'a DocumentId, DocumentRecord>,
    rows: Vec<Change>,
    /// Documents that have no record yet.
    new: u64,
}
