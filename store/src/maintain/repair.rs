//! Repair: everything that is intact, into a new folder beside the damaged one.
//!
//! The damaged folder is only read. Documents that are whole are taken as they are; of the others every intact
//! operation is taken, from the shelf's files and from the journal; what is not is counted and named. The copy has
//! an incarnation of its own, so that whoever syncs with it sees that it may have gone backwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use tombolo_core::id::DocumentId;
use tombolo_core::operation::{Kind, Operation};
use tombolo_core::update::Update;

use super::{MaintainError, Progress, apply, mark, scratch};
use crate::disk::FileDisk;
use crate::identity;
use crate::journal;
use crate::shelf::{ClosedShelves, Rescued, Shelves, Stored};

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Documents taken as they were.
    pub whole: u64,
    /// Documents of which something is missing, by name.
    pub mended: Vec<DocumentId>,
    /// Documents of which nothing was found, by name.
    pub lost: Vec<DocumentId>,
    /// Shelves of which nothing is there; which documents they had nobody knows.
    pub shelves_lost: u64,
    /// Operations in the copy, those folded into snapshots not counted.
    pub operations: u64,
    /// Those of them that only the journal had.
    pub from_journal: u64,
    /// Operations that are known to be missing.
    pub missing: u64,
}

/// Shelves of a copy if the original does not tell.
const SHELVES: u16 = 16;

/// Saves what is intact in `folder`, which no process may use, to `to`. That must not exist, or be what an earlier
/// repair of this folder made and nobody used since: then it is made anew. Blocking.
///
/// # Errors
/// [`MaintainError`] if the folder cannot be read or the copy not written; `to` is of no use then.
pub fn repair(folder: &Path, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Repair, MaintainError> {
    apply::finish_apply(folder)?;
    if !folder.is_dir() {
        return Err(MaintainError::Missing { path: folder.to_owned() });
    }
    let _lock = identity::lock(folder, Duration::ZERO)?;
    clear(folder, to)?;
    let mut journaled = journal_of(folder)?;
    fs::create_dir_all(to)?;
    mark::write(folder, to)?;
    let closed = ClosedShelves::open(&folder.join("shelf"))?;
    let count = closed.as_ref().map_or(SHELVES, ClosedShelves::count);
    let engine = closed.as_ref().map(ClosedShelves::engine);
    let copy = Shelves::open(&to.join("shelf"), count, engine)?;
    let mut repair = Repair::default();
    if let Some(closed) = &closed {
        let of = (0..count).map(|index| closed.bytes(index)).sum();
        let mut done = 0;
        for index in 0..count {
            repair.shelves_lost += u64::from(closed.is_lost(index));
            closed.salvage(index, &scratch(folder), &mut |rescued| {
                let operations = journaled.remove(&rescued.id).unwrap_or_default();
                repair.take(&copy, rescued, operations)
            })?;
            done += closed.bytes(index);
            progress(Progress { done, of });
        }
    }
    for (id, operations) in journaled {
        let rescued =
            Rescued { id, stored: Stored::default(), set_aside: Vec::new(), whole: true, missing: 0 };
        repair.take(&copy, rescued, operations)?;
    }
    copy.close()?;
    identity::carry_over(folder, to)?;
    Ok(repair)
}

/// Makes the place of the copy free.
fn clear(folder: &Path, to: &Path) -> Result<(), MaintainError> {
    if !to.exists() {
        return Ok(());
    }
    if let Some(found) = mark::objection(folder, to)? {
        return Err(MaintainError::Taken { path: to.to_owned(), found });
    }
    // Somebody may be looking at it.
    let _lock = identity::lock(to, Duration::ZERO)?;
    Ok(fs::remove_dir_all(to)?)
}

/// Every intact operation of the journal by document, in the order of names, each once.
fn journal_of(folder: &Path) -> Result<BTreeMap<DocumentId, Vec<Operation>>, MaintainError> {
    let mut found: BTreeMap<DocumentId, Vec<Operation>> = BTreeMap::new();
    let path = folder.join("journal");
    if path.is_dir() {
        journal::salvage(&FileDisk::open(&path)?, &mut |_, operation| {
            found.entry(operation.document.clone()).or_default().push(operation);
        })?;
    }
    for operations in found.values_mut() {
        operations.sort_by_key(|operation| (operation.replica, operation.seq));
        operations.dedup_by_key(|operation| (operation.replica, operation.seq));
    }
    Ok(found)
}

impl Repair {
    fn take(
        &mut self,
        copy: &Shelves,
        mut rescued: Rescued,
        journaled: Vec<Operation>,
    ) -> Result<(), MaintainError> {
        if !rescued.whole {
            drop_invalid(&mut rescued.stored);
        }
        let missing = rescued.missing + self.add_journal(&mut rescued, journaled);
        let Rescued { id, stored, set_aside, whole, .. } = rescued;
        let kept = !stored.tail.is_empty() || !set_aside.is_empty();
        let is_nothing = stored.record.deleted_ms == 0 && stored.record.stub.is_none();
        let empty = stored.snapshot.is_none() && !kept && is_nothing;
        if empty && !whole {
            self.lost.push(id);
            return Ok(());
        }
        copy.put(&id, &stored, &set_aside)?;
        self.operations += stored.tail.len() as u64;
        self.missing += missing;
        if whole && missing == 0 {
            self.whole += 1;
        } else {
            self.mended.push(id);
        }
        Ok(())
    }

    /// Adds what the shelf does not have; gives back how many operations neither has.
    fn add_journal(&mut self, rescued: &mut Rescued, journaled: Vec<Operation>) -> u64 {
        let stored = &mut rescued.stored;
        let names: BTreeSet<_> =
            stored.tail.iter().map(|operation| (operation.replica, operation.seq)).collect();
        let mut missing = 0;
        for operation in journaled {
            let (replica, seq) = (operation.replica, operation.seq);
            let have = stored.record.version.get(replica);
            // A whole document has everything below its version; of another one that is not certain.
            if names.contains(&(replica, seq)) || (rescued.whole && seq <= have) {
                continue;
            }
            missing += seq.0.saturating_sub(have.0).saturating_sub(1);
            let is_full = stored.record.check_room(&rescued.id, [replica].into_iter()).is_err();
            if !is_full {
                stored.record.version.advance(replica, seq);
            } else if operation.kind != Kind::Deletion {
                // It cannot be counted, and others must not be lost by that.
                missing += 1;
                continue;
            }
            if operation.kind == Kind::Deletion {
                stored.delete(operation.stamp.ms());
            } else if stored.record.deleted_ms == 0 {
                stored.tail.push(operation);
                self.from_journal += 1;
            }
        }
        missing
    }
}

/// Rows can be intact and not belong together; nothing that no client could have sent is served.
fn drop_invalid(stored: &mut Stored) {
    let valid =
        |kind: Kind, bytes: &bytes::Bytes| kind != Kind::YjsUpdate || Update::parse(bytes.clone()).is_ok();
    stored.tail.retain(|operation| valid(operation.kind, &operation.payload));
}
