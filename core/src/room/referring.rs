//! Questions between rooms that need no member, because the archive has it all.
//!
//! A room that asks a peer what it has says if the archive is in its reach as well. If everything that members brought
//! to that peer is in the archive, it answers with nothing instead of asking one of them, and the asker asks the archive
//! once more. So who has sent all that it had is not asked for others whenever somebody joins elsewhere.

use crate::id::PeerId;
use crate::time::Millis;
use crate::update::Update;

use super::machine::Room;
use super::peer::{AskId, PeerAnswer, PeerMessage};

impl Room {
    /// Answers a question of a peer by the archive that both reach; false if that may lack something.
    pub(super) fn refer(&mut self, peer: PeerId, ask: AskId) -> bool {
        let has_all = self.archive_peer.is_some() && !self.loose && self.tickets.is_empty();
        if !(ask.reaches_archive() && has_all && self.early.is_empty()) {
            return false;
        }
        let update = Update::empty().bytes().clone();
        let result = Ok(Some(PeerAnswer { update, archived: None, caught_up: true }));
        self.tell_peer(peer, PeerMessage::Answer { ask, result });
        true
    }

    /// A peer has nothing that the archive has not. What the archive said before may be from a moment without that.
    pub(super) fn referred(&mut self, now: Millis, peer: PeerId) {
        self.exchanged(self.archive_peer.unwrap_or(peer), false);
        self.exchange(now);
    }
}
