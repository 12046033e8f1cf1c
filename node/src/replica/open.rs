//! What the documents of both formats share: one in memory, its lock, its way to the disk.
//!
//! A document is in memory from its first use to the last handle. It is given up and read again from the store, under
//! a new client or actor id, when work on it failed, panicked or was not stored, and when the store set an operation
//! aside.
//!
//! Edits are appended under the document's lock, so that their order is that of their transactions, and waited for
//! without it: who reads sees them at once, and edits of several threads share one fsync.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::ThreadId;

use bytes::Bytes;
use tombolo_core::engine::EngineError;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::journal::JournalError;
use tombolo_store::{AppendError, Contents, Document, Store};

use super::budget::Space;
use super::changes::{Change, Changes, Observation, Origin};
use super::error::ReplicaError;
use super::link::{Hub, Shelves};
use super::presence::Stage;
use super::urgency::EditOptions;

/// Address space of a thread that hydrates: engines recurse into nesting (HAZARDS yrs-3). Pages are used as it goes.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// An engine's document in memory. Work takes it and gives it back; who does not give it back has given it up.
pub(super) trait Live: Sized + Send {
    /// What is stored of its edits.
    const KIND: Kind;

    /// Hydrates the parts, under a client or actor id that nobody has used.
    fn open(document: &DocumentId, parts: &[Bytes]) -> Result<Self, ReplicaError>;
}

/// What all handles of one document share.
pub(super) struct Open<L> {
    stored: Document,
    held: Mutex<Held<L>>,
    /// The thread that is in a transaction; a second one of its own would wait for ever (HAZARDS yrs-9).
    within: Mutex<Option<ThreadId>>,
    changes: Changes,
    /// Where links hear of it.
    hub: Arc<Hub>,
    /// Who is in it, once somebody asked.
    stage: OnceLock<Arc<Stage>>,
    /// What lets in what is to be stored.
    space: Arc<Space>,
    /// So that the folder stays open.
    _store: Store,
}

/// The document in memory, if it is.
struct Held<L> {
    live: Option<L>,
    /// Of which edition of the stored document.
    edition: u64,
}

/// The lock on a document, and the note of who has it.
struct Guard<'a, L> {
    held: MutexGuard<'a, Held<L>>,
    within: &'a Mutex<Option<ThreadId>>,
}

impl<L> Drop for Guard<'_, L> {
    fn drop(&mut self) {
        *self.within.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<L: Live> Open<L> {
    fn new(Shelves { store, hub, space, .. }: &Shelves, stored: Document) -> Self {
        Self {
            stored,
            held: Mutex::new(Held { live: None, edition: 0 }),
            within: Mutex::default(),
            changes: Changes::default(),
            hub: Arc::clone(hub),
            space: Arc::clone(space),
            stage: OnceLock::new(),
            _store: store.clone(),
        }
    }

    pub(super) fn id(&self) -> &DocumentId {
        self.stored.id()
    }

    pub(super) fn observe(&self, observer: impl FnMut(&Change) + Send + 'static) -> Observation {
        self.changes.observe(observer)
    }

    /// Who is in it, as long as it is open. `client` is an id that nobody has.
    pub(super) fn stage(&self, client: u64) -> Result<&Arc<Stage>, ReplicaError> {
        if let Some(stage) = self.stage.get() {
            return Ok(stage);
        }
        let stage = self.hub.presences.open(&self.hub, self.id(), client)?;
        Ok(self.stage.get_or_init(|| stage))
    }

    /// Works on the document, and stores the operation that this makes, if any; true then. When this returns it is
    /// fsynced.
    pub(super) fn change<T>(
        &self,
        origin: Origin,
        work: impl FnOnce(L) -> Result<(L, T, Option<Bytes>), ReplicaError>,
    ) -> Result<(T, bool), ReplicaError> {
        self.change_with(origin, EditOptions::default(), work)
    }

    /// As [`Open::change`], with what holds for this one only.
    pub(super) fn change_with<T>(
        &self,
        origin: Origin,
        options: EditOptions,
        work: impl FnOnce(L) -> Result<(L, T, Option<Bytes>), ReplicaError>,
    ) -> Result<(T, bool), ReplicaError> {
        let (value, receipt) = {
            let mut guard = self.lock()?;
            let (live, value, made) = work(self.live(&mut guard.held)?)?;
            let receipt = made.map(|payload| self.append(payload, origin, options)).transpose()?;
            guard.held.live = Some(live);
            (value, receipt)
        };
        let changed = receipt.is_some();
        if let Some(receipt) = receipt {
            self.wait(&receipt)?;
            self.changes.tell();
        }
        Ok((value, changed))
    }

    /// Looks at the document as it is now, edits of other threads that are on their way to the disk included.
    pub(super) fn look<T>(&self, work: impl FnOnce(&L) -> T) -> Result<T, ReplicaError> {
        let mut guard = self.lock()?;
        let live = self.live(&mut guard.held)?;
        let value = work(&live);
        guard.held.live = Some(live);
        Ok(value)
    }

    /// As [`Open::look`]; when this returns, all that was seen is fsynced.
    pub(super) fn look_durably<T>(&self, work: impl FnOnce(&L) -> T) -> Result<T, ReplicaError> {
        let value = self.look(work)?;
        self.settle()?;
        Ok(value)
    }

    /// Waits until everything appended before is fsynced.
    pub(super) fn settle(&self) -> Result<(), ReplicaError> {
        let (sender, receiver) = channel();
        self.stored.barrier(Box::new(move |result| drop(sender.send(result.map(|_| ())))));
        self.wait(&receiver)
    }

    /// Changes when something that was read is served no more, or again.
    pub(super) fn edition(&self) -> u64 {
        self.stored.edition()
    }

    pub(super) fn parts(&self) -> Result<Vec<Bytes>, ReplicaError> {
        let Contents { snapshot, tail, .. } = self.stored.read().map_err(ReplicaError::read)?;
        Ok(snapshot.into_iter().chain(tail).collect())
    }

    fn lock(&self) -> Result<Guard<'_, L>, ReplicaError> {
        let Self { held, within, .. } = self;
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
    fn live(&self, held: &mut Held<L>) -> Result<L, ReplicaError> {
        if self.stored.is_deleted() {
            held.live = None;
            return Err(ReplicaError::Deleted { document: self.id().clone() });
        }
        // Before it is read, so that what changes meanwhile is seen.
        let edition = self.stored.edition();
        match held.live.take() {
            Some(live) if held.edition == edition => Ok(live),
            _ => {
                held.edition = edition;
                L::open(self.id(), &self.parts()?)
            }
        }
    }

    fn append(&self, payload: Bytes, origin: Origin, options: EditOptions) -> Result<Receipt, ReplicaError> {
        let admitted = self.space.admit(self.id(), payload.len(), origin)?;
        if origin == Origin::Local {
            self.space.touch(self.id());
        }
        let (sender, receiver) = channel();
        let changes = self.changes.clone();
        let change = Change { document: self.id().clone(), origin, update: payload.clone() };
        let hub = Arc::clone(&self.hub);
        // Called in the order of operations, so changes are in that order, too.
        let done = move |result: Result<_, AppendError>| {
            let stored = result.map(|_| {
                admitted.stored();
                hub.changed(&change.document, &change.update, change.origin, options.priority);
                changes.push(change);
            });
            // Nobody waits any more only if this thread is gone.
            let _ = sender.send(stored);
        };
        self.stored.append(L::KIND, payload, Box::new(done)).map_err(ReplicaError::not_stored)?;
        Ok(receiver)
    }

    /// Waits for the disk; what it does not take is not shown any more.
    fn wait(&self, receipt: &Receipt) -> Result<(), ReplicaError> {
        let gone = || AppendError::Journal { document: self.id().clone(), source: JournalError::Closed };
        let stored = receipt.recv().unwrap_or_else(|_| Err(gone()));
        stored.map_err(|error| {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).live = None;
            ReplicaError::not_stored(error)
        })
    }
}

type Receipt = Receiver<Result<(), AppendError>>;

/// The documents of one format that somebody holds.
pub(super) struct Opened<L>(Mutex<HashMap<DocumentId, Weak<Open<L>>>>);

impl<L> Default for Opened<L> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<L: Live> Opened<L> {
    /// The document that all who open it share. A link opens what was evicted, too, while that is fetched.
    pub(super) fn open(
        &self,
        shelves: &Shelves,
        id: &DocumentId,
        is_link: bool,
    ) -> Result<Arc<Open<L>>, ReplicaError> {
        let Shelves { store, space, .. } = shelves;
        let is_fetched = is_link && space.is_fetching(id);
        let stored = if is_fetched { store.fetch(id) } else { store.document(id) };
        let stored = stored.map_err(ReplicaError::read)?;
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = open.get(id).and_then(Weak::upgrade) {
            return Ok(document);
        }
        // Those that nobody holds go with the next that is opened, each at most once.
        if open.len() >= 64 && open.len().is_power_of_two() {
            open.retain(|_, document| document.strong_count() > 0);
        }
        let document = Arc::new(Open::new(shelves, stored));
        open.insert(id.clone(), Arc::downgrade(&document));
        Ok(document)
    }

    /// Whether somebody holds it.
    pub(super) fn is_held(&self, id: &DocumentId) -> bool {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(id).is_some_and(|document| document.strong_count() > 0)
    }
}

/// So many random bytes, for an id that nobody has used: each document takes one each time it comes into memory.
pub(super) fn random<const BYTES: usize>() -> Result<[u8; BYTES], ReplicaError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| ReplicaError::System(std::io::Error::other(error)))?;
    Ok(bytes)
}

/// Lets the engine read what others wrote. A panic is said as an error; the document that it was about is given up.
pub(super) fn on_a_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, EngineError> + Send,
    refused: impl FnOnce(EngineError) -> ReplicaError,
) -> Result<T, ReplicaError> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("replica-read".to_owned()).stack_size(STACK_BYTES);
        let thread = builder.spawn_scoped(scope, work).map_err(ReplicaError::System)?;
        let panicked =
            |_| Err(EngineError::Diverged { reason: "it panicked; what it said is on stderr".to_owned() });
        thread.join().unwrap_or_else(panicked).map_err(refused)
    })
}
