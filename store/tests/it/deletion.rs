//! Deleted stays deleted: through restarts, late appends and old operations, until somebody purges it.

use std::path::Path;
use std::sync::mpsc::channel;

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{AppendError, Document, Engine, Store, StoreConfig, StoreError};

use super::typist::{keystroke, text, typed};

on_each_engine! {
    a_deleted_document_is_refused_until_it_is_purged,
    a_deletion_with_a_receipt_survives_a_kill,
}

fn open(folder: &Path, engine: Engine) -> Store {
    let config = StoreConfig { takeover_ms: 5, engine: Some(engine), ..StoreConfig::new(folder) };
    Store::open(config, ThreadWorker::start().unwrap()).unwrap()
}

fn append(document: &Document, clock: u64) -> Result<(), AppendError> {
    let (sender, receiver) = channel();
    let done = Box::new(move |result: Result<_, _>| sender.send(result.map(|_| ())).unwrap());
    document.append(Kind::YjsUpdate, keystroke(7, clock), done)?;
    receiver.recv().unwrap()
}

fn a_deleted_document_is_refused_until_it_is_purged(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (id, other) = (DocumentId::yjs("gone").unwrap(), DocumentId::yjs("other").unwrap());
    let store = open(folder.path(), engine);
    let document = store.document(&id).unwrap();
    (0..5).for_each(|clock| append(&document, clock).unwrap());
    append(&store.document(&other).unwrap(), 0).unwrap();
    assert!(!store.remove(&DocumentId::yjs("never there").unwrap()).unwrap());
    store.flush().unwrap();
    assert!(store.remove(&id).unwrap());
    assert!(!store.remove(&id).unwrap());
    assert_eq!(store.documents(None, 10).unwrap(), std::slice::from_ref(&other));
    // Who has it open is told, who opens it is told.
    assert!(matches!(append(&document, 5), Err(AppendError::Deleted { .. })));
    assert!(matches!(document.read(), Err(StoreError::Deleted { .. })));
    assert!(matches!(store.document(&id), Err(StoreError::Deleted { .. })));
    drop((document, store));

    for _ in 0..2 {
        let store = open(folder.path(), engine);
        assert!(matches!(store.document(&id), Err(StoreError::Deleted { .. })));
        assert_eq!(store.documents(None, 10).unwrap(), std::slice::from_ref(&other));
        let tombstones = store.tombstones().unwrap();
        assert_eq!(tombstones.len(), 1);
        assert_eq!(tombstones[0].0, id);
        assert_eq!(text(&store.document(&other).unwrap().read().unwrap()), typed(1));
    }

    let store = open(folder.path(), engine);
    assert!(store.purge(&id).unwrap());
    assert!(!store.purge(&id).unwrap());
    assert!(!store.remove(&id).unwrap(), "there is nothing to delete");
    let document = store.document(&id).unwrap();
    assert_eq!(document.read().unwrap().tail.len(), 0);
    append(&document, 0).unwrap();
    drop((document, store));
    let store = open(folder.path(), engine);
    assert_eq!(text(&store.document(&id).unwrap().read().unwrap()), typed(1));
    assert_eq!(store.tombstones().unwrap(), []);
    assert_eq!(store.documents(None, 10).unwrap().len(), 2);
}

/// A process that is killed right after the receipt: the journal alone knows of the deletion.
fn a_deletion_with_a_receipt_survives_a_kill(engine: Engine) {
    let root = tempfile::tempdir().unwrap();
    let (folder, copy) = (root.path().join("data"), root.path().join("copy"));
    let id = DocumentId::yjs("gone").unwrap();
    let config = StoreConfig { takeover_ms: 3_600_000, engine: Some(engine), ..StoreConfig::new(&folder) };
    let store = Store::open(config, ThreadWorker::start().unwrap()).unwrap();
    let document = store.document(&id).unwrap();
    (0..5).for_each(|clock| append(&document, clock).unwrap());
    assert!(store.remove(&id).unwrap());
    super::corruption::copy_folder(&folder, &copy);
    let store = open(&copy, engine);
    assert!(matches!(store.document(&id), Err(StoreError::Deleted { .. })));
    assert_eq!(store.documents(None, 10).unwrap(), []);
    store.flush().unwrap();
    assert!(matches!(store.document(&id), Err(StoreError::Deleted { .. })));
}

#[test]
fn a_tombstone_goes_when_it_stood_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let id = DocumentId::yjs("gone").unwrap();
    let store = open(folder.path(), Engine::Sled);
    append(&store.document(&id).unwrap(), 0).unwrap();
    store.remove(&id).unwrap();
    drop(store);
    let config = StoreConfig { tombstone_ms: 0, shelf_idle_ms: 20, ..StoreConfig::new(folder.path()) };
    let store = Store::open(config, ThreadWorker::start().unwrap()).unwrap();
    while store.document(&id).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(store.tombstones().unwrap(), []);
    assert_eq!(store.document(&id).unwrap().read().unwrap().tail.len(), 0);
}
