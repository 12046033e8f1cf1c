//! What rooms are told of their peers, one thing after the other.

use std::sync::{Arc, PoisonError, Weak};

use tombolo_core::cluster::Output;
use tombolo_core::room::PeerMessage;

use super::driver::Joint;
use crate::listener::Shared;
use crate::room::{PeerEvent, Rooms};

/// Something that is to be told.
pub(super) enum Event {
    /// The backplane is there.
    Up,
    /// It is away.
    Down,
    /// What the machine says.
    Said(Output),
}

impl Joint {
    /// Tells the rooms all that is to be told. Whoever calls this holds no lock.
    pub(super) fn tell(&self) {
        // Nothing is kept behind this lock.
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rooms) = self.rooms.upgrade() else { return };
        while let Some((next, event)) = self.next_event() {
            match event {
                Event::Up => rooms.joined(),
                Event::Down => rooms.parted(),
                Event::Said(output) => self.pass_on(&rooms, output, next),
            }
        }
    }

    fn pass_on(&self, rooms: &Arc<Rooms>, output: Output, next: u64) {
        let (document, event) = match output {
            Output::Called(document) => (document, PeerEvent::Called),
            Output::Came { document, peer, roll } | Output::Changed { document, peer, roll } => {
                (document, PeerEvent::Came(peer, roll))
            }
            Output::Lost { document, peer } => (document, PeerEvent::Lost(peer)),
            Output::Went { document, peer } => (document, PeerEvent::Went(peer)),
            Output::Said { document, message: PeerMessage::Stateless(text), .. } => {
                // Behind the updates that were said before it.
                rooms.hand_out(&document);
                return self.with_shared(|shared| shared.stateless.tell(&document, &text, &shared.metrics));
            }
            Output::Said { document, peer, message } => (document, PeerEvent::Said(peer, message)),
            Output::Wanted(document) => return rooms.open(&document),
            Output::Home(home) => {
                return self.with_shared(|shared| shared.tunnels.home_changed(home, self));
            }
            Output::Tunnel { peer, frame } => {
                return self.with_shared(|shared| shared.tunnels.take(shared, peer, frame));
            }
            Output::TunnelsBroken { peer } => return self.with_shared(|shared| shared.tunnels.broken(peer)),
            Output::Refused { peer, error } => {
                return tracing::warn!(?peer, %error, "what another relay said was refused");
            }
            // They went out already, or are read.
            Output::Transmit { .. } | Output::Listen(_) | Output::Unlisten(_) | Output::Unread(_) => return,
        };
        rooms.tell(&document, event, next);
    }

    fn with_shared(&self, act: impl FnOnce(&Arc<Shared>)) {
        if let Some(shared) = self.shared.get().and_then(Weak::upgrade) {
            act(&shared);
        }
    }
}
