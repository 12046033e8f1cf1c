//! The store: its folder, its threads and the registry of documents in use.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tombolo_core::clock::Observed;
use tombolo_core::id::{DocumentId, Identity, ReplicaId};
use tombolo_core::operation::Stamp;

use crate::clock::StoreClock;
use crate::compact::Compactor;
use crate::config::StoreConfig;
use crate::disk::FileDisk;
use crate::document::{Document, Entry};
use crate::error::{OpenError, StoreError};
use crate::feed::Feed;
use crate::identity::{self, Lock, Renewal};
use crate::idle::Idle;
use crate::journal::{Journal, JournalConfig, Latency, Replay};
use crate::maintain::{self, Progress, Verification};
use crate::shelf::{DocumentRecord, Shelves};
use crate::space::{Space, SpaceMetrics};
use crate::takeover::Takeover;
use crate::worker::Worker;

/// What a store counts; see `/metrics`.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// Group commits: one fdatasync each.
    pub commits: u64,
    /// Operations made durable since the start.
    pub operations: u64,
    /// Time of a group commit.
    pub commit_latency: Latency,
    /// Preallocated bytes of the journal on disk.
    pub journal_bytes: u64,
    /// Bytes of the shelf on disk.
    pub shelf_bytes: u64,
    /// Bytes of memory of operations that are queued and not yet durable.
    pub pending_bytes: u64,
    /// Documents in memory: those in use, and those that the shelf does not have whole yet.
    pub open_documents: u64,
    /// Why nothing is acknowledged any more, if so.
    pub read_only: Option<String>,
    /// Why acknowledgements wait although nothing is lost, if so: a full disk.
    pub stalled: Option<String>,
    /// How full the disk is.
    pub space: SpaceMetrics,
}

/// What the threads and handles of a store share.
pub(crate) struct Inner {
    pub(crate) replica: ReplicaId,
    pub(crate) renewal: Renewal,
    pub(crate) journal: Journal,
    pub(crate) shelves: Shelves,
    pub(crate) takeover: Takeover,
    pub(crate) feed: Feed,
    pub(crate) compactor: Compactor,
    pub(crate) space: Space,
    pub(crate) clock: StoreClock,
    idle: Idle,
    config: StoreConfig,
    entries: Mutex<HashMap<DocumentId, Arc<Entry>>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.config.path.display())
    }
}

impl Inner {
    /// How much waits, if it is too much.
    pub(crate) fn overload(&self) -> Option<u64> {
        let queued = self.journal.queued_bytes();
        let waiting = self.takeover.bytes();
        let too_much = queued > self.config.queue_bytes_max || waiting > self.config.takeover_bytes_max;
        too_much.then_some(queued.saturating_add(waiting))
    }

    /// The last handle of a document was dropped.
    pub(crate) fn left(&self, entry: &Arc<Entry>) {
        self.compactor.left(&entry.id);
        self.forget_if_unused(entry);
    }

    /// Frees an entry that no handle holds and that the shelf has whole.
    pub(crate) fn forget_if_unused(&self, entry: &Arc<Entry>) {
        let mut entries = self.entries();
        // The map's own reference is one; clones are made under this lock only.
        let unused = entries.get(&entry.id).is_some_and(|held| Arc::ptr_eq(held, entry))
            && !entry.has_pending()
            && entry.handles() == 0;
        if unused {
            entries.remove(&entry.id);
        }
    }

    /// These payloads were set aside: who has the document open does not take them again.
    pub(crate) fn note_set_aside(&self, id: &DocumentId, hashes: impl Iterator<Item = [u8; 32]>) {
        let entry = self.entries().get(id).map(Arc::clone);
        if let Some(entry) = entry {
            hashes.for_each(|hash| entry.note_set_aside(hash, true));
        }
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, HashMap<DocumentId, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What ends with the last handle of a store.
struct Life {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    ended: Mutex<bool>,
    worker: Arc<dyn Worker>,
    _lock: Lock,
}

/// An open store. A cheap clone; the last one dropped closes it.
#[derive(Clone)]
pub struct Store {
    life: Arc<Life>,
}

impl Store {
    /// Opens the folder, making it if it is missing; replays what the shelf lacks.
    ///
    /// # Errors
    /// [`OpenError`] if the folder is in use, cannot be written or is damaged.
    pub fn open(config: StoreConfig, worker: Arc<dyn Worker>) -> Result<Self, OpenError> {
        maintain::finish_apply(&config.path)?;
        let lock = identity::lock(&config.path, Duration::from_millis(config.lock_wait_ms))?;
        maintain::tidy(&config.path);
        let space = Space::open(&config);
        let identity = identity::open(&config.path)?;
        let not_writable = |source| OpenError::NotWritable { path: config.path.clone(), source };
        let disk = FileDisk::open(&config.path.join("journal")).map_err(not_writable)?;
        let shelves = Shelves::open(&config.path.join("shelf"), config.shelf_count, config.engine)?;
        let settings = JournalConfig { segment_bytes: config.segment_bytes };
        let (journal, replay) = Journal::open(Arc::new(disk), settings)?;
        let folder = Arc::new(FileDisk::of(&config.path).map_err(not_writable)?);
        let feed = Feed::new(folder, identity.incarnation, replay.shelved);
        let greatest = replay.operations.iter().map(|(_, operation)| operation.stamp).max();
        let clock = StoreClock::open(&config.path, greatest.unwrap_or_default());
        let witness = Duration::from_millis(config.witness_ms);
        let inner = Arc::new(Inner {
            replica: identity.replica,
            renewal: Renewal::new(config.path.clone(), identity, witness),
            journal,
            shelves,
            takeover: Takeover::default(),
            feed,
            compactor: Compactor::new(config.compaction),
            space,
            clock,
            idle: Idle::new(config.tombstone_ms),
            config,
            entries: Mutex::default(),
        });
        replay_into(&inner, replay);
        let threads = start_threads(&inner, Arc::clone(&worker))
            .map_err(|source| OpenError::NotWritable { path: inner.config.path.clone(), source })?;
        let life =
            Life { inner, threads: Mutex::new(threads), ended: Mutex::new(false), worker, _lock: lock };
        Ok(Self { life: Arc::new(life) })
    }

    /// What operations are named after; stays the same until the folder is copied, restored or reset.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.life.inner.replica
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.life.inner.config.path
    }

    /// Who this store is, and who it was before it was copied or restored.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.life.inner.renewal.identity()
    }

    /// The stamp of what happens now: later than that of everything that was appended or observed before.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.life.inner.clock.tick()
    }

    /// Another replica was at this stamp just now: what is appended from here on is stamped later, unless it lies further
    /// ahead than clocks of devices are apart; then it changes nothing.
    pub fn observe(&self, stamp: Stamp) -> Observed {
        self.life.inner.clock.observe(stamp)
    }

    /// Opens a document; one that has no operations yet is opened too. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if its shelf cannot be read, or it was deleted or evicted.
    pub fn document(&self, id: &DocumentId) -> Result<Document, StoreError> {
        let (document, entry) = self.open_document(id)?;
        if entry.is_deleted() {
            return Err(StoreError::Deleted { document: id.clone() });
        }
        if let Some(stub) = entry.stub() {
            return Err(StoreError::Evicted { document: id.clone(), address: stub.address });
        }
        Ok(document)
    }

    pub(crate) fn open_document(&self, id: &DocumentId) -> Result<(Document, Arc<Entry>), StoreError> {
        let inner = &self.life.inner;
        let entry = {
            let mut entries = inner.entries();
            let entry = entries.entry(id.clone()).or_insert_with(|| Arc::new(Entry::new(id.clone())));
            entry.hold();
            Arc::clone(entry)
        };
        // A handle from here on, so that a failing load gives the entry back.
        let document = Document::new(Arc::clone(inner), Arc::clone(&entry));
        entry.load(inner)?;
        Ok((document, entry))
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.life.inner
    }

    /// Names of documents with at least one operation, evicted ones included, in the order of their keys, after `after`. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if a shelf cannot be read.
    pub fn documents(&self, after: Option<&DocumentId>, limit: usize) -> Result<Vec<DocumentId>, StoreError> {
        Ok(self.list(after, limit)?.into_iter().map(|(id, _)| id).collect())
    }

    /// The same with their records, but for those that have something on its way to the shelf.
    pub(crate) fn list(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, Option<DocumentRecord>)>, StoreError> {
        let inner = &self.life.inner;
        let pending: Vec<_> =
            inner.entries().values().filter(|entry| entry.has_pending()).map(Arc::clone).collect();
        // More than asked for, because some of them may be on their way out.
        let stored = inner.shelves.documents(after, limit.saturating_add(pending.len()))?;
        let mut ids: BTreeMap<_, _> =
            stored.into_iter().map(|(id, record)| (id.to_key(), (id, Some(record)))).collect();
        let after = after.map(DocumentId::to_key);
        for entry in pending {
            let key = entry.id.to_key();
            match entry.will_be_listed(inner) {
                Some(true) if after.as_ref().is_none_or(|after| key > *after) => {
                    ids.insert(key, (entry.id.clone(), None));
                }
                Some(false) => {
                    ids.remove(&key);
                }
                _ => {}
            }
        }
        Ok(ids.into_values().take(limit).collect())
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> StoreMetrics {
        let inner = &self.life.inner;
        let stats = inner.journal.stats();
        StoreMetrics {
            commits: stats.commits,
            operations: stats.operations,
            commit_latency: stats.latency,
            journal_bytes: inner.journal.bytes(),
            shelf_bytes: inner.shelves.size_on_disk(),
            pending_bytes: inner.journal.queued_bytes(),
            open_documents: inner.entries().len() as u64,
            stalled: inner.journal.stalled(),
            space: inner.space.metrics(),
            read_only: inner.journal.read_only().map(|reason| reason.to_string()),
        }
    }

    /// Whether it can store.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn ready(&self) -> Result<(), String> {
        let Inner { journal, takeover, space, .. } = &*self.life.inner;
        let reason = journal.read_only().map(|reason| reason.to_string()).or_else(|| space.full());
        reason.or_else(|| journal.stalled()).or_else(|| takeover.failing()).map_or(Ok(()), Err)
    }

    /// Waits until everything appended before is on the shelf. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if the journal or the shelf refuses, or the shelf cannot take some documents' operations.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.settle()?;
        let stuck = self.life.inner.takeover.first_stuck();
        stuck.map_or(Ok(()), |reason| Err(StoreError::Takeover { reason }))
    }

    /// As [`Store::flush`], but that one stuck document holds nobody else up.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        let inner = &self.life.inner;
        let (sender, receiver) = std::sync::mpsc::channel();
        inner.journal.barrier(Box::new(move |result| {
            // Nobody waits any more only if this thread is gone.
            let _ = sender.send(result);
        }));
        if let Ok(result) = receiver.recv() {
            result?;
        }
        inner.takeover.flush().map_err(|reason| StoreError::Takeover { reason })
    }

    /// Gives back all the space that it can: every tail is folded, then every shelf that was ever made is copied to a fresh database. Gives back
    /// the bytes of the shelves before and after. Blocking; documents are served on meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if a shelf cannot be read or written; it stays as it was.
    pub fn compact(&self, progress: &mut dyn FnMut(Progress)) -> Result<(u64, u64), StoreError> {
        self.fold_all(progress)?;
        let shelves = &self.life.inner.shelves;
        let before = shelves.size_on_disk();
        for index in 0..shelves.count() {
            shelves.reclaim(index)?;
            progress(Progress { done: u64::from(index) + 1, of: u64::from(shelves.count()) });
        }
        Ok((before, shelves.size_on_disk()))
    }

    /// Looks at everything that is stored while the store is in use. Blocking.
    pub fn verify(&self, progress: &mut dyn FnMut(Progress)) -> Verification {
        maintain::verify_open(&self.life.inner, progress)
    }

    /// Makes everything durable, puts it on the shelf and ends the threads. Once; later calls do nothing.
    ///
    /// # Errors
    /// [`StoreError`] if something stays in the journal only; nothing acknowledged is lost by that.
    pub fn close(&self) -> Result<(), StoreError> {
        self.life.close()
    }
}

impl Life {
    fn close(&self) -> Result<(), StoreError> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *ended, true) {
            return Ok(());
        }
        let inner = &self.inner;
        inner.journal.close();
        let flushed = inner.takeover.flush().and_then(|()| inner.takeover.first_stuck().map_or(Ok(()), Err));
        let flushed = flushed.map_err(|reason| StoreError::Takeover { reason });
        inner.takeover.close();
        inner.compactor.close();
        inner.idle.close();
        inner.compactor.wait_for_the_end(&*self.worker);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let mut ended_well = true;
        for thread in threads {
            if thread.join().is_err() {
                ended_well = false;
                tracing::error!(
                    "a thread of the store panicked; the journal keeps what it had not taken over"
                );
            }
        }
        inner.clock.keep();
        inner.shelves.close()?;
        if flushed.is_ok() && ended_well && !inner.shelves.has_doubt() {
            match inner.feed.close(&inner.takeover, inner.journal.durable()) {
                Ok(()) => inner.journal.mark_taken(),
                Err(error) => tracing::warn!(%error, "the list of changed documents could not be ended"),
            }
        }
        flushed
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store did not close whole");
        }
    }
}

fn replay_into(inner: &Arc<Inner>, replay: Replay) {
    if replay.cut_bytes > 0 {
        tracing::info!(
            bytes = replay.cut_bytes,
            "cut a torn tail off the journal; nothing in it was acknowledged"
        );
    }
    // Operations of stuck documents were written anew behind later ones, so the journal's order is not theirs.
    let mut operations = replay.operations;
    let segments = operations.iter().map(|(segment, _)| *segment);
    let (Some(first), Some(last)) = (segments.clone().min(), segments.max()) else { return };
    operations
        .sort_by(|(_, a), (_, b)| (&a.document, a.replica, a.seq).cmp(&(&b.document, b.replica, b.seq)));
    operations.dedup_by(|(_, a), (_, b)| (&a.document, a.replica, a.seq) == (&b.document, b.replica, b.seq));
    let count = operations.len();
    let mut entries = inner.entries();
    for (index, (_, operation)) in operations.into_iter().enumerate() {
        let entry = entries
            .entry(operation.document.clone())
            .or_insert_with(|| Arc::new(Entry::new(operation.document.clone())));
        entry.replay(operation.clone());
        // No segment goes before all of them are taken.
        let segment = if index + 1 == count { last } else { first };
        inner.takeover.push(Arc::clone(entry), operation, segment);
    }
}

fn start_threads(inner: &Arc<Inner>, worker: Arc<dyn Worker>) -> std::io::Result<Vec<JoinHandle<()>>> {
    let named = |name: &str| std::thread::Builder::new().name(name.into());
    let taking = Arc::clone(inner);
    let patience = Duration::from_millis(inner.config.takeover_ms);
    let takeover = named("takeover").spawn(move || taking.takeover.run(&taking, patience))?;
    let folding = Arc::clone(inner);
    let compaction = named("compaction").spawn(move || folding.compactor.run(&folding, &*worker))?;
    let (closing, idle) = (Arc::clone(inner), Duration::from_millis(inner.config.shelf_idle_ms));
    let idle = named("shelf-idle").spawn(move || closing.idle.run(&closing, idle))?;
    Ok(vec![takeover, compaction, idle])
}
