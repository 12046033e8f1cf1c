//! A shelf whose census is gone: what is there is served, what is not found is refused, and both for as long as nobody
//! repairs it.

use std::fs;

use super::*;

fn remove(folder: &std::path::Path) {
    fs::remove_file(folder.join("0000.census")).unwrap();
}

#[test]
fn what_is_there_is_served_and_what_is_not_is_refused() {
    for engine in Engine::ALL {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        let shelves = Shelves::open(folder, 1, Some(engine)).unwrap();
        (0..10).for_each(|n| assert!(shelves.fill(&ten(&document(n))).unwrap().is_empty()));
        shelves.close().unwrap();
        drop(shelves);
        remove(folder);
        // Opening does not make it right, however often.
        for round in 0..3 {
            let shelves = Shelves::open(folder, 1, None).unwrap();
            for n in 0..10 + round {
                let stored = shelves.load(&document(n), false).unwrap().unwrap();
                assert_eq!(stored.tail, ten(&document(n)));
            }
            let unknown = document(100);
            let refused = shelves.record(&unknown, false).unwrap_err();
            assert!(matches!(&refused, ShelfError::Incomplete { document, .. } if *document == unknown));
            assert!(refused.is_contained());
            assert!(!refused.to_string().contains(&u64::MAX.to_string()), "{refused}");
            let faults = shelves.inspect(0, &mut |_, _| ()).unwrap().faults;
            assert!(faults.iter().any(|fault| fault.found.contains("census")), "verify of a running store");
            // One that starts in the journal has its first operation; then it is one that is there.
            assert!(shelves.fill(&ten(&document(10 + round))).unwrap().is_empty());
            shelves.close().unwrap();
            drop(shelves);
            let closed = ClosedShelves::open(folder).unwrap().unwrap();
            let faults = closed.inspect(0, &root.path().join("scratch"), &mut |_, _| ()).unwrap().faults;
            assert!(faults.iter().any(|fault| fault.found.contains("census")), "{faults:?}");
        }
    }
}

/// What is written after it was lost is announced again, so that it cannot go without a word.
#[test]
fn what_is_lost_later_is_named() {
    for engine in Engine::ALL {
        let root = tempfile::tempdir().unwrap();
        let shelves = Shelves::open(root.path(), 1, Some(engine)).unwrap();
        shelves.fill(&ten(&document(0))).unwrap();
        shelves.close().unwrap();
        drop(shelves);
        remove(root.path());
        let shelves = Shelves::open(root.path(), 1, None).unwrap();
        shelves.fill(&ten(&document(1))).unwrap();
        shelves.close().unwrap();
        drop(shelves);
        let rows = engine.open(&root.path().join("0000")).unwrap();
        let lost = (0..2).map(|n| (document(n).to_key(), None)).collect();
        rows.batch(Tree::Documents, lost).unwrap();
        rows.sync().unwrap();
        drop(rows);
        let shelves = Shelves::open(root.path(), 1, None).unwrap();
        for n in 0..2 {
            let refused = shelves.record(&document(n), true);
            assert!(
                matches!(refused, Err(ShelfError::Damaged { .. })),
                "document {n} looks new: {refused:?}"
            );
        }
    }
}

/// Where a shelf is being made there is none yet.
#[test]
fn a_shelf_that_was_never_made_has_lost_none() {
    let root = tempfile::tempdir().unwrap();
    let shelves = Shelves::open(root.path(), 1, None).unwrap();
    shelves.fill(&ten(&document(0))).unwrap();
    assert_eq!(shelves.record(&document(1), false).unwrap(), None);
    assert_eq!(shelves.inspect(0, &mut |_, _| ()).unwrap().faults, []);
}
