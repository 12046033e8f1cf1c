//! What a document is from the outside: the same before and after the shelf took it over, and nothing once deleted.

use std::sync::mpsc::channel;

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Engine, Store, StoreConfig};

use super::typist::keystroke;

on_each_engine! {
    a_document_is_described_whether_the_shelf_has_it_or_not,
    a_document_is_listed_also_while_the_shelf_takes_it_over,
}

fn a_document_is_described_whether_the_shelf_has_it_or_not(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let patient =
        StoreConfig { takeover_ms: 60_000, engine: Some(engine), ..StoreConfig::new(folder.path()) };
    let store = Store::open(patient, ThreadWorker::start().unwrap()).unwrap();
    let id = DocumentId::yjs("d").unwrap();
    assert_eq!(store.describe(&id).unwrap(), None);
    let document = store.document(&id).unwrap();
    assert_eq!(store.describe(&id).unwrap(), None, "open and empty");
    let (sender, receiver) = channel();
    let payloads: Vec<_> = (0..3).map(|clock| keystroke(7, clock)).collect();
    for payload in payloads.clone() {
        let sender = sender.clone();
        let done = Box::new(move |result| sender.send(result).unwrap());
        document.append(Kind::YjsUpdate, payload, done).unwrap();
    }
    drop(sender);
    assert_eq!(receiver.iter().filter(Result::is_ok).count(), 3);
    let pending = store.describe(&id).unwrap().unwrap();
    assert_eq!((pending.operations(), pending.tail_operations), (3, 3));
    assert_eq!(pending.bytes(), payloads.iter().map(|payload| payload.len() as u64).sum::<u64>());
    store.flush().unwrap();
    assert_eq!(store.describe(&id).unwrap(), Some(pending));
    assert!(store.remove(&id).unwrap());
    assert_eq!(store.describe(&id).unwrap(), None, "deleted in the journal");
    store.flush().unwrap();
    assert_eq!(store.describe(&id).unwrap(), None, "deleted on the shelf");
}

fn a_document_is_listed_also_while_the_shelf_takes_it_over(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let hasty = StoreConfig { takeover_ms: 1, engine: Some(engine), ..StoreConfig::new(folder.path()) };
    let store = Store::open(hasty, ThreadWorker::start().unwrap()).unwrap();
    for round in 0..300 {
        let (sender, receiver) = channel();
        let id = DocumentId::yjs(&format!("d{round:04}")).unwrap();
        let done = Box::new(move |result| sender.send(result).unwrap());
        store.document(&id).unwrap().append(Kind::YjsUpdate, keystroke(7, 0), done).unwrap();
        receiver.recv().unwrap().unwrap();
        for _ in 0..10 {
            assert_eq!(store.documents(None, 1000).unwrap().len(), round + 1);
        }
    }
}
