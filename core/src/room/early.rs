//! Updates that arrive before the roll call ends: an archive that is about to come is handed them, so that they are
//! acknowledged like any other. Without one they are owed.

use crate::update::Update;

use super::effect::{Acknowledgement, Arrival, MemberId};
use super::machine::Room;
use super::peer::PeerMessage;
use super::storing::Waits;

/// Most bytes that one room keeps so, for two seconds at most.
const EARLY_BYTES_MAX: usize = 64 * 1024;
/// What one update costs beside its bytes.
const EARLY_OVERHEAD: usize = 128;

/// What is kept for an archive that may come.
#[derive(Debug, Default)]
pub(super) struct Early {
    updates: Vec<(MemberId, u64, Arrival, Update)>,
    bytes: usize,
}

impl Early {
    pub(super) fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }
}

impl Room {
    /// Keeps an update that waits for so many acknowledgements; false if it cannot be waited for.
    pub(super) fn keep_early(&mut self, id: MemberId, times: u64, arrival: Arrival, update: &Update) -> bool {
        let bytes = self.early.bytes + update.bytes().len() + EARLY_OVERHEAD;
        let is_kept =
            self.is_calling() && self.acknowledgement == Acknowledgement::Never && bytes <= EARLY_BYTES_MAX;
        if is_kept {
            self.early.bytes = bytes;
            self.early.updates.push((id, times, arrival, update.clone()));
        }
        is_kept
    }

    /// An archive has come, or none will: what was kept is on its way to it, or owed.
    pub(super) fn end_early(&mut self) {
        for (id, times, arrival, update) in std::mem::take(&mut self.early).updates {
            if let Some(archive) = self.archive_peer {
                let ticket = Some(self.ticket(Waits::Member(id, times)));
                self.tell_peer(archive, PeerMessage::Update { ticket, arrival, update });
            } else {
                self.loose = true;
                self.owe(id, times);
            }
        }
    }
}
