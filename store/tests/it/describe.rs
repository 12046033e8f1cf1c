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

/// However large the pages are, over shelves that have few and many, and with some on their way there.
#[test]
fn pages_join_without_a_gap_and_say_the_same_as_each_document() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shelf_count: 5, takeover_ms: 3_600_000, ..StoreConfig::new(folder.path()) };
    let store = Store::open(config, ThreadWorker::start().unwrap()).unwrap();
    let id = |n: u64| DocumentId::yjs(&format!("document {n:03}")).unwrap();
    let write = |documents: std::ops::Range<u64>, clock| {
        for n in documents {
            let document = store.document(&id(n)).unwrap();
            document
                .append(Kind::YjsUpdate, keystroke(7, clock), Box::new(|stored| assert!(stored.is_ok())))
                .unwrap();
        }
    };
    write(0..200, 0);
    store.flush().unwrap();
    write(190..230, 1);
    for removed in [3, 77, 195] {
        assert!(store.remove(&id(removed)).unwrap());
    }
    let expected: Vec<_> = (0..230).filter(|n| ![3, 77, 195].contains(n)).map(id).collect();
    for limit in [1, 2, 17, 100, 1000] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = store.descriptions(after.as_ref(), limit).unwrap();
            let names: Vec<_> = page.iter().map(|(id, _)| id.clone()).collect();
            assert_eq!(store.documents(after.as_ref(), limit).unwrap(), names);
            let Some(last) = names.last() else { break };
            after = Some(last.clone());
            all.extend(page);
        }
        assert_eq!(all.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), expected, "{limit} at once");
        assert!(all.iter().all(|(id, described)| store.describe(id).unwrap().as_ref() == Some(described)));
    }
}
