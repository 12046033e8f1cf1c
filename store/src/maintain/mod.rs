//! Looking after a data folder: finding what is wrong with it, and saving what is right.
//!
//! Guarantees: [`verify`] and [`repair`] never change the folder that they look at (but for a folder `scratch` in
//! it, which they remove again); [`apply()`] changes names only, keeps the damaged folder beside the repaired one, and
//! what stops it in between is made up for at the next start.

mod apply; // a repaired copy in the place of the damaged folder
mod mark; // a copy that repair made
mod repair; // what is intact, into a new folder
mod verify; // what is wrong, and with which document

use std::path::{Path, PathBuf};

use tombolo_core::id::{DocumentId, Format};

use crate::error::OpenError;
use crate::journal::JournalError;
use crate::shelf::ShelfError;

pub(crate) use apply::tidy;
pub use apply::{apply, finish_apply};
pub use repair::{Repair, repair};
pub use verify::verify;
pub(crate) use verify::verify_open;

/// How far long work has got, in bytes of files looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Done.
    pub done: u64,
    /// Of so many.
    pub of: u64,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something that was stored has changed or is missing.
    Damage,
    /// Worth knowing, and nothing is lost by it.
    Note,
}

/// Something that verify has to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The document that it concerns, if that can be told.
    pub document: Option<DocumentName>,
    /// The file or shelf.
    pub place: String,
    /// What is there.
    pub found: String,
}

/// A document's name, ordered as text.
pub type DocumentName = String;

/// What verify found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Whole documents, on the shelves or still in the journal.
    pub documents: u64,
    /// Operations behind their snapshots, and those that only the journal has.
    pub operations: u64,
    /// Bytes of content, unpacked.
    pub bytes: u64,
    /// What is to be said, the worst first; each thing once.
    pub findings: Vec<Finding>,
}

impl Verification {
    /// Whether anything that was stored has changed or is missing.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Damage)
    }

    fn damage(&mut self, document: Option<&DocumentId>, place: &str, found: String) {
        self.say(Severity::Damage, document, place, found);
    }

    fn say(&mut self, severity: Severity, document: Option<&DocumentId>, place: &str, found: String) {
        let document = document.map(|id| match id.format() {
            Format::Yjs => id.to_string(),
            // As the commands name it.
            Format::Automerge => format!("automerge:{id}"),
        });
        self.findings.push(Finding { severity, document, place: place.to_owned(), found });
    }

    fn sorted(mut self) -> Self {
        self.findings.sort();
        self.findings.dedup();
        self
    }
}

/// Why a folder cannot be looked after.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaintainError {
    /// There is none.
    #[error("there is no data folder at {path}; name it with --data", path = path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It is in use.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The place for the repaired copy is taken.
    #[error("{path} exists already, and {found}; name another place with --to, or remove it if nothing of it is needed", path = path.display())]
    Taken {
        /// The place.
        path: PathBuf,
        /// Why it is not made anew.
        found: &'static str,
    },
    /// Nothing tells how documents are spread over shelves.
    #[error("the shelves cannot be read")]
    Shelf(#[from] ShelfError),
    /// The journal of the copy cannot be written.
    #[error("the journal cannot be read or written")]
    Journal(#[from] JournalError),
    /// The system says no.
    #[error("files cannot be read or written")]
    Io(#[from] std::io::Error),
}

/// Where copies of shelves lie while they are looked at.
fn scratch(folder: &Path) -> PathBuf {
    folder.join("scratch")
}
