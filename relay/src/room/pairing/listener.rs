//! One connection among the members of its documents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tombolo_core::dialect::automerge_repo::RemoteHeads;
use tombolo_core::id::DocumentId;
use tombolo_core::pairs::Slot;
use tombolo_core::room::MemberId;

use super::driver::{PairRoom, PairRooms};
use super::ear::Ear;

/// A connection's seats; dropping it leaves them all.
#[derive(Debug)]
pub(crate) struct Listener {
    rooms: Arc<PairRooms>,
    id: MemberId,
    ear: Arc<Ear>,
    open: BTreeMap<DocumentId, Arc<PairRoom>>,
}

impl Listener {
    pub(crate) fn new(rooms: &Arc<PairRooms>, ear: &Arc<Ear>) -> Self {
        let id = rooms.next_id();
        Self { rooms: Arc::clone(rooms), id, ear: Arc::clone(ear), open: BTreeMap::new() }
    }

    pub(crate) fn ear(&self) -> &Ear {
        &self.ear
    }

    /// Has a document open from now on; false if it has `documents_max` others already.
    pub(crate) fn open(&mut self, document: &DocumentId, documents_max: usize) -> bool {
        if self.open.contains_key(document) {
            return true;
        }
        if self.open.len() >= documents_max {
            return false;
        }
        let room = self.rooms.enter(document, self.id, &self.ear);
        self.open.insert(document.clone(), room);
        true
    }

    /// It says something in a document that it has open. Returns how long it has to wait.
    pub(crate) fn count(&self, document: &DocumentId, bytes: usize) -> Option<Duration> {
        self.open.get(document)?.count(bytes)
    }

    /// A sync message to one of its slots.
    pub(crate) fn sync(&self, document: &DocumentId, slot: Option<Slot>, data: Bytes, is_request: bool) {
        if let Some(room) = self.open.get(document) {
            room.drive(|now, machine| machine.sync(now, self.id, slot, data, is_request));
        }
    }

    /// It has not got a document for one of its slots.
    pub(crate) fn unavailable(&self, document: &DocumentId, slot: Slot) {
        if let Some(room) = self.open.get(document) {
            room.drive(|now, machine| machine.unavailable(now, self.id, slot));
        }
    }

    /// An ephemeral message of its own to one of its slots.
    pub(crate) fn say(&self, document: &DocumentId, slot: Slot, count: u64, session: &str, data: &Bytes) {
        if let Some(room) = self.open.get(document) {
            room.drive(|_, machine| machine.say(self.id, slot, count, session, data));
        }
    }

    /// It wants to hear of other storages; false if of too many.
    #[must_use]
    pub(crate) fn subscribe(&self, add: Vec<String>, remove: &[String]) -> bool {
        let changed = self.ear.subscriptions().change(add, remove);
        let Some(new) = changed else { return false };
        if !new.is_empty() {
            for room in self.open.values() {
                room.subscribed(self.id, &self.ear, |storage| new.contains(storage));
            }
        }
        true
    }

    /// It says where storages stand that are elsewhere.
    pub(crate) fn report(&self, document: &DocumentId, new_heads: BTreeMap<String, RemoteHeads>) {
        if let Some(room) = self.open.get(document) {
            let now = self.rooms.time();
            room.drive(|_, machine| machine.reported(now, self.id, new_heads));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for room in std::mem::take(&mut self.open).into_values() {
            room.leave(self.id);
        }
    }
}
