//! What the rooms of one document on different relays say to each other.
//!
//! Each relay has a room of its own for the members that are connected to it; to that room, another relay on which the
//! document is open is a **peer**. A peer is not a member: it has members, and perhaps the archive.

use bytes::Bytes;

use crate::update::{StateVector, Update};
use crate::validate::AwarenessUpdate;

use super::effect::{Arrival, StoreRefused, Ticket};

/// Names one question of one peer about one document; unique within the asking room. Its lowest bit asks to be asked
/// back: the asker may have something that who is asked has not, or has missed what that one said. The next one says
/// that the asker reaches the archive: nothing of what is there need come with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

impl AskId {
    /// The next one of a room that has given so many.
    pub(super) fn new(number: u64, reaches_archive: bool, asks_back: bool) -> Self {
        Self((number << 2) | (u64::from(reaches_archive) << 1) | u64::from(asks_back))
    }

    pub(super) fn reaches_archive(self) -> bool {
        self.0 & 2 == 2
    }

    pub(super) fn asks_back(self) -> bool {
        self.0 & 1 == 1
    }
}

/// What a peer has in the room of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// The archive has its seat there: it stores, answers and acknowledges.
    pub archive: bool,
    /// A member there has caught up.
    pub caught_up: bool,
}

/// The answer to [`PeerMessage::Ask`].
#[derive(Clone, Debug)]
pub struct PeerAnswer {
    /// Everything that the asker lacks, as one update.
    pub update: Bytes,
    /// What the archive has, if it was the archive that answered.
    pub archived: Option<StateVector>,
    /// Whether whoever answered had caught up; the archive always has.
    pub caught_up: bool,
}

/// One message between the rooms of a document.
#[derive(Clone, Debug)]
pub enum PeerMessage {
    /// An update of a member, for all peers.
    Update {
        /// Names it where it came from, if that waits for an archive to store it.
        ticket: Option<Ticket>,
        /// How it came.
        arrival: Arrival,
        /// The update.
        update: Update,
    },
    /// Presence of members that are connected there, for all peers or for one that has just come.
    Presence(AwarenessUpdate),
    /// "What lacks who has this?", for one peer. It asks nobody else in turn.
    Ask {
        /// Names it in the answer.
        ask: AskId,
        /// What the asker has.
        state_vector: StateVector,
    },
    /// The answer to a question, or why there is none.
    Answer {
        /// The question.
        ask: AskId,
        /// None if nobody is there who could answer.
        result: Result<Option<PeerAnswer>, StoreRefused>,
    },
    /// These updates are durable, or will never be; from the peer with the archive to the one that they came from.
    Stored(Vec<(Ticket, Result<(), StoreRefused>)>),
    /// What an application says to whoever has the document open now (Hocuspocus: Stateless); at most
    /// [`EPHEMERAL_BYTES_MAX`](crate::limits::EPHEMERAL_BYTES_MAX). It passes by the room.
    Stateless(String),
}

impl PeerMessage {
    /// Bytes of the update in it, which may be as large as a document.
    #[must_use]
    pub fn update_bytes(&self) -> usize {
        match self {
            Self::Update { update, .. } => update.bytes().len(),
            Self::Answer { result: Ok(Some(answer)), .. } => answer.update.len(),
            _ => 0,
        }
    }
}
