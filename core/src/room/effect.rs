//! What goes into and comes out of the room machine: the closed sets of ids, effects and violations.

use std::fmt;

use bytes::Bytes;

use crate::id::PeerId;
use crate::update::{StateVector, Update};

use super::peer::PeerMessage;

/// One connection's seat in one room; unique within the process, given by the driver, who leaves those with the
/// highest bit to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl MemberId {
    /// The first of those that the machine gives: askers of [`Effect::Read`] who are peers, and have no seat.
    pub(super) const PEERS: u64 = 1 << 63;
    /// The archive's own program, which has no seat, as who shows presence.
    pub(super) const ARCHIVE: Self = Self(u64::MAX);

    /// Whether a peer asks in this name, so that no seat has it.
    #[must_use]
    pub fn is_of_peer(self) -> bool {
        self.0 >= Self::PEERS
    }
}

/// Names one update on its way to the archive; unique within the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// When a member that counts acknowledgements receives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// After the archive's fdatasync covers the update. The room has an archive.
    Durable,
    /// As soon as it was forwarded. No archive; started so on purpose.
    Forwarded,
    /// Never: no archive, and nobody is told what nobody keeps.
    Never,
}

/// What the archive read for one asker.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Everything that the asker lacks, as one update.
    pub update: Bytes,
    /// What the archive has; the asker is asked for the rest.
    pub state_vector: StateVector,
}

/// Why the archive did not store or read, by who must act. A dialect tells its client to come back or to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRefused {
    /// Something failed or is too busy: the client comes back by itself and may find it working. Transient.
    Trouble,
    /// The disk is too full for a new document; the operator makes room, the client comes back. Transient.
    NoRoom,
    /// What is stored of this document can neither be served nor added to; the operator repairs it, the client comes
    /// back. Other documents are none of it. Transient.
    Damaged,
    /// The document was deleted; nobody's client may bring it back by itself. Permanent.
    Deleted,
    /// This very operation was set aside because it breaks the merge engine; sent again it would be set aside
    /// again. Permanent for who sent it.
    Quarantined,
}

impl StoreRefused {
    /// Whether coming back with the same would be refused the same.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        match self {
            Self::Trouble | Self::NoRoom | Self::Damaged => false,
            Self::Deleted | Self::Quarantined => true,
        }
    }

    /// A short stable label for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Trouble => "store",
            Self::NoRoom => "no_room",
            Self::Damaged => "damaged",
            Self::Deleted => "deleted",
            Self::Quarantined => "quarantined",
        }
    }
}

impl fmt::Display for StoreRefused {
    /// A sentence for the client; at most 123 bytes, which is what a close frame holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trouble => "the document cannot be stored or read now; try again later",
            Self::NoRoom => "the server's disk is too full for a new document; try again later",
            Self::Damaged => "what the server has of this document is damaged; its operator can repair it",
            Self::Deleted => "the document was deleted",
            Self::Quarantined => {
                "a change in this document breaks the server's merge engine and was set aside"
            }
        })
    }
}

/// How an update came to the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// As a change of its sender. It is stored whatever ranges it has: somebody else may have claimed them with
    /// a forged client id, and an acknowledgement is for these bytes.
    Change,
    /// As all that its sender has and the room may lack. It is stored if it has ranges that are not here.
    Content,
}

/// What the driver must do. Bodies are y-protocols messages; the driver adds each member's framing.
#[derive(Clone, Debug)]
#[must_use]
pub enum Effect {
    /// Send `body` to one member.
    Send {
        /// The member.
        to: MemberId,
        /// The message.
        body: Bytes,
        /// Whether it answers this member. What others cause must not wait without bound for who does not read;
        /// an answer may be large, and its asker can be made to wait with further questions.
        asked_for: bool,
    },
    /// Send a `SyncStep2` with this update to the member that asked for it. Many who join at once get the same bytes:
    /// they are as large as a document, so the driver writes them as they are.
    Serve {
        /// The member.
        to: MemberId,
        /// The update.
        update: Bytes,
    },
    /// Send `body` to every member but `except`.
    Spread {
        /// Who brought it, if it must not come back.
        except: Option<MemberId>,
        /// The message.
        body: Bytes,
        /// If it is presence, how many changes of it there were before. Whoever is behind may be left out, and be
        /// shown [`super::Room::presence_since`] these later.
        presence: Option<u64>,
    },
    /// Tell a member that one of its updates reached the promised place (`applied`), or did not.
    Acknowledge {
        /// The member.
        to: MemberId,
        /// Whether it was taken.
        applied: bool,
    },
    /// Append an update; answer with [`super::Room::stored`].
    Store {
        /// Names it in the answer.
        ticket: Ticket,
        /// The update.
        update: Update,
        /// How it came.
        arrival: Arrival,
    },
    /// Read what a member or a peer lacks; answer with [`super::Room::answered`].
    Read {
        /// Who asked. A peer has no seat: its name is one of the machine's own ([`MemberId::is_of_peer`]).
        asker: MemberId,
        /// What it has.
        state_vector: StateVector,
    },
    /// Close a member whose update was not stored, or that could not be served, and tell it why: then it knows
    /// whether to come back.
    Close {
        /// The member.
        member: MemberId,
        /// Why.
        reason: StoreRefused,
    },
    /// Say this to all peers of the room. Only while it is on a backplane.
    Publish(PeerMessage),
    /// Say this to one peer of the room. Only while it is on a backplane.
    Tell {
        /// The peer.
        peer: PeerId,
        /// The message.
        message: PeerMessage,
    },
}

/// Why a member must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// More questions than a client ever has open at once.
    #[error("more than {max} sync requests are open at once")]
    TooManyRequests {
        /// The limit.
        max: usize,
    },
    /// One connection shows more presence clients than a person has.
    #[error("more than {max} awareness clients on one connection")]
    TooManyAwarenessClients {
        /// The limit.
        max: usize,
    },
    /// The states of one connection's awareness clients are larger than names and cursors are.
    #[error("more than {max} bytes of awareness on one connection")]
    TooMuchAwareness {
        /// The limit in bytes.
        max: usize,
    },
}

impl Violation {
    /// A short stable label for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::TooManyAwarenessClients { .. } => "too_many_awareness_clients",
            Self::TooMuchAwareness { .. } => "too_much_awareness",
        }
    }
}
