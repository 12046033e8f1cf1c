//! Many small shelves by hash of the document's name, opened on first use and closed when idle: one sled's
//! open time and memory grow with what it holds.
//!
//! Order is what makes a stop harmless. Filling: rows of the tail durable, then the record that counts them.
//! Folding: rows of the new snapshot durable, then the record that names it, then the old rows go.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Operation;

use super::document::{DocumentRecord, place};
use super::{Change, Shelf, ShelfError, Tree, open, snapshot, tail};

/// Everything stored of a document: the snapshot and the payloads behind it, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The folded state; none until the first fold.
    pub snapshot: Option<Bytes>,
    /// Payloads since.
    pub tail: Vec<Bytes>,
}

/// Documents that cannot take operations, and why.
pub type Stuck = BTreeMap<DocumentId, ShelfError>;

/// All shelves of a store.
pub struct Shelves {
    folder: PathBuf,
    slots: Vec<Slot>,
}

impl fmt::Debug for Shelves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelves({}, {})", self.folder.display(), self.slots.len())
    }
}

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Open {
        shelf: Arc<Bound>,
        used: Instant,
    },
    /// For ever: the store is closed.
    Ended,
}

/// An open shelf and what orders its users.
#[derive(Debug)]
pub(super) struct Bound {
    shelf: Box<dyn Shelf>,
    /// One writer at a time.
    writing: Mutex<()>,
    /// Held shared while a document is read, so that its old rows do not go meanwhile.
    reading: RwLock<()>,
}

impl Shelves {
    /// Uses this folder; `count` shelves if it is new. No shelf is opened yet.
    ///
    /// # Errors
    /// [`ShelfError::Layout`] if the layout file is damaged, [`ShelfError::Io`] if the folder cannot be used.
    pub fn open(folder: &Path, count: u16) -> Result<Self, ShelfError> {
        let count = open::layout(folder, count)?;
        Ok(Self { folder: folder.to_owned(), slots: (0..count).map(|_| Slot::default()).collect() })
    }

    /// The record of a document, if it has one.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read or is damaged.
    pub fn record(&self, id: &DocumentId) -> Result<Option<DocumentRecord>, ShelfError> {
        match self.shelf_if_made(self.index(id))? {
            Some(shelf) => shelf.record(id),
            None => Ok(None),
        }
    }

    /// A document with everything in it.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read or is damaged.
    pub fn read(&self, id: &DocumentId) -> Result<Option<(DocumentRecord, Contents)>, ShelfError> {
        match self.shelf_if_made(self.index(id))? {
            Some(shelf) => shelf.read(id),
            None => Ok(None),
        }
    }

    /// Takes operations, in order; those that are here already are passed over. Durable when it returns, but
    /// for the documents that it gives back: they cannot take operations until somebody repairs them.
    ///
    /// # Errors
    /// [`ShelfError`] that concerns all; what was taken until then stays, and filling again goes on from there.
    pub fn fill(&self, operations: &[Operation]) -> Result<Stuck, ShelfError> {
        let mut by_shelf: BTreeMap<usize, Vec<&Operation>> = BTreeMap::new();
        for operation in operations {
            by_shelf.entry(self.index(&operation.document)).or_default().push(operation);
        }
        let mut stuck = Stuck::new();
        for (index, operations) in by_shelf {
            match self.shelf(index) {
                Ok(shelf) => shelf.fill(&operations, &mut stuck)?,
                Err(error) if error.is_contained() => {
                    stuck.extend(
                        operations.iter().map(|operation| (operation.document.clone(), error.clone())),
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(stuck)
    }

    /// Puts a snapshot in the place of the older one and the first `count` operations behind it.
    ///
    /// # Errors
    /// [`ShelfError`]; the document is then as before or folded.
    pub fn fold(&self, id: &DocumentId, count: u64, snapshot: &[u8]) -> Result<(), ShelfError> {
        self.shelf(self.index(id))?.fold(id, count, snapshot)
    }

    /// Names of documents in the order of their keys, behind `after`, at most `limit`.
    ///
    /// # Errors
    /// [`ShelfError`] if a shelf cannot be read.
    pub fn documents(&self, after: Option<&DocumentId>, limit: usize) -> Result<Vec<DocumentId>, ShelfError> {
        let mut ids = Vec::new();
        for index in 0..self.slots.len() {
            if let Some(shelf) = self.shelf_if_made(index)? {
                shelf.documents(after, limit, &mut ids)?;
            }
        }
        ids.sort_by_key(DocumentId::to_key);
        ids.truncate(limit);
        Ok(ids)
    }

    /// Bytes of all shelves on the disk.
    #[must_use]
    pub fn size_on_disk(&self) -> u64 {
        let bytes = |path: PathBuf| {
            let files = fs::read_dir(path).into_iter().flatten().flatten();
            files
                .filter_map(|file| file.metadata().ok())
                .filter(fs::Metadata::is_file)
                .map(|file| file.len())
                .sum::<u64>()
        };
        (0..self.slots.len()).map(|index| bytes(self.path(index))).sum()
    }

    /// Closes shelves that nobody used for so long.
    pub fn close_idle(&self, idle: Duration) {
        for slot in &self.slots {
            let mut state = slot.lock();
            if let State::Open { shelf, used } = &*state
                && used.elapsed() >= idle
                && Arc::strong_count(shelf) == 1
            {
                *state = State::Closed;
            }
        }
    }

    /// Makes everything durable and closes; later calls are refused.
    ///
    /// # Errors
    /// The first thing that the engine says.
    pub fn close(&self) -> Result<(), ShelfError> {
        let mut result = Ok(());
        for slot in &self.slots {
            if let State::Open { shelf, .. } = std::mem::replace(&mut *slot.lock(), State::Ended) {
                result = result.and(shelf.shelf.sync());
            }
        }
        result
    }

    fn index(&self, id: &DocumentId) -> usize {
        usize::from(place(id).1) % self.slots.len().max(1)
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.join(format!("{index:04}"))
    }

    /// The shelf, unless it was never made: reading makes none.
    fn shelf_if_made(&self, index: usize) -> Result<Option<Arc<Bound>>, ShelfError> {
        let open = self.slots.get(index).is_some_and(|slot| !matches!(*slot.lock(), State::Closed));
        if open || self.path(index).exists() { self.shelf(index).map(Some) } else { Ok(None) }
    }

    fn shelf(&self, index: usize) -> Result<Arc<Bound>, ShelfError> {
        let slot = self.slots.get(index).ok_or(ShelfError::Closed)?;
        let mut state = slot.lock();
        match &mut *state {
            State::Open { shelf, used } => {
                *used = Instant::now();
                Ok(Arc::clone(shelf))
            }
            State::Closed => {
                let shelf = Arc::new(Bound::new(Box::new(open::open(&self.path(index))?)));
                *state = State::Open { shelf: Arc::clone(&shelf), used: Instant::now() };
                Ok(shelf)
            }
            State::Ended => Err(ShelfError::Closed),
        }
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A state is replaced in one step, so a poisoned one is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bound {
    pub(super) fn new(shelf: Box<dyn Shelf>) -> Self {
        Self { shelf, writing: Mutex::new(()), reading: RwLock::new(()) }
    }

    pub(super) fn record(&self, id: &DocumentId) -> Result<Option<DocumentRecord>, ShelfError> {
        let record = DocumentRecord::load(&*self.shelf, id)?;
        if record.is_none() && self.has_orphans(id)? {
            return Err(ShelfError::Damaged { document: id.clone(), found: "its record is missing" });
        }
        Ok(record)
    }

    /// Rows without a record: either a fill that was stopped before its record, which the journal repeats,
    /// or a record that is lost. A first fold comes after a record, so snapshot rows decide.
    fn has_orphans(&self, id: &DocumentId) -> Result<bool, ShelfError> {
        snapshot::any(&*self.shelf, &place(id).0)
    }

    pub(super) fn read(&self, id: &DocumentId) -> Result<Option<(DocumentRecord, Contents)>, ShelfError> {
        let _reading = self.reading.read().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = self.record(id)? else { return Ok(None) };
        let prefix = place(id).0;
        let snapshot = snapshot::read(&*self.shelf, id, &prefix, &record)?;
        let tail = tail::read(&*self.shelf, id, &prefix, &record)?;
        Ok(Some((record, Contents { snapshot, tail })))
    }

    pub(super) fn fill(&self, operations: &[&Operation], stuck: &mut Stuck) -> Result<(), ShelfError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records: BTreeMap<&DocumentId, DocumentRecord> = BTreeMap::new();
        let mut rows: Vec<Change> = Vec::new();
        for operation in operations {
            let id = &operation.document;
            if stuck.contains_key(id) {
                continue;
            }
            match self.add(&mut records, operation) {
                Ok(mut more) => rows.append(&mut more),
                Err(error) if error.is_contained() => {
                    stuck.insert(id.clone(), error);
                }
                Err(error) => return Err(error),
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.shelf.batch(Tree::Tails, rows)?;
        self.shelf.sync()?;
        let records = records.iter().map(|(id, record)| record.to_row(id).map(|(key, row)| (key, Some(row))));
        self.shelf.batch(Tree::Documents, records.collect::<Result<_, _>>()?)?;
        self.shelf.sync()
    }

    /// Counts an operation in its document's record; gives back its rows, none if it is here already.
    fn add<'a>(
        &self,
        records: &mut BTreeMap<&'a DocumentId, DocumentRecord>,
        operation: &'a Operation,
    ) -> Result<Vec<Change>, ShelfError> {
        let id = &operation.document;
        let mut record = match records.get(id) {
            Some(record) => record.clone(),
            None => self.record(id)?.unwrap_or_default(),
        };
        let have = record.version.get(operation.replica);
        if operation.seq <= have {
            return Ok(Vec::new());
        }
        if !record.version.observe(operation.replica, operation.seq) {
            return Err(ShelfError::Gap { document: id.clone(), have: have.0, found: operation.seq.0 });
        }
        let position = record.tail_first.saturating_add(record.tail_count);
        let rows = tail::rows(&place(id).0, position, operation);
        record.tail_count += 1;
        record.tail_bytes += operation.payload.len() as u64;
        record.to_row(id)?; // One that is too large is refused here, before any of its rows is written.
        records.insert(id, record);
        Ok(rows)
    }

    pub(super) fn fold(&self, id: &DocumentId, count: u64, snapshot: &[u8]) -> Result<(), ShelfError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut record) = self.record(id)? else { return Ok(()) };
        let prefix = place(id).0;
        let folded = tail::bytes_of_first(&*self.shelf, id, &prefix, &record, count)?;
        record.generation = record.generation.saturating_add(1);
        record.tail_first = record.tail_first.saturating_add(count);
        record.tail_count = record.tail_count.saturating_sub(count);
        record.tail_bytes = record.tail_bytes.saturating_sub(folded);
        record.snapshot_bytes = snapshot.len() as u64;
        let (rows, stored) = snapshot::rows(&prefix, record.generation, snapshot)?;
        record.snapshot_stored = stored;
        self.shelf.batch(Tree::Snapshots, rows)?;
        self.shelf.sync()?;
        let (key, row) = record.to_row(id)?;
        self.shelf.batch(Tree::Documents, vec![(key, Some(row))])?;
        self.shelf.sync()?;
        let _nobody_reads = self.reading.write().unwrap_or_else(PoisonError::into_inner);
        self.shelf.batch(Tree::Tails, tail::removals(&*self.shelf, &prefix, record.tail_first)?)?;
        self.shelf.batch(Tree::Snapshots, snapshot::removals(&*self.shelf, &prefix, record.generation)?)
    }

    fn documents(
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
