//! What is wrong with a feed's file, for who looks after a folder. Nothing stored depends on it: the next start gives
//! up one that is damaged.

use std::io;

use super::file::{FeedFile, NAME};
use crate::disk::Disk;
use crate::journal::Position;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Whether a stop in the middle of work leaves it, too.
    pub(crate) may_be_torn: bool,
    /// What is there.
    pub(crate) found: String,
}

/// Looks at the file, which must account for everything before `covered` in the journal; `closed` if the store was
/// closed whole.
pub(crate) fn verify(disk: &dyn Disk, covered: Position, closed: bool) -> Option<Fault> {
    let found = |found: &str, may_be_torn| {
        let found = format!("{found}; nothing stored is lost, and whoever syncs is given all documents once");
        Some(Fault { may_be_torn, found })
    };
    match FeedFile::read(disk) {
        Ok(Some(file)) if file.covered() < covered => found("changes at its end are missing", false),
        Ok(Some(file)) if file.is_cut_off() => found("what follows its last whole row is no row", !closed),
        Ok(Some(_)) => None,
        Ok(None) => match disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => found("its header is damaged", false),
        },
        Err(error) => found(&format!("it cannot be read: {error}"), false),
    }
}
