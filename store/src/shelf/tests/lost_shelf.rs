//! A shelf of which nothing is there any more: its documents are no new ones, and the others are served on.

use std::fs;
use std::path::Path;

use super::*;

const COUNT: u16 = 4;

fn lose(folder: &Path, index: u16) {
    fs::remove_dir_all(folder.join(format!("{index:04}"))).unwrap();
    fs::remove_file(folder.join(format!("{index:04}.census"))).unwrap();
    // With it or without.
    let _ = fs::remove_file(folder.join(format!("{index:04}.seal")));
}

/// Documents on two of four shelves, the first to be lost.
fn fill(folder: &Path, engine: Engine) -> (u16, [Vec<DocumentId>; 2]) {
    let shelves = Shelves::open(folder, COUNT, Some(engine)).unwrap();
    let lost = shelves.index_of(&document(0));
    let kept = (1..100).map(|n| shelves.index_of(&document(n))).find(|index| *index != lost).unwrap();
    let on = |index| (0..40).map(document).filter(|id| shelves.index_of(id) == index).collect::<Vec<_>>();
    let ids = [on(lost), on(kept)];
    for id in ids.iter().flatten() {
        assert!(shelves.fill(&ten(id)).unwrap().is_empty());
    }
    shelves.close().unwrap();
    (lost, ids)
}

fn is_noticed(folder: &Path, lost: u16, [gone, there]: &[Vec<DocumentId>; 2]) {
    let scratch = folder.join("../scratch");
    let closed = ClosedShelves::open(folder).unwrap().unwrap();
    for index in 0..COUNT {
        let faults = closed.inspect(index, &scratch, &mut |_, _| ()).unwrap().faults;
        assert_eq!(!faults.is_empty(), index == lost, "shelf {index}: {faults:?}");
        assert_eq!(closed.is_lost(index), index == lost);
    }
    for _ in 0..2 {
        let shelves = Shelves::open(folder, COUNT, None).unwrap();
        for id in gone {
            let refused = shelves.record(id, false).unwrap_err();
            assert!(matches!(refused, ShelfError::Unopenable { .. }) && refused.is_contained(), "{refused}");
            assert!(shelves.fill(&ten(id)).unwrap().contains_key(id), "it would be made anew");
        }
        for id in there {
            assert_eq!(shelves.load(id, false).unwrap().unwrap().tail, ten(id));
        }
        shelves.close().unwrap();
    }
}

#[test]
fn a_shelf_that_is_gone_without_a_trace_is_missed() {
    for engine in Engine::ALL {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("shelf");
        let (lost, ids) = fill(&folder, engine);
        lose(&folder, lost);
        is_noticed(&folder, lost, &ids);
    }
}

/// As a program of before wrote it, or one that was killed before it had noted a shelf.
#[test]
fn a_folder_that_does_not_say_which_shelves_were_made_says_so_from_now_on() {
    for engine in Engine::ALL {
        for before in [None, Some(Vec::new())] {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join("shelf");
            let made = folder.join("made");
            let before = before.map(|_: Vec<u8>| {
                drop(Shelves::open(&folder, COUNT, Some(engine)).unwrap());
                fs::read(&made).unwrap()
            });
            let (lost, ids) = fill(&folder, engine);
            match before {
                Some(bytes) => fs::write(&made, bytes).unwrap(),
                None => fs::remove_file(&made).unwrap(),
            }
            let closed = ClosedShelves::open(&folder).unwrap().unwrap();
            assert_eq!((closed.made_fault, closed.is_lost(lost)), (None, false));
            drop(Shelves::open(&folder, COUNT, None).unwrap());
            lose(&folder, lost);
            is_noticed(&folder, lost, &ids);
        }
    }
}

#[test]
fn a_damaged_note_is_named_and_stops_nobody() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("shelf");
    let (_, [gone, there]) = fill(&folder, Engine::Sled);
    let made = folder.join("made");
    let whole = fs::read(&made).unwrap();
    for bytes in [&whole[..whole.len() - 1], &[][..]] {
        fs::write(&made, bytes).unwrap();
        for _ in 0..2 {
            assert!(ClosedShelves::open(&folder).unwrap().unwrap().made_fault.is_some());
            let shelves = Shelves::open(&folder, COUNT, None).unwrap();
            assert!(shelves.made_fault().is_some());
            for id in gone.iter().chain(&there) {
                assert_eq!(shelves.load(id, false).unwrap().unwrap().tail, ten(id));
            }
            shelves.close().unwrap();
        }
    }
}
