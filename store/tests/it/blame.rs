//! Many operations that an engine dies of, and engines that hang: blame keeps what it has found, and others go on.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::worker::{Reply, Request, Worker, WorkerError};
use tombolo_store::{CompactionPolicy, Engine, Release, Store, StoreConfig};

use super::fold::{Deadly, append, document, fold, open, read, tail, with_killers};
use super::typist::{keystroke, typed};

on_each_engine! {
    killers_in_a_row_are_eaten_up,
    more_killers_than_one_attempt_blames_go_in_several,
    a_search_that_takes_too_long_goes_on_behind_the_others,
    an_edition_lasts_until_something_is_set_aside_or_released,
}

fn held(store: &Store, id: &DocumentId) -> usize {
    store.quarantine(id).unwrap().len()
}

/// Nobody asks again, and no tail grows.
fn until_held(store: &Store, count: usize) {
    while held(store, &document()) < count {
        std::thread::yield_now();
    }
}

fn killers_in_a_row_are_eaten_up(engine: Engine) {
    for sound in [0, 10] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine, Deadly::dies(100..140));
        let killers = (100..140).map(|client| keystroke(client, 0));
        let typing = |from, to| (from..to).map(|clock| keystroke(7, clock));
        append(&store, typing(0, sound).chain(killers).chain(typing(sound, 2 * sound)));
        fold(&store);
        until_held(&store, 40);
        fold(&store);
        assert_eq!((held(&store, &document()), tail(&store), read(&store)), (40, 0, typed(2 * sound)));
    }
}

fn more_killers_than_one_attempt_blames_go_in_several(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let killers: Vec<u64> = (100..130).collect();
    let store = open(folder.path(), engine, Deadly::dies(killers.clone()));
    append(&store, with_killers(&killers));
    fold(&store);
    until_held(&store, 30);
    fold(&store);
    assert_eq!((held(&store, &document()), tail(&store), read(&store)), (30, 0, typed(1_000)));
}

/// Says which client's document it is asked for, and answers the first time when it is told to.
struct Told {
    engine: Arc<dyn Worker>,
    asked: Mutex<Sender<u64>>,
    go: Mutex<Receiver<()>>,
}

impl Worker for Told {
    fn call(&self, request: Request) -> Result<Reply, WorkerError> {
        let Request::Compact { parts, .. } = &request else { panic!("{request:?}") };
        // Parts without any are asked for before anything else.
        let client = if parts.contains(&keystroke(8, 0)) { 8 } else { 7 };
        self.asked.lock().unwrap().send(client).unwrap();
        // Nobody tells it after the first time.
        let _ = self.go.lock().unwrap().recv();
        self.engine.call(request)
    }
}

fn a_search_that_takes_too_long_goes_on_behind_the_others(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let ((asked, asks), (go, told)) = (channel(), channel());
    let worker = Told { engine: Deadly::dies([100]), asked: Mutex::new(asked), go: Mutex::new(told) };
    // Enough for one question each time.
    let compaction = CompactionPolicy { attempt_ms_max: 0, ..CompactionPolicy::default() };
    let config =
        StoreConfig { takeover_ms: 5, engine: Some(engine), compaction, ..StoreConfig::new(folder.path()) };
    let store = Store::open(config, Arc::new(worker)).unwrap();
    let other = DocumentId::yjs("other").unwrap();
    let document_other = store.document(&other).unwrap();
    document_other.append(Kind::YjsUpdate, keystroke(8, 0), Box::new(|_| ())).unwrap();
    append(&store, with_killers(&[100]));
    store.flush().unwrap();
    store.suspect(&document());
    let mut order = vec![asks.recv().unwrap()];
    store.suspect(&other);
    drop(go);
    until_held(&store, 1);
    while store.is_suspect(&document()) {
        std::thread::yield_now();
    }
    assert_eq!((tail(&store), read(&store)), (0, typed(1_000)));
    order.extend(asks.try_iter());
    assert_eq!(order[..3], [7, 8, 7]);
    assert_eq!(document_other.read().unwrap().tail.len(), 0);
    // A search, and two folds.
    assert!(order.len() < 1 + (1_001u32.ilog2() as usize + 5) + 2 + 1, "nothing is asked twice: {order:?}");
}

fn an_edition_lasts_until_something_is_set_aside_or_released(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), engine, Deadly::dies([100]));
    let held = store.document(&document()).unwrap();
    let mut before = (held.edition(), held.standing().unwrap());
    // Whether each is another one now.
    let mut changes = || {
        let now = (held.edition(), held.standing().unwrap());
        let changes = (now.0 != before.0, now.1 != before.1);
        before = now;
        changes
    };
    assert_eq!(changes(), (false, false));
    append(&store, [keystroke(7, 0)]);
    store.flush().unwrap();
    assert_eq!(changes(), (false, true), "appended");
    assert_eq!(changes(), (false, false));
    fold(&store);
    assert_eq!(changes(), (false, true), "folded");
    let deadly = append(&store, [keystroke(7, 1), keystroke(100, 0)])[1];
    fold(&store);
    assert_eq!(changes(), (true, true), "set aside");
    let name = (store.replica(), deadly);
    let known = store.changes(None, 10).unwrap().up_to;
    assert!(store.release(&document(), name, Release::Retry).unwrap());
    assert_eq!(changes(), (true, true), "released");
    let released = store.changes(Some(&known), 10).unwrap();
    assert_eq!((released.documents.len(), released.anew), (1, false), "who synchronises is told of it");
    fold(&store);
    assert_eq!(changes(), (true, true), "set aside again");
    assert!(store.release(&document(), name, Release::Drop).unwrap());
    assert!(changes().0, "given up");
    fold(&store);
    assert_eq!(changes(), (false, false), "nothing to fold");

    store.remove(&document()).unwrap();
    store.purge(&document()).unwrap();
    assert_eq!(changes(), (true, true), "the name is used anew");
    let (edition, standing) = before;
    drop(held);
    // Forgotten or not, it is not taken for what it was then, and stands as it did.
    drop(store);
    let store = open(folder.path(), engine, Deadly::dies([100]));
    let held = store.document(&document()).unwrap();
    assert_ne!(held.edition(), edition);
    assert_eq!(held.standing().unwrap(), standing);
}
