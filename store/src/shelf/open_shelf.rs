//! One open shelf: what orders those who read, fill and fold the documents on it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use tombolo_core::id::{DocumentId, ReplicaId, Seq};

use super::census::{Census, Expected};
use super::document::{DocumentRecord, place};
use super::layout::Layout;
use super::quarantine::{self, Noted, SetAside};
use super::rows::Rows;
use super::stored::Stored;
use super::{Change, ShelfError, Tree, census, open, seal, snapshot, tail};

/// An open shelf.
#[derive(Debug)]
pub(super) struct OpenShelf {
    pub(super) rows: Rows,
    census: Option<Census>,
    /// Documents whose records are not those that they should be.
    faults: BTreeMap<Vec<u8>, &'static str>,
    /// What is wrong with the census.
    pub(super) census_fault: Option<&'static str>,
    /// Found and expected, if documents are missing that nobody can name.
    nameless: Option<(u64, u64)>,
    /// One writer at a time.
    pub(super) writing: Mutex<Writing>,
    /// A write failed, and engines remember that for as long as they are open (HAZARDS redb-3).
    failed: AtomicBool,
    /// So that what is in its files may not be on the disk; see [`super::doubt`].
    doubtful: AtomicBool,
    /// Held shared while a document is read, so that its old rows do not go meanwhile.
    pub(super) reading: RwLock<()>,
}

/// What writers hand on to each other.
#[derive(Debug)]
pub(super) struct Writing {
    /// Whether something may not be durable yet: at first, and after a failure, since what was found here may be
    /// what an earlier writer could not sync.
    pub(super) dirty: bool,
    /// A copy takes its place.
    pub(super) retired: bool,
}

impl Writing {
    fn new() -> Mutex<Self> {
        Mutex::new(Self { dirty: true, retired: false })
    }
}

impl OpenShelf {
    /// Opens the shelf in this folder, making it if it is missing.
    pub(super) fn open(folder: &Path, layout: Layout) -> Result<Self, ShelfError> {
        if !open::is_made(folder) {
            // Before the shelf: one without a census has lost it.
            census::make(folder, &layout)?;
        }
        let expected = census::expected(folder, &layout)?;
        if let Some(fault) = expected.fault {
            tracing::error!(folder = %folder.display(), fault, "the census of a shelf is damaged: documents that are not found there are refused; run tombolo verify");
        }
        seal::remove(folder)?;
        let engine = open::open(folder, expected.count(), layout.engine)?;
        Self::over(engine, folder, layout, &expected)
    }

    /// A shelf on this engine, held against its census.
    pub(super) fn over(
        engine: Box<dyn super::Shelf>,
        folder: &Path,
        layout: Layout,
        expected: &Expected,
    ) -> Result<Self, ShelfError> {
        let rows = Rows { engine, mark: layout.mark };
        if !expected.is_settled() {
            // What is found now is announced as what there is. After a kill it may lie in the system's memory only,
            // and a power cut that took it away would make a fault of what was never durable.
            rows.engine.sync()?;
        }
        let (found, digests) = census::check(&rows, expected)?;
        for (key, fault) in &found.faults {
            let document = DocumentId::from_key(key).map_or_else(|_| "?".to_owned(), |id| id.to_string());
            tracing::error!(folder = %folder.display(), document, fault, "a document is not as it was written");
        }
        let census = Census::open(folder, layout, expected, &found, &digests)?;
        Ok(Self {
            rows,
            census: Some(census),
            census_fault: expected.fault,
            nameless: found.nameless.map(|expected| (found.count, expected)),
            faults: found.faults,
            writing: Writing::new(),
            failed: AtomicBool::new(false),
            doubtful: AtomicBool::new(false),
            reading: RwLock::new(()),
        })
    }

    /// A shelf whose documents nobody counts.
    #[cfg(test)]
    pub(super) fn uncounted(engine: Box<dyn super::Shelf>) -> Self {
        Self {
            rows: Rows { engine, mark: super::row::Mark(*b"\xd4ROWmark") },
            census: None,
            faults: BTreeMap::new(),
            census_fault: None,
            nameless: None,
            writing: Writing::new(),
            failed: AtomicBool::new(false),
            doubtful: AtomicBool::new(false),
            reading: RwLock::new(()),
        }
    }

    /// Lets one writer in at a time, and nobody behind one that failed.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Writing) -> Result<T, ShelfError>,
    ) -> Result<T, ShelfError> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.retired || self.has_failed() {
            return Err(ShelfError::Retired);
        }
        let changed = change(&mut writing);
        if changed.as_ref().is_err_and(ShelfError::is_of_engine) {
            let casts_doubt = changed.as_ref().is_err_and(ShelfError::is_contained);
            self.doubtful.store(casts_doubt, Ordering::Release);
            // Under the lock: whoever waits for it must open the shelf anew.
            self.failed.store(true, Ordering::Release);
            writing.dirty = true;
        }
        changed
    }

    /// Whether it is to be opened anew.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether what it wrote may not be on the disk, whatever a later sync says.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }

    /// Makes everything durable; nothing is written after that.
    pub(super) fn close(&self) -> Result<(), ShelfError> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.rows.engine.sync()?;
        match &self.census {
            // After a failure the last group is not done, and the next opening looks at it.
            Some(census) if !writing.dirty => Ok(census.done()?),
            _ => Ok(()),
        }
    }

    /// Whether anything is known not to be as it should.
    pub(super) fn is_faulty(&self) -> bool {
        !self.faults.is_empty() || self.nameless.is_some()
    }

    /// Keys of documents that are known not to be as they should.
    pub(super) fn fault_keys(&self) -> BTreeSet<Vec<u8>> {
        self.faults.keys().cloned().collect()
    }

    /// See [`Shelves::record`](super::Shelves::record).
    pub(super) fn record(&self, id: &DocumentId, is_new: bool) -> Result<Option<DocumentRecord>, ShelfError> {
        if let Some(found) = self.faults.get(&id.to_key()) {
            return Err(ShelfError::Damaged { document: id.clone(), found });
        }
        let record = DocumentRecord::load(&self.rows, id)?;
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
        if snapshot::any(&self.rows, &prefix)? || (!is_new && tail::any(&self.rows, &prefix)?) {
            return Err(ShelfError::Damaged { document: id.clone(), found: "its record is missing" });
        }
        match self.nameless {
            Some((found, expected)) if !is_new => {
                Err(ShelfError::Incomplete { document: id.clone(), found, expected })
            }
            _ => Ok(()),
        }
    }

    /// See [`Shelves::load`](super::Shelves::load).
    pub(super) fn load(&self, id: &DocumentId, is_new: bool) -> Result<Option<Stored>, ShelfError> {
        let _reading = self.reading.read().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = self.record(id, is_new)? else { return Ok(None) };
        let prefix = place(id).0;
        let (snapshot, outline) = snapshot::read(&self.rows, id, &prefix, &record)?.unzip();
        let tail = tail::read(&self.rows, id, &prefix, &record)?;
        Ok(Some(Stored { record, snapshot, outline: outline.flatten(), tail }))
    }

    /// See [`Shelves::noted`](super::Shelves::noted).
    pub(super) fn noted(&self, id: &DocumentId) -> Result<Vec<Noted>, ShelfError> {
        let _reading = self.reading.read().unwrap_or_else(PoisonError::into_inner);
        quarantine::list(&self.rows, id, &place(id).0)
    }

    /// See [`Shelves::set_aside`](super::Shelves::set_aside).
    pub(super) fn set_aside(
        &self,
        id: &DocumentId,
        name: (ReplicaId, Seq),
    ) -> Result<Option<SetAside>, ShelfError> {
        let _reading = self.reading.read().unwrap_or_else(PoisonError::into_inner);
        quarantine::read(&self.rows, id, &place(id).0, name)
    }

    /// Writes records, whose other rows are durable. Whoever calls holds `writing`.
    pub(super) fn write_records(&self, records: Vec<Change>) -> Result<(), ShelfError> {
        if let Some(census) = &self.census {
            let announced: Vec<_> = records
                .iter()
                .map(|(key, row)| (key.clone(), row.as_deref().and_then(census::digest)))
                .collect();
            census.announce(&announced)?;
        }
        self.rows.engine.batch(Tree::Documents, records)?;
        self.rows.engine.sync()?;
        match &self.census {
            Some(census) if census.is_long() => census.rewrite(&self.rows, &self.faults),
            _ => Ok(()),
        }
    }

    /// Puts a document here as it is elsewhere, in the place of nothing.
    pub(super) fn put(
        &self,
        stored: &Stored,
        id: &DocumentId,
        set_aside: &[SetAside],
    ) -> Result<(), ShelfError> {
        self.change(|writing| {
            writing.dirty = true;
            self.put_rows(stored, id, set_aside)?;
            writing.dirty = false;
            Ok(())
        })
    }

    fn put_rows(&self, stored: &Stored, id: &DocumentId, set_aside: &[SetAside]) -> Result<(), ShelfError> {
        let (prefix, rows) = (place(id).0, &self.rows);
        let mut record = DocumentRecord {
            generation: u64::from(stored.snapshot.is_some()),
            tail_count: stored.tail.len() as u64,
            tail_bytes: stored.tail.iter().map(|operation| operation.payload.len() as u64).sum(),
            set_aside: set_aside.len() as u64,
            snapshot_bytes: 0,
            snapshot_stored: 0,
            ..stored.record.clone()
        };
        if let Some(snapshot) = &stored.snapshot {
            let packing = (&snapshot[..], stored.outline.as_ref());
            let (changes, packed) = snapshot::rows(rows, (id, &prefix), record.generation, packing)?;
            (record.snapshot_bytes, record.snapshot_stored) = (snapshot.len() as u64, packed);
            rows.engine.write_in_order(Tree::Snapshots, changes)?;
        }
        rows.engine.batch(Tree::Tails, tail::rows(rows, &prefix, record.tail_first, &stored.tail))?;
        for aside in set_aside {
            rows.engine.batch(Tree::Quarantine, quarantine::rows(rows, &prefix, aside)?)?;
        }
        rows.engine.sync()?;
        self.write_records(vec![record.to_row(rows, id)?])
    }

    /// Takes tombstones away.
    pub(super) fn purge(&self, ids: &[DocumentId]) -> Result<(), ShelfError> {
        self.change(|_| {
            let mut rows = Vec::new();
            for id in ids {
                if let Some(record) = self.record(id, false)?.filter(|record| record.deleted_ms > 0) {
                    // A stop right behind the tombstone may have left what it does not count.
                    self.clear(id, &record)?;
                    // The record stays: operations of before must not count again, whoever brings them.
                    rows.push(DocumentRecord { deleted_ms: 0, ..record }.to_row(&self.rows, id)?);
                }
            }
            self.write_records(rows)
        })
    }

    /// Takes tombstones away that are older than this, in ms since 1970.
    pub(super) fn purge_expired(&self, before_ms: u64) -> Result<(), ShelfError> {
        let mut expired = Vec::new();
        self.records(None, &mut |id, record| {
            let old = |record: &DocumentRecord| record.deleted_ms > 0 && record.deleted_ms < before_ms;
            expired.extend(record.filter(old).map(|_| id));
            ControlFlow::Continue(())
        })?;
        if expired.is_empty() { Ok(()) } else { self.purge(&expired) }
    }

    /// Visits documents behind `after` with their records, if those are whole.
    pub(super) fn records(
        &self,
        after: Option<&DocumentId>,
        visit: &mut dyn FnMut(DocumentId, Option<DocumentRecord>) -> ControlFlow<()>,
    ) -> Result<(), ShelfError> {
        let from = after.map(DocumentId::to_key).unwrap_or_default();
        self.rows.engine.scan(Tree::Documents, &from, None, &mut |key, row| {
            if after.is_some() && key <= from.as_slice() {
                return ControlFlow::Continue(());
            }
            let row = self.rows.mark.open(Tree::Documents, key, row).ok();
            match DocumentId::from_key(key) {
                Ok(id) => visit(id, row.and_then(DocumentRecord::decode)),
                // A key that is no name is damage to that document only.
                Err(_) => ControlFlow::Continue(()),
            }
        })
    }

    /// Appends documents behind `after` that have content or were evicted, at most `limit`, with their records.
    pub(super) fn documents(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
        found: &mut Vec<(DocumentId, DocumentRecord)>,
    ) -> Result<(), ShelfError> {
        let mut count = 0;
        self.records(after, &mut |id, record| {
            // One that is damaged is named; reading it says so.
            if record.as_ref().is_none_or(DocumentRecord::is_listed) {
                found.push((id, record.unwrap_or_default()));
                count += 1;
            }
            if count < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    }

    #[cfg(test)]
    pub(super) fn into_engine(self) -> Box<dyn super::Shelf> {
        self.rows.engine
    }
}
