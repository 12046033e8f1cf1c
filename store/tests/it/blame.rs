//! Many operations that an engine dies of, and engines that hang: blame keeps what it has found, and others go on.

use tombolo_core::id::DocumentId;
use tombolo_store::{Engine, Store};

use super::fold::{Deadly, append, document, fold, open, read, tail, with_killers};
use super::typist::{keystroke, typed};

on_each_engine! {
    killers_in_a_row_are_eaten_up,
    more_killers_than_one_attempt_blames_go_in_several,
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
