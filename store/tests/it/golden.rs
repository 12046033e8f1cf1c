//! Data folders that earlier versions wrote: each must open and read as it did then. They are never made anew;
//! a new format gets a new folder, written once with `TOMBOLO_TEST_WRITE_GOLDEN=FOLDER`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use bytes::Bytes;
use tombolo_core::engine::automerge;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Contents, Store, StoreConfig};

use super::typist::{keystroke, parts, text, typed};

/// One Automerge change of actor 00…01 that sets "key" to "value", as JavaScript 3.5 would write it.
const CHANGE: &str = include_str!("../../../fixtures/store/automerge-change.hex");

fn open(folder: &Path) -> Store {
    let config = StoreConfig { segment_bytes: 8192, shelf_count: 1, ..StoreConfig::new(folder) };
    Store::open(config, ThreadWorker::start().unwrap()).unwrap()
}

fn folded() -> DocumentId {
    DocumentId::yjs("notes/with a snapshot").unwrap()
}

fn fresh() -> DocumentId {
    DocumentId::yjs("Ünïcode 😀").unwrap()
}

const AUTOMERGE: DocumentId = DocumentId::Automerge([7; 16]);

fn change() -> Bytes {
    let hex = CHANGE.trim();
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn read(store: &Store, id: &DocumentId) -> Contents {
    store.document(id).unwrap().read().unwrap()
}

fn write(folder: &Path) {
    let store = open(folder);
    let append = |id: &DocumentId, kind, payloads: Vec<Bytes>| {
        let document = store.document(id).unwrap();
        let (sender, receiver) = channel();
        for payload in payloads {
            let sender = sender.clone();
            document.append(kind, payload, Box::new(move |result| sender.send(result).unwrap())).unwrap();
        }
        drop(sender);
        assert!(receiver.iter().all(|result| result.is_ok()));
        store.flush().unwrap();
    };
    append(&folded(), Kind::YjsUpdate, (0..150).map(|clock| keystroke(7, clock)).collect());
    while read(&store, &folded()).snapshot.is_none() {
        std::thread::yield_now();
    }
    append(&folded(), Kind::YjsUpdate, (150..155).map(|clock| keystroke(7, clock)).collect());
    append(&fresh(), Kind::YjsUpdate, (0..3).map(|clock| keystroke(7, clock)).collect());
    append(&AUTOMERGE, Kind::AutomergeChanges, vec![change()]);
    store.close().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_folder_of_version_1_reads_as_it_did() {
    if let Some(folder) = std::env::var_os("TOMBOLO_TEST_WRITE_GOLDEN") {
        write(Path::new(&folder));
    }
    let golden = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/store/v1"));
    let folder = tempfile::tempdir().unwrap();
    copy(&golden, folder.path());
    let store = open(folder.path());
    assert_eq!(
        store.replica().to_string(),
        fs::read_to_string(golden.join("../v1-replica.txt")).unwrap().trim()
    );
    assert_eq!(store.documents(None, 10).unwrap(), [folded(), fresh(), AUTOMERGE]);
    let contents = read(&store, &folded());
    assert!(contents.snapshot.is_some());
    assert_eq!((contents.tail.len(), text(&contents)), (5, typed(155)));
    assert_eq!(text(&read(&store, &fresh())), typed(3));
    let contents = read(&store, &AUTOMERGE);
    assert_eq!(contents.tail, [change()]);
    assert_eq!(automerge::heads(&parts(&contents)).unwrap().len(), 1);
}
