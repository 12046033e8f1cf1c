//! What can be wrong with a shelf, by what the operator does about it.

use std::path::PathBuf;
use std::sync::Arc;

use tombolo_core::id::DocumentId;

use super::engine::Engine;

/// Why the shelf did not do it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// Rows of a document are changed or missing.
    #[error(
        "document {document} is damaged: {found}; other documents are served on; run `tombolo repair`, or restore it from a backup"
    )]
    Damaged {
        /// The document.
        document: DocumentId,
        /// What is wrong.
        found: &'static str,
    },
    /// A row was written by a later program.
    #[error(
        "a row of document {document} has format {version}; use the version of tombolo that wrote it, or a later one"
    )]
    TooNew {
        /// The document.
        document: DocumentId,
        /// The row's format.
        version: u8,
    },
    /// Operations between two others never came.
    #[error("document {document} has operation {have} and was handed {found}: the ones between are missing")]
    Gap {
        /// The document.
        document: DocumentId,
        /// The last one that is here.
        have: u64,
        /// The one that came.
        found: u64,
    },
    /// A document is not one of this size, or has too many writers for its record.
    #[error("document {document} does not fit the shelf: {what}")]
    TooLarge {
        /// The document.
        document: DocumentId,
        /// What is too large.
        what: &'static str,
    },
    /// A shelf does not open, not even a copy of it.
    #[error("the shelf in {path} does not open; documents on other shelves are served on; run `tombolo repair`, or restore it from a backup", path = path.display())]
    Unopenable {
        /// Its folder.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: EngineFault,
    },
    /// A shelf has fewer documents than it had, so a document that is not found may be one of those.
    #[error(
        "document {document} may be lost: its shelf has {found} documents and had {had}; others are served on; run `tombolo repair`, or restore it from a backup",
        had = if *expected == u64::MAX { "nobody knows how many".to_owned() } else { expected.to_string() }
    )]
    Incomplete {
        /// The document.
        document: DocumentId,
        /// How many documents are there.
        found: u64,
        /// How many were; [`u64::MAX`] if its census is damaged or missing.
        expected: u64,
    },
    /// The file that tells how documents are spread over shelves is damaged.
    #[error("the file {path} does not tell how the shelves are laid out; run `tombolo repair`, or restore it from a backup of this folder", path = path.display())]
    Layout {
        /// The file.
        path: PathBuf,
    },
    /// The folder was made with another engine than the one that is asked for.
    #[error("the folder {path} keeps its documents with {is}, not with {wanted}; start with --data {is}:{path}", path = path.display())]
    OtherEngine {
        /// The data folder.
        path: PathBuf,
        /// What keeps them.
        is: Engine,
        /// What was asked for.
        wanted: Engine,
    },
    /// The engine said no.
    #[error("the shelf's engine failed")]
    Engine(#[source] EngineFault),
    /// The file system said no.
    #[error("the shelf's files cannot be read or written")]
    Io(#[source] Arc<std::io::Error>),
    /// A copy takes the shelf's place, or a write to it failed; whoever sees this asks for the shelf again.
    #[error("the shelf is being opened anew; try again")]
    Retired,
    /// The shelf was closed.
    #[error("the store is closed")]
    Closed,
}

impl ShelfError {
    /// Whether the engine or the system said it: a shelf that is opened anew may be well.
    pub(crate) fn is_of_engine(&self) -> bool {
        matches!(self, Self::Engine(_) | Self::Io(_))
    }

    /// Whether it concerns some documents only and stays until somebody repairs them: others go on.
    #[must_use]
    pub fn is_contained(&self) -> bool {
        match self {
            Self::Damaged { .. }
            | Self::Incomplete { .. }
            | Self::TooNew { .. }
            | Self::Gap { .. }
            | Self::TooLarge { .. }
            | Self::Unopenable { .. }
            | Self::Engine(_) => true,
            Self::Io(error) => !is_passing(error),
            Self::Layout { .. } | Self::OtherEngine { .. } | Self::Retired | Self::Closed => false,
        }
    }
}

/// Whether an error of the system is everybody's and may pass: no room, no descriptors, no memory, a lock that is
/// still held. Any other is taken for one of the files that it concerns.
fn is_passing(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    let code = error.raw_os_error();
    short.iter().any(|short| code == Some(short.raw_os_error()))
        || matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull
                | std::io::ErrorKind::QuotaExceeded
                | std::io::ErrorKind::TimedOut
        )
        || error.to_string().contains("acquire lock")
}

/// What an engine said before it gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct EngineFault {
    /// Its words.
    pub words: String,
}

impl From<std::io::Error> for ShelfError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<::sled::Error> for ShelfError {
    fn from(error: ::sled::Error) -> Self {
        match error {
            // A full disk, no descriptors, a lock that is still held: not damage, and it may pass.
            ::sled::Error::Io(error) => error.into(),
            other => Self::Engine(EngineFault { words: other.to_string() }),
        }
    }
}
