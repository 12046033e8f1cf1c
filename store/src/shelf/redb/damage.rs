//! Bytes of a database file that are not as they were: whatever redb makes of them, nobody panics.

use std::ops::ControlFlow;

use super::{FILE, RedbShelf};
use crate::shelf::{Shelf, Tree};

#[test]
fn no_flipped_byte_panics_from_opening_to_closing() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = RedbShelf::create(folder.path()).unwrap();
    for round in 0u32..8 {
        let changes =
            (0..40u32).map(|key| (key.to_be_bytes().to_vec(), Some(vec![7; 50 * (1 + round as usize)])));
        shelf.batch(Tree::Tails, changes.collect()).unwrap();
        shelf.sync().unwrap();
    }
    drop(shelf);
    let file = folder.path().join(FILE);
    let whole = std::fs::read(&file).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap_or_default();
    let mut opened = 0;
    for at in (0..=used).step_by(13) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        std::fs::write(&file, &bytes).unwrap();
        let Ok(shelf) = RedbShelf::open(folder.path()) else { continue };
        opened += 1;
        for tree in Tree::ALL {
            let _ = shelf.scan(tree, &[], None, &mut |_, _| ControlFlow::Continue(()));
        }
        let _ = shelf.batch(Tree::Tails, vec![(vec![1], Some(vec![1]))]);
        let _ = shelf.sync();
        drop(shelf);
    }
    assert!(opened > 100, "hardly any opens");
}
