//! Data folders that earlier versions wrote: each must open and read as it did then. They are never made anew;
//! a new format gets a new folder, written once with `TOMBOLO_TEST_WRITE_GOLDEN=FOLDER`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use bytes::Bytes;
use tombolo_core::engine::automerge;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_core::update::Update;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Contents, Engine, Store, StoreConfig, StoreError, maintain};

use super::typist::{keystroke, parts, text, typed};

/// One Automerge change of actor 00…01 that sets "key" to "value", as JavaScript 3.5 would write it.
const CHANGE: &str = include_str!("../../../fixtures/store/automerge-change.hex");

fn open(folder: &Path, engine: Option<Engine>, takeover_ms: u64) -> Store {
    let config =
        StoreConfig { engine, takeover_ms, segment_bytes: 8192, shelf_count: 1, ..StoreConfig::new(folder) };
    Store::open(config, ThreadWorker::start().unwrap()).unwrap()
}

fn folded() -> DocumentId {
    DocumentId::yjs("notes/with a snapshot").unwrap()
}

fn fresh() -> DocumentId {
    DocumentId::yjs("Ünïcode 😀").unwrap()
}

fn large() -> DocumentId {
    DocumentId::yjs("with an operation of many rows").unwrap()
}

fn deleted() -> DocumentId {
    DocumentId::yjs("deleted").unwrap()
}

/// One update that types so many letters at once.
fn essay() -> Bytes {
    let mut update = vec![1, 1, 7, 0, 4, 1, 1, b't', 0x90, 0x4e];
    update.extend([b'e'; 10_000]);
    update.push(0);
    update.into()
}

const AUTOMERGE: DocumentId = DocumentId::Automerge([7; 16]);

fn change() -> Bytes {
    let hex = CHANGE.trim();
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn read(store: &Store, id: &DocumentId) -> Contents {
    store.document(id).unwrap().read().unwrap()
}

fn write(folder: &Path, engine: Engine) {
    let written = folder.with_extension("written");
    let store = open(&written, Some(engine), 5);
    let append = |store: &Store, id: &DocumentId, kind, payloads: Vec<Bytes>| {
        let document = store.document(id).unwrap();
        let (sender, receiver) = channel();
        for payload in payloads {
            let sender = sender.clone();
            document.append(kind, payload, Box::new(move |result| sender.send(result).unwrap())).unwrap();
        }
        drop(sender);
        assert!(receiver.iter().all(|result| result.is_ok()));
    };
    append(&store, &folded(), Kind::YjsUpdate, (0..150).map(|clock| keystroke(7, clock)).collect());
    store.flush().unwrap();
    while read(&store, &folded()).snapshot.is_none() {
        std::thread::yield_now();
    }
    append(&store, &folded(), Kind::YjsUpdate, (150..155).map(|clock| keystroke(7, clock)).collect());
    append(&store, &fresh(), Kind::YjsUpdate, (0..3).map(|clock| keystroke(7, clock)).collect());
    append(&store, &AUTOMERGE, Kind::AutomergeChanges, vec![change()]);
    append(&store, &large(), Kind::YjsUpdate, vec![essay()]);
    append(&store, &deleted(), Kind::YjsUpdate, (0..3).map(|clock| keystroke(7, clock)).collect());
    assert!(store.remove(&deleted()).unwrap());
    drop(store);
    // The last one is in the journal alone, as after a kill.
    let store = open(&written, None, 3_600_000);
    append(&store, &fresh(), Kind::YjsUpdate, vec![keystroke(7, 3)]);
    copy(&written, folder);
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

/// A copy of the golden folder of this name, opened.
fn opened(name: &str) -> (tempfile::TempDir, Store) {
    let golden = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/store")).join(name);
    let folder = tempfile::tempdir().unwrap();
    copy(&golden, folder.path());
    let store = open(folder.path(), None, 5);
    (folder, store)
}

fn reads_as_it_did(store: &Store, letters: u64) {
    let contents = read(store, &folded());
    assert!(contents.snapshot.is_some());
    assert_eq!((contents.tail.len(), text(&contents)), (5, typed(155)));
    assert_eq!(text(&read(store, &fresh())), typed(letters));
    let contents = read(store, &AUTOMERGE);
    assert_eq!(contents.tail, [change()]);
    assert_eq!(automerge::heads(&parts(&contents)).unwrap().len(), 1);
}

#[test]
fn a_folder_of_version_1_reads_as_it_did() {
    let (_folder, store) = opened("v1");
    let replica = include_str!("../../../fixtures/store/v1-replica.txt");
    assert_eq!(store.replica().to_string(), replica.trim());
    assert_eq!(store.documents(None, 10).unwrap(), [folded(), fresh(), AUTOMERGE]);
    reads_as_it_did(&store, 3);
}

#[test]
fn folders_of_version_2_read_as_they_did() {
    if let Some(folder) = std::env::var_os("TOMBOLO_TEST_WRITE_GOLDEN") {
        for engine in [Engine::Sled, Engine::Redb] {
            write(&Path::new(&folder).join(format!("v2-blocks-{engine}")), engine);
        }
    }
    for name in
        ["v2-sled", "v2-redb", "v2-outline-sled", "v2-outline-redb", "v2-blocks-sled", "v2-blocks-redb"]
    {
        let (folder, store) = opened(name);
        let contents = read(&store, &folded());
        let survey = store.document(&folded()).unwrap().survey().unwrap();
        let has_outline = name.contains("outline") || name.contains("blocks");
        assert_eq!(contents.outline.is_some(), has_outline, "{name}");
        assert_eq!(survey.is_some(), has_outline, "{name}");
        if let (Some(snapshot), Some(survey)) = (contents.snapshot, survey) {
            let whole = Update::parse(snapshot.clone()).unwrap();
            assert_eq!(whole.outline(), Some(survey.outline.clone()));
            assert_eq!(survey.deletes, snapshot[survey.outline.deletes_at()..]);
            assert_eq!(survey.tail, contents.tail);
        }
        reads_as_it_did(&store, 4);
        assert_eq!(read(&store, &large()).tail, [essay()]);
        assert!(matches!(store.document(&deleted()), Err(StoreError::Deleted { .. })));
        assert_eq!(store.tombstones().unwrap()[0].0, deleted());
        let ids = store.documents(None, 10).unwrap();
        assert_eq!(ids, [folded(), large(), fresh(), AUTOMERGE]);
        // In the repository it is a copy of what was written.
        assert_eq!(store.identity().former.len(), 1);
        drop(store);
        assert_eq!(maintain::verify(folder.path(), &mut |_| ()).unwrap().findings, [], "{name}");
    }
}
