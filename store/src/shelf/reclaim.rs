//! Copy-compaction: sled never gives space back (HAZARDS sled-3), so what counts is copied to a fresh database,
//! which takes the place of the old one.
//!
//! Guarantees: documents are read on meanwhile, from the old one; filling and folding wait. A stop at any instant
//! leaves the old shelf or the new one, whole. Rows are copied as they are, so the census stays true.

use std::fs;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tombolo_core::id::DocumentId;

use super::document::{DocumentRecord, Prefix, place};
use super::engine::Engine;
use super::error::EngineFault;
use super::open_shelf::OpenShelf;
use super::shelves::{Shelves, State};
use super::{Change, ShelfError, Tree, open, quarantine, snapshot, tail};

/// Rows copied in one batch, in bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// A shelf that is smaller than this is left alone, in bytes.
const SIZE_MIN: u64 = 16 * 1024 * 1024;
/// A shelf is copied when it has this many times the bytes that count.
const RATIO_MAX: u64 = 3;

/// Whether a shelf of this size, of which so much counts, is worth copying.
pub(super) fn is_due(size: u64, live: u64) -> bool {
    size >= SIZE_MIN && size > live.saturating_mul(RATIO_MAX)
}

impl Shelves {
    /// Gives space back where that is worth while, of shelves that are open and if there is room for so many bytes.
    pub fn reclaim_where_due(&self, admits: &dyn Fn(u64) -> bool) {
        for index in 0..self.count() {
            match self.reclaim_if(index, |size, live| is_due(size, live) && admits(live)) {
                Ok(Some((before, after))) => tracing::info!(index, before, after, "a shelf was copied"),
                Ok(None) => {}
                Err(error) => tracing::warn!(index, %error, "a shelf could not be copied; it stays as it is"),
            }
        }
    }

    /// As [`Shelves::reclaim`], if the shelf is open, has grown, and this says yes to its size and what counts of it.
    fn reclaim_if(
        &self,
        index: u16,
        is_due: impl Fn(u64, u64) -> bool,
    ) -> Result<Option<(u64, u64)>, ShelfError> {
        let Some(slot) = self.slots.get(usize::from(index)) else { return Ok(None) };
        let Some(shelf) = slot.open_shelf() else { return Ok(None) };
        let size = size(&self.path(usize::from(index)));
        if !slot.has_grown(size) {
            return Ok(None);
        }
        slot.looked_at.store(size, Ordering::Relaxed);
        if !is_due(size, shelf.live_bytes()?) {
            return Ok(None);
        }
        drop(shelf);
        self.reclaim(index)
    }

    /// Copies a shelf to a fresh database; gives back the bytes on the disk before and after. None if it was never
    /// made, is being closed, or is copied by somebody else. Reading goes on meanwhile, but for an instant; filling and folding wait.
    ///
    /// # Errors
    /// [`ShelfError`]; the shelf is then as before.
    pub fn reclaim(&self, index: u16) -> Result<Option<(u64, u64)>, ShelfError> {
        let index = usize::from(index);
        let folder = self.path(index);
        let slot = self.slots.get(index).ok_or(ShelfError::Closed)?;
        let before = size(&folder);
        let Some(shelf) = self.shelf_if_made(index)? else { return Ok(None) };
        let mut locked = None;
        let retired = shelf.copy_to(&folder, self.layout.engine, || {
            let state = slot.lock();
            let ours = matches!(&*state, State::Open { shelf: open, .. } if Arc::ptr_eq(open, &shelf));
            locked = Some(state);
            ours
        });
        let retired = match retired {
            // Somebody else copied it, or a write to it failed, while this waited for its turn.
            Err(ShelfError::Retired) => {
                self.let_go(index, shelf);
                return Ok(None);
            }
            Err(error) => {
                self.let_go(index, shelf);
                return Err(error);
            }
            Ok(retired) => retired,
        };
        // Whoever comes now waits for the slot, and then opens the copy.
        let Some(mut state) = locked.filter(|_| retired) else { return Ok(None) };
        *state = State::Closed;
        match alone(shelf) {
            Ok(shelf) => {
                shelf.close()?;
                drop(shelf);
                open::swap(&folder)?;
                self.seal(index);
            }
            Err(shelf) => {
                shelf.unretire();
                *state = State::Open { shelf, used: Instant::now() };
                return Ok(None);
            }
        }
        drop(state);
        let after = size(&folder);
        slot.looked_at.store(after, Ordering::Relaxed);
        Ok(Some((before, after)))
    }

    /// Bytes of a shelf that count; none if it was never made.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read.
    pub fn live_bytes(&self, index: u16) -> Result<Option<u64>, ShelfError> {
        self.shelf_if_made(usize::from(index))?.map(|shelf| shelf.live_bytes()).transpose()
    }
}

/// Waits until the others, who only read, are done with a shelf.
fn alone(mut shelf: Arc<OpenShelf>) -> Result<OpenShelf, Arc<OpenShelf>> {
    let start = Instant::now();
    loop {
        match Arc::try_unwrap(shelf) {
            Ok(shelf) => return Ok(shelf),
            Err(shared) if start.elapsed() > READERS_PATIENCE => return Err(shared),
            Err(shared) => shelf = shared,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How long the swap of a shelf waits for those who read it.
const READERS_PATIENCE: Duration = Duration::from_secs(10);

impl OpenShelf {
    /// Bytes of keys and rows that count.
    pub(super) fn live_bytes(&self) -> Result<u64, ShelfError> {
        let mut live = 0;
        self.copy_live(&mut |_, changes| {
            let bytes = |(key, row): &Change| key.len() + row.as_ref().map_or(0, Vec::len);
            live += changes.iter().map(bytes).sum::<usize>() as u64;
            Ok(())
        })?;
        Ok(live)
    }

    /// Copies what counts to a new database in the place where [`open::finish_swap`] finds it, durably, and calls
    /// `retire` before anybody writes again. If that says yes nothing is written here any more.
    pub(super) fn copy_to(
        &self,
        folder: &Path,
        engine: Engine,
        retire: impl FnOnce() -> bool,
    ) -> Result<bool, ShelfError> {
        self.change(|writing| {
            if self.is_faulty() {
                // What repair could still find in the old files must not go with them.
                return Ok(false);
            }
            self.rows.engine.sync()?;
            // Half a copy is of no use to anybody, and its room may be.
            self.copy_rows(folder, engine).inspect_err(|_| open::drop_draft(folder))?;
            writing.retired = retire();
            Ok(writing.retired)
        })
    }

    fn copy_rows(&self, folder: &Path, engine: Engine) -> Result<(), ShelfError> {
        let draft = open::draft(folder, engine)?;
        self.copy_live(&mut |tree, changes| draft.batch(tree, changes))?;
        draft.sync()?;
        drop(draft);
        open::finish_draft(folder, engine)
    }

    /// The copy could not take its place: it is written here again.
    pub(super) fn unretire(&self) {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).retired = false;
    }

    /// Hands over every row that counts, tree by tree and in the order of keys.
    fn copy_live(
        &self,
        put: &mut dyn FnMut(Tree, Vec<Change>) -> Result<(), ShelfError>,
    ) -> Result<(), ShelfError> {
        let mut documents: Vec<(Prefix, DocumentRecord)> = Vec::new();
        let mut out = Batches { put, changes: Vec::new(), bytes: 0 };
        let mut fault = None;
        self.rows.engine.scan(Tree::Documents, &[], None, &mut |key, row| {
            let record = self.rows.mark.open(Tree::Documents, key, row).ok().and_then(DocumentRecord::decode);
            let (Ok(id), Some(record)) = (DocumentId::from_key(key), record) else {
                fault =
                    Some(EngineFault { words: "a record is damaged, so the shelf is not copied".to_owned() });
                return ControlFlow::Break(());
            };
            documents.push((place(&id).0, record));
            out.changes.push((key.to_vec(), Some(row.to_vec())));
            ControlFlow::Continue(())
        })?;
        if let Some(fault) = fault {
            return Err(ShelfError::Engine(fault));
        }
        out.flush(Tree::Documents)?;
        documents.sort_unstable_by_key(|(prefix, _)| *prefix);
        for (prefix, record) in &documents {
            let positions = tail::range(prefix, record.tail_first..record.tail_end());
            self.copy_range(Tree::Tails, positions, &mut out)?;
        }
        out.flush(Tree::Tails)?;
        for (prefix, record) in documents.iter().filter(|(_, record)| record.has_snapshot()) {
            let generation = record.generation..record.generation.saturating_add(1);
            self.copy_range(Tree::Snapshots, snapshot::range(prefix, generation), &mut out)?;
        }
        out.flush(Tree::Snapshots)?;
        for (prefix, _) in documents.iter().filter(|(_, record)| record.set_aside > 0) {
            let (from, below) = quarantine::bounds(prefix);
            self.copy_range(Tree::Quarantine, from..below, &mut out)?;
        }
        out.flush(Tree::Quarantine)
    }

    fn copy_range(&self, tree: Tree, keys: Range<Vec<u8>>, out: &mut Batches<'_>) -> Result<(), ShelfError> {
        let mut result = Ok(());
        self.rows.engine.scan(tree, &keys.start, Some(&keys.end), &mut |key, row| {
            result = out.add(tree, key, row);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        result
    }
}

struct Batches<'a> {
    put: &'a mut dyn FnMut(Tree, Vec<Change>) -> Result<(), ShelfError>,
    changes: Vec<Change>,
    bytes: usize,
}

impl Batches<'_> {
    fn add(&mut self, tree: Tree, key: &[u8], row: &[u8]) -> Result<(), ShelfError> {
        self.changes.push((key.to_vec(), Some(row.to_vec())));
        self.bytes += key.len() + row.len();
        if self.bytes < BATCH_BYTES { Ok(()) } else { self.flush(tree) }
    }

    fn flush(&mut self, tree: Tree) -> Result<(), ShelfError> {
        self.bytes = 0;
        (self.put)(tree, std::mem::take(&mut self.changes))
    }
}

/// Bytes of the files in this folder.
pub(super) fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}
