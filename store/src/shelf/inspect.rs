//! Looking at every row of a shelf, for verify: what is wrong, and of which document.
//!
//! Guarantees: nothing on the disk is changed; damage to one row or page does not hide another.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use tombolo_core::id::DocumentId;
use tombolo_core::update::Update;

use super::document::{DocumentRecord, Prefix, place};
use super::open_shelf::OpenShelf;
use super::row::NoRow;
use super::stored::Stored;
use super::{ShelfError, Tree, quarantine};

/// What is wrong on a shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The document that it concerns, if that can be told.
    pub document: Option<DocumentId>,
    /// What is wrong.
    pub found: String,
}

/// What a look at a shelf gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Documents that are whole.
    pub documents: u64,
    /// Operations behind their snapshots.
    pub operations: u64,
    /// Bytes of their content, unpacked.
    pub bytes: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Hears of each document that was looked at, with its record if it is whole.
pub type Seen<'a> = dyn FnMut(&DocumentId, Option<&DocumentRecord>) + 'a;

impl OpenShelf {
    /// Looks at everything; `expected` names documents that should be here. May be called while others write:
    /// each document is looked at as it is at some instant.
    pub(super) fn inspect(&self, expected: &BTreeSet<Vec<u8>>, seen: &mut Seen<'_>) -> Inspection {
        let mut inspection = Inspection::default();
        let mut keys = expected.clone();
        if let Err(error) = self.rows.engine.scan(Tree::Documents, &[], None, &mut |key, _| {
            keys.insert(key.to_vec());
            ControlFlow::Continue(())
        }) {
            inspection.fault(None, words(&error));
        }
        let mut names: HashMap<Prefix, DocumentId> = HashMap::new();
        for key in &keys {
            match DocumentId::from_key(key) {
                Ok(id) => {
                    names.insert(place(&id).0, id.clone());
                    let record = self.inspect_document(&id, &mut inspection);
                    seen(&id, record.as_ref());
                }
                Err(_) => inspection.fault(None, "a record has a key that names no document".to_owned()),
            }
        }
        for tree in [Tree::Tails, Tree::Snapshots, Tree::Quarantine] {
            self.inspect_rows(tree, &names, &mut inspection);
        }
        inspection
    }

    /// Gives back its record, if it is whole.
    fn inspect_document(&self, id: &DocumentId, inspection: &mut Inspection) -> Option<DocumentRecord> {
        let stored = match self.load(id, false) {
            Ok(stored) => stored?,
            Err(ShelfError::Damaged { document, found }) => {
                inspection.fault(Some(document), found.to_owned());
                return None;
            }
            Err(error) => {
                inspection.fault(Some(id.clone()), words(&error));
                return None;
            }
        };
        let tail: usize = stored.tail.iter().map(|operation| operation.payload.len()).sum();
        if let Some(found) = snapshot_fault(id, &stored) {
            inspection.fault(Some(id.clone()), found);
            return None;
        }
        inspection.documents += u64::from(stored.record.is_listed());
        inspection.operations += stored.tail.len() as u64;
        inspection.bytes += (stored.snapshot.map_or(0, |snapshot| snapshot.len()) + tail) as u64;
        if stored.record.set_aside > 0 {
            self.inspect_quarantine(id, inspection);
        }
        Some(stored.record)
    }

    /// One operation at a time.
    fn inspect_quarantine(&self, id: &DocumentId, inspection: &mut Inspection) {
        let prefix = place(id).0;
        let noted = match quarantine::list(&self.rows, id, &prefix) {
            Ok(noted) => noted,
            Err(error) => return inspection.fault(Some(id.clone()), words(&error)),
        };
        for noted in noted {
            if let Err(error) = quarantine::read(&self.rows, id, &prefix, (noted.replica, noted.seq)) {
                inspection.fault(Some(id.clone()), words(&error));
            }
        }
    }

    /// Rows that no record counts any more are looked at, too.
    fn inspect_rows(&self, tree: Tree, names: &HashMap<Prefix, DocumentId>, inspection: &mut Inspection) {
        let mut faults = Vec::new();
        let scanned = self.rows.engine.scan(tree, &[], None, &mut |key, row| {
            let found = match self.rows.mark.open(tree, key, row) {
                Ok(_) => return ControlFlow::Continue(()),
                Err(NoRow::Broken) => format!("a row of {} is not as it was written", tree.name()),
                Err(NoRow::TooNew(version)) => format!("a row of {} has format {version}", tree.name()),
            };
            let document = key.first_chunk().and_then(|prefix| names.get(prefix)).cloned();
            faults.push(Fault { document, found });
            ControlFlow::Continue(())
        });
        inspection.faults.append(&mut faults);
        if let Err(error) = scanned {
            inspection.fault(None, words(&error));
        }
    }
}

/// What is wrong with a snapshot that is as it was written.
fn snapshot_fault(id: &DocumentId, stored: &Stored) -> Option<String> {
    let snapshot = stored.snapshot.as_ref().filter(|_| matches!(id, DocumentId::Yjs(_)))?;
    match Update::parse(snapshot.clone()) {
        Err(error) => Some(format!("its snapshot is no update: {error}")),
        // Joins are served by it, so it must be what reading every struct says.
        Ok(update) if stored.outline.is_some() && stored.outline != update.outline() => {
            Some("the outline of its snapshot is that of another one".to_owned())
        }
        Ok(_) => None,
    }
}

impl Inspection {
    fn fault(&mut self, document: Option<DocumentId>, found: String) {
        self.faults.push(Fault { document, found });
    }

    /// Adds what was found elsewhere.
    pub(super) fn add(&mut self, other: Self) {
        self.documents += other.documents;
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.faults.extend(other.faults);
    }
}

/// An error with what is behind it.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(why) = cause {
        words = format!("{words}: {why}");
        cause = why.source();
    }
    words
}
