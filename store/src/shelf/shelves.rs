//! Many small shelves by hash of the document's name, opened on first use and closed when idle: one
//! database's open time and memory grow with what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::Operation;

use super::document::{DocumentRecord, place};
use super::doubt::Doubt;
use super::engine::Engine;
use super::fold::{Fold, Release};
use super::inspect::{Fault, Inspection, Seen};
use super::layout::{self, Layout};
use super::made::Made;
use super::open_shelf::OpenShelf;
use super::quarantine::{Noted, SetAside};
use super::stored::Stored;
use super::stub::Stub;
use super::{ShelfError, open, reclaim, seal};

/// Documents that cannot take operations, and why.
pub type Stuck = BTreeMap<DocumentId, ShelfError>;

/// All shelves of a store.
pub struct Shelves {
    folder: PathBuf,
    pub(super) layout: Layout,
    pub(super) made: Made,
    pub(super) slots: Vec<Slot>,
}

impl fmt::Debug for Shelves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelves({}, {})", self.folder.display(), self.slots.len())
    }
}

#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    /// Bytes that the shelf had when it was last looked at whether copying it is worth while.
    pub(super) looked_at: AtomicU64,
    /// Whether its files may not be on the disk as they are read.
    pub(super) doubt: Doubt,
    /// When its old tombstones were last taken away.
    purged: Mutex<Option<Instant>>,
}

#[derive(Default)]
pub(super) enum State {
    #[default]
    Closed,
    Open {
        shelf: Arc<OpenShelf>,
        used: Instant,
    },
    /// Did not open; asked again after a while, because finding that out may mean copying it.
    Broken {
        error: ShelfError,
        since: Instant,
    },
    /// For ever: the store is closed.
    Ended,
}

impl Shelves {
    /// Uses this folder; `count` shelves if it is new. An engine, if given, must be the one that the folder was made
    /// with. No shelf is opened yet.
    ///
    /// # Errors
    /// [`ShelfError::Layout`] if the layout file is damaged, [`ShelfError::OtherEngine`],
    /// [`ShelfError::Io`] if the folder cannot be used.
    pub fn open(folder: &Path, count: u16, engine: Option<Engine>) -> Result<Self, ShelfError> {
        let layout = layout::open(folder, count, engine)?;
        let slot =
            |index| Slot { doubt: Doubt::open(&folder.join(format!("{index:04}"))), ..Slot::default() };
        let slots = (0..layout.count).map(slot).collect();
        let made = Made::open(folder, layout)?;
        Ok(Self { folder: folder.to_owned(), layout, made, slots })
    }

    /// The record of a document, if it has one. `is_new` says that its first operation is still on its way here,
    /// so that there need not be one.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read or is damaged.
    pub fn record(&self, id: &DocumentId, is_new: bool) -> Result<Option<DocumentRecord>, ShelfError> {
        Ok(self.read(self.index(id), |shelf| shelf.record(id, is_new))?.flatten())
    }

    /// A document with everything in it; `is_new` as for [`Shelves::record`].
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read or is damaged.
    pub fn load(&self, id: &DocumentId, is_new: bool) -> Result<Option<Stored>, ShelfError> {
        Ok(self.read(self.index(id), |shelf| shelf.load(id, is_new))?.flatten())
    }

    /// What of a document is in quarantine, without payloads.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read or is damaged.
    pub fn noted(&self, id: &DocumentId) -> Result<Vec<Noted>, ShelfError> {
        Ok(self.read(self.index(id), |shelf| shelf.noted(id))?.unwrap_or_default())
    }

    /// One operation in quarantine; none if there is none of that name.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read or is damaged.
    pub fn set_aside(&self, id: &DocumentId, name: (ReplicaId, Seq)) -> Result<Option<SetAside>, ShelfError> {
        Ok(self.read(self.index(id), |shelf| shelf.set_aside(id, name))?.flatten())
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
            match self.fill_shelf(index, &operations, &mut stuck) {
                Ok(()) => {}
                Err(error) if error.is_contained() => {
                    let all = operations.iter().map(|operation| operation.document.clone());
                    stuck.extend(all.map(|document| (document, error.clone())));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(stuck)
    }

    /// As [`Shelves::fill`], for one shelf. Its engine may have failed before this came, so an error that would stay
    /// counts only if a shelf that was opened anew says it again; then of the document that it failed at, if any.
    fn fill_shelf(
        &self,
        index: usize,
        operations: &[&Operation],
        stuck: &mut Stuck,
    ) -> Result<(), ShelfError> {
        let mut failed_at = BTreeSet::new();
        loop {
            let mut suspect = None;
            let filled = self.write(index, |shelf| shelf.fill(operations, stuck, &mut suspect));
            let Err(error) = filled else { return Ok(()) };
            if !error.is_of_engine() || !error.is_contained() || failed_at.len() >= SUSPECTS_MAX {
                return Err(error);
            }
            if failed_at.insert(suspect.clone()) {
                continue;
            }
            match suspect {
                Some(document) => stuck.insert(document, error),
                None => return Err(error),
            };
        }
    }

    /// Puts a snapshot in the place of the older one and the first operations behind it; nothing happens if the
    /// document was deleted meanwhile.
    ///
    /// # Errors
    /// [`ShelfError`]; the document is then as before or folded.
    pub fn fold(&self, id: &DocumentId, fold: &Fold) -> Result<(), ShelfError> {
        self.write(self.index(id), |shelf| shelf.fold(id, fold))
    }

    /// Puts a document here as it is elsewhere; there must be none of that name.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be written.
    pub fn put(&self, id: &DocumentId, stored: &Stored, set_aside: &[SetAside]) -> Result<(), ShelfError> {
        self.write(self.index(id), |shelf| shelf.put(stored, id, set_aside))
    }

    /// Puts an operation in quarantine back into its document, or gives it up; false if there is none of that name.
    ///
    /// # Errors
    /// [`ShelfError`]; the operation is then where it was or where it was to go.
    pub fn release(
        &self,
        id: &DocumentId,
        name: (ReplicaId, Seq),
        release: Release,
    ) -> Result<bool, ShelfError> {
        self.write(self.index(id), |shelf| shelf.release(id, name, release))
    }

    /// Takes the content of a document away, if its record is as it is to be, and leaves a stub, which it gives back; none
    /// if it is not.
    ///
    /// # Errors
    /// [`ShelfError`]; the document is then whole or a stub.
    pub fn evict(
        &self,
        id: &DocumentId,
        is_it: &dyn Fn(&DocumentRecord) -> bool,
        stub: &Stub,
    ) -> Result<Option<Stub>, ShelfError> {
        self.write(self.index(id), |shelf| shelf.evict(id, is_it, stub.clone()))
    }

    /// The content of an evicted document is here again: it is one like any other.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read or written.
    pub fn fetched(&self, id: &DocumentId) -> Result<(), ShelfError> {
        self.write(self.index(id), |shelf| shelf.fetched(id))
    }

    /// Takes the tombstone of a document away.
    ///
    /// # Errors
    /// [`ShelfError`] if it cannot be read or written.
    pub fn purge(&self, id: &DocumentId) -> Result<(), ShelfError> {
        self.write(self.index(id), |shelf| shelf.purge(std::slice::from_ref(id)))
    }

    /// Takes tombstones of open shelves away that are older than this, in ms since 1970; of each shelf once an hour.
    pub fn purge_expired(&self, before_ms: u64) {
        for (index, slot) in self.slots.iter().enumerate() {
            // Not under the slot's lock: whoever writes may be waiting for it.
            let Some(shelf) = slot.open_shelf() else { continue };
            let mut purged = slot.purged.lock().unwrap_or_else(PoisonError::into_inner);
            if purged.is_some_and(|purged| purged.elapsed() < PURGE) || self.is_in_doubt(index) {
                continue;
            }
            *purged = Some(Instant::now());
            if let Err(error) = shelf.purge_expired(before_ms) {
                tracing::warn!(%error, "old tombstones could not be taken away; they stand on");
            }
            self.let_go(index, shelf);
        }
    }

    /// What is wrong with the file that says which shelves were made.
    #[must_use]
    pub fn made_fault(&self) -> Option<&'static str> {
        self.made.fault
    }

    /// Number of shelves.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.layout.count
    }

    /// Looks at every row of a shelf, while others use it; `seen` hears of its documents.
    ///
    /// # Errors
    /// [`ShelfError`] if it does not open; what is wrong with it is in the result.
    pub fn inspect(&self, index: u16, seen: &mut Seen<'_>) -> Result<Inspection, ShelfError> {
        match self.shelf_if_made(usize::from(index))? {
            Some(shelf) => {
                let mut inspection = shelf.inspect(&shelf.fault_keys(), seen);
                let faults =
                    shelf.census_fault.map(|found| Fault { document: None, found: found.to_owned() });
                inspection.faults.extend(faults);
                Ok(inspection)
            }
            None => Ok(Inspection::default()),
        }
    }

    /// Bytes of all shelves on the disk.
    #[must_use]
    pub fn size_on_disk(&self) -> u64 {
        (0..self.slots.len()).map(|index| reclaim::size(&self.path(index))).sum()
    }

    /// The shelf of a document.
    #[must_use]
    pub fn index_of(&self, id: &DocumentId) -> u16 {
        u16::try_from(self.index(id)).unwrap_or_default()
    }

    /// Closes shelves that nobody used for so long.
    pub fn close_idle(&self, idle: Duration) {
        for (index, slot) in self.slots.iter().enumerate() {
            let mut state = slot.lock();
            if let State::Open { shelf, used } = &*state
                && used.elapsed() >= idle
                && Arc::strong_count(shelf) == 1
            {
                let closed = shelf.close();
                *state = State::Closed;
                if let Err(error) = closed {
                    self.doubt(index);
                    tracing::warn!(%error, "a shelf did not close whole; the journal has what it may lack");
                    continue;
                }
                // Under the slot's lock: whoever opens it next removes the seal first.
                self.seal(index);
            }
        }
    }

    /// Makes everything durable and closes; later calls are refused.
    ///
    /// # Errors
    /// The first thing that the engine says.
    pub fn close(&self) -> Result<(), ShelfError> {
        let mut result = Ok(());
        for (index, slot) in self.slots.iter().enumerate() {
            let state = std::mem::replace(&mut *slot.lock(), State::Ended);
            if let State::Open { shelf, .. } = state {
                let closed = shelf.close();
                if closed.is_err() {
                    self.doubt(index);
                }
                // Somebody may still be reading; then it stays without a seal.
                if closed.is_ok() && Arc::into_inner(shelf).map(drop).is_some() {
                    self.seal(index);
                }
                result = result.and(closed);
            }
        }
        result
    }

    /// Without a seal a shelf is as good as before; only verify can say less of it.
    pub(super) fn seal(&self, index: usize) {
        if let Err(error) = seal::write(&self.path(index)) {
            tracing::info!(%error, "a closed shelf was not sealed");
        }
    }

    fn index(&self, id: &DocumentId) -> usize {
        usize::from(place(id).1) % self.slots.len().max(1)
    }

    pub(super) fn path(&self, index: usize) -> PathBuf {
        self.folder.join(format!("{index:04}"))
    }

    /// The shelf, unless it was never made: reading makes none.
    pub(super) fn shelf_if_made(&self, index: usize) -> Result<Option<Arc<OpenShelf>>, ShelfError> {
        let known = self.slots.get(index).is_some_and(|slot| !matches!(*slot.lock(), State::Closed));
        let is_made = known || self.was_made(index) || open::is_made(&self.path(index));
        if is_made { self.shelf(index).map(Some) } else { Ok(None) }
    }

    /// Looks at a shelf, unless it was never made.
    pub(super) fn read<T>(
        &self,
        index: usize,
        look: impl Fn(&OpenShelf) -> Result<T, ShelfError>,
    ) -> Result<Option<T>, ShelfError> {
        let Some(shelf) = self.shelf_if_made(index)? else { return Ok(None) };
        let looked = look(&shelf);
        if looked.is_ok() || !shelf.has_failed() {
            return looked.map(Some);
        }
        // A write to it failed, so what the engine says now is no word of the document.
        self.let_go(index, shelf);
        self.shelf_if_made(index)?.map(|shelf| look(&shelf)).transpose()
    }

    /// Changes a shelf. Engines remember their first failure for as long as they are open, so a shelf that failed
    /// is opened anew by whoever comes next or waits already.
    fn write<T>(
        &self,
        index: usize,
        mut change: impl FnMut(&OpenShelf) -> Result<T, ShelfError>,
    ) -> Result<T, ShelfError> {
        loop {
            self.clear_doubt(index)?;
            let shelf = self.shelf(index)?;
            let changed = change(&shelf);
            self.let_go(index, shelf);
            if !matches!(changed, Err(ShelfError::Retired)) {
                return changed;
            }
        }
    }

    /// Is done with a shelf; if a write to it failed, the next who comes opens it anew.
    pub(super) fn let_go(&self, index: usize, shelf: Arc<OpenShelf>) {
        let (failed, this) = (shelf.has_failed(), Arc::downgrade(&shelf));
        if shelf.is_doubtful() {
            self.doubt(index);
        }
        // Not held while waiting for the slot: who has that may be waiting until the engine's files are free.
        drop(shelf);
        if let Some(slot) = self.slots.get(index).filter(|_| failed) {
            let mut state = slot.lock();
            if matches!(&*state, State::Open { shelf, .. } if std::ptr::eq(Arc::as_ptr(shelf), this.as_ptr()))
            {
                *state = State::Closed;
            }
        }
    }

    fn shelf(&self, index: usize) -> Result<Arc<OpenShelf>, ShelfError> {
        let slot = self.slots.get(index).ok_or(ShelfError::Closed)?;
        let mut state = slot.lock();
        match &mut *state {
            State::Open { shelf, used } => {
                *used = Instant::now();
                return Ok(Arc::clone(shelf));
            }
            State::Broken { error, since } if since.elapsed() < BROKEN => return Err(error.clone()),
            State::Closed | State::Broken { .. } => {}
            State::Ended => return Err(ShelfError::Closed),
        }
        match self.open_or_make(index).map(Arc::new) {
            Ok(shelf) => {
                *state = State::Open { shelf: Arc::clone(&shelf), used: Instant::now() };
                Ok(shelf)
            }
            Err(error) => {
                if error.is_contained() {
                    *state = State::Broken { error: error.clone(), since: Instant::now() };
                }
                Err(error)
            }
        }
    }
}

impl Slot {
    pub(super) fn open_shelf(&self) -> Option<Arc<OpenShelf>> {
        match &*self.lock() {
            State::Open { shelf, .. } => Some(Arc::clone(shelf)),
            _ => None,
        }
    }

    /// Whether the shelf has grown to this size by a quarter since it was last looked at.
    pub(super) fn has_grown(&self, size: u64) -> bool {
        reclaim::is_due(size, 0) && size / 5 > self.looked_at.load(Ordering::Relaxed) / 4
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A state is replaced in one step, so a poisoned one is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most documents of one shelf at which its engine may fail before the shelf is taken for what fails.
const SUSPECTS_MAX: usize = 8;
/// How often old tombstones of a shelf are looked for.
const PURGE: Duration = Duration::from_secs(3600);
/// How long a shelf that did not open is not tried again.
const BROKEN: Duration = Duration::from_secs(60);
