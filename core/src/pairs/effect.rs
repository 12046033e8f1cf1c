//! What comes out of the machine.

use std::sync::Arc;

use bytes::Bytes;

use crate::room::MemberId;

/// A virtual peer of one client, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub usize);

/// A sync message of a peer that has lost everything and takes no changes for now: heads, need, have and changes are
/// empty, the flags say read-only. automerge then forgets what it sent and shared, and answers with its heads, as at
/// the beginning; without the flag it would answer with the whole document. The next message of the peer takes
/// the flag back.
pub const RESET: [u8; 8] = [0x42, 0, 0, 0, 0, 2, 2, 0x80 | 0b10 | 0b100];

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Send a sync message to a member, as from one of its slots.
    Sync {
        /// The member.
        to: MemberId,
        /// Who it comes from there.
        slot: Slot,
        /// The message.
        data: Bytes,
        /// Whether it answers this member. What others cause must not wait without bound for who does not read.
        asked_for: bool,
    },
    /// Tell a member that one of its slots has not got the document.
    Unavailable {
        /// The member.
        to: MemberId,
        /// Which.
        slot: Slot,
        /// As above.
        asked_for: bool,
    },
    /// Hand a member an ephemeral message.
    Say {
        /// The member.
        to: MemberId,
        /// Its author.
        from: MemberId,
        /// The author's count.
        count: u64,
        /// The author's session.
        session: Arc<str>,
        /// What it says.
        data: Bytes,
    },
    /// Tell a member where a storage stands, if it has subscribed to it.
    Heads {
        /// The member.
        to: MemberId,
        /// The storage.
        storage: Arc<str>,
        /// Its heads in base58check.
        heads: Arc<[String]>,
        /// When, in ms since 1970, as somebody else said; `None` is now.
        at: Option<u64>,
    },
}
