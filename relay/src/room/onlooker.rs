//! Who looks at rooms and changes nothing: what passes through each, who is there, what waits.
//!
//! The counters stand behind each room's own lock, which whoever counts holds already, so counting costs no more than
//! the additions.

use std::sync::Arc;

use tombolo_core::id::DocumentId;

use super::registry::Rooms;
use crate::metrics::DialectLabel;

/// What passed through a room since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages of its members.
    pub messages_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Messages for its members, each counted for each of them.
    pub messages_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Members that were refused something, or fell behind.
    pub refusals: u64,
}

impl Traffic {
    pub(super) fn came(&mut self, bytes: usize) {
        self.messages_in += 1;
        self.bytes_in += bytes as u64;
    }

    pub(super) fn went(&mut self, messages: usize, bytes: usize) {
        self.messages_out += messages as u64;
        self.bytes_out += bytes as u64;
    }
}

/// One room at one moment.
#[derive(Clone, Debug)]
pub struct RoomStatus {
    /// Tells it from another room of the same document, before or after it.
    pub number: u64,
    /// Whose room it is.
    pub document: DocumentId,
    /// Members with a connection.
    pub members: usize,
    /// Bytes that wait in their connections' queues; a connection with several documents counts in each of their rooms.
    pub queue_bytes: usize,
    /// What passed through it.
    pub traffic: Traffic,
}

/// Sees the rooms of a relay.
#[derive(Clone)]
pub struct Onlooker(Arc<Rooms>);

impl Onlooker {
    pub(super) fn of(rooms: &Arc<Rooms>) -> Self {
        Self(Arc::clone(rooms))
    }

    /// All rooms that are open, in no order.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomStatus> {
        self.0.all().iter().map(|room| room.status()).collect()
    }

    /// Open connections of a dialect: `yjs`, `hocuspocus`, `automerge`, `webrtc`.
    #[must_use]
    pub fn connections(&self, dialect: &'static str) -> u64 {
        let open = self.0.metrics.connections.get(&DialectLabel { dialect }).map_or(0, |open| open.get());
        u64::try_from(open).unwrap_or_default()
    }
}
