//! This replica in the archive's seat of every room.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;
use tombolo_core::clock::Observed;
use tombolo_core::dialect::y_protocols::{self, Message};
use tombolo_core::id::{DocumentId, Incarnation, ReplicaId};
use tombolo_core::operation::Stamp;
use tombolo_core::room::{Arrival, MemberId, Ticket};
use tombolo_core::update::{StateVector, Update};
use tombolo_relay::member::{
    Archive, ArchiveSeat, FeedPort, Follows, Pairwise, Pressure, RoomPort, update_weight,
};

use super::following::{self, Followers, Rooms};
use super::pairs::Pairs;
use super::work::{self, Job};
use crate::replica::error::ReplicaError;
use crate::replica::link::{Hub, LinkId, Shelves};

/// The rooms in which it sits.
pub(super) type Seats = Mutex<BTreeMap<DocumentId, Weak<Room>>>;

/// One room.
pub(super) struct Room {
    pub(super) id: DocumentId,
    pub(super) port: Arc<dyn RoomPort>,
}

/// The archive over a replica.
pub(super) struct ReplicaArchive {
    shelves: Shelves,
    link: LinkId,
    runtime: Handle,
    jobs: Mutex<Option<Sender<Job>>>,
    seats: Arc<Seats>,
    followers: Arc<Followers>,
    pressure: Arc<Pressure>,
    pairs: Arc<Pairs>,
    keeps_all: bool,
}

impl ReplicaArchive {
    /// Blocking.
    pub(super) fn start(
        shelves: Shelves,
        link: LinkId,
        runtime: Handle,
        keeps_all: bool,
    ) -> Result<Self, ReplicaError> {
        let (sender, news) = unbounded_channel();
        shelves.hub.join(link, sender.clone(), &shelves.store).map_err(ReplicaError::read)?;
        let latest = shelves.store.latest_change().map_err(ReplicaError::read)?;
        shelves.hub.begin_at(latest.number);
        let seats = Arc::new(Seats::default());
        let followers = Arc::new(Followers::new(latest.feed, sender));
        let pressure = Arc::new(Pressure::default());
        let jobs = work::start(shelves.clone(), link, Arc::clone(&pressure)).map_err(ReplicaError::System)?;
        let pairs =
            Pairs::start(shelves.clone(), link, Arc::clone(&pressure)).map_err(ReplicaError::System)?;
        let pairs = Arc::new(pairs);
        let hub = Arc::clone(&shelves.hub);
        let rooms = Rooms { link, hub, seats: Arc::clone(&seats), pairs: Arc::downgrade(&pairs) };
        runtime.spawn(following::hear(news, rooms, Arc::clone(&followers)));
        let jobs = Mutex::new(Some(jobs));
        Ok(Self { shelves, link, runtime, jobs, seats, followers, pressure, pairs, keeps_all })
    }

    /// Blocking.
    pub(super) fn stop(&self) {
        self.shelves.hub.leave(self.link);
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.pairs.stop();
    }
}

impl Archive for ReplicaArchive {
    fn open(&self, document: &DocumentId, port: Arc<dyn RoomPort>) -> Box<dyn ArchiveSeat> {
        let room = Arc::new(Room { id: document.clone(), port });
        lock(&self.seats).insert(document.clone(), Arc::downgrade(&room));
        if self.shelves.hub.presences.is_watched(document) {
            let (hub, room) = (Arc::clone(&self.shelves.hub), Arc::clone(&room));
            // Not from here: the room is not there yet.
            self.runtime.spawn(async move {
                if let Some(shown) = hub.presences.introduce(&room.id) {
                    room.port.show(shown);
                }
            });
        }
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::new(Seat {
            room,
            jobs,
            seats: Arc::clone(&self.seats),
            pressure: Arc::clone(&self.pressure),
            hub: Arc::clone(&self.shelves.hub),
            link: self.link,
        })
    }

    fn pairwise(&self) -> &dyn Pairwise {
        &*self.pairs
    }

    fn gives_up(&self) -> bool {
        !self.keeps_all
    }

    fn identity(&self) -> (ReplicaId, Incarnation) {
        let identity = self.shelves.store.identity();
        (identity.replica, identity.incarnation)
    }

    fn follow(&self, since: Bytes, port: Arc<dyn FeedPort>) -> Option<Box<dyn Follows>> {
        let (shelves, followers) = (self.shelves.clone(), Arc::clone(&self.followers));
        Some(Box::new(following::start(&self.runtime, shelves, followers, &since, port)))
    }

    fn stamp(&self) -> Option<Stamp> {
        Some(self.shelves.store.stamp())
    }

    fn observe(&self, stamp: Stamp) {
        if let Observed::Ahead { ms } = self.shelves.store.observe(stamp) {
            tracing::warn!(ms, "a replica came in whose clock is ahead; it changes nothing here");
        }
    }

    fn pressure(&self) -> &Pressure {
        &self.pressure
    }
}

/// Its place in one room.
struct Seat {
    room: Arc<Room>,
    jobs: Option<Sender<Job>>,
    seats: Arc<Seats>,
    pressure: Arc<Pressure>,
    hub: Arc<Hub>,
    link: LinkId,
}

impl ArchiveSeat for Seat {
    fn store(&self, ticket: Ticket, update: Update, _: Arrival) {
        self.pressure.add(update_weight(&update));
        self.give(Job::Store(Arc::clone(&self.room), ticket, update));
    }

    fn read(&self, asker: MemberId, have: StateVector) {
        self.give(Job::Read(Arc::clone(&self.room), asker, have));
    }

    fn shown(&self, awareness: &Bytes) {
        if self.hub.presences.is_watched(&self.room.id)
            && let Ok(Message::Awareness(update)) = y_protocols::parse(awareness)
        {
            self.hub.presences.heard(self.link, &self.room.id, update);
        }
    }
}

impl Seat {
    /// Once the replica is closed nobody is answered any more; its connections end.
    fn give(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = lock(&self.seats);
        if seats.get(&self.room.id).is_some_and(|room| std::ptr::eq(room.as_ptr(), Arc::as_ptr(&self.room))) {
            seats.remove(&self.room.id);
        }
    }
}

pub(super) fn lock(seats: &Seats) -> MutexGuard<'_, BTreeMap<DocumentId, Weak<Room>>> {
    seats.lock().unwrap_or_else(PoisonError::into_inner)
}
