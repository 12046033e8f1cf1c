//! Edits that are made, refused, given up, brought from elsewhere and heard of.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tombolo_core::update::Coverage;

use super::*;
use crate::replica::Replica;

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Replica {
        Replica::open(self.folder.path()).unwrap()
    }
}

fn write(document: &YjsDocument, text: &str) {
    document.edit(|edit| edit.text("text").insert(0, text)).unwrap();
}

fn clients(document: &YjsDocument) -> usize {
    let mut coverage = Coverage::default();
    coverage.add(&Update::parse(document.state().unwrap()).unwrap());
    coverage.state_vector().iter().count()
}

#[test]
fn what_was_edited_is_there_after_a_restart_under_a_new_client() {
    let world = World::new();
    for round in 1..4 {
        let replica = world.open();
        let document = replica.yjs("d").unwrap();
        write(&document, "x");
        write(&document, "y");
        assert_eq!(document.text("text").unwrap(), "yx".repeat(round));
        assert_eq!(clients(&document), round);
        assert!(matches!(Replica::open(world.folder.path()), Err(ReplicaError::InUse { .. })));
        replica.close().unwrap();
        let after = document.edit(|edit| edit.text("text").insert(0, "late"));
        assert!(matches!(after, Err(ReplicaError::Closed)), "{after:?}");
        assert!(matches!(document.text("text"), Err(ReplicaError::Closed)));
    }
}

#[test]
fn an_edit_is_one_operation_and_one_that_fails_is_none() {
    let world = World::new();
    let replica = world.open();
    let document = replica.yjs("d").unwrap();
    assert_eq!(replica.documents().count(), 0);
    document
        .edit(|edit| {
            edit.text("text").push("one");
            edit.text("text").push(" two");
            edit.map("m").insert("k", true);
            Ok(())
        })
        .unwrap();
    let operations = || replica.store().describe(document.id()).unwrap().unwrap().operations();
    assert_eq!(operations(), 1);
    let failed = document.edit(|edit| {
        edit.text("text").push(" three");
        edit.text("text").insert(99, "x")
    });
    assert!(matches!(failed, Err(ReplicaError::Edit { source: EditError::OutOfRange { .. }, .. })));
    document.edit(|_| Ok(())).unwrap();
    assert_eq!((operations(), document.text("text").unwrap().as_str()), (1, "one two"));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = document.edit(|edit| -> Result<(), EditError> {
            edit.text("text").push("half");
            panic!("the owner's own")
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(document.text("text").unwrap(), "one two");
    // What was given up may have left the process, so its client id is never used again.
    write(&document, "x");
    assert_eq!(clients(&document), 2);
}

#[test]
fn all_handles_share_one_document_and_threads_lose_nothing() {
    let world = World::new();
    let replica = world.open();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let document = replica.yjs("d").unwrap();
            std::thread::spawn(move || (0..25).for_each(|_| write(&document, "x")))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(replica.yjs("d").unwrap().text("text").unwrap().len(), 100);
}

#[test]
fn observers_hear_of_each_change_once_in_order_and_may_edit() {
    let world = World::new();
    let replica = world.open();
    let (document, elsewhere) = (replica.yjs("d").unwrap(), replica.yjs("elsewhere").unwrap());
    write(&elsewhere, "remote");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (own, into) = (document.clone(), Arc::clone(&heard));
    let watch = document.observe(move |change| {
        let text = own.text("text").unwrap();
        into.lock().unwrap().push((change.origin, text.clone()));
        if text == "a" {
            write(&own, "nested ");
        }
    });
    write(&document, "a");
    assert!(document.apply(&elsewhere.state().unwrap()).unwrap());
    assert!(!document.apply(&elsewhere.state().unwrap()).unwrap());
    let mut heard = std::mem::take(&mut *heard.lock().unwrap());
    let (last, text) = heard.pop().unwrap();
    assert_eq!(last, Origin::Remote);
    assert!(text.contains("remote") && text.contains("nested a"), "{text}");
    let (first, second) = ((Origin::Local, "a".to_owned()), (Origin::Local, "nested a".to_owned()));
    assert_eq!(heard, [first, second]);
    drop(watch);
    write(&document, "unheard");
}

#[test]
fn observers_of_many_threads_rebuild_the_document() {
    let world = World::new();
    let replica = world.open();
    let document = replica.yjs("d").unwrap();
    let copy = replica.yjs("copy").unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let (into, counted) = (copy.clone(), Arc::clone(&count));
    let _watch = document.observe(move |change| {
        into.apply(&change.update).unwrap();
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let document = document.clone();
            std::thread::spawn(move || (0..20).for_each(|_| write(&document, "x")))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    document.edit(|edit| edit.text("text").insert(0, "end")).unwrap();
    // Whoever was telling when the last edit was made tells it, too.
    while count.load(Ordering::Relaxed) < 61 {
        std::thread::yield_now();
    }
    assert_eq!(copy.text("text").unwrap(), document.text("text").unwrap());
}

#[test]
fn a_transaction_inside_another_is_refused_instead_of_waiting_for_ever() {
    let world = World::new();
    let document = world.open().yjs("d").unwrap();
    let inner = document.edit(|_| Ok(document.text("text").map(|_| ()))).unwrap();
    assert!(matches!(inner, Err(ReplicaError::Nested { .. })));
    let inner = document.read(|_| document.edit(|_| Ok(()))).unwrap();
    assert!(matches!(inner, Err(ReplicaError::Nested { .. })));
    write(&document, "x");
}

#[test]
fn a_deleted_document_is_gone_for_who_holds_it() {
    let world = World::new();
    let replica = world.open();
    let document = replica.yjs("d").unwrap();
    assert!(!replica.remove("d").unwrap());
    write(&document, "x");
    assert!(replica.remove("d").unwrap());
    for refused in [
        document.text("text").map(|_| ()),
        document.edit(|edit| edit.text("text").insert(0, "y")),
        replica.yjs("d").map(|_| ()),
    ] {
        assert!(matches!(refused, Err(ReplicaError::Deleted { .. })), "{refused:?}");
    }
    assert!(matches!(replica.yjs(" "), Err(ReplicaError::Name { .. })));
    assert!(matches!(
        replica.yjs("e").unwrap().apply(&Bytes::from_static(b"no update")),
        Err(ReplicaError::Update { .. })
    ));
}

#[test]
fn what_was_folded_is_read_and_edited_like_what_was_not() {
    let world = World::new();
    let replica = world.open();
    let document = replica.yjs("d").unwrap();
    (0..50).for_each(|_| write(&document, "x"));
    replica.store().compact(&mut |_| {}).unwrap();
    drop(document);
    let document = replica.yjs("d").unwrap();
    write(&document, "y");
    assert_eq!(document.text("text").unwrap(), format!("y{}", "x".repeat(50)));
}

#[test]
fn links_hear_how_urgent_an_edit_is() {
    use crate::replica::{EditOptions, LinkId, Priority, link::Heard};
    let world = World::new();
    let replica = world.open();
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    replica.links.shelves().hub.join(LinkId(7), sender, replica.store()).unwrap();
    let urgent = EditOptions::priority(Priority::Critical);
    let (document, list) = (replica.yjs("d").unwrap(), replica.create_automerge().unwrap());
    document.edit_with(urgent, |edit| edit.text("text").insert(0, "a")).unwrap();
    write(&document, "b");
    use automerge::transaction::Transactable as _;
    list.edit_with(urgent, |edit| Ok(edit.put(automerge::ROOT, "a", 1)?)).unwrap();
    let mut priorities = Vec::new();
    while let Ok(Heard::News(news)) = heard.try_recv() {
        priorities.push(news.priority);
    }
    assert_eq!(priorities, [Some(Priority::Critical), None, Some(Priority::Critical)]);
}
