//! What somebody who asked for changes keeps, and what they get.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 1 | version: 1 |
//! | 1 | 16 | feed |
//! | 17 | 8 | number |

use std::fmt;

use tombolo_core::id::DocumentId;

const VERSION: u8 = 1;

/// Names one change feed: another one when a store was copied, restored or repaired, or its feed was lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeedId(pub [u8; 16]);

impl fmt::Debug for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FeedId({:032x})", u128::from_be_bytes(self.0))
    }
}

/// How far somebody knows the changes of a store. Opaque to who keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Whose numbers these are.
    pub feed: FeedId,
    /// The number of the last change that is known.
    pub number: u64,
}

impl Checkpoint {
    /// Length in bytes of [`Checkpoint::to_bytes`].
    pub const LEN: usize = 25;

    /// To be kept or sent.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let fields = [&[VERSION][..], &self.feed.0, &self.number.to_be_bytes()].concat();
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }

    /// From kept or received bytes; none if these are no checkpoint, or one of a later program. Whoever has none gets
    /// everything, so that is no error.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (feed, number) = bytes.strip_prefix(&[VERSION])?.split_first_chunk()?;
        Some(Self { feed: FeedId(*feed), number: u64::from_be_bytes(number.try_into().ok()?) })
    }
}

/// Documents that changed since a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Each once, with the number of its latest change, in the order of these numbers. A document that was deleted is
    /// among them.
    pub documents: Vec<(DocumentId, u64)>,
    /// What to ask with the next time.
    pub up_to: Checkpoint,
    /// There are more behind these: ask again at once.
    pub more: bool,
    /// The checkpoint is not of this feed, or there was none: these are the first of all documents, whatever was known
    /// before. Pages behind it, asked for with [`Changes::up_to`], do not say so again.
    pub anew: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_checkpoint() {
        let checkpoint = Checkpoint { feed: FeedId([7; 16]), number: 0x0102_0304_0506_0708 };
        let golden = [&[1][..], &[7; 16], &[1, 2, 3, 4, 5, 6, 7, 8]].concat();
        assert_eq!(checkpoint.to_bytes()[..], golden);
        assert_eq!(Checkpoint::from_bytes(&golden), Some(checkpoint));
        assert_eq!(Checkpoint::from_bytes(&golden[..24]), None);
        assert_eq!(Checkpoint::from_bytes(&[&golden[..], &[0]].concat()), None);
        assert_eq!(Checkpoint::from_bytes(&[&[2], &golden[1..]].concat()), None, "a later version");
        assert_eq!(Checkpoint::from_bytes(&[]), None);
    }
}
