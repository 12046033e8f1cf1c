//! What is missing between a peer and this relay, and who must know of it.

use super::envelope::ToPeer;
use super::machine::Cluster;
use super::output::Output;
use super::rolls::Seat;
use crate::id::{DocumentId, PeerId};
use crate::time::Millis;

/// Beats between two times that rooms ask each other because what they said cannot be read: they may say it again.
const UNREADABLE_BEATS: u64 = 8;

/// How it stands with what a peer says that cannot be read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    /// Until when rooms are not told of more.
    until: Option<Millis>,
    /// There was more since.
    again: bool,
}

impl Unreadable {
    /// There is one more; gives whether rooms are told now.
    fn add(&mut self, now: Millis, pause: u64) -> bool {
        self.again = self.until.is_some_and(|until| until > now);
        if !self.again {
            self.until = Some(now.plus(pause));
        }
        !self.again
    }

    /// Time has passed; gives whether rooms are told now.
    fn is_due(&mut self, now: Millis, pause: u64) -> bool {
        let is_due = self.again && self.until.is_none_or(|until| until <= now);
        is_due && self.add(now, pause)
    }
}

impl Cluster {
    /// Messages of a peer to a room are missing: both sides must know.
    pub(super) fn lose(&mut self, document: &DocumentId, peer: PeerId) {
        self.outputs.push_back(Output::Lost { document: document.clone(), peer });
        self.note_to_peer(peer, &ToPeer::Missed(Some(document.clone())));
    }

    /// Messages between a peer and any room are missing.
    pub(super) fn lose_all(&mut self, peer: PeerId) {
        for (document, room) in &self.rooms {
            if room.members.get(&peer).is_some_and(Seat::has_come) {
                self.outputs.push_back(Output::Lost { document: document.clone(), peer });
            }
        }
        self.break_tunnels(peer);
    }

    /// The same, and the peer must know.
    pub(super) fn lose_all_both(&mut self, peer: PeerId) {
        self.lose_all(peer);
        self.note_to_peer(peer, &ToPeer::Missed(None));
    }

    /// The other side missed messages of a room.
    pub(super) fn hear_missed(&mut self, document: &DocumentId, peer: PeerId) {
        let seat = self.rooms.get(document).and_then(|room| room.members.get(&peer));
        if seat.is_some_and(Seat::has_come) {
            self.outputs.push_back(Output::Lost { document: document.clone(), peer });
        }
    }

    /// Something that came, to this room or to this relay, cannot be read: it is as good as lost. If the same comes
    /// again, that is settled later.
    pub(super) fn unreadable(&mut self, now: Millis, peer: PeerId, document: Option<&DocumentId>) {
        let pause = self.timing.beat * UNREADABLE_BEATS;
        let Some(about) = self.peers.get_mut(&peer) else { return };
        match document {
            _ if !about.unreadable.add(now, pause) => {}
            Some(document) => self.lose(document, peer),
            None => self.lose_all_both(peer),
        }
    }

    /// Settles what could not be read again and again.
    pub(super) fn settle_unreadable(&mut self, now: Millis) {
        let pause = self.timing.beat * UNREADABLE_BEATS;
        let peers = self.peers.iter_mut();
        let due = peers.filter_map(|(peer, about)| about.unreadable.is_due(now, pause).then_some(*peer));
        for peer in due.collect::<Vec<_>>() {
            self.lose_all_both(peer);
        }
    }
}
