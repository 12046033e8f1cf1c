//! The peers of a room: who of them is there, and what they say.

use crate::id::PeerId;
use crate::time::Millis;

use super::machine::Room;
use super::peer::{PeerMessage, Roll};

impl Room {
    /// The room is on a backplane, for the first time or again. Until the roll call ends, by [`Room::called`] or at
    /// the deadline, nobody is told that there is nothing.
    pub fn clustered(&mut self, deadline: Millis) {
        let _ = deadline;
    }

    /// All peers that have the document open have answered the roll call.
    pub fn called(&mut self, now: Millis) {
        let _ = now;
    }

    /// The backplane is away: all peers went, and no roll call runs.
    pub fn alone(&mut self, now: Millis) {
        let _ = now;
    }

    /// A peer has the document open, or what it has there changed.
    pub fn peer_came(&mut self, now: Millis, peer: PeerId, roll: Roll) {
        let _ = (now, peer, roll);
    }

    /// Messages of a peer to this room were lost.
    pub fn peer_lost(&mut self, now: Millis, peer: PeerId) {
        let _ = (now, peer);
    }

    /// A peer closed the document, or is gone.
    pub fn peer_went(&mut self, now: Millis, peer: PeerId) {
        let _ = (now, peer);
    }

    /// A message of a peer. Of one that did not come, or went, it is ignored.
    pub fn peer_said(&mut self, now: Millis, peer: PeerId, message: PeerMessage) {
        let _ = (now, peer, message);
    }

    /// What this room has; the driver tells the peers when it changes.
    #[must_use]
    pub fn roll(&self) -> Roll {
        Roll::default()
    }
}
