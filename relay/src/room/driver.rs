//! The driver of one room: feeds the machine of core and carries out its effects.
//!
//! The machine stands behind a mutex instead of a task: each call is short and never waits, so a frame
//! reaches the members' queues without a hop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tombolo_core::dialect::hocuspocus;
use tombolo_core::dialect::y_protocols::{self, Message};
use tombolo_core::id::DocumentId;
use tombolo_core::room::{Answer, Effect, MemberId, Room, StoreRefused, Ticket, Violation};
use tombolo_core::time::Millis;
use tombolo_core::update::Update;

use super::farewell::{self, Ends};
use super::framing::{Framing, PerFraming, Seat};
use super::gather::Gathered;
use super::guest::Verdict;
use super::limits::{Full, RoomLimits, Said, Toll};
use super::onlooker::{RoomStatus, Traffic};
use super::registry::Rooms;
use super::turn;
use crate::connection::frame;
use crate::connection::queue::{Awaited, Way};
use crate::member::{ArchiveSeat, RoomPort};
use crate::metrics::Metrics;

struct Inner {
    machine: Room,
    seats: BTreeMap<MemberId, Seat>,
    /// Members without a connection, who hear one thing.
    guests: BTreeMap<MemberId, Verdict>,
    /// Questions at the archive.
    reads: BTreeMap<MemberId, Vec<Awaited>>,
    archive: Option<Box<dyn ArchiveSeat>>,
    /// What this turn spreads.
    gathered: Gathered,
    traffic: Traffic,
    /// Members that are behind, and after which change of presence they were left out.
    owing: BTreeMap<MemberId, u64>,
    /// What was handed on of the message that is being handled.
    said: Said,
    toll: Toll,
    timer: Option<Millis>,
    gone: bool,
}

impl Inner {
    /// Tells a guest what became of its update, if it is one.
    fn hear(&mut self, guest: MemberId, verdict: Result<(), StoreRefused>) {
        if let Some(waiting) = self.guests.remove(&guest) {
            // It may have stopped waiting.
            let _ = waiting.send(verdict);
        }
    }
}

/// One room.
pub(super) struct RoomDriver {
    number: u64,
    document: DocumentId,
    rooms: Weak<Rooms>,
    limits: RoomLimits,
    inner: Mutex<Inner>,
}

/// A taken seat; dropping it leaves the room.
pub(crate) struct Seated {
    room: Arc<RoomDriver>,
    id: MemberId,
}

impl Seated {
    /// A validated message of this member, and how many bytes it came in.
    pub(crate) fn handle(&self, message: Message, bytes: usize) -> Result<Said, Violation> {
        let now = self.room.now();
        let mut inner = self.room.lock();
        inner.traffic.came(bytes);
        let handled = self.room.drive_locked(&mut inner, |machine| machine.handle(now, self.id, message));
        inner.traffic.refusals += u64::from(handled.is_err());
        handled?;
        let said = std::mem::take(&mut inner.said);
        if said.bytes > 0
            && let Some(wait) = inner.toll.count(said.bytes, &self.room.limits)
        {
            self.room.hold(&inner, self.id, wait);
        }
        Ok(said)
    }

    /// Whether it still has its seat: the archive may have refused it, and its connection goes on.
    pub(crate) fn is_seated(&self) -> bool {
        self.room.lock().seats.contains_key(&self.id)
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let now = self.room.now();
        {
            // First the seat: its goodbyes are for the others.
            let mut inner = self.room.lock();
            // Its open questions stay: whoever leaves does not take back the work that they are.
            inner.seats.remove(&self.id);
            inner.owing.remove(&self.id);
            inner.guests.remove(&self.id);
        }
        self.room.drive(|machine| machine.leave(now, self.id));
        self.room.vanish_if_empty();
    }
}

impl RoomDriver {
    pub(super) fn new(
        number: u64,
        document: DocumentId,
        rooms: Weak<Rooms>,
        machine: Room,
        limits: RoomLimits,
    ) -> Self {
        let (seats, guests, reads) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let inner = Inner {
            machine,
            seats,
            guests,
            reads,
            archive: None,
            gathered: Gathered::default(),
            traffic: Traffic::default(),
            owing: BTreeMap::new(),
            said: Said::default(),
            toll: Toll::default(),
            timer: None,
            gone: false,
        };
        Self { number, document, rooms, limits, inner: Mutex::new(inner) }
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
        inner.seats.insert(id, seat);
        drop(inner);
        self.drive(|machine| machine.join(id, counts));
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

    fn now(&self) -> Millis {
        self.rooms.upgrade().map_or(Millis(0), |rooms| rooms.now())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
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
    fn hold(&self, inner: &Inner, id: MemberId, wait: Duration) {
        if let (Some(seat), Some(rooms)) = (inner.seats.get(&id), self.rooms.upgrade()) {
            rooms.metrics.slow("room_rate");
            seat.queue.hold(wait);
        }
    }

    fn drive<T>(self: &Arc<Self>, event: impl FnOnce(&mut Room) -> T) -> T {
        self.drive_locked(&mut self.lock(), event)
    }

    fn drive_locked<T>(self: &Arc<Self>, inner: &mut Inner, event: impl FnOnce(&mut Room) -> T) -> T {
        inner.said = Said::default();
        let result = event(&mut inner.machine);
        self.carry_out(inner);
        if let Some(deadline) = inner.machine.poll_timeout()
            && inner.timer.is_none_or(|armed| deadline < armed)
        {
            inner.timer = Some(deadline);
            self.arm(deadline);
        }
        result
    }

    fn carry_out(self: &Arc<Self>, inner: &mut Inner) {
        let Some(rooms) = self.rooms.upgrade() else { return };
        let metrics = &rooms.metrics;
        while let Some(effect) = inner.machine.poll_effect() {
            match effect {
                Effect::Send { to, body, asked_for } => {
                    self.hand_out(inner);
                    if let Some(seat) = inner.seats.get(&to) {
                        let frame = seat.framing.frame(&body);
                        count(metrics, &mut inner.traffic, 1, frame.len());
                        if asked_for {
                            seat.queue.answer(frame);
                        } else if !self.forward(to, seat, [frame], Way::Writer) {
                            inner.traffic.refusals += 1;
                        }
                    }
                }
                Effect::Serve { to, update } => {
                    // Who is told that it has everything was handed what came before.
                    self.hand_out(inner);
                    if let Some(seat) = inner.seats.get(&to) {
                        let head = y_protocols::sync_step2_head(update.len());
                        let head = seat.framing.frame_head(&head, update.len());
                        count(metrics, &mut inner.traffic, 1, head.len() + update.len());
                        seat.queue.answer_in_parts([head, update]);
                    }
                }
                Effect::Spread { except, body, presence } => self.spread(inner, except, presence, &body),
                Effect::Acknowledge { to, applied: true } if inner.guests.contains_key(&to) => {
                    inner.hear(to, Ok(()));
                }
                Effect::Acknowledge { to, applied } => {
                    if let Some(Seat { queue, framing: Framing::Addressed(address) }) = inner.seats.get(&to) {
                        metrics.acknowledgements.inc_by(u64::from(applied));
                        queue.answer(frame::binary(&[&hocuspocus::sync_status(address, applied)]));
                    }
                }
                Effect::Store { ticket, update, arrival } => {
                    if let Some(archive) = &inner.archive {
                        archive.store(ticket, update, arrival);
                    }
                }
                Effect::Read { asker, state_vector } => {
                    if let (Some(archive), Some(seat)) = (&inner.archive, inner.seats.get(&asker)) {
                        inner.reads.entry(asker).or_default().push(seat.queue.await_answer());
                        archive.read(asker, state_vector);
                    }
                }
                // Only of a room on a backplane, and none is on one yet.
                Effect::Publish(_) | Effect::Tell { .. } => {}
                Effect::Close { member, reason } => {
                    self.hand_out(inner);
                    inner.hear(member, Err(reason));
                    if let Some(seat) = inner.seats.get(&member) {
                        metrics.refuse(reason.reason());
                        inner.traffic.refusals += 1;
                        if farewell::tell(seat, reason) == Ends::Seat {
                            // First the seat: its goodbyes are for the others.
                            inner.seats.remove(&member);
                            inner.machine.leave(rooms.now(), member);
                        }
                    }
                }
            }
        }
    }

    /// Small messages wait for the end of the turn; what is large goes at once.
    fn spread(
        self: &Arc<Self>,
        inner: &mut Inner,
        except: Option<MemberId>,
        presence: Option<u64>,
        body: &[u8],
    ) {
        inner.said.bytes += body.len();
        inner.said.is_presence |= presence.is_some();
        if Gathered::takes(body.len()) {
            let is_first = inner.gathered.is_empty();
            inner.gathered.push(except, presence, body);
            if inner.gathered.is_full() || (is_first && !turn::end_with(self)) {
                self.hand_out(inner);
            }
            return;
        }
        self.hand_out(inner);
        let mut frames = PerFraming::new();
        let (mut messages, mut bytes, mut behind) = (0, 0, 0);
        for (id, seat) in inner.seats.iter().filter(|(id, _)| Some(**id) != except) {
            if presence.is_some_and(|before| self.owes(&mut inner.owing, *id, seat, before)) {
                continue;
            }
            let frame: Bytes = frames.of(&seat.framing, || seat.framing.frame(body));
            messages += 1;
            bytes += frame.len();
            behind += u64::from(!self.forward(*id, seat, [frame], Way::Writer));
        }
        self.spread_to(inner, messages, bytes, behind);
    }

    /// Hands out what is left of this turn.
    pub(super) fn end_turn(self: &Arc<Self>) {
        self.hand_out(&mut self.lock());
    }

    fn hand_out(self: &Arc<Self>, inner: &mut Inner) {
        let Inner { gathered, seats, owing, .. } = inner;
        if gathered.is_empty() {
            return;
        }
        let (mut messages, mut bytes, mut behind) = (0, 0, 0);
        let before = gathered.presence().unwrap_or_default();
        gathered.deliver(
            seats,
            |id, seat| self.owes(owing, id, seat, before),
            |id, seat, portion| {
                messages += portion.messages;
                bytes += portion.pieces.iter().map(Bytes::len).sum::<usize>();
                behind += u64::from(!self.forward(id, seat, portion.pieces.drain(..), Way::Direct));
            },
        );
        gathered.clear();
        self.spread_to(inner, messages, bytes, behind);
    }

    /// Whether a member is behind: then it is owed all presence after this many changes.
    fn owes(
        self: &Arc<Self>,
        owing: &mut BTreeMap<MemberId, u64>,
        id: MemberId,
        seat: &Seat,
        before: u64,
    ) -> bool {
        if owing.contains_key(&id) {
            return true;
        }
        if !seat.queue.is_behind() {
            return false;
        }
        owing.insert(id, before);
        let room = Arc::downgrade(self);
        seat.queue.owe(move || {
            if let Some(room) = room.upgrade() {
                room.settle(id);
            }
        });
        if let Some(rooms) = self.rooms.upgrade() {
            rooms.metrics.behind.inc();
        }
        true
    }

    /// A member that was behind has caught up: it is shown the newest presence of each client that changed.
    fn settle(self: &Arc<Self>, id: MemberId) {
        let mut inner = self.lock();
        self.hand_out(&mut inner);
        let Some(before) = inner.owing.remove(&id) else { return };
        if let (Some(seat), Some(newest)) = (inner.seats.get(&id), inner.machine.presence_since(before)) {
            let frame = seat.framing.frame(&y_protocols::awareness(&newest.encode()));
            let bytes = frame.len();
            let behind = u64::from(!self.forward(id, seat, [frame], Way::Writer));
            self.spread_to(&mut inner, 1, bytes, behind);
        }
    }

    fn spread_to(&self, inner: &mut Inner, messages: usize, bytes: usize, behind: u64) {
        inner.traffic.refusals += behind;
        if let Some(rooms) = self.rooms.upgrade() {
            count(&rooms.metrics, &mut inner.traffic, messages, bytes);
        }
    }

    /// False if the reader has just fallen behind.
    fn forward(&self, to: MemberId, seat: &Seat, pieces: impl IntoIterator<Item = Bytes>, way: Way) -> bool {
        let keeps_up = seat.queue.forward_all(pieces, way);
        if !keeps_up {
            tracing::debug!(document = %self.document, member = to.0, "reader fell behind");
        }
        keeps_up
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

    fn answered(&self, asker: MemberId) {
        let mut inner = self.lock();
        if let Some(awaited) = inner.reads.get_mut(&asker) {
            awaited.pop();
            if awaited.is_empty() {
                inner.reads.remove(&asker);
            }
        }
    }

    fn vanish_if_empty(self: &Arc<Self>) {
        let Some(rooms) = self.rooms.upgrade() else { return };
        let mut inner = self.lock();
        if inner.seats.is_empty()
            && inner.guests.is_empty()
            && inner.reads.is_empty()
            && inner.machine.is_empty()
            && !inner.gone
        {
            inner.gone = true;
            let archive = inner.archive.take();
            drop(inner);
            rooms.remove(&self.document, self);
            drop(archive);
        }
    }
}

/// Counts what went to members, for all and for the room.
fn count(metrics: &Metrics, traffic: &mut Traffic, messages: usize, bytes: usize) {
    metrics.messages_sent.inc_by(messages as u64);
    metrics.bytes_sent.inc_by(bytes as u64);
    traffic.went(messages, bytes);
}

/// How an archive reaches the room without keeping it alive.
pub(super) struct Port(pub(super) Weak<RoomDriver>);

impl RoomPort for Port {
    fn stored(&self, results: &[(Ticket, Result<(), StoreRefused>)]) {
        if let Some(room) = self.0.upgrade() {
            room.drive(|machine| {
                for (ticket, result) in results {
                    machine.stored(*ticket, *result);
                }
            });
            room.vanish_if_empty();
        }
    }

    fn answered(&self, asker: MemberId, result: Result<Answer, StoreRefused>) {
        if let Some(room) = self.0.upgrade() {
            room.drive(|machine| machine.answered(asker, result));
            room.answered(asker);
            room.vanish_if_empty();
        }
    }

    fn released(&self, update: Update) {
        if let Some(room) = self.0.upgrade() {
            room.drive(|machine| machine.released(&update));
        }
    }
}
