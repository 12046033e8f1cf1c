//! Carries the effects of a room's machine out: who is sent what, and when.
//!
//! What is said to many waits for the end of the turn and is framed once; the order in which a member gets what the
//! machine said is kept throughout.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::replica::{self, Outcome};
use tombolo_core::dialect::{hocuspocus, y_protocols};
use tombolo_core::room::{Effect, MemberId};

use super::driver::{Inner, RoomDriver};
use super::farewell::{self, Ends};
use super::framing::{Framing, PerFraming, Seat};
use super::gather::Gathered;
use super::onlooker::Traffic;
use super::turn;
use crate::connection::frame;
use crate::connection::queue::Way;
use crate::metrics::Metrics;

impl RoomDriver {
    pub(super) fn carry_out(self: &Arc<Self>, inner: &mut Inner) {
        let metrics = &self.metrics;
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
                    serve(inner, metrics, to, update);
                }
                Effect::Spread { except, body, presence } => {
                    if let Some(archive) = inner.archive.as_ref().filter(|_| presence.is_some()) {
                        archive.shown(&body);
                    }
                    self.spread(inner, except, presence, &body);
                }
                Effect::Acknowledge { to, applied: true } if inner.guests.contains_key(&to) => {
                    inner.hear(to, Ok(()));
                }
                Effect::Acknowledge { to, applied } => {
                    let Some(Seat { queue, framing, .. }) = inner.seats.get(&to) else { continue };
                    let frame = match framing {
                        Framing::Addressed(address) => hocuspocus::sync_status(address, applied),
                        // What was not is followed by a Shut, which says why.
                        Framing::Numbered(handle) if applied => {
                            replica::stored(*handle, Outcome::WELL).into()
                        }
                        Framing::Numbered(_) | Framing::Bare => continue,
                    };
                    metrics.acknowledgements.inc_by(u64::from(applied));
                    queue.answer(frame::binary(&[&frame]));
                }
                Effect::Store { ticket, update, arrival } => {
                    if let Some(archive) = &inner.archive {
                        archive.store(ticket, update, arrival);
                    }
                }
                Effect::Read { asker, state_vector } => {
                    if let Some(peer) = inner.machine.peer_of(asker) {
                        self.read_for_peer(peer, asker, state_vector);
                        continue;
                    }
                    let Some(archive) = &inner.archive else { continue };
                    if let Some(seat) = inner.seats.get(&asker) {
                        inner.reads.entry(asker).or_default().push(seat.queue.await_answer());
                        archive.read(asker, state_vector);
                    }
                }
                Effect::Publish(message) => self.publish(message),
                Effect::Tell { peer, message } => self.tell_peer(peer, message),
                Effect::Close { member, reason } => {
                    self.hand_out(inner);
                    inner.hear(member, Err(reason));
                    if let Some(seat) = inner.seats.get(&member) {
                        metrics.refuse(reason.reason());
                        inner.traffic.refusals += 1;
                        if farewell::tell(seat, reason) == Ends::Seat {
                            // First the seat: its goodbyes are for the others.
                            inner.seats.remove(&member);
                            inner.machine.leave(self.now(), member);
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
            let is_first = inner.gathered.is_none();
            let gathered = inner.gathered.get_or_insert_with(Gathered::take);
            gathered.push(except, presence, body);
            if gathered.is_full() || (is_first && !turn::end_with(self)) {
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

    pub(super) fn hand_out(self: &Arc<Self>, inner: &mut Inner) {
        let Inner { gathered, seats, owing, .. } = inner;
        let Some(gathered) = gathered.take() else { return };
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
        gathered.give_back();
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
        self.metrics.behind.inc();
        true
    }

    /// A member that was behind has caught up: it is shown the newest presence of each client that changed.
    fn settle(self: &Arc<Self>, id: MemberId) {
        let mut inner = self.lock();
        self.hand_out(&mut inner);
        let Some(before) = inner.owing.remove(&id) else { return };
        let newest: Vec<_> = inner.machine.presence_since(before).collect();
        for newest in newest {
            let Some(seat) = inner.seats.get(&id) else { return };
            let frame = seat.framing.frame(&y_protocols::awareness(&newest.encode()));
            let bytes = frame.len();
            let behind = u64::from(!self.forward(id, seat, [frame], Way::Writer));
            self.spread_to(&mut inner, 1, bytes, behind);
        }
    }

    fn spread_to(&self, inner: &mut Inner, messages: usize, bytes: usize, behind: u64) {
        inner.traffic.refusals += behind;
        count(&self.metrics, &mut inner.traffic, messages, bytes);
    }

    /// False if the reader has just fallen behind.
    fn forward(&self, to: MemberId, seat: &Seat, pieces: impl IntoIterator<Item = Bytes>, way: Way) -> bool {
        let keeps_up = seat.queue.forward_all(pieces, way);
        if !keeps_up {
            tracing::debug!(document = %self.document, member = to.0, "reader fell behind");
        }
        keeps_up
    }
}

/// Answers a member with what it lacks.
fn serve(inner: &mut Inner, metrics: &Metrics, to: MemberId, update: Bytes) {
    let Some(seat) = inner.seats.get(&to) else { return };
    let mut bytes = update.len();
    let update = match (&seat.framing, &seat.pages) {
        // Where nobody keeps anything, others are asked for it in turn: what it was answered must all be there by then.
        (Framing::Numbered(handle), Some(pages)) if inner.archive.is_some() => pages.take(*handle, update),
        _ => Some(update),
    };
    if let Some(update) = update {
        let head = y_protocols::sync_step2_head(bytes);
        let head = seat.framing.frame_head(&head, bytes);
        bytes += head.len();
        seat.queue.answer_in_parts([head, update]);
    }
    count(metrics, &mut inner.traffic, 1, bytes);
}

/// Counts what went to members, for all and for the room.
fn count(metrics: &Metrics, traffic: &mut Traffic, messages: usize, bytes: usize) {
    metrics.messages_sent.inc_by(messages as u64);
    metrics.bytes_sent.inc_by(bytes as u64);
    traffic.went(messages, bytes);
}
