//! How many bytes on the disk a byte of a document takes, after much came and was folded. For large stores the bench
//! `scale` says so.

use std::path::Path;
use std::sync::mpsc::channel;

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Engine, Store, StoreConfig};

use super::typist::{keystroke, reach};

on_each_engine! {
    twenty_rounds_leave_at_most_three_times_what_counts,
}

fn append(store: &Store, id: &DocumentId, clocks: std::ops::Range<u64>) {
    let document = store.document(id).unwrap();
    let (sender, receiver) = channel();
    for clock in clocks {
        let sender = sender.clone();
        let done = Box::new(move |result| sender.send(result).unwrap());
        document.append(Kind::YjsUpdate, keystroke(7, clock), done).unwrap();
    }
    drop(sender);
    assert!(receiver.iter().all(|result| result.is_ok()));
}

fn bytes_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let bytes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => bytes_of(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    bytes.sum()
}

fn twenty_rounds_leave_at_most_three_times_what_counts(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { engine: Some(engine), shelf_count: 1, ..StoreConfig::new(folder.path()) };
    let store = Store::open(config, ThreadWorker::start().unwrap()).unwrap();
    let ids: Vec<_> = (0..10).map(|n| DocumentId::yjs(&format!("document {n}")).unwrap()).collect();
    for round in 0..20 {
        for id in &ids {
            append(&store, id, 1000 * round..1000 * (round + 1));
        }
        store.compact(&mut |_| ()).unwrap();
    }
    let mut live = 0;
    for id in &ids {
        let contents = store.document(id).unwrap().read().unwrap();
        assert_eq!(reach(&contents, 7), 20_000);
        live += contents.snapshot.map_or(0, |snapshot| snapshot.len() as u64);
        live += contents.tail.iter().map(|payload| payload.len() as u64).sum::<u64>();
    }
    let disk = bytes_of(&folder.path().join("shelf"));
    println!("{engine}: {disk} bytes of shelf for {live} that count");
    assert!(disk <= 3 * live, "{disk} bytes of shelf for {live} that count");
}
