//! Verify: every byte that was stored, held against what it should be.
//!
//! A folder that nobody uses is judged whole: each file of a shelf against its seal, each row, each record against
//! the census, each record of the journal. On a running store files change under the eye, so there it is rows,
//! census and what is durable of the journal.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Version;

use super::{MaintainError, Progress, Severity, Verification, apply, scratch};
use crate::clock;
use crate::disk::FileDisk;
use crate::feed;
use crate::identity;
use crate::journal::{self, Journaled};
use crate::shelf::{ClosedShelves, DocumentRecord, Inspection, ShelfError};
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
    if let Some(found) = clock::fault(folder) {
        verification.damage(None, "clock", found);
    }
    let mut journaled = BTreeMap::new();
    if folder.join("journal").is_dir() {
        let disk = FileDisk::open(&folder.join("journal"))?;
        let inspection = journal::inspect(&disk)?;
        let closed = inspection.documents.is_empty();
        let fault = feed::verify(&FileDisk::of(folder)?, inspection.shelved, closed);
        verification.add_feed(fault);
        journaled = verification.add_journal(inspection);
    }
    match ClosedShelves::open(&folder.join("shelf")) {
        Ok(Some(shelves)) => {
            verify_shelves(folder, &shelves, &mut journaled, &mut verification, progress)?;
        }
        Ok(None) => {}
        Err(error @ ShelfError::Layout { .. }) => {
            verification.damage(None, "shelf/layout", error.to_string());
        }
        Err(error) => return Err(error.into()),
    }
    verification.add_unshelved(&journaled);
    Ok(verification.sorted())
}

fn verify_shelves(
    folder: &Path,
    shelves: &ClosedShelves,
    journaled: &mut Unshelved,
    verification: &mut Verification,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), MaintainError> {
    if let Some(found) = shelves.layout_fault {
        verification.damage(None, "shelf/layout", found.to_owned());
    }
    if let Some(found) = shelves.made_fault {
        verification.damage(None, "shelf/made", found.to_owned());
    }
    let of = (0..shelves.count()).map(|index| shelves.bytes(index)).sum();
    let mut done = 0;
    for index in 0..shelves.count() {
        let mut counted = Besides::default();
        let inspection = shelves
            .inspect(index, &scratch(folder), &mut |id, record| counted.meet(journaled, id, record))?;
        verification.add_shelf(index, inspection, &counted);
        done += shelves.bytes(index);
        progress(Progress { done, of });
    }
    Ok(())
}

/// Looks at everything of an open store. Blocking.
pub(crate) fn verify_open(inner: &Inner, progress: &mut dyn FnMut(Progress)) -> Verification {
    let mut verification = Verification::default();
    let mut journaled = verification.add_journal(inner.journal.inspect_live());
    if let Some(found) = inner.shelves.made_fault() {
        verification.damage(None, "shelf/made", found.to_owned());
    }
    verification.add_feed(inner.feed.verify());
    let count = inner.shelves.count();
    for index in 0..count {
        let mut counted = Besides::default();
        let seen = &mut |id: &DocumentId, record: Option<&_>| counted.meet(&mut journaled, id, record);
        match inner.shelves.inspect(index, seen) {
            Ok(inspection) => verification.add_shelf(index, inspection, &counted),
            Err(error) => verification.damage(None, &place(index), crate::shelf::words(&error)),
        }
        progress(Progress { done: u64::from(index) + 1, of: u64::from(count) });
    }
    verification.add_unshelved(&journaled);
    verification.sorted()
}

fn place(index: u16) -> String {
    format!("shelf/{index:04}")
}

/// Documents of the journal that were not met on a shelf yet.
type Unshelved = BTreeMap<DocumentId, Journaled>;

/// How much more there is than a shelf has, since the journal has some of its documents, too.
#[derive(Default)]
struct Besides {
    documents: i64,
    operations: u64,
}

impl Besides {
    /// The shelf has this document.
    fn meet(&mut self, journaled: &mut Unshelved, id: &DocumentId, record: Option<&DocumentRecord>) {
        let Some(operations) = journaled.remove(id) else { return };
        self.operations += operations.beyond(&record.map_or_else(Version::default, |it| it.version.clone()));
        let Some(record) = record else { return };
        self.documents += match (record.has_content(), operations.makes(&record.version)) {
            (false, Some(true)) => 1,
            (true, Some(false)) => -1,
            _ => 0,
        };
    }
}

impl Verification {
    fn add_unshelved(&mut self, journaled: &Unshelved) {
        let exists = |operations: &&Journaled| operations.makes(&Version::default()) == Some(true);
        self.documents += journaled.values().filter(exists).count() as u64;
        self.operations += journaled.values().map(|it| it.beyond(&Version::default())).sum::<u64>();
    }

    fn add_shelf(&mut self, index: u16, inspection: Inspection, besides: &Besides) {
        self.documents = (self.documents + inspection.documents).saturating_add_signed(besides.documents);
        self.operations += inspection.operations + besides.operations;
        self.bytes += inspection.bytes;
        for fault in inspection.faults {
            self.damage(fault.document.as_ref(), &place(index), fault.found);
        }
    }

    fn add_feed(&mut self, fault: Option<feed::Fault>) {
        if let Some(feed::Fault { may_be_torn, found }) = fault {
            self.say(if may_be_torn { Severity::Note } else { Severity::Damage }, None, "feed", found);
        }
    }

    /// Gives back which documents it has.
    fn add_journal(&mut self, inspection: journal::Inspection) -> Unshelved {
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
        inspection.documents
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use bytes::Bytes;
    use tombolo_core::operation::Kind;

    use super::*;
    use crate::worker::ThreadWorker;
    use crate::{Store, StoreConfig};

    const PAYLOAD: &[u8] = &[1, 1, 7, 0, 4, 1, 1, b't', 1, b'x', 0];

    fn write(store: &Store, name: &str) {
        let document = store.document(&DocumentId::yjs(name).unwrap()).unwrap();
        let (sender, receiver) = channel();
        let done = Box::new(move |result: Result<_, _>| sender.send(result.is_ok()).unwrap());
        document.append(Kind::YjsUpdate, Bytes::from_static(PAYLOAD), done).unwrap();
        assert!(receiver.recv().unwrap());
    }

    #[test]
    fn a_document_counts_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { ballast_bytes: 0, shelf_count: 2, ..StoreConfig::new(folder.path()) };
        let open = |takeover_ms| {
            let config = StoreConfig { takeover_ms, ..config.clone() };
            Store::open(config, ThreadWorker::start().unwrap()).unwrap()
        };
        let id = |name| DocumentId::yjs(name).unwrap();
        let store = open(3_600_000);
        write(&store, "a");
        let counted = |verified: Verification| (verified.documents, verified.operations);
        let count = || counted(store.verify(&mut |_| ()));
        assert_eq!(count(), (1, 1), "only in the journal");
        ["a", "b", "c", "d"].iter().for_each(|name| write(&store, name));
        store.flush().unwrap();
        assert_eq!(count(), (4, 5), "on the shelf, and in the journal, too");
        ["a", "e"].iter().for_each(|name| write(&store, name));
        assert_eq!(count(), (5, 7), "some only in the journal");
        ["b", "e"].iter().for_each(|name| assert!(store.remove(&id(name)).unwrap()));
        assert_eq!(store.verify(&mut |_| ()).documents, 3, "two are deleted in the journal only");
        store.flush().unwrap();
        assert!(store.purge(&id("b")).unwrap());
        ["b", "f"].iter().for_each(|name| write(&store, name));
        assert_eq!(store.verify(&mut |_| ()).documents, 5, "one is there again");
        // As killed.
        let copy = tempfile::tempdir().unwrap();
        let from = format!("{}/.", folder.path().display());
        assert!(
            std::process::Command::new("cp").args(["-r", &from]).arg(copy.path()).status().unwrap().success()
        );
        let closed = |folder: &Path| verify(folder, &mut |_| ()).unwrap();
        assert_eq!((closed(copy.path()).documents, closed(copy.path()).findings), (5, vec![]));
        drop(store);
        assert_eq!(closed(folder.path()).documents, 5);
    }
}
