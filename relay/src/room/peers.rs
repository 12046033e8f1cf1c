//! Rooms among those of other relays: what the cluster tells them, and what they tell it.

use std::sync::{Arc, Weak};

use tombolo_core::id::{DocumentId, PeerId};
use tombolo_core::room::{MemberId, PeerMessage, Roll};
use tombolo_core::time::Millis;
use tombolo_core::update::StateVector;

use super::driver::{Inner, RoomDriver};
use super::registry::Rooms;
use crate::cluster::Turn;

/// A roll call of the cluster ends before this, in ms; then a room asks whoever it knows.
const CALL_MS: u64 = 3_000;

/// What a room hears of its peers.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// Everybody has answered the roll call.
    Called,
    /// A peer has the document open, or has something else there now.
    Came(PeerId, Roll),
    /// Messages may be missing.
    Lost(PeerId),
    /// It has it open no more.
    Went(PeerId),
    /// It says something.
    Said(PeerId, PeerMessage),
}

/// A question of a peer at the archive here that waits for its turn.
pub(crate) struct PeerRead {
    room: Weak<RoomDriver>,
    asker: MemberId,
    state_vector: StateVector,
}

impl PeerRead {
    /// It is its turn, which ends with the answer, or with the room.
    pub(crate) fn begin(self, turn: Turn) {
        let Some(room) = self.room.upgrade() else { return };
        let mut inner = room.lock();
        let Inner { archive: Some(archive), turns, .. } = &mut *inner else { return };
        turns.insert(self.asker, turn);
        archive.read(self.asker, self.state_vector);
    }
}

impl Rooms {
    /// The backplane is there: all rooms wait for their roll calls.
    pub(crate) fn joined(&self) {
        let deadline = self.calling();
        self.all().iter().for_each(|room| room.drive(|machine| machine.clustered(deadline)));
    }

    /// It is away.
    pub(crate) fn parted(&self) {
        let now = self.now();
        for room in self.all() {
            room.drive(|machine| match self.joins {
                // Its link is tried again at once.
                true => machine.rejoining(now, self.calling()),
                false => machine.alone(now),
            });
            room.vanish_if_empty();
        }
    }

    /// Opens a room for its peers; it stays while they have it open.
    pub(crate) fn open(self: &Arc<Self>, document: &DocumentId) {
        self.room(document);
    }

    /// Tells a room, if it is open and has a number below `next`: another of the document, opened since, is told anew.
    pub(crate) fn tell(&self, document: &DocumentId, event: PeerEvent, next: u64) {
        let Some(room) = self.get(document).filter(|room| room.number() < next) else { return };
        let now = self.now();
        room.drive(|machine| match event {
            PeerEvent::Called => machine.called(now),
            PeerEvent::Came(peer, roll) => machine.peer_came(now, peer, roll),
            PeerEvent::Lost(peer) => machine.peer_lost(now, peer),
            PeerEvent::Went(peer) => machine.peer_went(now, peer),
            PeerEvent::Said(peer, message) => machine.peer_said(now, peer, message),
        });
        room.vanish_if_empty();
    }

    /// Hands on at once what was said in a room: something follows that passes by it.
    pub(crate) fn hand_out(&self, document: &DocumentId) {
        if let Some(room) = self.get(document) {
            room.end_turn();
        }
    }

    pub(super) fn is_just_started(&self) -> bool {
        self.now() < Millis(CALL_MS)
    }

    pub(super) fn calling(&self) -> Millis {
        self.now().plus(CALL_MS)
    }
}

impl RoomDriver {
    /// Tells the others what there is to find here, if that has changed.
    pub(super) fn call_roll(&self, roll: Roll) {
        if let Some(rooms) = self.rooms.upgrade() {
            rooms.joint.roll_changed(&self.document, roll);
        }
    }

    pub(super) fn publish(&self, message: PeerMessage) {
        if let Some(rooms) = self.rooms.upgrade() {
            rooms.joint.say(&self.document, message);
        }
    }

    pub(super) fn read_for_peer(self: &Arc<Self>, peer: PeerId, asker: MemberId, state_vector: StateVector) {
        if let Some(rooms) = self.rooms.upgrade() {
            rooms.joint.read(peer, PeerRead { room: Arc::downgrade(self), asker, state_vector });
        }
    }

    pub(super) fn tell_peer(&self, peer: PeerId, message: PeerMessage) {
        if let Some(rooms) = self.rooms.upgrade() {
            rooms.joint.say_to(&self.document, peer, message);
        }
    }
}
