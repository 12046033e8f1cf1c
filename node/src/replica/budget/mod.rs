//! How much of the disk a replica may take, and what goes when that is too little.
//!
//! Guarantees: only what somebody who is there now has fsynced goes, all of it, and nothing that any link still owes to its
//! other end; what is open, pinned or in quarantine stays. What went leaves a stub that says where it is, and comes again
//! when it is fetched. An edit that has no room fails before anything is written, and says what is in the way.
//!
//! Room is made behind edits, on a thread of its own. What counts is the documents' bytes as they lie on the shelf, with
//! those that were appended since; an engine, the journal and what it keeps for later take more.

mod fetching; // what was evicted, back again
mod ledger; // what is pinned, and when what was used
mod look; // which documents could go
mod making_room; // what goes, and when
mod owner; // what the owner of a replica says and asks
mod space; // what is counted with each edit

pub use fetching::Fetched;
pub use owner::{MadeRoom, Usage};
pub(super) use space::Space;

use std::time::Duration;

use super::error::ReplicaError;

/// How much a replica may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of all documents.
    pub bytes: u64,
    /// From so many percent of it on room is made, and a warning logged.
    pub warn_at_percent: u8,
    /// Room is made until so many percent are used.
    pub down_to_percent: u8,
    /// Documents that nobody here opened for so long go, too, however much room there is; in whole hours.
    pub ttl: Option<Duration>,
}

impl Budget {
    /// So many bytes, with a warning at 80 % and down to 60 %, and no end to what nobody opens.
    #[must_use]
    pub const fn of(bytes: u64) -> Self {
        Self { bytes, warn_at_percent: 80, down_to_percent: 60, ttl: None }
    }

    fn check(&self) -> Result<(), ReplicaError> {
        if self.warn_at_percent <= 100 && self.down_to_percent <= self.warn_at_percent {
            return Ok(());
        }
        Err(ReplicaError::Budget { warn_at: self.warn_at_percent, down_to: self.down_to_percent })
    }

    fn part(&self, percent: u8) -> u64 {
        let part = u128::from(self.bytes) * u128::from(percent) / 100;
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    fn warn_at(&self) -> u64 {
        self.part(self.warn_at_percent)
    }

    fn down_to(&self) -> u64 {
        self.part(self.down_to_percent)
    }
}
