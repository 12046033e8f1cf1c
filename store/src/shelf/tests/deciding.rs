//! Folds that keep operations in the tail or set them aside, what comes out of quarantine, and deletion.

use bytes::Bytes;
use tombolo_core::id::{ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};

use super::super::memory::MemoryShelf;
use super::super::open_shelf::OpenShelf;
use super::super::{Fold, Release, SetAside, Tree};
use super::quarantine::all_aside;
use super::{Shared, document, engines, fill, fold, operation, payloads, read, ten};

pub(super) fn aside(operation: &Operation) -> SetAside {
    SetAside::new(operation.clone(), "it killed the engine".to_owned(), 5)
}

/// A fold may leave operations in the tail and set others aside; a power cut anywhere leaves the old or the new.
#[test]
fn what_a_fold_keeps_and_sets_aside_is_there_after_any_cut() {
    let id = document(1);
    let operations = ten(&id);
    let after = [&operations[7..], &operations[1..3]].concat();
    let mut outcomes = std::collections::BTreeSet::new();
    for calls in 0..20 {
        for fate in [0u32, 1, 2, 5, 10, 15] {
            let engine = std::sync::Arc::new(MemoryShelf::default());
            let shelf = OpenShelf::uncounted(Box::new(Shared::of(&engine)));
            fill(&shelf, &operations).unwrap();
            engine.cut_after(calls);
            let fold = Fold {
                of: None,
                count: 7,
                snapshot: Some(Bytes::from_static(b"the rest")),
                keep: operations[1..3].to_vec(),
                set_aside: vec![aside(&operations[4]), aside(&operations[6])],
                ..Fold::default()
            };
            let done = shelf.fold(&id, &fold).is_ok();
            let mut bit = 0;
            let image = engine.image(|| {
                bit += 1;
                fate >> (bit - 1) & 1 == 1
            });
            let shelf = OpenShelf::uncounted(Box::new(image));
            let found = shelf.load(&id, false).unwrap().unwrap();
            let folded = found.snapshot.is_some();
            assert!(folded || !done);
            if folded {
                assert_eq!((found.tail, found.record.set_aside), (after.clone(), 2));
                assert_eq!(all_aside(&shelf, &id), fold.set_aside);
            } else {
                assert_eq!((found.tail, found.record.set_aside), (operations.clone(), 0));
            }
            // Whatever a stop left where the next operation goes is no part of it.
            fill(&shelf, &[operation(id.clone(), 11, vec![1])]).unwrap();
            assert_eq!(shelf.load(&id, false).unwrap().unwrap().tail.last().unwrap().seq, Seq(11));
            shelf.fold(&id, &fold).unwrap();
            outcomes.insert(folded);
        }
    }
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn operations_come_out_of_quarantine_by_decision_only() {
    for (engine, _folder) in engines() {
        let shelf = OpenShelf::uncounted(engine);
        let id = document(1);
        let operations = ten(&id);
        fill(&shelf, &operations).unwrap();
        let set_aside = vec![aside(&operations[4]), aside(&operations[6])];
        shelf.fold(&id, &Fold { count: 10, set_aside, ..Fold::default() }).unwrap();
        let name = |seq| (ReplicaId([1; 16]), Seq(seq));
        assert!(!shelf.release(&id, name(4), Release::Retry).unwrap());
        assert!(shelf.release(&id, name(5), Release::Retry).unwrap());
        assert!(!shelf.release(&id, name(5), Release::Retry).unwrap());
        assert!(shelf.release(&id, name(7), Release::Drop).unwrap());
        assert!(!shelf.release(&id, name(7), Release::Retry).unwrap());
        let stored = shelf.load(&id, false).unwrap().unwrap();
        assert_eq!((stored.tail, stored.record.set_aside), (vec![operations[4].clone()], 1));
        let [dropped] = &all_aside(&shelf, &id)[..] else { panic!() };
        assert_eq!((dropped.dropped, dropped.operation.payload.len()), (true, 0));
        assert_eq!(dropped.hash, *blake3::hash(&operations[6].payload).as_bytes());
    }
}

#[test]
fn a_deleted_document_has_nothing_and_takes_nothing() {
    for (engine, _folder) in engines() {
        let shelf = OpenShelf::uncounted(engine);
        let (id, other) = (document(1), document(2));
        fill(&shelf, &ten(&id)).unwrap();
        fill(&shelf, &ten(&other)).unwrap();
        fold(&shelf, &id, 3, b"snapshot").unwrap();
        let deletion =
            Operation { kind: Kind::Deletion, stamp: Stamp(77 << 16), ..operation(id.clone(), 11, vec![]) };
        fill(&shelf, &[deletion.clone(), operation(id.clone(), 12, vec![1])]).unwrap();
        fill(&shelf, &[deletion, operation(id.clone(), 13, vec![1])]).unwrap();
        let stored = shelf.load(&id, false).unwrap().unwrap();
        assert_eq!((stored.snapshot, stored.tail, stored.record.deleted_ms), (None, vec![], 77));
        assert_eq!(stored.record.version.get(ReplicaId([1; 16])), Seq(13));
        assert_eq!(read(&shelf, &other).tail, payloads(&ten(&other)));
        let prefix = super::super::document::place(&id).0;
        for tree in [Tree::Tails, Tree::Snapshots] {
            shelf
                .rows
                .engine
                .scan(tree, &[], None, &mut |key, _| {
                    assert!(!key.starts_with(&prefix));
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
        }
    }
}

/// A fold takes its time; meanwhile the document is deleted, its name given free, and it begins anew.
#[test]
fn a_fold_of_a_former_life_changes_nothing() {
    for (engine, _folder) in engines() {
        let shelf = OpenShelf::uncounted(engine);
        let id = document(1);
        fill(&shelf, &ten(&id)).unwrap();
        let life = shelf.record(&id, false).unwrap().unwrap().life();
        let late = Fold {
            of: Some(life),
            count: 2,
            snapshot: Some(Bytes::from_static(b"of before")),
            ..Fold::default()
        };
        let deletion = Operation { kind: Kind::Deletion, ..operation(id.clone(), 11, vec![]) };
        fill(&shelf, &[deletion]).unwrap();
        shelf.purge(std::slice::from_ref(&id)).unwrap();
        let anew: Vec<_> = (12..=15).map(|seq| operation(id.clone(), seq, vec![1])).collect();
        fill(&shelf, &anew).unwrap();
        shelf.fold(&id, &late).unwrap();
        let stored = shelf.load(&id, false).unwrap().unwrap();
        assert_eq!((stored.snapshot, stored.tail), (None, anew));
    }
}

/// What a deletion left in the file is older than the tombstone, whatever its generation was.
#[test]
fn a_generation_outlives_a_deletion() {
    let shelf = OpenShelf::uncounted(Box::new(MemoryShelf::default()));
    let id = document(1);
    fill(&shelf, &ten(&id)).unwrap();
    fold(&shelf, &id, 10, b"snapshot").unwrap();
    let before = shelf.record(&id, false).unwrap().unwrap();
    fill(&shelf, &[Operation { kind: Kind::Deletion, ..operation(id.clone(), 11, vec![]) }]).unwrap();
    let after = shelf.record(&id, false).unwrap().unwrap();
    assert!(before.has_content() && !after.has_content());
    assert!(after.generation >= before.generation && after.tail_end() >= before.tail_end());
    assert_eq!(shelf.load(&id, false).unwrap().unwrap().snapshot, None);
    // The next fold takes a number that nothing left in the file can have.
    shelf.purge(std::slice::from_ref(&id)).unwrap();
    fill(&shelf, &[operation(id.clone(), 12, vec![1])]).unwrap();
    fold(&shelf, &id, 1, b"anew").unwrap();
    assert!(shelf.record(&id, false).unwrap().unwrap().generation > before.generation);
}
