//! Copies that take a shelf's place, under those who use it.

use tombolo_core::id::DocumentId;

use super::super::{Engine, Fold, Shelves, Tree};
use super::deciding::aside;
use super::{document, noise, operation, payload};

/// Much is overwritten, so that little of the file counts; the copy has all of it and less than the old one.
#[test]
fn a_copied_shelf_is_smaller_and_the_same() {
    Engine::ALL.into_iter().for_each(copied_and_the_same);
}

fn copied_and_the_same(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let shelves = Shelves::open(folder.path(), 1, Some(engine)).unwrap();
    let ids: Vec<_> = (0..8).map(|n| DocumentId::Automerge([n; 16])).collect();
    for round in 0..6 {
        for id in &ids {
            let operations: Vec<_> =
                (1..=10).map(|n| operation(id.clone(), 10 * round + n, noise(4000))).collect();
            assert!(shelves.fill(&operations).unwrap().is_empty());
            let fold = Fold { count: 8, snapshot: Some(noise(20_000).into()), ..Fold::default() };
            shelves.fold(id, &fold).unwrap();
        }
    }
    let set_aside = vec![aside(&operation(ids[3].clone(), 57, noise(4000)))];
    shelves.fold(&ids[3], &Fold { count: 1, set_aside: set_aside.clone(), ..Fold::default() }).unwrap();
    let stored: Vec<_> = ids.iter().map(|id| shelves.load(id, false).unwrap().unwrap()).collect();
    let (before, after) = shelves.reclaim(0).unwrap().unwrap();
    assert!(after < before, "{before} bytes became {after}");
    assert!(folder.path().join("0000.seal").exists(), "it is closed until somebody comes");
    assert!(after < 8 * shelves.live_bytes(0).unwrap().unwrap() + 2_000_000);
    for (id, stored) in ids.iter().zip(&stored) {
        assert_eq!(&shelves.load(id, false).unwrap().unwrap(), stored);
    }
    let names = shelves.noted(&ids[3]).unwrap().into_iter().map(|noted| (noted.replica, noted.seq));
    let aside: Vec<_> = names.map(|name| shelves.set_aside(&ids[3], name).unwrap().unwrap()).collect();
    assert_eq!(aside, set_aside);
    shelves.close().unwrap();
    assert!(!folder.path().join("0000.old").exists());
    let again = Shelves::open(folder.path(), 1, Some(engine)).unwrap();
    assert_eq!(again.load(&ids[5], false).unwrap().unwrap(), stored[5]);
    assert_eq!(again.inspect(0, &mut |_, _| ()).unwrap().faults, []);
}

/// Readers and writers at work while the shelf is copied over and over see every operation, once.
#[test]
fn a_shelf_is_copied_under_its_users() {
    Engine::ALL.into_iter().for_each(copied_under_users);
}

fn copied_under_users(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let shelves = Shelves::open(folder.path(), 1, Some(engine)).unwrap();
    let id = document(1);
    let written = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=60 {
                let stuck = shelves.fill(&[operation(id.clone(), seq, payload(seq, 50))]).unwrap();
                assert!(stuck.is_empty(), "{stuck:?}");
                written.store(seq, std::sync::atomic::Ordering::Release);
            }
        });
        scope.spawn(|| {
            while written.load(std::sync::atomic::Ordering::Acquire) < 60 {
                let least = written.load(std::sync::atomic::Ordering::Acquire);
                let found = shelves.load(&id, true).unwrap().map_or(0, |stored| stored.tail.len());
                assert!(found as u64 >= least, "{found} of {least}");
            }
        });
        let mut copied = 0;
        while written.load(std::sync::atomic::Ordering::Acquire) < 60 {
            copied += u32::from(shelves.reclaim(0).unwrap().is_some());
        }
        assert!(copied > 0);
    });
    let tail = shelves.load(&id, false).unwrap().unwrap().tail;
    assert!(tail.iter().map(|operation| operation.seq.0).eq(1..=60));
}

/// An operator's compaction beside the store's own: whoever comes second has nothing to do.
#[test]
fn two_who_copy_one_shelf_do_not_get_in_each_others_way() {
    for engine in Engine::ALL {
        let folder = tempfile::tempdir().unwrap();
        let shelves = Shelves::open(folder.path(), 1, Some(engine)).unwrap();
        shelves.fill(&[operation(document(1), 1, noise(100_000))]).unwrap();
        std::thread::scope(|scope| {
            let copying = [(); 3].map(|()| scope.spawn(|| (0..6).all(|_| shelves.reclaim(0).is_ok())));
            assert!(copying.into_iter().all(|thread| thread.join().unwrap()), "{engine}");
        });
        assert_eq!(shelves.load(&document(1), false).unwrap().unwrap().tail.len(), 1, "{engine}");
    }
}

/// What repair can still find of a damaged document lies in the old files: they stay.
#[test]
fn a_damaged_shelf_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (lost, broken) = (document(1), document(2));
    for (id, row) in [(lost, None), (broken, Some(b"no row at all".to_vec()))] {
        let shelves = Shelves::open(folder.path(), 1, None).unwrap();
        shelves.fill(&[operation(id.clone(), 1, payload(1, 50))]).unwrap();
        shelves.close().unwrap();
        let engine = Engine::Sled.open(&folder.path().join("0000")).unwrap();
        engine.batch(Tree::Documents, vec![(id.to_key(), row)]).unwrap();
        engine.sync().unwrap();
        drop(engine);
        super::super::seal::wait_for_release(&folder.path().join("0000")).unwrap();
        let shelves = Shelves::open(folder.path(), 1, None).unwrap();
        assert!(shelves.load(&id, false).is_err());
        assert!(!matches!(shelves.reclaim(0), Ok(Some(_))), "{id}");
        shelves.close().unwrap();
    }
}
