//! One open Yjs document at the archive: which ranges it has, and its door to the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_core::room::{Answer, MemberId, StoreRefused, Ticket};
use tombolo_core::update::{self, Coverage, StateVector, Update};
use tombolo_relay::member::{Pressure, RoomPort};
use tombolo_store::{Contents, Document, Store, StoreError};

use super::acknowledge::{Settled, Settling};

/// A request that came before the document was open.
enum Waiting {
    Store(Ticket, Update),
    Read(MemberId, StateVector),
}

enum State {
    /// Not asked for yet, or it did not open the last time.
    Closed,
    Opening(Vec<Waiting>),
    Open {
        document: Document,
        coverage: Coverage,
    },
}

/// What every open document shares.
pub(super) struct Common {
    pub(super) store: Store,
    pub(super) pressure: Arc<Pressure>,
    pub(super) settling: Settling,
    pub(super) runtime: tokio::runtime::Handle,
}

/// One open document.
pub(super) struct OpenDocument {
    id: DocumentId,
    room: Arc<dyn RoomPort>,
    common: Arc<Common>,
    state: Mutex<State>,
}

impl OpenDocument {
    /// Starts to open; requests wait until it is done.
    pub(super) fn open(id: DocumentId, room: Arc<dyn RoomPort>, common: &Arc<Common>) -> Arc<Self> {
        let this = Arc::new(Self { id, room, common: Arc::clone(common), state: Mutex::new(State::Closed) });
        this.start_loading(&mut this.lock(), Vec::new());
        this
    }

    /// Appends an update; the room hears of it when it is durable.
    pub(super) fn store(self: &Arc<Self>, ticket: Ticket, update: Update) {
        self.common.pressure.add(update.bytes().len());
        let mut state = self.lock();
        match &mut *state {
            State::Closed => self.start_loading(&mut state, vec![Waiting::Store(ticket, update)]),
            State::Opening(waiting) => waiting.push(Waiting::Store(ticket, update)),
            State::Open { document, coverage } => self.append(document, coverage, ticket, &update),
        }
    }

    /// Reads what an asker lacks, on a thread that may wait for the disk.
    pub(super) fn read(self: &Arc<Self>, asker: MemberId, state_vector: StateVector) {
        let mut state = self.lock();
        match &mut *state {
            State::Closed => self.start_loading(&mut state, vec![Waiting::Read(asker, state_vector)]),
            State::Opening(waiting) => waiting.push(Waiting::Read(asker, state_vector)),
            State::Open { document, coverage } => {
                let (document, have) = (document.clone(), coverage.state_vector());
                let this = Arc::clone(self);
                let runtime = &self.common.runtime;
                runtime.spawn_blocking(move || this.answer(asker, &state_vector, &document, have));
            }
        }
    }

    fn start_loading(self: &Arc<Self>, state: &mut State, waiting: Vec<Waiting>) {
        *state = State::Opening(waiting);
        let this = Arc::clone(self);
        self.common.runtime.spawn_blocking(move || this.load());
    }

    fn load(self: &Arc<Self>) {
        let opened = self.common.store.document(&self.id);
        match opened.and_then(|document| coverage_of(&document).map(|coverage| (document, coverage))) {
            Ok((document, coverage)) => self.loaded(document, coverage),
            Err(error) => {
                tracing::error!(document = %self.id, %error, "cannot open the document");
                self.not_loaded();
            }
        }
    }

    fn loaded(self: &Arc<Self>, document: Document, mut coverage: Coverage) {
        let mut state = self.lock();
        let State::Opening(waiting) = std::mem::replace(&mut *state, State::Closed) else { return };
        let mut reads = Vec::new();
        // Updates in their order under the lock, so that none overtakes those that waited.
        for request in waiting {
            match request {
                Waiting::Store(ticket, update) => self.append(&document, &mut coverage, ticket, &update),
                Waiting::Read(asker, state_vector) => reads.push((asker, state_vector)),
            }
        }
        *state = State::Open { document, coverage };
        drop(state);
        for (asker, state_vector) in reads {
            self.read(asker, state_vector);
        }
    }

    /// Whoever waits is refused, and comes back later: then it is tried again.
    fn not_loaded(&self) {
        let State::Opening(waiting) = std::mem::replace(&mut *self.lock(), State::Closed) else { return };
        for request in waiting {
            match request {
                Waiting::Store(ticket, update) => self.settle(ticket, &update).tell(Err(StoreRefused)),
                Waiting::Read(asker, _) => self.room.answered(asker, Err(StoreRefused)),
            }
        }
    }

    /// What the document holds now, and its door; none while it opens or after it failed.
    pub(super) fn current(&self) -> Option<(Document, Vec<u8>)> {
        match &*self.lock() {
            State::Open { document, coverage } => Some((document.clone(), coverage.encode_snapshot())),
            State::Closed | State::Opening(_) => None,
        }
    }

    fn answer(&self, asker: MemberId, state_vector: &StateVector, document: &Document, have: StateVector) {
        let result = match document.read() {
            Ok(contents) => {
                let parts = parts(&contents);
                let update = if state_vector.is_empty() {
                    update::merge(&parts)
                } else {
                    update::diff(&parts, state_vector)
                };
                Ok(Answer { update, state_vector: have })
            }
            Err(error) => {
                tracing::error!(document = %self.id, %error, "cannot read the document");
                Err(StoreRefused)
            }
        };
        self.room.answered(asker, result);
    }

    fn settle(&self, ticket: Ticket, update: &Update) -> Settle {
        let (room, common) = (Arc::clone(&self.room), Arc::clone(&self.common));
        Settle { room, common, ticket, bytes: update.bytes().len() }
    }

    fn append(&self, document: &Document, coverage: &mut Coverage, ticket: Ticket, update: &Update) {
        let settle = self.settle(ticket, update);
        let (id, later) = (self.id.clone(), settle.clone());
        let done: tombolo_store::Done = Box::new(move |result| {
            if let Err(error) = &result {
                tracing::error!(document = %id, %error, "an update was not stored");
            }
            later.tell(result.map(|_| ()).map_err(|_| StoreRefused));
        });
        if coverage.covers(update) {
            // Known already: acknowledged once everything before it is durable.
            document.barrier(done);
            return;
        }
        match document.append(Kind::YjsUpdate, update.bytes().clone(), done) {
            // Only now: what was refused must be news when it comes again.
            Ok(_) => {
                coverage.add(update);
            }
            Err(error) => {
                tracing::warn!(document = %self.id, %error, "an update was refused");
                settle.tell(Err(StoreRefused));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who hears what became of an update.
#[derive(Clone)]
struct Settle {
    room: Arc<dyn RoomPort>,
    common: Arc<Common>,
    ticket: Ticket,
    bytes: usize,
}

impl Settle {
    fn tell(self, result: Result<(), StoreRefused>) {
        self.common.pressure.remove(self.bytes);
        // The task outlives every sender, so this fails only when the process ends.
        let _ = self.common.settling.send(Settled { room: self.room, ticket: self.ticket, result });
    }
}

/// The validated parts of a stored document; what does not validate is named and left out.
fn parts(contents: &Contents) -> Vec<Update> {
    let bytes = contents.snapshot.iter().chain(&contents.tail);
    bytes.filter_map(|part| parse(part.clone())).collect()
}

fn parse(part: Bytes) -> Option<Update> {
    let len = part.len();
    match Update::parse(part) {
        Ok(update) => Some(update),
        Err(error) => {
            tracing::error!(len, %error, "a stored update does not validate and is not served");
            None
        }
    }
}

/// What a document holds, as an encoded Yjs snapshot, and its door. Blocking.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub(super) fn stored_snapshot(store: &Store, id: &DocumentId) -> Result<(Document, Vec<u8>), StoreError> {
    let document = store.document(id)?;
    let coverage = coverage_of(&document)?;
    Ok((document, coverage.encode_snapshot()))
}

fn coverage_of(document: &Document) -> Result<Coverage, StoreError> {
    let mut coverage = Coverage::default();
    for part in parts(&document.read()?) {
        coverage.add(&part);
    }
    Ok(coverage)
}
