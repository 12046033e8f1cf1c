//! Edits that are made, refused, given up, brought from elsewhere, synced and heard of.

use std::sync::{LazyLock, Mutex};

use automerge::transaction::Transactable;
use automerge::{ROOT, ReadDoc};
use proptest::prelude::*;

use super::*;
use crate::replica::Replica;

fn open(folder: &tempfile::TempDir) -> Replica {
    Replica::open(folder.path()).unwrap()
}

fn put(document: &AutomergeDocument, key: &str, value: i64) {
    document.edit(|edit| Ok(edit.put(ROOT, key, value)?)).unwrap();
}

fn get(document: &AutomergeDocument, key: &str) -> Option<i64> {
    let found = document.read(|view| view.get(ROOT, key).unwrap().map(|(value, _)| value.as_i64().unwrap()));
    found.unwrap()
}

fn actors(document: &AutomergeDocument) -> u64 {
    let whole = Automerge::load(&document.state().unwrap()).unwrap();
    whole.stats().num_actors
}

#[test]
fn what_was_edited_is_there_after_a_restart_under_a_new_actor() {
    let folder = tempfile::tempdir().unwrap();
    let url = open(&folder).create_automerge().unwrap().url();
    for round in 1..4 {
        let replica = open(&folder);
        let document = replica.automerge(&url).unwrap();
        put(&document, &format!("a{round}"), 1);
        put(&document, &format!("b{round}"), 2);
        let keys = document.read(|view| view.keys(ROOT).count()).unwrap();
        assert_eq!((keys as u64, actors(&document)), (round * 2, round));
        let ids: Vec<_> = replica.documents().map(Result::unwrap).collect();
        assert_eq!(ids, [document.id().clone()]);
        replica.close().unwrap();
        let late = document.edit(|edit| Ok(edit.put(ROOT, "late", 1)?));
        assert!(matches!(late, Err(ReplicaError::Closed)), "{late:?}");
    }
}

#[test]
fn an_edit_is_one_operation_and_one_that_fails_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder);
    let document = replica.create_automerge().unwrap();
    assert_eq!(replica.documents().count(), 0);
    document.edit(|edit| Ok(edit.put(ROOT, "a", 1).and_then(|()| edit.put(ROOT, "b", 2))?)).unwrap();
    let operations = || replica.store().describe(document.id()).unwrap().unwrap().operations();
    assert_eq!(operations(), 1);
    let failed = document.edit(|edit| {
        edit.put(ROOT, "a", 7)?;
        Ok(edit.insert(ROOT, 0, 7)?)
    });
    assert!(matches!(failed, Err(ReplicaError::Edit { source: EditError::Automerge { .. }, .. })));
    document.edit(|_| Ok(())).unwrap();
    assert_eq!((operations(), get(&document, "a")), (1, Some(1)));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = document.edit(|edit| -> Result<(), EditError> {
            edit.put(ROOT, "a", 7)?;
            panic!("the owner's own")
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(get(&document, "a"), Some(1));
    // What was given up may have left the process, so its actor is never used again.
    put(&document, "a", 2);
    assert_eq!((operations(), actors(&document)), (2, 2));
    let inner = document.edit(|_| Ok(document.heads().map(|_| ()))).unwrap();
    assert!(matches!(inner, Err(ReplicaError::Nested { .. })));
}

#[test]
fn all_handles_share_one_document_and_threads_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder);
    let url = replica.create_automerge().unwrap().url();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let document = replica.automerge(&url).unwrap();
            std::thread::spawn(move || (0..25).for_each(|at| put(&document, &format!("{thread} {at}"), at)))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let document = replica.automerge(&url).unwrap();
    assert_eq!((document.read(|view| view.keys(ROOT).count()).unwrap(), actors(&document)), (100, 1));
    // Nobody's handle is left, so it is read again, from what was folded.
    drop(document);
    replica.store().compact(&mut |_| {}).unwrap();
    let document = replica.automerge(&url).unwrap();
    put(&document, "more", 1);
    assert_eq!((document.read(|view| view.keys(ROOT).count()).unwrap(), actors(&document)), (101, 2));
}

#[test]
fn observers_hear_of_each_change_once_in_order_and_rebuild_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder);
    let documents = [(); 4].map(|()| replica.create_automerge().unwrap());
    let [document, elsewhere, another, copy] = &documents;
    put(elsewhere, "far", 1);
    put(another, "farther", 1);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (into, copied) = (Arc::clone(&heard), copy.clone());
    let watch = document.observe(move |change| {
        into.lock().unwrap().push(change.origin);
        assert!(copied.apply(&change.update).unwrap());
    });
    put(document, "near", 1);
    for _ in 0..2 {
        let _ = document.apply(&elsewhere.state().unwrap()).unwrap();
    }
    sync(document, another);
    put(document, "near", 2);
    assert_eq!(*heard.lock().unwrap(), [Origin::Local, Origin::Remote, Origin::Remote, Origin::Local]);
    assert_eq!(copy.heads().unwrap(), document.heads().unwrap());
    drop(watch);
    put(document, "unheard", 1);
    assert_eq!(heard.lock().unwrap().len(), 4);
}

#[test]
fn a_deleted_document_is_gone_and_wrong_bytes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder);
    let document = replica.create_automerge().unwrap();
    put(&document, "a", 1);
    let mut wrong = document.state().unwrap().to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    for bytes in [Bytes::from_static(b"no change"), wrong.into()] {
        assert!(matches!(document.apply(&bytes), Err(ReplicaError::Changes { .. })));
        let received = document.sync_receive(&mut SyncState::default(), &bytes);
        assert!(matches!(received, Err(ReplicaError::Changes { .. })));
    }
    assert_eq!((get(&document, "a"), actors(&document)), (Some(1), 1));
    for name in ["", "notes", "automerge:", "automerge:1Bhh3pU9gLXZiNDL6PEa1Gs9fi"] {
        assert!(matches!(replica.automerge(name), Err(ReplicaError::Name { .. })));
    }
    assert!(replica.remove_document(document.id()).unwrap());
    let deleted = [
        document.heads().map(|_| ()),
        document.edit(|edit| Ok(edit.put(ROOT, "a", 2)?)),
        document.sync_generate(&mut SyncState::default()).map(|_| ()),
        replica.automerge(&document.url()).map(|_| ()),
    ];
    for refused in deleted {
        assert!(matches!(refused, Err(ReplicaError::Deleted { .. })), "{refused:?}");
    }
}

/// Lets two sync to rest; how many messages brought something.
fn sync(one: &AutomergeDocument, other: &AutomergeDocument) -> usize {
    let mut states = <[SyncState; 2]>::default();
    let mut changed = 0;
    for _ in 0..50 {
        let mut quiet = true;
        for (from, to, from_state, to_state) in [(one, other, 0, 1), (other, one, 1, 0)] {
            if let Some(message) = from.sync_generate(&mut states[from_state]).unwrap() {
                quiet = false;
                changed += usize::from(to.sync_receive(&mut states[to_state], &message).unwrap().changed);
            }
        }
        if quiet {
            return changed;
        }
    }
    panic!("the sync never comes to rest")
}

#[test]
fn a_stock_document_and_a_replica_sync_and_what_was_received_is_stored() {
    use automerge::sync::{Message, State, SyncDoc};

    let folder = tempfile::tempdir().unwrap();
    let mut stock = Automerge::new();
    for at in 0..30 {
        stock.transact(|edit| edit.put(ROOT, format!("s{at}"), at)).unwrap();
    }
    let url = open(&folder).create_automerge().unwrap().url();
    for round in 0..3 {
        let replica = open(&folder);
        let document = replica.automerge(&url).unwrap();
        put(&document, "mine", round);
        let (mut here, mut there) = (SyncState::default(), State::new());
        for _ in 0..20 {
            if let Some(message) = document.sync_generate(&mut here).unwrap() {
                stock.receive_sync_message(&mut there, Message::decode(&message).unwrap()).unwrap();
            }
            if let Some(message) = stock.generate_sync_message(&mut there) {
                document.sync_receive(&mut here, &message.encode().into()).unwrap();
            }
        }
        let heads: Vec<_> = stock.get_heads().into_iter().map(|head| head.0).collect();
        assert_eq!(document.heads().unwrap(), heads);
        drop((document, replica));
        assert_eq!(open(&folder).automerge(&url).unwrap().heads().unwrap(), heads);
        stock.transact(|edit| edit.put(ROOT, "stock", round)).unwrap();
    }
}

/// One actor, one position, two contents (HAZARDS am-9).
#[test]
fn a_message_that_cannot_be_taken_ends_the_sync_and_harms_nothing() {
    use automerge::sync::{Message, MessageVersion};

    let folder = tempfile::tempdir().unwrap();
    let document = open(&folder).create_automerge().unwrap();
    put(&document, "a", 1);
    let actor = document.read(|view| view.get_actor().clone()).unwrap();
    let mut twin = Automerge::new().with_actor(actor);
    twin.transact(|edit| edit.put(ROOT, "a", 2)).unwrap();
    let changes: Vec<Vec<u8>> =
        twin.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect();
    let message = Message {
        heads: twin.get_heads(),
        need: vec![],
        have: vec![],
        changes: changes.into(),
        flags: None,
        version: MessageVersion::V1,
    };
    let mut peer = SyncState::default();
    let heads = document.heads().unwrap();
    assert!(document.sync_generate(&mut peer).unwrap().is_some());
    let refused = document.sync_receive(&mut peer, &message.encode().into());
    assert!(matches!(refused, Err(ReplicaError::Changes { .. })), "{refused:?}");
    assert!(matches!(document.sync_generate(&mut peer), Err(ReplicaError::SyncOver { .. })));
    assert_eq!((document.heads().unwrap(), get(&document, "a")), (heads, Some(1)));
    put(&document, "a", 3);
    assert!(document.sync_generate(&mut SyncState::default()).unwrap().is_some());
}

#[test]
fn an_edit_that_is_given_up_ends_no_sync() {
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder);
    let (one, other) = (replica.create_automerge().unwrap(), replica.create_automerge().unwrap());
    let (mut of_other, mut of_one) = (SyncState::default(), SyncState::default());
    for value in 0..10 {
        put(&one, "a", value);
        assert!(one.edit(|_| Err::<(), _>(EditError::Cancelled)).is_err());
        while let Some(message) = one.sync_generate(&mut of_other).unwrap() {
            other.sync_receive(&mut of_one, &message).unwrap();
            assert!(other.edit(|_| Err::<(), _>(EditError::Cancelled)).is_err());
            if let Some(message) = other.sync_generate(&mut of_one).unwrap() {
                one.sync_receive(&mut of_other, &message).unwrap();
            }
        }
        assert_eq!((get(&other, "a"), other.heads().unwrap()), (Some(value), one.heads().unwrap()));
    }
}

/// One folder for all cases: opening one takes longer than they do.
static WORLD: LazyLock<(tempfile::TempDir, Replica)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder);
    (folder, replica)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Copies that are edited apart have the same in the end, whether they are carried or synced.
    #[test]
    fn copies_edited_apart_merge(
        edits in proptest::collection::vec((0usize..3, 0u8..4, any::<i64>()), 0..10),
        carried in any::<bool>(),
    ) {
        let copies = [(); 3].map(|()| WORLD.1.create_automerge().unwrap());
        for (who, key, value) in &edits {
            put(&copies[*who], &format!("k{key}"), *value);
        }
        for (one, other) in [(0, 1), (1, 2), (0, 1)] {
            if carried {
                let _ = copies[other].apply(&copies[one].state().unwrap()).unwrap();
                let _ = copies[one].apply(&copies[other].state().unwrap()).unwrap();
            } else {
                sync(&copies[one], &copies[other]);
            }
        }
        for copy in &copies {
            prop_assert_eq!(copy.heads().unwrap(), copies[0].heads().unwrap());
            for (_, key, _) in &edits {
                let key = format!("k{key}");
                prop_assert_eq!(get(copy, &key), get(&copies[0], &key));
                prop_assert!(get(copy, &key).is_some());
            }
        }
        prop_assert_eq!(sync(&copies[0], &copies[2]), 0);
    }
}
