//! The shelf: documents at rest, each a snapshot and a tail of operations.
//!
//! Guarantees: what [`Shelves::fill`] or [`Shelves::fold`] answered for is durable; filling the same
//! operations again changes nothing; every row carries a version and a checksum with its key bound in, so a
//! row that is changed, missing or in the wrong place is an error that names its document, never content; a
//! power cut between any two steps leaves the old or the new state. Bytes are in `store/FORMAT.md`.
//!
//! The engine stands behind the small trait [`Shelf`], so that another one runs the same tests.

mod census; // how many documents a shelf has, kept outside it
mod closed; // shelves that nobody has open, for verify and repair
mod document; // the record of one document
mod doubt; // files that a sync failed for
mod engine; // sled or redb
mod error; // what can be wrong
mod fill; // operations into a shelf
mod fold; // a tail into a snapshot, operations in and out of quarantine
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod inspect; // every row, and what is wrong with it
mod layout; // how documents are spread, and the store's mark
mod listing; // which documents there are
mod made; // which shelves were ever made
#[cfg(test)]
mod memory; // a model of the trait for the same tests
mod open; // the opening ladder
mod open_shelf; // one shelf and what orders its users
mod packed; // a snapshot as it is packed, with its outline
mod quarantine; // operations that are kept and not served
mod reclaim; // what counts, into a fresh database
mod redb; // redb 4.6: commits in two phases
mod row; // version, checksum, key bound in
mod rows; // an engine with the store's mark
mod salvage; // what is intact, whatever the engine says
mod seal; // what the files of a closed shelf were
mod shelves; // many shelves by hash of the name
mod sled; // sled 0.34.7: flush + fdatasync
mod snapshot; // a folded state in small rows
mod stored; // one document as it is handed in and out
mod stub; // what is left of one that was evicted
mod survey; // which changes a document holds, without its structs
mod tail; // operations since the snapshot
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::ops::ControlFlow;

pub use closed::ClosedShelves;
pub use document::{DocumentRecord, Life};
pub use engine::Engine;
pub use error::ShelfError;
pub use fold::{Fold, Release};
pub(crate) use inspect::words;
pub use inspect::{Fault, Inspection};
pub use quarantine::{Noted, SetAside};
pub use salvage::Rescued;
pub use shelves::{Shelves, Stuck};
pub use stored::{Contents, Stored, Survey};
pub use stub::Stub;

/// The ordered maps of a shelf. Separate, because small and large values in one rewrite each other
/// (HAZARDS sled-3). The tag is part of each row's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// Key of a document → its record.
    Documents,
    /// Operations since the snapshot.
    Tails,
    /// Pieces of snapshots.
    Snapshots,
    /// Operations that are kept and not served.
    Quarantine,
}

impl Tree {
    /// Every tree.
    pub const ALL: [Self; 4] = [Self::Documents, Self::Tails, Self::Snapshots, Self::Quarantine];

    /// What an engine calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Tails => "tails",
            Self::Snapshots => "snapshots",
            Self::Quarantine => "quarantine",
        }
    }

    fn tag(self) -> u8 {
        match self {
            Self::Documents => 1,
            Self::Tails => 2,
            Self::Snapshots => 3,
            Self::Quarantine => 4,
        }
    }

    fn of_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tree| tree.tag() == tag)
    }
}

/// What a scan calls for each key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// A key with its new value, or none to remove it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// An engine that keeps ordered rows. Values are at most [`VALUE_BYTES_MAX`] bytes.
pub trait Shelf: Debug + Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`ShelfError`] if the engine cannot read.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError>;

    /// Visits keys in order from `from` to below `below`, or to the end.
    ///
    /// # Errors
    /// [`ShelfError`] if the engine cannot read.
    fn scan(
        &self,
        tree: Tree,
        from: &[u8],
        below: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ShelfError>;

    /// Changes rows of one tree, all or none, also in a crash; durable only after [`Shelf::sync`].
    ///
    /// # Errors
    /// [`ShelfError`] if the engine cannot write.
    fn batch(&self, tree: Tree, changes: Vec<Change>) -> Result<(), ShelfError>;

    /// Changes rows of one tree one after the other, so that they lie in that order and are read with little work;
    /// before [`Shelf::sync`] a crash may leave any of them.
    ///
    /// # Errors
    /// [`ShelfError`] if the engine cannot write.
    fn write_in_order(&self, tree: Tree, changes: Vec<Change>) -> Result<(), ShelfError> {
        self.batch(tree, changes)
    }

    /// Makes everything before durable.
    ///
    /// # Errors
    /// [`ShelfError`] if the engine or the disk says no.
    fn sync(&self) -> Result<(), ShelfError>;
}

/// Larger values end in files that sled never syncs (HAZARDS sled-2).
pub const VALUE_BYTES_MAX: usize = 4096;
