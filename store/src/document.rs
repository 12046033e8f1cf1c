//! One open document: gives seqs, knows what the shelf has not taken yet, reads everything in order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Version};

use crate::error::{AppendError, StoreError};
use crate::journal::PAYLOAD_BYTES_MAX;
use crate::shelf::{Contents, ShelfError, Stub, Survey};
use crate::store::Inner;

mod evicting; // whether its content may go, and what is left of it
mod standing; // whether it is what it was

pub use evicting::Held;
use standing::Edition;
pub use standing::Standing;

/// Called exactly once, on another thread: after the fdatasync that covers the operation, or with why there
/// will be none.
pub type Done = Box<dyn FnOnce(Result<Seq, AppendError>) + Send>;

/// What is known of a document in memory.
#[derive(Debug, Default)]
struct Known {
    /// The last seq given; none until the shelf was asked.
    last: Option<Seq>,
    /// Appended and not yet on the shelf, in order.
    pending: VecDeque<Operation>,
    /// It has operations, of whatever replica.
    begun: bool,
    /// Why the shelf cannot take its operations, if so.
    stuck: Option<String>,
    /// Why it can take no operation of this replica but one that deletes it, if so.
    full: Option<String>,
    /// It was deleted: nothing is read or taken any more.
    deleted: bool,
    /// What is left of it if it was evicted: it is opened to be fetched only.
    stub: Option<Stub>,
    has_content: bool,
    /// BLAKE3 of payloads that are in quarantine: the same bytes are not taken again.
    set_aside: BTreeSet<[u8; 32]>,
}

impl Known {
    /// The highest seq of this replica that the shelf may lack.
    fn last_pending(&self, replica: ReplicaId) -> Seq {
        let own = self.pending.iter().filter(|operation| operation.replica == replica);
        own.map(|operation| operation.seq).max().unwrap_or_default()
    }

    /// Whether the first operation of this replica is still on its way to the shelf, which then need not know
    /// the document.
    fn starts_anew(&self, replica: ReplicaId) -> bool {
        let first = self.pending.iter().find(|operation| operation.replica == replica);
        first.is_some_and(|operation| operation.seq == Seq(1))
    }
}

/// A document's place in the store's registry; handles and takeover share it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: DocumentId,
    known: Mutex<Known>,
    handles: AtomicUsize,
    edition: Edition,
}

impl Entry {
    pub(crate) fn new(id: DocumentId) -> Self {
        Self { id, known: Mutex::default(), handles: AtomicUsize::new(0), edition: Edition::default() }
    }

    /// An operation that the journal still had at open; each once, and in the order of seqs.
    pub(crate) fn replay(&self, operation: Operation) {
        let mut known = self.lock();
        known.begun = true;
        known.pending.push_back(operation);
    }

    /// Learns the last seq from the shelf, once.
    pub(crate) fn load(&self, inner: &Inner) -> Result<(), StoreError> {
        // What is pending first, and the shelf without the lock: nobody appends before the last seq is known,
        // so what leaves one meanwhile is found in the other, and whoever asks what is pending need not wait
        // for the disk.
        let (pending, waiting, is_new) = {
            let known = self.lock();
            if known.last.is_some() {
                return Ok(());
            }
            // Before the shelf is asked: what leaves the one meanwhile is found in the other.
            let waiting: Vec<_> =
                known.pending.iter().map(|op| (op.replica, op.seq, op.kind == Kind::Deletion)).collect();
            (known.last_pending(inner.replica), waiting, known.starts_anew(inner.replica))
        };
        let record = inner.shelves.record(&self.id, is_new)?.unwrap_or_default();
        let set_aside = if record.set_aside > 0 { inner.shelves.noted(&self.id)? } else { Vec::new() };
        let last = record.version.get(inner.replica).max(pending);
        // Before anything is acknowledged that the shelf could never take.
        let replicas = waiting.iter().map(|(replica, ..)| *replica).chain([inner.replica]);
        let full = record.check_room(&self.id, replicas).err();
        let mut known = self.lock();
        if known.last.is_none() {
            let mut later = waiting.iter().filter(|(replica, seq, _)| *seq > record.version.get(*replica));
            known.deleted = record.deleted_ms > 0 || later.any(|(.., deletion)| *deletion);
            known.has_content = !known.deleted && (record.is_listed() || !waiting.is_empty());
            known.stub = record.stub;
            // More may have come while the shelf was asked.
            known.set_aside.extend(set_aside.iter().map(|aside| aside.hash));
            known.full = full.map(|full| full.to_string());
            known.begun |= record.version.iter().next().is_some();
            known.last = Some(last);
        }
        Ok(())
    }

    /// Whether it was deleted, as far as it was loaded.
    pub(crate) fn is_deleted(&self) -> bool {
        self.lock().deleted
    }

    /// Whether there is anything to delete, as far as it was loaded.
    pub(crate) fn has_content(&self) -> bool {
        self.lock().has_content
    }

    /// It may be written again.
    pub(crate) fn undelete(&self) {
        let mut known = self.lock();
        (known.deleted, known.has_content, known.stub) = (false, false, None);
        drop(known);
        self.renew();
    }

    /// What it serves may have changed otherwise than by an append; to be called when the shelf has it, so that
    /// whoever read it before reads it again.
    pub(crate) fn renew(&self) {
        self.edition.renew();
    }

    /// These payloads are in quarantine, or not any more.
    pub(crate) fn note_set_aside(&self, hash: [u8; 32], is: bool) {
        let mut known = self.lock();
        if is {
            known.set_aside.insert(hash);
        } else {
            known.set_aside.remove(&hash);
        }
        drop(known);
        self.renew();
    }

    /// The shelf has so many more now.
    pub(crate) fn shelved(&self, count: usize) {
        let mut known = self.lock();
        let count = count.min(known.pending.len());
        known.pending.drain(..count);
        if known.pending.capacity() > 64 + 4 * known.pending.len() {
            known.pending.shrink_to_fit();
        }
    }

    /// The shelf cannot take its operations until somebody repairs it.
    pub(crate) fn refuse_from_now_on(&self, reason: String) {
        self.lock().stuck.get_or_insert(reason);
    }

    /// What the shelf may lack, in order, and whether it need not know the document yet.
    pub(crate) fn pending(&self, replica: ReplicaId) -> (VecDeque<Operation>, bool) {
        let known = self.lock();
        (known.pending.clone(), known.starts_anew(replica))
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.lock().pending.is_empty()
    }

    /// Whether the document will have something to serve once the shelf has taken what is pending; none if that
    /// changes nothing.
    pub(crate) fn will_be_listed(&self, inner: &Inner) -> Option<bool> {
        // First what is pending, then the shelf: an operation leaves the first only when it is in the second.
        let (pending, _) = self.pending(inner.replica);
        // One that cannot be read is listed: reading it says why.
        let record = inner.shelves.record(&self.id, true).ok().flatten().unwrap_or_default();
        let mut news = pending.iter().filter(|op| op.seq > record.version.get(op.replica)).peekable();
        if news.peek().is_none() {
            // It may have come to the shelf after that was asked for its documents.
            return (record.deleted_ms == 0 && record.is_listed()).then_some(true);
        }
        Some(news.all(|operation| operation.kind != Kind::Deletion))
    }

    /// One handle more; only under the registry's lock, so that an entry in use is never forgotten.
    pub(crate) fn hold(&self) {
        self.handles.fetch_add(1, Ordering::AcqRel);
    }

    /// Handles that hold it.
    pub(crate) fn handles(&self) -> usize {
        self.handles.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each change under this lock is a single push or drain, so a poisoned state is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps an entry in use; the last one dropped lets the store forget the document.
#[derive(Debug)]
struct InUse {
    inner: Arc<Inner>,
    entry: Arc<Entry>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        if self.entry.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.left(&self.entry);
        }
    }
}

/// An open document. A cheap clone; all clones share one state.
#[derive(Clone, Debug)]
pub struct Document {
    in_use: Arc<InUse>,
}

impl Document {
    /// A handle on an entry that was held for it.
    pub(crate) fn new(inner: Arc<Inner>, entry: Arc<Entry>) -> Self {
        Self { in_use: Arc::new(InUse { inner, entry }) }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &DocumentId {
        &self.in_use.entry.id
    }

    /// Appends one operation of this replica. Never waits for the disk; `done` is called in append order.
    ///
    /// # Errors
    /// [`AppendError`] if it is refused at the door; `done` is dropped uncalled then, and reading does not
    /// show the operation.
    pub fn append(&self, kind: Kind, payload: Bytes, done: Done) -> Result<Seq, AppendError> {
        let InUse { inner, entry } = &*self.in_use;
        let document = || entry.id.clone();
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(AppendError::TooLarge {
                document: document(),
                bytes: payload.len(),
                max: PAYLOAD_BYTES_MAX,
            });
        }
        if let Some(source) = inner.journal.read_only() {
            return Err(AppendError::Journal { document: document(), source });
        }
        if let Some(queued) = inner.overload() {
            return Err(AppendError::Overloaded { document: document(), queued });
        }
        let mut known = entry.lock();
        let full = known.full.as_ref().filter(|_| kind != Kind::Deletion);
        if let Some(reason) = known.stuck.as_ref().or(full).cloned() {
            return Err(AppendError::Stuck { document: document(), reason });
        }
        if known.deleted {
            return Err(AppendError::Deleted { document: document() });
        }
        if !known.set_aside.is_empty() && known.set_aside.contains(blake3::hash(&payload).as_bytes()) {
            return Err(AppendError::Quarantined { document: document() });
        }
        if !known.begun
            && let Some(used_percent) = inner.space.refuses_new()
        {
            return Err(AppendError::NoRoom { document: document(), used_percent });
        }
        known.begun = true;
        known.deleted = kind == Kind::Deletion;
        known.has_content = !known.deleted;
        let seq = known.last.unwrap_or_default().next();
        // Under the document's lock, so that its stamps grow as its seqs do.
        let stamp = inner.clock.tick();
        let operation = Operation { document: document(), replica: inner.replica, seq, stamp, kind, payload };
        known.last = Some(seq);
        known.pending.push_back(operation.clone());
        // Under the document's lock, so that the journal's order is the order of seqs.
        let (owner, shared) = (Arc::clone(inner), Arc::clone(entry));
        let durable = operation.clone();
        inner.journal.append(
            operation,
            Box::new(move |result| match result {
                Ok(segment) => {
                    owner.takeover.push(shared, durable, segment);
                    done(Ok(seq));
                }
                Err(source) => done(Err(AppendError::Journal { document: shared.id.clone(), source })),
            }),
        );
        Ok(seq)
    }

    /// Whether it was deleted since it was opened.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.in_use.entry.is_deleted()
    }

    /// Calls `done` when everything appended to this document before is durable.
    pub fn barrier(&self, done: Done) {
        let InUse { inner, entry } = &*self.in_use;
        let known = entry.lock();
        let (seq, id) = (known.last.unwrap_or_default(), entry.id.clone());
        inner.journal.barrier(Box::new(move |result| {
            done(result.map(|_| seq).map_err(|source| AppendError::Journal { document: id, source }));
        }));
    }

    /// Everything appended before this call, durable or not, in order and once. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if the shelf cannot be read or is damaged there.
    pub fn read(&self) -> Result<Contents, StoreError> {
        let InUse { inner, entry } = &*self.in_use;
        let (pending, is_new) = self.pending()?;
        let stored = inner.shelves.load(&entry.id, is_new)?.unwrap_or_default();
        let version = stored.record.version.clone();
        let mut contents = stored.into_contents();
        for operation in self.news(pending, version)? {
            if operation.kind == Kind::Deletion {
                contents = Contents::default();
            } else {
                contents.tail.push(operation.payload);
            }
        }
        Ok(contents)
    }

    /// What tells which changes are among those of [`Document::read`], without reading all of them. None if that
    /// was not noted. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if the shelf cannot be read or is damaged there.
    pub fn survey(&self) -> Result<Option<Survey>, StoreError> {
        let InUse { inner, entry } = &*self.in_use;
        let (pending, is_new) = self.pending()?;
        let Some((version, mut survey)) = inner.shelves.survey(&entry.id, is_new)? else { return Ok(None) };
        for operation in self.news(pending, version)? {
            if operation.kind == Kind::Deletion {
                return Ok(None);
            }
            survey.tail.push(operation.payload);
        }
        Ok(Some(survey))
    }

    /// What is on its way to the shelf, and whether that need not know the document yet.
    fn pending(&self) -> Result<(VecDeque<Operation>, bool), StoreError> {
        let InUse { inner, entry } = &*self.in_use;
        // First what is pending, then the shelf: an operation leaves the first only when it is in the second.
        let known = entry.lock();
        if known.deleted {
            return Err(StoreError::Deleted { document: entry.id.clone() });
        }
        Ok((known.pending.clone(), known.starts_anew(inner.replica)))
    }

    /// Which of these are not in a version, each once.
    fn news(&self, pending: VecDeque<Operation>, mut version: Version) -> Result<Vec<Operation>, StoreError> {
        let mut news = Vec::new();
        for operation in pending {
            let (replica, have) = (operation.replica, version.get(operation.replica));
            if operation.seq <= have {
                continue;
            }
            if !version.observe(replica, operation.seq) {
                let (document, found) = (self.id().clone(), operation.seq.0);
                return Err(ShelfError::Gap { document, have: have.0, found }.into());
            }
            news.push(operation);
        }
        Ok(news)
    }
}

/// Milliseconds since 1970; 0 on a clock before that.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
