//! What is stored and an engine does not take, over merge processes: it is set aside by name, all else goes on.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tombolo::archive::StoreArchive;
use tombolo_core::engine::automerge::{Session, heads};
use tombolo_core::engine::yjs;
use tombolo_core::id::{DocumentId, Seq};
use tombolo_core::operation::Kind;
use tombolo_core::update::Update;
use tombolo_relay::member::{Archive, PairwisePort};
use tombolo_store::worker::{Request, Worker, WorkerError};
use tombolo_store::{AppendError, Store, StoreConfig};

use super::worker::{GIB, fold, hi, signal, start};

pub fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Client 7 types an "x" behind the others into the text "t".
pub fn keystroke(clock: u8) -> Bytes {
    match clock {
        0 => Bytes::from_static(&[1, 1, 7, 0, 4, 1, 1, b't', 1, b'x', 0]),
        _ => Bytes::from(vec![1, 1, 7, clock, 0x84, 7, clock - 1, 1, b'x', 0]),
    }
}

pub fn open(folder: &Path, worker: &Arc<dyn Worker>) -> Store {
    let config = StoreConfig { takeover_ms: 5, ..StoreConfig::new(folder) };
    Store::open(config, Arc::clone(worker)).unwrap()
}

/// Straight into the store, past every validator.
pub fn append(store: &Store, id: &DocumentId, payloads: Vec<Bytes>) -> Vec<Seq> {
    let kind = match id {
        DocumentId::Yjs(_) => Kind::YjsUpdate,
        DocumentId::Automerge(_) => Kind::AutomergeChanges,
    };
    let document = store.document(id).unwrap();
    let (sender, receiver) = channel();
    for payload in payloads {
        let sender = sender.clone();
        document.append(kind, payload, Box::new(move |result| sender.send(result).unwrap())).unwrap();
    }
    drop(sender);
    receiver.iter().map(Result::unwrap).collect()
}

pub fn set_aside(store: &Store, id: &DocumentId) -> Vec<Seq> {
    let mut seqs: Vec<_> = store.quarantine(id).unwrap().iter().map(|noted| noted.seq).collect();
    seqs.sort();
    seqs
}

fn is_quarantined(store: &Store, id: &DocumentId, payload: Bytes) -> bool {
    let refused = store.document(id).unwrap().append(Kind::YjsUpdate, payload, Box::new(|_| ()));
    matches!(refused, Err(AppendError::Quarantined { .. }))
}

fn parts(store: &Store, id: &DocumentId) -> Vec<Bytes> {
    let contents = store.document(id).unwrap().read().unwrap();
    contents.snapshot.into_iter().chain(contents.tail).collect()
}

/// It waits for ground that never comes, and would poison a document that took it (HAZARDS yrs-2).
const POISON: &str = "0101010100010101010001";
/// Passes every check by itself; its parent, which is stored, is a letter.
const NO_PARENT: &str = "010104000300070902080600";

#[test]
fn a_yjs_document_folds_without_what_its_engine_does_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let worker: Arc<dyn Worker> = start(2 * GIB, 60_000);
    let id = DocumentId::yjs("d").unwrap();
    let store = open(folder.path(), &worker);
    let mut payloads: Vec<_> = (0..50).map(keystroke).collect();
    payloads.insert(0, bytes(POISON));
    payloads.insert(20, bytes(NO_PARENT));
    payloads.insert(30, Bytes::from_static(b"no update"));
    append(&store, &id, payloads);
    store.fold_all(&mut |_| ()).unwrap();
    let check = |store: &Store, letters: usize| {
        assert_eq!(set_aside(store, &id), [Seq(21), Seq(31)]);
        for refused in [bytes(NO_PARENT), Bytes::from_static(b"no update")] {
            assert!(is_quarantined(store, &id, refused));
        }
        let parts = parts(store, &id);
        assert!(parts.contains(&bytes(POISON)), "it waits");
        assert!(parts.iter().all(|part| Update::parse(part.clone()).is_ok()));
        let sound: Vec<_> = parts.into_iter().filter(|part| *part != bytes(POISON)).collect();
        assert_eq!(yjs::text(&sound, "t").unwrap(), "x".repeat(letters));
        sound.len()
    };
    assert_eq!(check(&store, 50), 1);
    append(&store, &id, vec![keystroke(50)]);
    assert_eq!(check(&store, 51), 2);
    drop(store);
    let store = open(folder.path(), &worker);
    check(&store, 51);
    store.fold_all(&mut |_| ()).unwrap();
    assert_eq!(check(&store, 51), 1);
}

#[test]
fn an_operation_that_kills_the_process_is_found() {
    let folder = tempfile::tempdir().unwrap();
    // Its stack and program take most of this, and then there is no room for many megabytes.
    let worker: Arc<dyn Worker> = start(400 * 1024 * 1024, 60_000);
    let id = DocumentId::yjs("d").unwrap();
    let mut large = vec![1, 1, 9, 0, 4, 1, 1, b't', 0x80, 0x80, 0x80, 16];
    large.resize(large.len() + 32 * 1024 * 1024, b'y');
    large.push(0);
    let large = Bytes::from(large);
    assert!(Update::parse(large.clone()).is_ok());
    let killed = worker.call(Request::Compact { kind: Kind::YjsUpdate, parts: vec![large.clone()] });
    assert!(matches!(killed, Err(WorkerError::Died { .. })));
    let store = open(folder.path(), &worker);
    let mut payloads: Vec<_> = (0..50).map(keystroke).collect();
    payloads.insert(25, large.clone());
    append(&store, &id, payloads);
    store.fold_all(&mut |_| ()).unwrap();
    assert_eq!(set_aside(&store, &id), [Seq(26)]);
    assert_eq!(yjs::text(&parts(&store, &id), "t").unwrap(), "x".repeat(50));
    assert!(is_quarantined(&store, &id, large));
}

#[test]
fn an_engine_that_does_not_start_is_nobodys_fault() {
    let folder = tempfile::tempdir().unwrap();
    // Not even its stack.
    let worker: Arc<dyn Worker> = start(100 * 1024 * 1024, 60_000);
    let asked = worker.call(Request::Compact { kind: Kind::YjsUpdate, parts: vec![keystroke(0)] });
    assert!(matches!(asked, Err(WorkerError::Unavailable { .. })), "{asked:?}");
    let id = DocumentId::yjs("d").unwrap();
    let store = open(folder.path(), &worker);
    append(&store, &id, (0..50).map(keystroke).collect());
    store.fold_all(&mut |_| ()).unwrap();
    assert_eq!((set_aside(&store, &id), parts(&store, &id).len()), (vec![], 50));
}

/// A change of one actor, a change of another, and one of an actor without a first one, which automerge 0.12 panics on (HAZARDS am-10).
pub const FIRST: &str = "856f4a831ff7d319012f0010010101010101010101010101010101010101000000061503340142025602570170027f016b017f017f14017f00";
pub const OTHER: &str = "856f4a837aba8c8b012f0010020202020202020202020202020202020101000000061503340142025602570170027f016f017f017f14017f00";
pub const KILLER: &str = "856f4a83185588a3014f011ff7d3194b7f45a5bf58a957960bea5ff0c51375cab2efce5ad5a45bb0c1dd2d1001a001010101010101010101010101010202000000061503340142025602570170027f016c017f017f14027f00";

/// What the archive tells a client.
pub struct Port(pub Mutex<Sender<Option<Bytes>>>);

impl Port {
    fn tell(&self, message: Option<Bytes>) {
        // The client may have gone.
        let _ = self.0.lock().unwrap().send(message);
    }
}

impl PairwisePort for Port {
    fn sync(&self, _: &DocumentId, message: Bytes) {
        self.tell(Some(message));
    }

    fn unavailable(&self, _: &DocumentId) {
        self.tell(None);
    }

    fn refuse(&self, _: &str) {
        self.tell(None);
    }
}

/// Syncs an empty client until it has these heads; true, or false if it was refused or left alone before.
pub fn sync(archive: &StoreArchive, id: &DocumentId, goal: &[[u8; 32]]) -> bool {
    let (sender, inbox) = channel();
    let mut client = Session::open(&[]).unwrap();
    client.join(0);
    let peer = archive.pairwise().join(Arc::new(Port(Mutex::new(sender))));
    while client.heads() != goal {
        for (_, message) in client.generate() {
            archive.pairwise().receive(peer, id.clone(), message, true);
        }
        match inbox.recv_timeout(Duration::from_secs(20)) {
            Ok(Some(message)) => drop(client.receive(0, &message).unwrap()),
            Ok(None) | Err(_) => break,
        }
    }
    archive.pairwise().leave(peer);
    client.heads() == goal
}

#[test]
fn an_automerge_document_opens_again_without_what_killed_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let worker: Arc<dyn Worker> = start(2 * GIB, 60_000);
    let id = DocumentId::Automerge([5; 16]);
    let goal = heads(&[bytes(FIRST), bytes(OTHER)]).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let store = open(folder.path(), &worker);
    append(&store, &id, vec![bytes(FIRST), bytes(KILLER), bytes(OTHER)]);
    let archive = StoreArchive::start(store.clone(), &worker).unwrap();
    assert!(sync(&archive, &id, &goal), "its client waits until that is found, and goes on");
    assert_eq!(set_aside(&store, &id), [Seq(2)]);
    assert_eq!(
        store.set_aside(&id, (store.replica(), Seq(2))).unwrap().unwrap().operation.payload,
        bytes(KILLER)
    );
    assert!(is_quarantined(&store, &id, bytes(KILLER)));
    assert_eq!(heads(&parts(&store, &id)).unwrap(), goal);
    drop(archive);
    store.close().unwrap();
    drop(store);
    let store = until_closed(folder.path(), &worker);
    let archive = StoreArchive::start(store.clone(), &worker).unwrap();
    assert!(sync(&archive, &id, &goal));
    assert_eq!(set_aside(&store, &id), [Seq(2)]);
}

/// Threads of the archive may hold the folder a moment longer.
fn until_closed(folder: &Path, worker: &Arc<dyn Worker>) -> Store {
    loop {
        match Store::open(StoreConfig::new(folder), Arc::clone(worker)) {
            Ok(store) => return store,
            Err(error) => assert!(error.to_string().contains("another process"), "{error}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn closing_gives_a_running_fold_up_and_the_next_start_takes_it_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let id = DocumentId::yjs("d").unwrap();
    let mark = 2 * GIB + 12_288;
    // Nothing but closing ends the fold in time.
    let no_limit = 3_600_000;
    {
        let worker: Arc<dyn Worker> = start(mark, no_limit);
        let store = open(folder.path(), &worker);
        append(&store, &id, (0..50).map(keystroke).collect());
        worker.call(fold(hi())).unwrap();
        signal("STOP", mark, &["T"]);
        store.suspect(&id);
        store.close().unwrap();
    }
    let worker: Arc<dyn Worker> = start(2 * GIB, 60_000);
    let store = open(folder.path(), &worker);
    assert_eq!(parts(&store, &id).len(), 50);
    store.fold_all(&mut |_| ()).unwrap();
    assert_eq!((parts(&store, &id).len(), set_aside(&store, &id)), (1, vec![]));
}

#[test]
fn an_engine_that_is_ended_from_outside_is_nobodys_fault() {
    let mark = 2 * GIB + 16_384;
    let worker = start(mark, 3_600_000);
    worker.call(fold(hi())).unwrap();
    signal("STOP", mark, &["T"]);
    let asking = std::thread::spawn({
        let worker = Arc::clone(&worker);
        move || worker.call(fold(hi()))
    });
    signal("KILL", mark, &["Z", "X"]);
    // It may be gone before it is asked; then another one answers.
    let answer = asking.join().unwrap();
    assert!(matches!(answer, Ok(_) | Err(WorkerError::Unavailable { .. })), "{answer:?}");
}
