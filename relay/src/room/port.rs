//! How an archive reaches a room.

use std::sync::Weak;

use tombolo_core::room::{Answer, MemberId, StoreRefused, Ticket};
use tombolo_core::update::Update;
use tombolo_core::validate::AwarenessUpdate;

use super::driver::RoomDriver;
use crate::member::RoomPort;

/// It does not keep the room alive.
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

    fn show(&self, update: AwarenessUpdate) {
        if let Some(room) = self.0.upgrade() {
            room.drive(|machine| machine.archive_shows(update));
        }
    }

    fn present(&self) -> Option<AwarenessUpdate> {
        self.0.upgrade()?.lock().machine.present()
    }
}
