//! What is said, with its numbers.

use bytes::Bytes;

use super::address::To;
use super::codec::{Place, Sender, said_to_peer, said_to_room};
use super::draft::{Draft, Written};
use super::envelope::{ToEverybody, ToPeer, ToRoom};
use super::machine::Cluster;
use super::output::{Output, TunnelFrame};
use super::parts::{TooLarge, pack};
use crate::id::{DocumentId, PeerId};
use crate::room::PeerMessage;

impl Cluster {
    /// Says something to a room of this relay: to all peers that have come. Nothing is said while none has.
    ///
    /// # Errors
    /// [`TooLarge`] if no peer would take it.
    pub fn say(
        &mut self,
        document: &DocumentId,
        message: impl Into<Draft<PeerMessage>>,
    ) -> Result<(), TooLarge> {
        if !self.rooms.get(document).is_some_and(|room| room.members.values().any(|seat| seat.has_come())) {
            return Ok(());
        }
        self.spoken.insert(document.clone());
        match message.into().0 {
            Written::Short(message) => self.say_to_room(document, &ToRoom::Said(message)),
            Written::Long(pieces) => self.send_to_room(document, |sender, place| {
                let mut before = Vec::new();
                said_to_room(&mut before);
                pieces.seal(sender, place, &before)
            }),
        }
    }

    /// Says something to one peer that has come to a room. Nothing is said to one that has not.
    ///
    /// # Errors
    /// [`TooLarge`] if it would not take it.
    pub fn tell(
        &mut self,
        document: &DocumentId,
        peer: PeerId,
        message: impl Into<Draft<PeerMessage>>,
    ) -> Result<(), TooLarge> {
        let seat = self.rooms.get(document).and_then(|room| room.members.get(&peer));
        let Some(seat) = seat.filter(|seat| seat.has_come()) else { return Ok(()) };
        let opening = seat.opening;
        match message.into().0 {
            Written::Short(message) => {
                self.say_to_peer(peer, &ToPeer::Said { document: document.clone(), opening, message })
            }
            Written::Long(pieces) => self.send_to_peer(peer, true, |sender, place| {
                let mut before = Vec::new();
                said_to_peer(&mut before, document, opening);
                pieces.seal(sender, place, &before)
            }),
        }
    }

    /// Sends part of a tunnel to a peer. What goes to one that does not live is lost.
    ///
    /// # Errors
    /// [`TooLarge`] if it would not take it.
    pub fn tunnel(&mut self, peer: PeerId, frame: impl Into<Draft<TunnelFrame>>) -> Result<(), TooLarge> {
        if let Some(about) = self.peers.get_mut(&peer) {
            about.has_tunnels = true;
        }
        match frame.into().0 {
            Written::Short(frame) => self.say_to_peer(peer, &ToPeer::Tunnel(frame)),
            Written::Long(pieces) => {
                self.send_to_peer(peer, true, |sender, place| pieces.seal(sender, place, &[]))
            }
        }
    }

    /// Says something short to everybody.
    pub(super) fn say_to_everybody(&mut self, body: &ToEverybody) {
        if let Ok(messages) = pack(self.me, Place::Everybody, |out| body.write(out)) {
            self.transmit(&To::Everybody, messages);
        }
    }

    /// Says something to a room that is open, or was a moment ago.
    pub(super) fn say_to_room(&mut self, document: &DocumentId, body: &ToRoom) -> Result<(), TooLarge> {
        self.send_to_room(document, |sender, place| pack(sender, place, |out| body.write(out)))
    }

    fn send_to_room(
        &mut self,
        document: &DocumentId,
        write: impl FnOnce(Sender, Place) -> Result<Vec<Bytes>, TooLarge>,
    ) -> Result<(), TooLarge> {
        if self.link.is_none() {
            return Ok(());
        }
        let said = match self.rooms.get_mut(document) {
            Some(room) => &mut room.said,
            None => match self.closed.get_mut(document) {
                Some(closed) => &mut closed.said,
                None => return Ok(()),
            },
        };
        let messages = write(self.me, Place::Room { number: *said + 1 })?;
        *said += messages.len() as u64;
        self.transmit(&To::Room(document.clone()), messages);
        Ok(())
    }

    /// Says something to a peer that lives.
    pub(super) fn say_to_peer(&mut self, to: PeerId, body: &ToPeer) -> Result<(), TooLarge> {
        let has_spoken = !matches!(body, ToPeer::Mark);
        self.send_to_peer(to, has_spoken, |sender, place| pack(sender, place, |out| body.write(out)))
    }

    fn send_to_peer(
        &mut self,
        to: PeerId,
        has_spoken: bool,
        write: impl FnOnce(Sender, Place) -> Result<Vec<Bytes>, TooLarge>,
    ) -> Result<(), TooLarge> {
        let Some(peer) = self.peers.get_mut(&to) else { return Ok(()) };
        let place = Place::Peer { starts: peer.starts, meeting: peer.meeting, number: peer.said + 1 };
        let messages = write(self.me, place)?;
        peer.said += messages.len() as u64;
        peer.has_spoken = has_spoken;
        self.transmit(&To::Peer(to), messages);
        Ok(())
    }

    /// What is too short to be too large.
    pub(super) fn note_to_room(&mut self, document: &DocumentId, body: &ToRoom) {
        let sent = self.say_to_room(document, body);
        debug_assert!(sent.is_ok());
    }

    /// What is too short to be too large.
    pub(super) fn note_to_peer(&mut self, peer: PeerId, body: &ToPeer) {
        let sent = self.say_to_peer(peer, body);
        debug_assert!(sent.is_ok());
    }

    fn transmit(&mut self, to: &To, messages: Vec<Bytes>) {
        let messages = messages.into_iter().map(|message| Output::Transmit { to: to.clone(), message });
        self.outputs.extend(messages);
    }
}
