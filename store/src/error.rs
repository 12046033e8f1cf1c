//! What can go wrong, by what the caller does about it.

use std::path::PathBuf;

use tombolo_core::id::DocumentId;

use crate::journal::JournalError;
use crate::shelf::ShelfError;

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("another process uses the data folder {path}; stop it or choose another folder with --data", path = path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error("cannot write in the data folder {path}; give it to this user or choose another folder with --data", path = path.display())]
    NotWritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A repaired copy was being put in its place, and that cannot be finished.
    #[error("the data folder {path} is missing: `tombolo repair --apply` was stopped while it put {copy} in its place, and that cannot be finished; run `mv {copy} {path}`, or remove {link} to do without it", path = path.display(), copy = copy.display(), link = link.display())]
    Applying {
        /// The folder.
        path: PathBuf,
        /// Where the copy should be.
        copy: PathBuf,
        /// What says so.
        link: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file that names this replica is damaged.
    #[error("the file {path} does not name a replica; run `tombolo repair`, or restore it from a backup of this folder", path = path.display())]
    Identity {
        /// The file.
        path: PathBuf,
    },
    /// The journal does not open.
    #[error("the journal cannot be opened")]
    Journal(#[from] JournalError),
    /// The shelf does not open.
    #[error("the shelf cannot be opened")]
    Shelf(#[from] ShelfError),
}

/// Why a document cannot be opened or read, or a store not flushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The shelf says no.
    #[error("the shelf cannot be read or written")]
    Shelf(#[from] ShelfError),
    /// The journal says no.
    #[error("the journal cannot be written")]
    Journal(#[from] JournalError),
    /// The takeover stopped; everything acknowledged is in the journal.
    #[error("operations stay in the journal because the shelf refuses them: {reason}")]
    Takeover {
        /// What the shelf said.
        reason: String,
    },
    /// The list of changed documents cannot be written or read.
    #[error(
        "the list of changed documents cannot be written or read; nothing stored depends on it: make room on the disk or check it, then ask again"
    )]
    Feed(#[source] std::io::Error),
    /// An operation was not stored.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Its content is elsewhere.
    #[error(
        "document {document} was evicted to make room: {address} has it; fetch it again to read or write it"
    )]
    Evicted {
        /// The document.
        document: DocumentId,
        /// Where it is.
        address: String,
    },
    /// The document was deleted.
    #[error("document {document} was deleted; it can be read and written again only after it is restored")]
    Deleted {
        /// The document.
        document: DocumentId,
    },
}

impl StoreError {
    /// Whether it concerns this document and stays until somebody repairs it, while others are served on.
    #[must_use]
    pub fn is_of_document(&self) -> bool {
        matches!(self, Self::Shelf(error) if error.is_contained() && !error.is_of_engine())
    }
}

/// Why an operation has no receipt.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Too much is on its way to the disk.
    #[error("document {document} was not stored: {queued} bytes wait for the disk already; try again later")]
    Overloaded {
        /// The document.
        document: DocumentId,
        /// What waits.
        queued: u64,
    },
    /// Its shelf cannot take operations.
    #[error("document {document} takes no more: {reason}")]
    Stuck {
        /// The document.
        document: DocumentId,
        /// What the shelf said.
        reason: String,
    },
    /// One operation is larger than a journal takes.
    #[error(
        "document {document} was not stored: one operation has {bytes} bytes, at most {max} are taken; send it in parts"
    )]
    TooLarge {
        /// The document.
        document: DocumentId,
        /// Its payload's length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The disk is too full for a document that has nothing stored yet; those that have something go on.
    #[error(
        "document {document} is new and was not stored: the disk is {used_percent} % full; make room, then try again"
    )]
    NoRoom {
        /// The document.
        document: DocumentId,
        /// How full the disk is.
        used_percent: u8,
    },
    /// The document was deleted.
    #[error("document {document} was not stored: it was deleted; start another one, or restore it")]
    Deleted {
        /// The document.
        document: DocumentId,
    },
    /// The very same operation was set aside before.
    #[error(
        "document {document} was not stored: this operation breaks the merge engine and was set aside; make the change in another way"
    )]
    Quarantined {
        /// The document.
        document: DocumentId,
    },
    /// The journal says no.
    #[error("document {document} was not stored")]
    Journal {
        /// The document.
        document: DocumentId,
        /// Why.
        #[source]
        source: JournalError,
    },
}
