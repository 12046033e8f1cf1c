//! Verify: every byte that was stored, held against what it should be.
//!
//! A folder that nobody uses is judged whole: each file of a shelf against its seal, each row, each record against
//! the census, each record of the journal. On a running store files change under the eye, so there it is rows,
//! census and what is durable of the journal.

use std::path::Path;
use std::time::Duration;

use super::{MaintainError, Progress, Severity, Verification, apply, scratch};
use crate::disk::FileDisk;
use crate::identity;
use crate::journal;
use crate::shelf::{ClosedShelves, Inspection, ShelfError};
use crate::space::ballast;
use crate::store::Inner;

/// Looks at everything in a folder that no process uses. Blocking; takes about as long as copying it.
///
/// # Errors
/// [`MaintainError`] if it cannot be looked at; what is wrong with it is in the result.
pub fn verify(folder: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Verification, MaintainError> {
    apply::finish_apply(folder)?;
    if !folder.is_dir() {
        return Err(MaintainError::Missing { path: folder.to_owned() });
    }
    let _lock = identity::lock(folder, Duration::ZERO)?;
    let mut verification = Verification::default();
    if let Err(error) = identity::check(folder) {
        verification.damage(None, "replica", error.to_string());
    }
    if !ballast::is_whole(folder)? {
        verification.damage(None, "ballast", "it was changed; it holds nothing, so remove it".to_owned());
    }
    if folder.join("journal").is_dir() {
        let disk = FileDisk::open(&folder.join("journal"))?;
        verification.add_journal(&journal::inspect(&disk)?);
    }
    match ClosedShelves::open(&folder.join("shelf")) {
        Ok(Some(shelves)) => verify_shelves(folder, &shelves, &mut verification, progress)?,
        Ok(None) => {}
        Err(error @ ShelfError::Layout { .. }) => {
            verification.damage(None, "shelf/layout", error.to_string());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(verification.sorted())
}

fn verify_shelves(
    folder: &Path,
    shelves: &ClosedShelves,
    verification: &mut Verification,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), MaintainError> {
    if let Some(found) = shelves.layout_fault {
        verification.damage(None, "shelf/layout", found.to_owned());
    }
    let of = (0..shelves.count()).map(|index| shelves.bytes(index)).sum();
    let mut done = 0;
    for index in 0..shelves.count() {
        verification.add_shelf(index, shelves.inspect(index, &scratch(folder))?);
        done += shelves.bytes(index);
        progress(Progress { done, of });
    }
    Ok(())
}

/// Looks at everything of an open store. Blocking.
pub(crate) fn verify_open(inner: &Inner, progress: &mut dyn FnMut(Progress)) -> Verification {
    let mut verification = Verification::default();
    verification.add_journal(&inner.journal.inspect_live());
    let count = inner.shelves.count();
    for index in 0..count {
        match inner.shelves.inspect(index) {
            Ok(inspection) => verification.add_shelf(index, inspection),
            Err(error) => verification.damage(None, &place(index), crate::shelf::words(&error)),
        }
        progress(Progress { done: u64::from(index) + 1, of: u64::from(count) });
    }
    verification.sorted()
}

fn place(index: u16) -> String {
    format!("shelf/{index:04}")
}

impl Verification {
    fn add_shelf(&mut self, index: u16, inspection: Inspection) {
        self.documents += inspection.documents;
        self.operations += inspection.operations;
        self.bytes += inspection.bytes;
        for fault in inspection.faults {
            self.damage(fault.document.as_ref(), &place(index), fault.found);
        }
    }

    fn add_journal(&mut self, inspection: &journal::Inspection) {
        self.operations += inspection.operations;
        for finding in &inspection.findings {
            let severity = if finding.is_damage() { Severity::Damage } else { Severity::Note };
            let place = format!("journal/{:016}.journal", finding.segment.0);
            if finding.documents.is_empty() {
                self.say(severity, None, &place, finding.to_string());
            }
            for document in &finding.documents {
                self.say(severity, Some(document), &place, finding.to_string());
            }
        }
    }
}
