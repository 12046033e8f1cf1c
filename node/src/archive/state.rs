//! One open Yjs document at the archive: which ranges it has, and its door to the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_core::room::{Answer, Arrival, MemberId, StoreRefused, Ticket};
use tombolo_core::update::{Coverage, StateVector, Update};
use tombolo_relay::member::{Pressure, RoomPort, update_weight};
use tombolo_store::{Document, Store};

use super::acknowledge::{Settled, Settling};
use super::cache::{At, Cache, KEEP, Parts};
use super::failed::Failed;
use super::reading::{Opened, ReadError, open, read};
use crate::refusal::refusal;

/// A request that came before the document was open.
enum Waiting {
    Store(Ticket, Update, Arrival),
    Read(MemberId, StateVector),
}

enum State {
    /// Not asked for yet, it did not open the last time, or it is to be read again.
    Closed,
    Opening(Vec<Waiting>),
    Open {
        document: Document,
        coverage: Coverage,
        cache: Cache,
    },
}

impl State {
    /// Whether somebody who has nothing of the document waits until it is open.
    fn is_wanted(&self) -> bool {
        let Self::Opening(waiting) = self else { return false };
        waiting.iter().any(|request| matches!(request, Waiting::Read(_, have) if have.is_empty()))
    }

    /// Whether the document is open and serves something else now than what was read of it and appended since.
    fn is_outdated(&self) -> bool {
        matches!(self, Self::Open { document, cache, .. } if document.edition() != cache.edition())
    }

    fn cache(&mut self) -> Option<&mut Cache> {
        match self {
            Self::Open { cache, .. } => Some(cache),
            Self::Closed | Self::Opening(_) => None,
        }
    }
}

/// An open document that is going to be read.
struct Reading {
    document: Document,
    /// What was read of it before, if that is still all there is.
    parts: Option<Arc<Parts>>,
    at: At,
}

/// What every open document shares.
pub(super) struct Common {
    pub(super) store: Store,
    pub(super) pressure: Arc<Pressure>,
    pub(super) settling: Settling,
    pub(super) runtime: tokio::runtime::Handle,
    /// Who may read a document from the disk now; the others wait without a thread.
    pub(super) reading: Arc<Semaphore>,
    /// Documents that did not validate.
    pub(super) failed: Mutex<Failed>,
}

/// Documents that are read from the disk at the same time.
pub(super) const READING_MAX: usize = 8;

impl Common {
    pub(super) fn failed(&self) -> MutexGuard<'_, Failed> {
        // Each change under this lock is a single step, so a poisoned state is whole.
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what waits for the disk on a thread of its own, when it is its turn. If it panics `lost` is called, so
    /// that nobody waits for ever.
    pub(super) fn read_later(
        &self,
        work: impl FnOnce() + Send + 'static,
        lost: impl FnOnce() + Send + 'static,
    ) {
        self.runtime.spawn(in_turn(Arc::clone(&self.reading), work, lost));
    }
}

async fn in_turn(
    reading: Arc<Semaphore>,
    work: impl FnOnce() + Send + 'static,
    lost: impl FnOnce() + Send + 'static,
) {
    // The semaphore is never closed.
    let _turn = reading.acquire_owned().await;
    if tokio::task::spawn_blocking(work).await.is_err() {
        tracing::error!("reading a document panicked; who waited for it is refused");
        lost();
    }
}

/// One open document.
pub(super) struct OpenDocument {
    id: DocumentId,
    room: Arc<dyn RoomPort>,
    common: Arc<Common>,
    state: Mutex<State>,
}

impl OpenDocument {
    /// Reads nothing until it is asked to store or to read; requests wait until that is done.
    pub(super) fn new(id: DocumentId, room: Arc<dyn RoomPort>, common: &Arc<Common>) -> Arc<Self> {
        Arc::new(Self { id, room, common: Arc::clone(common), state: Mutex::new(State::Closed) })
    }

    /// Appends an update; the room hears of it when it is durable.
    pub(super) fn store(self: &Arc<Self>, ticket: Ticket, update: Update, arrival: Arrival) {
        self.common.pressure.add(update_weight(&update));
        let mut state = self.lock_renewed();
        match &mut *state {
            State::Closed => self.start_loading(&mut state, vec![Waiting::Store(ticket, update, arrival)]),
            State::Opening(waiting) => waiting.push(Waiting::Store(ticket, update, arrival)),
            State::Open { document, coverage, cache } => {
                if self.append(document, coverage, ticket, &update, arrival) {
                    cache.changed();
                }
            }
        }
    }

    /// Reads what an asker lacks, on a thread that may wait for the disk.
    pub(super) fn read(self: &Arc<Self>, asker: MemberId, state_vector: StateVector) {
        let mut state = self.lock_renewed();
        match &mut *state {
            State::Closed => self.start_loading(&mut state, vec![Waiting::Read(asker, state_vector)]),
            State::Opening(waiting) => waiting.push(Waiting::Read(asker, state_vector)),
            State::Open { document, coverage, cache } => {
                if let Some(deletes) = coverage.deletes_if_all_is_in(&state_vector) {
                    let (room, answer) =
                        (Arc::clone(&self.room), answer_of(deletes, coverage.state_vector()));
                    drop(state);
                    // Not from here: the room that asks is not done yet.
                    self.common.runtime.spawn(async move { room.answered(asker, Ok(answer)) });
                    return;
                }
                let reading = Reading { document: document.clone(), parts: cache.get(), at: cache.state() };
                drop(state);
                self.read_open(asker, state_vector, reading);
            }
        }
    }

    fn read_open(self: &Arc<Self>, asker: MemberId, have: StateVector, reading: Reading) {
        let (this, room) = (Arc::clone(self), Arc::clone(&self.room));
        let Reading { document, parts, at } = reading;
        match parts {
            // Not from here: the room that asks is not done yet.
            Some(parts) if parts.is_ready_for(&have) => {
                self.common.runtime.spawn(async move { this.answer(asker, &have, Ok(&parts)) });
            }
            parts => self.common.read_later(
                // Somebody may have read it while this one waited for its turn.
                move || match parts
                    .or_else(|| this.kept(at))
                    .map_or_else(|| read(&this.common, &document), Ok)
                {
                    Ok(parts) => {
                        this.keep(at, &parts);
                        this.answer(asker, &have, Ok(&parts));
                    }
                    Err(error) => this.answer(asker, &have, Err(&error)),
                },
                move || room.answered(asker, Err(StoreRefused::Trouble)),
            ),
        }
    }

    /// What somebody else has read of this state.
    fn kept(&self, at: At) -> Option<Arc<Parts>> {
        self.lock().cache().filter(|cache| cache.state() == at)?.get()
    }

    /// Keeps what was read for those who come next.
    fn keep(self: &Arc<Self>, at: At, parts: &Arc<Parts>) {
        if !self.lock().cache().is_some_and(|cache| cache.keep(at, parts)) {
            return;
        }
        let (this, edition) = (Arc::downgrade(self), at.edition());
        self.common.runtime.spawn(async move {
            loop {
                tokio::time::sleep(KEEP).await;
                let Some(this) = this.upgrade() else { return };
                if !this.lock().cache().is_some_and(|cache| cache.age(edition)) {
                    return;
                }
            }
        });
    }

    fn start_loading(self: &Arc<Self>, state: &mut State, waiting: Vec<Waiting>) {
        *state = State::Opening(waiting);
        let (this, lost) = (Arc::clone(self), Arc::clone(self));
        self.common.read_later(move || this.load(), move || lost.not_loaded(StoreRefused::Trouble));
    }

    fn load(self: &Arc<Self>) {
        let is_wanted = self.lock().is_wanted();
        match open(&self.common, &self.id, is_wanted) {
            Ok(opened) => self.loaded(opened),
            Err(error) => {
                self.tell_failure(&error, "cannot open the document");
                self.not_loaded(error.refusal());
            }
        }
    }

    fn loaded(self: &Arc<Self>, opened: Opened) {
        let Opened { document, edition, mut coverage, parts } = opened;
        let mut state = self.lock();
        let State::Opening(waiting) = std::mem::replace(&mut *state, State::Closed) else { return };
        let (mut reads, mut has_changed) = (Vec::new(), false);
        // Updates in their order under the lock, so that none overtakes those that waited.
        for request in waiting {
            match request {
                Waiting::Store(ticket, update, arrival) => {
                    has_changed |= self.append(&document, &mut coverage, ticket, &update, arrival);
                }
                Waiting::Read(asker, state_vector) => reads.push((asker, state_vector)),
            }
        }
        let have = coverage.state_vector();
        if document.is_deleted() {
            // While it was being read: nobody is to find it open, or to be told that what it had is saved.
            drop(state);
            self.room.answered(MemberId(u64::MAX), Err(StoreRefused::Deleted));
            return;
        }
        let mut lacking = Vec::new();
        let mut ready = Vec::new();
        for (asker, state_vector) in reads {
            match coverage.deletes_if_all_is_in(&state_vector) {
                Some(deletes) => ready.push((asker, answer_of(deletes, have.clone()))),
                None => lacking.push((asker, state_vector)),
            }
        }
        let cache = Cache::new(edition);
        let at = cache.state();
        *state = State::Open { document: document.clone(), coverage, cache };
        drop(state);
        for (asker, answer) in ready {
            self.room.answered(asker, Ok(answer));
        }
        // What was read before an update was taken lacks it.
        let parts = parts.filter(|_| !has_changed);
        if parts.is_none() && lacking.is_empty() {
            return;
        }
        let parts = parts.map_or_else(|| read(&self.common, &document), Ok);
        if let Ok(parts) = &parts {
            self.keep(at, parts);
        }
        for (asker, state_vector) in lacking {
            self.answer(asker, &state_vector, parts.as_deref());
        }
    }

    /// Whoever waits is refused, and comes back later: then it is tried again.
    fn not_loaded(&self, reason: StoreRefused) {
        let State::Opening(waiting) = std::mem::replace(&mut *self.lock(), State::Closed) else { return };
        for request in waiting {
            match request {
                Waiting::Store(ticket, update, _) => self.settle(ticket, &update).tell(Err(reason)),
                Waiting::Read(asker, _) => self.room.answered(asker, Err(reason)),
            }
        }
    }

    /// It was deleted: everybody in the room is told.
    pub(super) fn deleted(&self) {
        let mut state = self.lock();
        // One that is being opened finds out by itself.
        if matches!(&*state, State::Open { .. }) {
            *state = State::Closed;
        }
        drop(state);
        // Nobody asked, so nobody has this number; a deletion is for all.
        self.room.answered(MemberId(u64::MAX), Err(StoreRefused::Deleted));
    }

    /// Something of it that was in quarantine is served again: everybody in the room is sent it.
    pub(super) fn released(&self, update: Update) {
        self.room.released(update);
    }

    /// What the document holds now, and its door; none while it is not open.
    pub(super) fn current(&self) -> Option<(Document, Vec<u8>)> {
        match &*self.lock_renewed() {
            State::Open { document, coverage, .. } => Some((document.clone(), coverage.encode_snapshot())),
            State::Closed | State::Opening(_) => None,
        }
    }

    fn answer(&self, asker: MemberId, have: &StateVector, parts: Result<&Parts, &ReadError>) {
        let result = match parts {
            Ok(parts) => parts.answer(have),
            Err(error) => {
                self.tell_failure(error, "cannot read the document");
                Err(error.refusal())
            }
        };
        self.room.answered(asker, result);
    }

    /// What nobody can help in the house is no error of it.
    fn tell_failure(&self, error: &ReadError, what: &str) {
        if error.refusal().is_permanent() {
            tracing::debug!(document = %self.id, %error, "{what}");
        } else {
            tracing::error!(document = %self.id, %error, "{what}");
        }
    }

    fn settle(&self, ticket: Ticket, update: &Update) -> Settle {
        let (room, common) = (Arc::clone(&self.room), Arc::clone(&self.common));
        Settle { room, common, ticket, weight: update_weight(update) }
    }

    /// True if the document has changed by it.
    fn append(
        &self,
        document: &Document,
        coverage: &mut Coverage,
        ticket: Ticket,
        update: &Update,
        arrival: Arrival,
    ) -> bool {
        let settle = self.settle(ticket, update);
        let (id, later) = (self.id.clone(), settle.clone());
        let done: tombolo_store::Done = Box::new(move |result| {
            if let Err(error) = &result {
                tracing::error!(document = %id, %error, "an update was not stored");
            }
            later.tell(result.map(|_| ()).map_err(|error| refusal(&error)));
        });
        if update.is_empty() || (arrival == Arrival::Content && coverage.covers(update)) {
            // Nothing new: acknowledged once everything before it is durable.
            document.barrier(done);
            return false;
        }
        match document.append(Kind::YjsUpdate, update.bytes().clone(), done) {
            // Only now: what was refused must be news when it comes again.
            Ok(_) => {
                coverage.add(update);
                true
            }
            Err(error) => {
                tracing::warn!(document = %self.id, %error, "an update was refused");
                settle.tell(Err(refusal(&error)));
                false
            }
        }
    }

    /// The state, closed if the document has to be read again because something of it was set aside or released.
    fn lock_renewed(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if state.is_outdated() {
            *state = State::Closed;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer_of(update: Vec<u8>, state_vector: StateVector) -> Answer {
    Answer { update: update.into(), state_vector }
}

/// Who hears what became of an update.
#[derive(Clone)]
struct Settle {
    room: Arc<dyn RoomPort>,
    common: Arc<Common>,
    ticket: Ticket,
    weight: usize,
}

impl Settle {
    fn tell(self, result: Result<(), StoreRefused>) {
        self.common.pressure.remove(self.weight);
        // The task outlives every sender, so this fails only when the process ends.
        let _ = self.common.settling.send(Settled { room: self.room, ticket: self.ticket, result });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_gives_its_turn_back() {
        let reading = Arc::new(Semaphore::new(1));
        let lost = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let lost = Arc::clone(&lost);
            let told = move || {
                lost.fetch_add(1, Ordering::Relaxed);
            };
            in_turn(Arc::clone(&reading), || panic!("as a mistake of ours would"), told).await;
        }
        in_turn(Arc::clone(&reading), || (), || unreachable!("nothing was lost")).await;
        assert_eq!((lost.load(Ordering::Relaxed), reading.available_permits()), (3, 1));
    }
}
