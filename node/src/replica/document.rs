//! One open Yjs document: edited, read, watched.
//!
//! The document is in memory from its first use to the last handle. It is given up and read again from the store,
//! under a new client id, when an edit failed, panicked or was not stored, and when the store set an operation aside.
//!
//! Edits are appended under the document's lock, so that their order is that of their transactions, and waited for
//! without it: who reads sees them at once, and edits of several threads share one fsync.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use bytes::Bytes;
use tombolo_core::engine::EngineError;
use tombolo_core::engine::edit::{Edit, EditError, Live, View};
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_core::update::{self, Update};
use tombolo_store::{AppendError, Contents, Document, Store};

use super::changes::{Change, Changes, Observation, Origin};
use super::error::ReplicaError;

/// Address space of a thread that hydrates: yrs recurses into nesting (HAZARDS yrs-3). Pages are used as it goes.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// What all handles of one document share.
pub(super) struct Shared {
    stored: Document,
    held: Mutex<Held>,
    /// The thread that is in a transaction; a second one of its own would wait for ever (HAZARDS yrs-9).
    within: Mutex<Option<ThreadId>>,
    changes: Changes,
    /// So that the folder stays open.
    _store: Store,
}

/// The document in memory, if it is.
#[derive(Default)]
struct Held {
    live: Option<Live>,
    /// Of which edition of the stored document.
    edition: u64,
}

impl Shared {
    pub(super) fn new(store: Store, stored: Document) -> Self {
        Self {
            stored,
            held: Mutex::default(),
            within: Mutex::default(),
            changes: Changes::default(),
            _store: store,
        }
    }
}

/// The lock on a document, and the note of who has it.
struct Guard<'a> {
    held: MutexGuard<'a, Held>,
    within: &'a Mutex<Option<ThreadId>>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        *self.within.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// An open Yjs document of a replica. A cheap clone; all handles share one state.
#[derive(Clone)]
pub struct YjsDocument {
    shared: Arc<Shared>,
}

impl YjsDocument {
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &DocumentId {
        self.shared.stored.id()
    }

    /// Edits in one transaction; when this returns, the edit is fsynced and everybody sees it. If the closure fails,
    /// nothing is changed. Blocking, for the disk only.
    ///
    /// ```
    /// use tombolo::replica::{EditError, Replica};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let list = replica.yjs("list")?;
    /// let length = list.edit(|edit| {
    ///     let mut text = edit.text("text");
    ///     text.insert(0, "milk")?;
    ///     text.push(", bread");
    ///     Ok(text.len())
    /// })?;
    /// assert_eq!(length, 11);
    /// // All or nothing.
    /// let failed = list.edit(|edit| {
    ///     edit.text("text").remove(0, 4)?;
    ///     Err::<(), _>(EditError::Cancelled)
    /// });
    /// assert!(failed.is_err());
    /// assert_eq!(list.text("text")?, "milk, bread");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Edit`] if the closure fails, [`ReplicaError::NotStored`] if the disk does not take it,
    /// [`ReplicaError::Deleted`] if the document was deleted.
    pub fn edit<T>(
        &self,
        work: impl FnOnce(&mut Edit<'_, '_>) -> Result<T, EditError>,
    ) -> Result<T, ReplicaError> {
        let (value, receipt) = {
            let mut guard = self.lock()?;
            let live = self.live(&mut guard.held)?;
            let edited = live.edit(work);
            let (live, value, made) =
                edited.map_err(|source| ReplicaError::Edit { document: self.id().clone(), source })?;
            let receipt = made.map(|update| self.append(&update, Origin::Local)).transpose()?;
            guard.held.live = Some(live);
            (value, receipt)
        };
        self.wait(receipt)?;
        Ok(value)
    }

    /// Takes in what others did: a Yjs update, v1, whole states included. True if anything of it was new; then it is
    /// fsynced. What lacks its ground is stored and shown when that has come. Blocking, for the disk only.
    ///
    /// ```
    /// use tombolo::replica::Replica;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let phone = Replica::open(folder.path().join("phone"))?.yjs("list")?;
    /// let laptop = Replica::open(folder.path().join("laptop"))?.yjs("list")?;
    /// phone.edit(|edit| edit.text("text").insert(0, "milk\n"))?;
    /// laptop.edit(|edit| edit.text("text").insert(0, "bread\n"))?;
    /// assert!(phone.apply(&laptop.state()?)?);
    /// assert!(laptop.apply(&phone.state()?)?);
    /// assert_eq!(phone.text("text")?, laptop.text("text")?);
    /// assert!(!phone.apply(&laptop.state()?)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Update`] if it is none, else as for [`YjsDocument::edit`].
    pub fn apply(&self, update: &Bytes) -> Result<bool, ReplicaError> {
        self.bring(update, Origin::Remote)
    }

    /// As [`YjsDocument::apply`], for updates of whatever origin.
    pub(crate) fn bring(&self, update: &Bytes, origin: Origin) -> Result<bool, ReplicaError> {
        let update = Update::parse(update.clone())
            .map_err(|source| ReplicaError::Update { document: self.id().clone(), source })?;
        let receipt = {
            let mut guard = self.lock()?;
            let live = self.live(&mut guard.held)?;
            let (live, is_new) = on_a_large_stack(self.id(), || live.apply(&update))?;
            let receipt = is_new.then(|| self.append(&update, origin)).transpose()?;
            guard.held.live = Some(live);
            receipt
        };
        let is_new = receipt.is_some();
        self.wait(receipt)?;
        Ok(is_new)
    }

    /// Reads it as it is now, edits of other threads that are on their way to the disk included. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Read`] or [`ReplicaError::Unreadable`] if it cannot be read, [`ReplicaError::Deleted`] if it
    /// was deleted.
    pub fn read<T>(&self, work: impl FnOnce(&View<'_>) -> T) -> Result<T, ReplicaError> {
        let mut guard = self.lock()?;
        let live = self.live(&mut guard.held)?;
        let value = live.read(work);
        guard.held.live = Some(live);
        Ok(value)
    }

    /// The text under this name, empty if there is none. The page of `tombolo serve` shows the one under `text`.
    ///
    /// # Errors
    /// As for [`YjsDocument::read`].
    pub fn text(&self, name: &str) -> Result<String, ReplicaError> {
        self.read(|view| view.text(name).unwrap_or_default())
    }

    /// All of it as one Yjs update, v1, what waits for others included.
    ///
    /// # Errors
    /// As for [`YjsDocument::read`].
    pub fn state(&self) -> Result<Bytes, ReplicaError> {
        let parse = |part: Bytes| {
            Update::parse(part).map_err(|error| {
                ReplicaError::unreadable(self.id(), &EngineError::Malformed { reason: error.to_string() })
            })
        };
        let parts = self.parts()?.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(update::merge(&parts))
    }

    /// Calls `observer` for each change from now on, until what this gives back is dropped: once each, in order, when
    /// it is durable, on a thread that edits this document. It may read and edit; what it edits it hears of after it
    /// has returned.
    pub fn observe(&self, observer: impl FnMut(&Change) + Send + 'static) -> Observation {
        self.shared.changes.observe(observer)
    }

    fn lock(&self) -> Result<Guard<'_>, ReplicaError> {
        let Shared { held, within, .. } = &*self.shared;
        let me = std::thread::current().id();
        if *within.lock().unwrap_or_else(PoisonError::into_inner) == Some(me) {
            return Err(ReplicaError::Nested { document: self.id().clone() });
        }
        // A panic in a transaction leaves nothing in it, so a poisoned one is whole.
        let held = held.lock().unwrap_or_else(PoisonError::into_inner);
        *within.lock().unwrap_or_else(PoisonError::into_inner) = Some(me);
        Ok(Guard { held, within })
    }

    /// The document in memory, out of its place: who does not put it back has given it up.
    fn live(&self, held: &mut Held) -> Result<Live, ReplicaError> {
        let stored = &self.shared.stored;
        if stored.is_deleted() {
            held.live = None;
            return Err(ReplicaError::Deleted { document: self.id().clone() });
        }
        // Before it is read, so that what changes meanwhile is seen.
        let edition = stored.edition();
        match held.live.take() {
            Some(live) if held.edition == edition => Ok(live),
            _ => {
                held.edition = edition;
                let (parts, client) = (self.parts()?, random_client()?);
                on_a_large_stack(self.id(), || Live::open(&parts, client))
            }
        }
    }

    fn parts(&self) -> Result<Vec<Bytes>, ReplicaError> {
        let Contents { snapshot, tail, .. } = self.shared.stored.read().map_err(ReplicaError::read)?;
        Ok(snapshot.into_iter().chain(tail).collect())
    }

    fn append(&self, update: &Update, origin: Origin) -> Result<Receipt, ReplicaError> {
        let (sender, receiver) = channel();
        let changes = self.shared.changes.clone();
        let change = Change { document: self.id().clone(), origin, update: update.bytes().clone() };
        // Called in the order of operations, so changes are in that order, too.
        let done = move |result: Result<_, AppendError>| {
            let stored = result.map(|_| changes.push(change));
            // Nobody waits any more only if this thread is gone.
            let _ = sender.send(stored);
        };
        let appended = self.shared.stored.append(Kind::YjsUpdate, update.bytes().clone(), Box::new(done));
        appended.map_err(ReplicaError::not_stored)?;
        Ok(receiver)
    }

    /// Waits for the disk; what it does not take is not shown any more.
    fn wait(&self, receipt: Option<Receipt>) -> Result<(), ReplicaError> {
        let Some(receipt) = receipt else { return Ok(()) };
        let gone = || AppendError::Journal {
            document: self.id().clone(),
            source: tombolo_store::journal::JournalError::Closed,
        };
        let stored = receipt.recv().unwrap_or_else(|_| Err(gone()));
        if let Err(error) = stored {
            self.shared.held.lock().unwrap_or_else(PoisonError::into_inner).live = None;
            return Err(ReplicaError::not_stored(error));
        }
        self.shared.changes.tell();
        Ok(())
    }
}

type Receipt = Receiver<Result<(), AppendError>>;

/// A client id that nobody has used: each document takes one each time it comes into memory, so they are drawn from
/// all that JavaScript can count to.
pub(super) fn random_client() -> Result<u64, ReplicaError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| ReplicaError::System(std::io::Error::other(error)))?;
    Ok(u64::from_le_bytes(bytes) & tombolo_core::limits::CLIENT_ID_MAX)
}

/// Lets the engine read what others wrote. A panic gives the document up and is said as an error.
pub(super) fn on_a_large_stack<T: Send>(
    document: &DocumentId,
    work: impl FnOnce() -> Result<T, EngineError> + Send,
) -> Result<T, ReplicaError> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("replica-read".to_owned()).stack_size(STACK_BYTES);
        let thread = builder.spawn_scoped(scope, work).map_err(ReplicaError::System)?;
        let panicked =
            |_| Err(EngineError::Diverged { reason: "it panicked; what it said is on stderr".to_owned() });
        thread.join().unwrap_or_else(panicked).map_err(|error| ReplicaError::unreadable(document, &error))
    })
}

#[cfg(test)]
mod tests;
