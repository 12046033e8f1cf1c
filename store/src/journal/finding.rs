//! What looking at a journal finds, in the words of the operator.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Version};

use super::segment::SegmentId;

/// What looking at a journal gave.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Segments that were read.
    pub segments: u64,
    /// Operations in them that are whole.
    pub operations: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Everything before this place, a segment and an offset in it, is on the shelf and not in `documents`.
    pub shelved: (SegmentId, u64),
    /// What it has of each document that the shelf may lack.
    pub documents: BTreeMap<DocumentId, Journaled>,
    /// Everything that is not as it should be, by segment and nearly by offset.
    pub findings: Vec<Finding>,
}

/// Which operations of a document a journal has.
#[derive(Clone, Debug, Default)]
pub struct Journaled(BTreeMap<ReplicaId, Range>);

#[derive(Clone, Debug)]
struct Range {
    first: Seq,
    last: Seq,
    last_deletion: Option<Seq>,
}

impl Journaled {
    pub(super) fn add(&mut self, operation: &Operation) {
        let seq = operation.seq;
        let range =
            self.0.entry(operation.replica).or_insert(Range { first: seq, last: seq, last_deletion: None });
        (range.first, range.last) = (range.first.min(seq), range.last.max(seq));
        if operation.kind == Kind::Deletion {
            range.last_deletion = range.last_deletion.max(Some(seq));
        }
    }

    /// How many of them a document of this version lacks.
    #[must_use]
    pub fn beyond(&self, version: &Version) -> u64 {
        let beyond = |(replica, range): (&ReplicaId, &Range)| {
            let have = version.get(*replica).0.max(range.first.0.saturating_sub(1));
            range.last.0.saturating_sub(have)
        };
        self.0.iter().map(beyond).fold(0, u64::saturating_add)
    }

    /// Whether there is a document once these came to one of this version; none if that changes nothing, or operations
    /// between are missing.
    #[must_use]
    pub fn makes(&self, version: &Version) -> Option<bool> {
        let mut news =
            self.0.iter().filter(|(replica, range)| range.last > version.get(**replica)).peekable();
        news.peek()?;
        let (mut exists, mut is_whole) = (true, true);
        for (replica, range) in news {
            let have = version.get(*replica);
            exists &= range.last_deletion.is_none_or(|deletion| deletion <= have);
            is_whole &= range.first <= have.next();
        }
        is_whole.then_some(exists)
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The segment.
    pub segment: SegmentId,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is there.
    pub found: Found,
    /// Documents that it concerns, as far as they can be named; there may be others.
    pub documents: Vec<DocumentId>,
}

/// What was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Found {
    /// Bytes that were durable have changed.
    Damaged(&'static str),
    /// The end of what was being written at the last stop; nobody had a receipt for it, and the next start
    /// cuts it.
    TornTail {
        /// Its length up to the last byte that is not blank.
        bytes: u64,
    },
    /// This and all following segments are not there.
    Missing {
        /// The first that is there again.
        before: SegmentId,
    },
    /// A later program wrote it.
    TooNew(u8),
    /// The disk does not give it.
    Unreadable(Arc<io::Error>),
}

impl Finding {
    /// Whether something is or may be lost. A torn tail is what any stop in the middle of work leaves.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(self.found, Found::TornTail { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, .. } = self;
        match &self.found {
            Found::Damaged(found) => {
                write!(f, "journal segment {segment} is damaged at offset {offset} ({found})")
            }
            Found::TornTail { bytes } => write!(
                f,
                "journal segment {segment} ends in a torn tail of {bytes} bytes at offset {offset}, \
                 which was never acknowledged"
            ),
            Found::Missing { before } if segment.next() == *before => {
                write!(f, "journal segment {segment} is missing")
            }
            Found::Missing { before } => {
                write!(f, "journal segments {segment} to {} are missing", before.0.saturating_sub(1))
            }
            Found::TooNew(version) => write!(
                f,
                "journal segment {segment} has format {version} at offset {offset}, \
                 which a later version of tombolo wrote"
            ),
            Found::Unreadable(error) => {
                write!(f, "journal segment {segment} cannot be read at offset {offset}: {error}")
            }
        }
    }
}
