//! The driver of one document's members, and which documents there are: made with their first member, gone with their
//! last.
//!
//! As rooms, each machine stands behind a mutex of its own; a message reaches the members' queues without a hop.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tombolo_core::id::DocumentId;
use tombolo_core::pairs::{Effect, Pairs};
use tombolo_core::room::MemberId;
use tombolo_core::time::Millis;

use super::ear::{Cause, Ear};
use crate::room::limits::{RoomLimits, Toll};

/// All Automerge documents that somebody has open.
#[derive(Debug)]
pub(crate) struct PairRooms {
    start: Instant,
    /// The last time that was said, in ms since 1970: clients ignore what is not newer.
    clock: AtomicU64,
    next: AtomicU64,
    /// The archive's storage id, if there is an archive.
    home: Option<String>,
    paired_max: usize,
    limits: RoomLimits,
    documents: Mutex<HashMap<DocumentId, Arc<PairRoom>>>,
}

#[derive(Debug)]
struct Inner {
    machine: Pairs,
    ears: BTreeMap<MemberId, Arc<Ear>>,
    /// Whether anybody ever wanted to hear of heads.
    subscribed: bool,
    toll: Toll,
    timer: Option<Millis>,
    gone: bool,
}

/// One document's members.
#[derive(Debug)]
pub(super) struct PairRoom {
    document: DocumentId,
    rooms: Arc<PairRooms>,
    inner: Mutex<Inner>,
}

impl PairRooms {
    /// Where there is an archive, with this storage id, nobody is paired; else at most so many.
    pub(crate) fn new(home: Option<String>, paired_max: usize, limits: RoomLimits) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            clock: AtomicU64::new(0),
            next: AtomicU64::new(1),
            home,
            paired_max,
            limits,
            documents: Mutex::default(),
        })
    }

    pub(super) fn next_id(&self) -> MemberId {
        MemberId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The time of day in ms since 1970, later each time that it is asked for.
    pub(crate) fn time(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let now = u64::try_from(now).unwrap_or(0);
        let later = |last: u64| Some(now.max(last + 1));
        self.clock
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later)
            .map_or(now, |last| now.max(last + 1))
    }

    /// Takes a member in.
    pub(super) fn enter(
        self: &Arc<Self>,
        document: &DocumentId,
        id: MemberId,
        ear: &Arc<Ear>,
    ) -> Arc<PairRoom> {
        loop {
            let room = Arc::clone(
                self.lock().entry(document.clone()).or_insert_with(|| PairRoom::new(document, self)),
            );
            if room.enter(id, ear) {
                return room;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DocumentId, Arc<PairRoom>>> {
        // Insertions and removals are single steps, so a poisoned map is whole.
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PairRoom {
    fn new(document: &DocumentId, rooms: &Arc<PairRooms>) -> Arc<Self> {
        let machine = match &rooms.home {
            Some(home) => Pairs::at_an_archive(home),
            None => Pairs::new(rooms.paired_max),
        };
        let (ears, toll) = (BTreeMap::new(), Toll::default());
        let inner = Inner { machine, ears, subscribed: false, toll, timer: None, gone: false };
        let (document, rooms) = (document.clone(), Arc::clone(rooms));
        Arc::new(Self { document, rooms, inner: Mutex::new(inner) })
    }

    /// False if it has just vanished: then the caller opens a new one.
    fn enter(self: &Arc<Self>, id: MemberId, ear: &Arc<Ear>) -> bool {
        let mut inner = self.lock();
        if inner.gone {
            return false;
        }
        inner.machine.enter(id, ear.storage.as_deref());
        if inner.subscribed {
            inner.ears.values().for_each(|other| ear.ask_for(other));
        }
        inner.ears.insert(id, Arc::clone(ear));
        drop(inner);
        if ear.subscriptions().iter().next().is_some() {
            self.subscribed(id, ear, |_| true);
        }
        true
    }

    /// One of them has subscribed to storages, of which some are new to it.
    pub(super) fn subscribed(self: &Arc<Self>, id: MemberId, ear: &Ear, is_new: impl Fn(&str) -> bool) {
        {
            let mut inner = self.lock();
            inner.subscribed = true;
            inner.ears.iter().filter(|(other, _)| **other != id).for_each(|(_, other)| other.ask_for(ear));
        }
        self.drive(|_, machine| machine.subscribed(id, is_new));
    }

    pub(super) fn leave(self: &Arc<Self>, id: MemberId) {
        // First the ear: what its leaving causes is for the others.
        self.lock().ears.remove(&id);
        self.drive(|now, machine| machine.leave(now, id));
        let mut inner = self.lock();
        if inner.machine.is_empty() && !inner.gone {
            inner.gone = true;
            drop(inner);
            self.rooms.lock().remove(&self.document);
        }
    }

    /// One more message of a member. Returns how long it has to wait.
    pub(super) fn count(&self, bytes: usize) -> Option<Duration> {
        self.lock().toll.count(bytes, &self.rooms.limits)
    }

    /// An event for the machine, and what follows from it.
    pub(super) fn drive(self: &Arc<Self>, event: impl FnOnce(Millis, &mut Pairs)) {
        let mut inner = self.lock();
        event(self.rooms.now(), &mut inner.machine);
        self.carry_out(&mut inner);
        if let Some(deadline) = inner.machine.poll_timeout()
            && inner.timer.is_none_or(|armed| deadline < armed)
        {
            inner.timer = Some(deadline);
            self.arm(deadline);
        }
    }

    fn carry_out(&self, inner: &mut Inner) {
        let cause = |asked_for: bool| if asked_for { Cause::Itself } else { Cause::Others };
        while let Some(effect) = inner.machine.poll_effect() {
            match effect {
                Effect::Sync { to, slot, data, asked_for } => {
                    if let Some(ear) = inner.ears.get(&to) {
                        ear.sync(&self.document, slot, data, cause(asked_for));
                    }
                }
                Effect::Unavailable { to, slot, asked_for } => {
                    if let Some(ear) = inner.ears.get(&to) {
                        ear.unavailable(&self.document, slot, cause(asked_for));
                    }
                }
                Effect::Say { to, from, count, session, data } => {
                    if let (Some(ear), Some(from)) = (inner.ears.get(&to), inner.ears.get(&from)) {
                        ear.say(&self.document, from, count, &session, data);
                    }
                }
                Effect::Heads { to, storage, heads, at } => {
                    if let Some(ear) = inner.ears.get(&to).filter(|ear| ear.wants(&storage)) {
                        let at = at.unwrap_or_else(|| self.rooms.time());
                        ear.heads(&self.document, &storage, &heads, at);
                    }
                }
            }
        }
    }

    fn arm(self: &Arc<Self>, deadline: Millis) {
        let room = Arc::downgrade(self);
        let wait = Duration::from_millis(deadline.0.saturating_sub(self.rooms.now().0));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(room) = room.upgrade() {
                room.lock().timer = None;
                room.drive(|now, machine| machine.handle_timeout(now));
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under this lock would be a bug of ours; the members are then served on as they stand.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
