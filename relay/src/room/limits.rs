//! What one room takes, and what it says when it is full.

use tombolo_core::room::PresenceLimits;

use crate::config::{Rate, RelayConfig};
use crate::limits::{Meter, Tab};

/// The bounds of each room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoomLimits {
    pub(super) members_max: usize,
    pub(super) presence: PresenceLimits,
    messages: Rate,
    kib: Rate,
}

impl RoomLimits {
    pub(crate) fn of(config: &RelayConfig) -> Self {
        Self {
            members_max: config.members_per_room_max,
            presence: PresenceLimits {
                clients_max: config.awareness_clients_max,
                bytes_max: config.awareness_bytes_max,
            },
            messages: config.room_messages,
            kib: config.room_kib,
        }
    }
}

/// The room has as many members as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{members_max} are in this room already; try again later")]
pub(crate) struct Full {
    pub(super) members_max: usize,
}

impl Full {
    /// A short stable label for metrics.
    pub(crate) fn reason(self) -> &'static str {
        "room_full"
    }
}

/// What of a message is handed on to others. What is not costs nobody but its sender.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    pub(super) bytes: usize,
    /// Whether presence in it was news.
    pub(crate) is_presence: bool,
}

/// What a room hands on.
#[derive(Debug, Default)]
pub(crate) struct Toll {
    tab: Tab,
    /// Made when it is first needed: most rooms never do.
    meter: Option<Box<Meter>>,
}

impl Toll {
    /// One more message of a member. Returns how long its sender has to wait, so that all that the room owes is paid by then.
    pub(crate) fn count(&mut self, bytes: usize, limits: &RoomLimits) -> Option<std::time::Duration> {
        if !self.tab.add(bytes as u64) {
            return None;
        }
        let new = || Box::new(Meter::new(limits.messages, limits.kib));
        self.tab.pay(self.meter.get_or_insert_with(new))
    }
}
