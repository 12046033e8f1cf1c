//! A document that so many replicas wrote to that its record takes no more of them.

use std::path::Path;
use std::sync::mpsc::channel;

use tombolo_core::operation::Stamp;

use super::*;
use crate::config::StoreConfig;
use crate::shelf::{Engine, Shelves};
use crate::store::Store;
use crate::worker::ThreadWorker;

const EMPTY: &[u8] = &[0, 0];

fn id() -> DocumentId {
    DocumentId::yjs("d").unwrap()
}

fn config(folder: &Path) -> StoreConfig {
    StoreConfig { shelf_count: 1, ballast_bytes: 0, ..StoreConfig::new(folder) }
}

/// Fills a new folder's shelf with operations of as many replicas as a record takes, but so many.
fn full_but(folder: &Path, room: usize) -> usize {
    let of = |n: u16| Operation {
        document: id(),
        replica: ReplicaId([&n.to_be_bytes()[..], &[9; 14]].concat().try_into().unwrap()),
        seq: Seq(1),
        stamp: Stamp(u64::from(n)),
        kind: Kind::YjsUpdate,
        payload: Bytes::from_static(EMPTY),
    };
    let scratch = tempfile::tempdir().unwrap();
    let shelves = Shelves::open(scratch.path(), 1, Some(Engine::Sled)).unwrap();
    let taken = (0..u16::MAX).take_while(|n| shelves.fill(&[of(*n)]).unwrap().is_empty()).count();
    let shelves = Shelves::open(&folder.join("shelf"), 1, Some(Engine::Sled)).unwrap();
    let operations: Vec<_> = (0..u16::try_from(taken - room).unwrap()).map(of).collect();
    assert!(shelves.fill(&operations).unwrap().is_empty());
    shelves.close().unwrap();
    operations.len()
}

/// What the door says, and what the receipt says.
fn append(store: &Store) -> Result<(), AppendError> {
    let document = store.document(&id()).unwrap();
    let (sender, receiver) = channel();
    let done = Box::new(move |result| sender.send(result).unwrap());
    document.append(Kind::YjsUpdate, Bytes::from_static(EMPTY), done)?;
    receiver.recv().unwrap().map(drop)
}

#[test]
fn a_full_record_refuses_at_the_door_and_is_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let count = full_but(folder.path(), 0);
    for _ in 0..2 {
        let store = Store::open(config(folder.path()), ThreadWorker::start().unwrap()).unwrap();
        let refused = append(&store).expect_err("it was acknowledged, and the shelf can never take it");
        assert!(refused.to_string().contains("export it and import it under another name"), "{refused}");
        let contents = store.document(&id()).unwrap().read().unwrap();
        assert!(contents.snapshot.is_some() || contents.tail.len() == count);
        assert_eq!(store.metrics().operations, 0);
        let other = store.document(&DocumentId::yjs("other").unwrap()).unwrap();
        let (sender, receiver) = channel();
        let done = Box::new(move |result: Result<_, _>| sender.send(result.is_ok()).unwrap());
        other.append(Kind::YjsUpdate, Bytes::from_static(EMPTY), done).unwrap();
        assert!(receiver.recv().unwrap(), "others go on");
        store.close().unwrap();
    }
}

/// The last one goes in, again and again; a life that comes after it counts one that is still in the journal.
#[test]
fn the_last_room_is_given_once() {
    let folder = tempfile::tempdir().unwrap();
    full_but(folder.path(), 1);
    let witness = || {
        let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.to_string_lossy().contains("witness-")).for_each(|path| {
            std::fs::remove_file(path).unwrap();
        });
    };
    let held = StoreConfig { takeover_ms: 3_600_000, ..config(folder.path()) };
    let store = Store::open(held, ThreadWorker::start().unwrap()).unwrap();
    append(&store).unwrap();
    append(&store).unwrap();
    // As killed: a copy of the folder, with both in its journal only.
    let copy = tempfile::tempdir().unwrap();
    let from = format!("{}/.", folder.path().display());
    let copied = std::process::Command::new("cp").args(["-r", &from]).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let other = Store::open(config(copy.path()), ThreadWorker::start().unwrap()).unwrap();
    assert_eq!(other.identity().former.len(), 1);
    assert!(matches!(append(&other), Err(AppendError::Stuck { .. })));
    drop(other);
    drop(store);
    let store = Store::open(config(folder.path()), ThreadWorker::start().unwrap()).unwrap();
    append(&store).unwrap();
    drop(store);
    witness();
    let store = Store::open(config(folder.path()), ThreadWorker::start().unwrap()).unwrap();
    assert!(matches!(append(&store), Err(AppendError::Stuck { .. })));
}

/// Nobody writes under its name again, but it need not lie there for ever.
#[test]
fn a_full_record_can_be_deleted_and_stays_deleted() {
    let folder = tempfile::tempdir().unwrap();
    full_but(folder.path(), 0);
    let held = StoreConfig { takeover_ms: 3_600_000, ..config(folder.path()) };
    let store = Store::open(held, ThreadWorker::start().unwrap()).unwrap();
    assert!(store.remove(&id()).unwrap());
    assert!(!store.remove(&id()).unwrap());
    // As killed, and as damaged and repaired: the deletion is in the journal only.
    let (copy, repaired) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from = format!("{}/.", folder.path().display());
    let copied = std::process::Command::new("cp").args(["-r", &from]).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let to = repaired.path().join("to");
    crate::maintain::repair(copy.path(), &to, &mut |_| ()).unwrap();
    drop(store);
    for folder in [folder.path(), copy.path(), &to] {
        for _ in 0..2 {
            let store = Store::open(config(folder), ThreadWorker::start().unwrap()).unwrap();
            assert!(matches!(store.document(&id()), Err(StoreError::Deleted { .. })));
            store.flush().unwrap();
            assert_eq!(store.tombstones().unwrap().len(), 1);
            store.close().unwrap();
        }
        let store = Store::open(config(folder), ThreadWorker::start().unwrap()).unwrap();
        assert!(store.purge(&id()).unwrap());
        assert!(matches!(append(&store), Err(AppendError::Stuck { .. })), "its name has no room for more");
        store.close().unwrap();
    }
}
