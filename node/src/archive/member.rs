//! How the store takes its seat in every room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tombolo_core::clock::Observed;
use tombolo_core::id::{DocumentId, Incarnation, ReplicaId, Seq};
use tombolo_core::operation::Stamp;
use tombolo_core::room::{Arrival, MemberId, Ticket};
use tombolo_core::update::{StateVector, Update};
use tombolo_relay::member::{Archive, ArchiveSeat, FeedPort, Follows, Pairwise, Pressure, RoomPort};
use tombolo_store::{Release, Store, StoreError, worker::Worker};

use super::acknowledge;
use super::automerge::AutomergeEnd;
use super::following;
use super::reading::stored_snapshot;
use super::state::{Common, OpenDocument, READING_MAX};

type Opened = Mutex<HashMap<DocumentId, Weak<OpenDocument>>>;

/// The archive over a store.
pub struct StoreArchive {
    common: Arc<Common>,
    opened: Arc<Opened>,
    pairwise: AutomergeEnd,
}

impl StoreArchive {
    /// Starts on the current tokio runtime.
    ///
    /// # Errors
    /// What the system says if it refuses the thread for pairwise sessions.
    pub fn start(store: Store, worker: &Arc<dyn Worker>) -> std::io::Result<Self> {
        let pressure = Arc::new(Pressure::default());
        let pairwise = AutomergeEnd::start(&store, worker, Arc::clone(&pressure))?;
        let settling = acknowledge::start();
        let runtime = tokio::runtime::Handle::current();
        let reading = Arc::new(Semaphore::new(READING_MAX));
        let failed = Mutex::default();
        let common = Arc::new(Common { store, pressure, settling, runtime, reading, failed });
        Ok(Self { common, opened: Arc::default(), pairwise })
    }

    /// What is durable of a Yjs document, as an encoded Yjs snapshot; answers only after the fsync that covers
    /// all of it. None if it cannot be read or is not being stored.
    pub async fn durable_snapshot(&self, id: &DocumentId) -> Option<Vec<u8>> {
        let (document, snapshot) = match self.open_document(id).and_then(|open| open.current()) {
            Some(current) => current,
            None => {
                let (common, id) = (Arc::clone(&self.common), id.clone());
                let (sender, receiver) = tokio::sync::oneshot::channel();
                // After a panic the sender is gone, and that is the answer.
                self.common.read_later(move || drop(sender.send(stored_snapshot(&common, &id))), || ());
                receiver.await.ok()?.ok()?
            }
        };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        document.barrier(Box::new(move |result| {
            // Nobody waits any more if the request was dropped.
            let _ = sender.send(result.is_ok());
        }));
        receiver.await.ok()?.then_some(snapshot)
    }
}

impl StoreArchive {
    /// Deletes a document and tells everybody who has it open. False if there is none of that name. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read or the deletion not stored; then it is as before.
    pub fn remove(&self, id: &DocumentId) -> Result<bool, StoreError> {
        let removed = self.common.store.remove(id)?;
        if removed {
            self.pairwise.deleted(id);
            if let Some(open) = self.open_document(id) {
                open.deleted();
            }
        }
        Ok(removed)
    }

    /// Puts an operation in quarantine back into its document, or gives its payload up. What comes back reaches
    /// everybody who has the document open. False if there is none of that name. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] if the shelf cannot be read or written.
    pub fn release(
        &self,
        id: &DocumentId,
        name: (ReplicaId, Seq),
        release: Release,
    ) -> Result<bool, StoreError> {
        let store = &self.common.store;
        let aside = if release == Release::Retry { store.set_aside(id, name)? } else { None };
        let released = store.release(id, name, release)?;
        let Some(aside) = aside.filter(|_| released) else { return Ok(released) };
        self.pairwise.released(id);
        // One that does not validate is nobody's to have.
        if let (Some(open), Ok(update)) = (self.open_document(id), Update::parse(aside.operation.payload)) {
            open.released(update);
        }
        Ok(released)
    }

    fn open_document(&self, id: &DocumentId) -> Option<Arc<OpenDocument>> {
        lock(&self.opened).get(id).and_then(Weak::upgrade)
    }
}

impl Archive for StoreArchive {
    fn open(&self, document: &DocumentId, room: Arc<dyn RoomPort>) -> Box<dyn ArchiveSeat> {
        let open = OpenDocument::new(document.clone(), room, &self.common);
        lock(&self.opened).insert(document.clone(), Arc::downgrade(&open));
        Box::new(Seat { id: document.clone(), open, opened: Arc::clone(&self.opened) })
    }

    fn pairwise(&self) -> &dyn Pairwise {
        &self.pairwise
    }

    fn identity(&self) -> (ReplicaId, Incarnation) {
        let identity = self.common.store.identity();
        (identity.replica, identity.incarnation)
    }

    fn follow(&self, since: Bytes, port: Arc<dyn FeedPort>) -> Option<Box<dyn Follows>> {
        Some(Box::new(following::start(&self.common, &since, port)))
    }

    fn stamp(&self) -> Option<Stamp> {
        Some(self.common.store.stamp())
    }

    fn observe(&self, stamp: Stamp) {
        if let Observed::Ahead { ms } = self.common.store.observe(stamp) {
            tracing::warn!(ms, "a replica came in whose clock is ahead; it changes nothing here");
        }
    }

    fn pressure(&self) -> &Pressure {
        &self.common.pressure
    }
}

struct Seat {
    id: DocumentId,
    open: Arc<OpenDocument>,
    opened: Arc<Opened>,
}

impl ArchiveSeat for Seat {
    fn store(&self, ticket: Ticket, update: Update, arrival: Arrival) {
        self.open.store(ticket, update, arrival);
    }

    fn read(&self, asker: MemberId, state_vector: StateVector) {
        self.open.read(asker, state_vector);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut opened = lock(&self.opened);
        if opened.get(&self.id).is_some_and(|open| std::ptr::eq(open.as_ptr(), Arc::as_ptr(&self.open))) {
            opened.remove(&self.id);
        }
    }
}

fn lock(opened: &Opened) -> MutexGuard<'_, HashMap<DocumentId, Weak<OpenDocument>>> {
    opened.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
