//! To whom something is said.

use crate::id::{DocumentId, PeerId};

/// To whom something is said on a backplane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum To {
    /// All that are on the backplane.
    Everybody,
    /// Those that listen to the room of a document.
    Room(DocumentId),
    /// One.
    Peer(PeerId),
}
