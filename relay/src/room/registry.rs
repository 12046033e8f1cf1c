//! Which rooms there are: made with their first member, gone with their last.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tombolo_core::id::{DocumentId, PeerId};
use tombolo_core::room::{Acknowledgement, MemberId, Room};
use tombolo_core::time::Millis;

use super::driver::RoomDriver;
use super::framing::Seat;
use super::guest::Verdict;
use super::limits::{Full, RoomLimits};
use super::port::Port;
use super::seated::Seated;
use crate::admission::Access;
use crate::cluster::Joint;
use crate::member::Archive;
use crate::metrics::Metrics;

/// All rooms of a relay.
pub(crate) struct Rooms {
    pub(super) start: Instant,
    next_member: AtomicU64,
    acknowledgement: Acknowledgement,
    archive: Option<Arc<dyn Archive>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: RoomLimits,
    pub(super) joint: Arc<Joint>,
    /// Whether a link to others is to be there.
    pub(super) joins: bool,
    rooms: Mutex<HashMap<DocumentId, Arc<RoomDriver>>>,
    /// The highest number that a room which is gone has given.
    numbered_to: AtomicU64,
}

impl Rooms {
    pub(crate) fn new(
        acknowledgement: Acknowledgement,
        archive: Option<Arc<dyn Archive>>,
        metrics: Arc<Metrics>,
        limits: RoomLimits,
        (name, joins): (PeerId, bool),
    ) -> Arc<Self> {
        Arc::new_cyclic(|rooms| Self {
            joint: Arc::new(Joint::new(name, archive.is_some(), joins, Weak::clone(rooms))),
            start: Instant::now(),
            next_member: AtomicU64::new(1),
            acknowledgement,
            archive,
            metrics,
            limits,
            joins,
            rooms: Mutex::default(),
            numbered_to: AtomicU64::new(0),
        })
    }

    /// Takes a seat in the room of `document`; `counts` if the dialect counts acknowledgements.
    ///
    /// # Errors
    /// [`Full`] if there is none left.
    pub(crate) fn join(
        self: &Arc<Self>,
        document: &DocumentId,
        seat: &Seat,
        counts: bool,
        access: Access,
    ) -> Result<Seated, Full> {
        let id = self.next_id();
        loop {
            let room = self.room(document);
            if let Some(seated) = room.sit_down(id, seat.clone(), counts, access)? {
                return Ok(seated);
            }
        }
    }

    /// Lets somebody in who has no connection.
    pub(super) fn welcome(self: &Arc<Self>, document: &DocumentId, mut verdict: Verdict) -> Seated {
        let id = self.next_id();
        loop {
            match self.room(document).welcome(id, verdict) {
                Ok(seated) => return seated,
                Err(back) => verdict = back,
            }
        }
    }

    fn next_id(&self) -> MemberId {
        MemberId(self.next_member.fetch_add(1, Ordering::Relaxed))
    }

    /// The number that the next room will have at least.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_member.load(Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Forgets `room`, which gave numbers up to this, unless another has taken its place already.
    pub(super) fn remove(&self, document: &DocumentId, room: &Arc<RoomDriver>, numbered_to: u64) {
        let mut rooms = self.lock();
        self.numbered_to.fetch_max(numbered_to, Ordering::Relaxed);
        if rooms.get(document).is_some_and(|current| Arc::ptr_eq(current, room)) {
            rooms.remove(document);
            self.joint.closed(document);
            self.metrics.rooms.dec();
        }
    }

    pub(super) fn room(self: &Arc<Self>, document: &DocumentId) -> Arc<RoomDriver> {
        let mut rooms = self.lock();
        if let Some(room) = rooms.get(document) {
            return Arc::clone(room);
        }
        let mut machine = Room::with_presence(self.acknowledgement, self.limits.presence);
        machine.number_from(self.numbered_to.load(Ordering::Relaxed));
        // Just started, it is about to join: whoever comes back at once is not told that there is nothing.
        if self.joint.is_up() || (self.joins && self.is_just_started()) {
            machine.clustered(self.calling());
        }
        let roll = machine.roll();
        let MemberId(number) = self.next_id();
        let room = Arc::new(RoomDriver::new(number, document.clone(), self, machine));
        if let Some(archive) = &self.archive {
            let port = Arc::new(Port(Arc::downgrade(&room)));
            room.attach(archive.open(document, port));
        }
        rooms.insert(document.clone(), Arc::clone(&room));
        self.metrics.rooms.inc();
        self.joint.opened(document, roll);
        room
    }

    pub(super) fn get(&self, document: &DocumentId) -> Option<Arc<RoomDriver>> {
        self.lock().get(document).cloned()
    }

    /// Whether peers have need of a room in which nobody is: it has the archive.
    pub(super) fn is_wanted(&self, document: &DocumentId) -> bool {
        self.archive.is_some() && self.joint.is_shared(document)
    }

    /// What joins them with those of other relays.
    pub(crate) fn joint(&self) -> &Arc<Joint> {
        &self.joint
    }

    /// Those that are open now.
    pub(super) fn all(&self) -> Vec<Arc<RoomDriver>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DocumentId, Arc<RoomDriver>>> {
        // Insertions and removals are single steps, so a poisoned map is whole.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
