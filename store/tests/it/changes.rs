//! What changed since somebody last asked: complete, each document once, and everything anew where it cannot be told.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::maintain;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Changes, Checkpoint, Engine, Store, StoreConfig};

use super::corruption::copy_folder;
use super::typist::keystroke;

on_each_engine! {
    each_change_is_told_once_wherever_it_lies,
    who_asks_page_by_page_gets_everything,
}

fn config(folder: &Path) -> StoreConfig {
    StoreConfig { ballast_bytes: 0, shelf_count: 2, segment_bytes: 16 * 1024, ..StoreConfig::new(folder) }
}

fn open_with(config: StoreConfig) -> Store {
    Store::open(config, ThreadWorker::start().unwrap()).unwrap()
}

fn open(folder: &Path) -> Store {
    open_with(config(folder))
}

fn id(name: impl std::fmt::Display) -> DocumentId {
    DocumentId::yjs(&name.to_string()).unwrap()
}

/// Appends an operation to each of these and waits for the receipts.
fn write(store: &Store, names: &[&str]) {
    let (sender, receiver) = channel();
    for name in names {
        let sender = sender.clone();
        let done = Box::new(move |result: Result<_, _>| sender.send(result.is_ok()).unwrap());
        store.document(&id(name)).unwrap().append(Kind::YjsUpdate, keystroke(7, 0), done).unwrap();
    }
    drop(sender);
    assert_eq!(receiver.iter().filter(|stored| *stored).count(), names.len());
}

fn names(changes: &Changes) -> Vec<String> {
    changes.documents.iter().map(|(id, _)| id.to_string()).collect()
}

fn since(store: &Store, checkpoint: &Checkpoint) -> Changes {
    let changes = store.changes(Some(checkpoint), 1000).unwrap();
    assert!(changes.documents.is_sorted_by_key(|(_, number)| *number));
    assert!(!changes.more);
    changes
}

/// Not anew, and exactly these, in this order.
fn assert_since(store: &Store, checkpoint: &Checkpoint, expected: &[&str]) -> Checkpoint {
    let changes = since(store, checkpoint);
    assert!(!changes.anew);
    assert_eq!(names(&changes), expected);
    changes.up_to
}

fn assert_anew(store: &Store, checkpoint: &Checkpoint, expected: &[&str]) -> Checkpoint {
    let changes = since(store, checkpoint);
    assert!(changes.anew);
    assert_eq!(names(&changes).into_iter().collect::<BTreeSet<_>>(), set(expected));
    assert_eq!(changes.documents.len(), expected.len(), "each once");
    assert_ne!(changes.up_to.feed, checkpoint.feed);
    changes.up_to
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn each_change_is_told_once_wherever_it_lies(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { engine: Some(engine), takeover_ms: 3_600_000, ..config(folder.path()) };
    let store = open_with(config.clone());
    write(&store, &["a", "b"]);
    store.flush().unwrap();
    write(&store, &["c"]);
    // On the shelf, and on its way there.
    let first = store.changes(None, 1000).unwrap();
    assert!(first.anew && !first.more);
    assert_eq!(names(&first).into_iter().collect::<BTreeSet<_>>(), set(&["a", "b", "c"]));
    assert_since(&store, &first.up_to, &[]);

    write(&store, &["b", "c", "b", "d"]);
    let second = assert_since(&store, &first.up_to, &["c", "b", "d"]);
    store.flush().unwrap();
    assert_eq!(assert_since(&store, &first.up_to, &["c", "b", "d"]), second);
    write(&store, &["c"]);
    let third = assert_since(&store, &first.up_to, &["b", "d", "c"]);
    assert_since(&store, &second, &["c"]);
    assert!(store.remove(&id("d")).unwrap());
    assert_since(&store, &third, &["d"]);
    store.close().unwrap();
    drop(store);

    let store = open_with(config);
    let end = assert_since(&store, &third, &["d"]);
    assert_since(&store, &first.up_to, &["b", "c", "d"]);
    write(&store, &["a"]);
    assert_since(&store, &end, &["a"]);
    store.flush().unwrap();
    assert_since(&store, &end, &["a"]);
}

fn who_asks_page_by_page_gets_everything(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(StoreConfig { engine: Some(engine), ..config(folder.path()) });
    let all: Vec<String> = (0..3000).map(|n| format!("document {n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let (some, others) = all.split_at(2000);
    write(&store, some);
    store.flush().unwrap();
    let (mut known, mut found) = (None, Vec::new());
    for round in 0.. {
        let page = store.changes(known.as_ref(), 700).unwrap();
        assert_eq!(page.anew, round == 0);
        assert!(page.documents.len() == 700 || !page.more);
        found.extend(names(&page));
        known = Some(page.up_to);
        if round == 0 {
            // Those of the first page come again, those of later ones come later.
            write(&store, &some[500..1500]);
            store.flush().unwrap();
            write(&store, others);
        }
        if !page.more {
            break;
        }
    }
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), all.iter().copied().collect());
    let twice = 3000..=3000 + 700;
    assert!(twice.contains(&found.len()), "{} told", found.len());
}

#[test]
fn what_goes_backwards_or_lost_its_feed_tells_everything_anew() {
    let root = tempfile::tempdir().unwrap();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    let store = open(&data);
    write(&store, &["a"]);
    let old = store.changes(None, 1000).unwrap().up_to;
    drop(store);
    copy_folder(&data, &backup);
    let store = open(&data);
    write(&store, &["b"]);
    let new = assert_since(&store, &old, &["b"]);
    drop(store);

    // A copy.
    let copy = open(&backup);
    write(&copy, &["c"]);
    assert_anew(&copy, &old, &["a", "c"]);
    assert_anew(&copy, &new, &["a", "c"]);
    drop(copy);

    // The original goes on; then its feed alone is put back, is gone, or is another's.
    let store = open(&data);
    let new = assert_since(&store, &new, &[]);
    drop(store);
    let feed = data.join("feed");
    let older = fs::read(&feed).unwrap();
    let store = open(&data);
    write(&store, &["d"]);
    let new = assert_since(&store, &new, &["d"]);
    drop(store);
    fs::write(&feed, older).unwrap();
    let store = open(&data);
    let new = assert_anew(&store, &new, &["a", "b", "d"]);
    drop(store);
    fs::remove_file(&feed).unwrap();
    let store = open(&data);
    let new = assert_anew(&store, &new, &["a", "b", "d"]);
    drop(store);
    fs::copy(backup.join("feed"), &feed).unwrap();
    let store = open(&data);
    let new = assert_anew(&store, &new, &["a", "b", "d"]);
    // From the future.
    let future = Checkpoint { number: new.number + 1, ..new };
    assert!(since(&store, &future).anew);
    assert_since(&store, &new, &[]);
    drop(store);

    // What repair makes.
    let repaired = root.path().join("repaired");
    maintain::repair(&data, &repaired, &mut |_| ()).unwrap();
    assert_anew(&open(&repaired), &new, &["a", "b", "d"]);
}

/// Cut anywhere, and any byte changed: named by verify, and everything is told anew.
#[test]
fn a_damaged_feed_is_named_and_hides_nothing() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let store = open(&data);
    write(&store, &["a", "b"]);
    let old = store.changes(None, 1000).unwrap().up_to;
    write(&store, &["b", "c"]);
    drop(store);
    let feed = data.join("feed");
    let damaged = |whole: &[u8], round: usize| {
        let (at, mut bytes) = (round / 2 % whole.len(), whole.to_vec());
        match round % 2 {
            0 => bytes.truncate(at),
            _ => bytes[at] ^= 1 << (at % 8),
        }
        bytes
    };
    let longer = |whole: &[u8]| [whole, &[0]].concat();
    let whole = fs::read(&feed).unwrap();
    for bytes in (0..2 * whole.len()).map(|round| damaged(&whole, round)).chain([longer(&whole)]) {
        fs::write(&feed, &bytes).unwrap();
        let found = maintain::verify(&data, &mut |_| ()).unwrap();
        assert!(found.is_damaged() && found.findings[0].place == "feed", "{:?}: {bytes:?}", found.findings);
    }
    fs::write(&feed, whole).unwrap();
    // Each opening leaves another file, which is whole.
    let mut known = old;
    for round in 0..24 {
        let whole = fs::read(&feed).unwrap();
        let bytes = if round == 0 { longer(&whole) } else { damaged(&whole, round * 21) };
        fs::write(&feed, bytes).unwrap();
        let store = open(&data);
        known = assert_anew(&store, &known, &["a", "b", "c"]);
        drop(store);
        assert_eq!(maintain::verify(&data, &mut |_| ()).unwrap().findings, []);
    }
}

#[test]
fn whoever_watches_and_then_asks_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(StoreConfig { takeover_ms: 1, ..config(folder.path()) });
    write(&store, &["a"]);
    let known = store.changes(None, 1000).unwrap().up_to;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..300 {
                write(&store, &[&format!("document {n}"), "again"]);
            }
        });
        let heard: Arc<Mutex<Vec<(String, u64)>>> = Arc::default();
        let hears = Arc::clone(&heard);
        let watch = store
            .watch_changes(Box::new(move |id, number| hears.lock().unwrap().push((id.to_string(), number))))
            .unwrap();
        let asked = store.changes(Some(&known), 1000).unwrap();
        writer.join().unwrap();
        let heard_all = heard.lock().unwrap().clone();
        assert!(heard_all.is_sorted_by_key(|(_, number)| *number));
        let told: BTreeSet<_> =
            names(&asked).into_iter().chain(heard_all.iter().map(|(id, _)| id.clone())).collect();
        assert_eq!(told.len(), 301);
        // What is heard has the numbers that are told.
        let last = heard_all.last().unwrap();
        let later = since(&store, &asked.up_to);
        assert_eq!(later.up_to.number, last.1);
        assert_eq!(later.documents.last().map(|(id, number)| (id.to_string(), *number)).as_ref(), Some(last));
        drop(watch);
        write(&store, &["more"]);
        assert_eq!(heard.lock().unwrap().len(), heard_all.len());
    });
}
