//! The driver of one room: feeds the machine of core, whose effects are [carried out](super::carry).
//!
//! The machine stands behind a mutex instead of a task: each call is short and never waits, so a frame
//! reaches the members' queues without a hop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tombolo_core::id::DocumentId;
use tombolo_core::room::{MemberId, Roll, Room, StoreRefused};
use tombolo_core::time::Millis;

use super::framing::{Framing, Seat};
use super::gather::Gathered;
use super::guest::Verdict;
use super::limits::{Full, RoomLimits, Said, Toll};
use super::onlooker::{RoomStatus, Traffic};
use super::registry::Rooms;
use super::seated::Seated;
use crate::admission::Access;
use crate::cluster::Turn;
use crate::connection::queue::Awaited;
use crate::member::ArchiveSeat;
use crate::metrics::Metrics;

pub(super) struct Inner {
    pub(super) machine: Room,
    pub(super) seats: BTreeMap<MemberId, Seat>,
    /// Members without a connection, who hear one thing.
    pub(super) guests: BTreeMap<MemberId, Verdict>,
    /// Questions at the archive.
    pub(super) reads: BTreeMap<MemberId, Vec<Awaited>>,
    /// Questions of peers at the archive.
    pub(super) turns: BTreeMap<MemberId, Turn>,
    pub(super) archive: Option<Box<dyn ArchiveSeat>>,
    /// What this turn spreads.
    pub(super) gathered: Option<Box<Gathered>>,
    pub(super) traffic: Traffic,
    /// Members that are behind, and after which change of presence they were left out.
    pub(super) owing: BTreeMap<MemberId, u64>,
    /// What was handed on of the message that is being handled.
    pub(super) said: Said,
    pub(super) toll: Toll,
    /// What the others were told that there is to find here.
    roll: Roll,
    pub(super) timer: Option<Millis>,
    pub(super) gone: bool,
}

impl Inner {
    /// Tells a guest what became of its update, if it is one.
    pub(super) fn hear(&mut self, guest: MemberId, verdict: Result<(), StoreRefused>) {
        if let Some(waiting) = self.guests.remove(&guest) {
            // It may have stopped waiting.
            let _ = waiting.send(verdict);
        }
    }
}

/// One room.
pub(super) struct RoomDriver {
    number: u64,
    pub(super) document: DocumentId,
    pub(super) rooms: Weak<Rooms>,
    /// Those of all rooms. Not by way of them: that would be one more thing to touch with each message.
    pub(super) metrics: Arc<Metrics>,
    start: Instant,
    pub(super) limits: RoomLimits,
    inner: Mutex<Inner>,
}

impl RoomDriver {
    pub(super) fn new(number: u64, document: DocumentId, rooms: &Arc<Rooms>, machine: Room) -> Self {
        let roll = machine.roll();
        let (seats, guests) = (BTreeMap::new(), BTreeMap::new());
        let inner = Inner {
            machine,
            seats,
            guests,
            reads: BTreeMap::new(),
            turns: BTreeMap::new(),
            archive: None,
            gathered: None,
            traffic: Traffic::default(),
            owing: BTreeMap::new(),
            said: Said::default(),
            toll: Toll::default(),
            roll,
            timer: None,
            gone: false,
        };
        Self {
            number,
            document,
            rooms: Arc::downgrade(rooms),
            metrics: Arc::clone(&rooms.metrics),
            start: rooms.start,
            limits: rooms.limits,
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn attach(&self, archive: Box<dyn ArchiveSeat>) {
        self.lock().archive = Some(archive);
    }

    /// Takes a seat, unless the room has just vanished: then the caller opens a new one.
    pub(super) fn sit_down(
        self: &Arc<Self>,
        id: MemberId,
        seat: Seat,
        counts: bool,
        access: Access,
    ) -> Result<Option<Seated>, Full> {
        let mut inner = self.lock();
        if inner.gone {
            return Ok(None);
        }
        let members_max = self.limits.members_max;
        if inner.seats.len() >= members_max {
            drop(inner);
            // It may have been made for this one.
            self.vanish_if_empty();
            return Err(Full { members_max });
        }
        // What was said before is not for it.
        self.hand_out(&mut inner);
        let relies = matches!(seat.framing, Framing::Numbered(_));
        inner.seats.insert(id, seat);
        drop(inner);
        self.drive(|machine| {
            match access {
                Access::ReadWrite => machine.join(id, counts),
                Access::ReadOnly => machine.join_to_read(id, counts),
            }
            if relies {
                machine.rely(id);
            }
        });
        Ok(Some(Seated { room: Arc::clone(self), id }))
    }

    /// As [`RoomDriver::sit_down`], for somebody without a connection.
    pub(super) fn welcome(self: &Arc<Self>, id: MemberId, verdict: Verdict) -> Result<Seated, Verdict> {
        let mut inner = self.lock();
        if inner.gone {
            return Err(verdict);
        }
        inner.guests.insert(id, verdict);
        drop(inner);
        self.drive(|machine| machine.join(id, true));
        Ok(Seated { room: Arc::clone(self), id })
    }

    pub(super) fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under this lock would be a bug of ours; the room is then served on as it stands.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For who looks on.
    pub(super) fn status(&self) -> RoomStatus {
        let inner = self.lock();
        RoomStatus {
            number: self.number,
            document: self.document.clone(),
            members: inner.seats.len(),
            queue_bytes: inner.seats.values().map(|seat| seat.queue.bytes()).sum(),
            traffic: inner.traffic,
        }
    }

    /// The room gets more than it may: who sent the last of it is read more slowly.
    pub(super) fn hold(&self, inner: &Inner, id: MemberId, wait: Duration) {
        if let Some(seat) = inner.seats.get(&id) {
            self.metrics.slow("room_rate");
            seat.queue.hold(wait);
        }
    }

    pub(super) fn drive<T>(self: &Arc<Self>, event: impl FnOnce(&mut Room) -> T) -> T {
        self.drive_locked(&mut self.lock(), event)
    }

    pub(super) fn drive_locked<T>(
        self: &Arc<Self>,
        inner: &mut Inner,
        event: impl FnOnce(&mut Room) -> T,
    ) -> T {
        inner.said = Said::default();
        let result = event(&mut inner.machine);
        self.carry_out(inner);
        if inner.machine.is_clustered() {
            let roll = inner.machine.roll();
            if roll != std::mem::replace(&mut inner.roll, roll) {
                self.call_roll(roll);
            }
        }
        if let Some(deadline) = inner.machine.poll_timeout()
            && inner.timer.is_none_or(|armed| deadline < armed)
        {
            inner.timer = Some(deadline);
            self.arm(deadline);
        }
        result
    }

    fn arm(self: &Arc<Self>, deadline: Millis) {
        let room = Arc::downgrade(self);
        let wait = Duration::from_millis(deadline.0.saturating_sub(self.now().0));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(room) = room.upgrade() {
                room.lock().timer = None;
                let now = room.now();
                room.drive(|machine| machine.handle_timeout(now));
            }
        });
    }

    pub(super) fn answered(&self, asker: MemberId) {
        let mut inner = self.lock();
        inner.turns.remove(&asker);
        if let Some(awaited) = inner.reads.get_mut(&asker) {
            awaited.pop();
            if awaited.is_empty() {
                inner.reads.remove(&asker);
            }
        }
    }

    pub(super) fn vanish_if_empty(self: &Arc<Self>) {
        let Some(rooms) = self.rooms.upgrade() else { return };
        let mut inner = self.lock();
        if inner.seats.is_empty()
            && inner.guests.is_empty()
            && inner.reads.is_empty()
            && inner.machine.is_empty()
            && !rooms.is_wanted(&self.document)
            && !inner.gone
        {
            inner.gone = true;
            let (archive, numbered_to) = (inner.archive.take(), inner.machine.numbered_to());
            drop(inner);
            rooms.remove(&self.document, self, numbered_to);
            drop(archive);
        }
    }
}
