//! One operation.

use bytes::Bytes;

use crate::id::{DocumentId, OperationId, ReplicaId, Seq};

/// What the payload of an operation is. A closed set: the tag is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A Yjs update in the v1 encoding, as it came off the wire.
    YjsUpdate = 1,
    /// One or more Automerge change chunks, concatenated.
    AutomergeChanges = 2,
    /// The document ends here: no payload. What comes after it counts and changes nothing.
    Deletion = 3,
}

impl Kind {
    /// The kind with this tag, if there is one.
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::YjsUpdate),
            2 => Some(Self::AutomergeChanges),
            3 => Some(Self::Deletion),
            _ => None,
        }
    }

    /// The tag as stored.
    #[must_use]
    pub fn tag(self) -> u8 {
        match self {
            Self::YjsUpdate => 1,
            Self::AutomergeChanges => 2,
            Self::Deletion => 3,
        }
    }
}

/// When an operation was appended: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16
/// (a hybrid logical clock, Kulkarni et al. 2014). For people and order of display, never for identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The next stamp of a clock that last gave `self`, at `now_ms` milliseconds since 1970: always greater.
    #[must_use]
    pub fn tick(self, now_ms: u64) -> Self {
        let wall = now_ms.min((1 << 48) - 1) << 16;
        Self(wall.max(self.0.saturating_add(1)))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }
}

/// What one replica appended to one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The document that it changes.
    pub document: DocumentId,
    /// Who appended it.
    pub replica: ReplicaId,
    /// Its position among that replica's operations on the document.
    pub seq: Seq,
    /// When.
    pub stamp: Stamp,
    /// What the payload is.
    pub kind: Kind,
    /// The bytes as they came off the wire, already validated.
    pub payload: Bytes,
}

impl Operation {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> OperationId {
        OperationId { document: self.document.clone(), replica: self.replica, seq: self.seq }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_only_grow() {
        let first = Stamp::default().tick(1_000);
        let stuck = first.tick(900);
        assert!(stuck > first);
        assert_eq!(stuck.tick(2_000), Stamp(2_000 << 16));
    }
}
