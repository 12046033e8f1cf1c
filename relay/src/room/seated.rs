//! A taken seat: what a connection has of a room.

use std::sync::Arc;

use tombolo_core::dialect::y_protocols::Message;
use tombolo_core::room::{MemberId, Violation};

use super::driver::RoomDriver;
use super::limits::Said;

/// A taken seat; dropping it leaves the room.
pub(crate) struct Seated {
    pub(super) room: Arc<RoomDriver>,
    pub(super) id: MemberId,
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

    /// Hands on at once what was said in the room before: something follows that passes by the room.
    pub(crate) fn hand_out(&self) {
        self.room.end_turn();
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
