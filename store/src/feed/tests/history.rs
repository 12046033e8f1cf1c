//! A folder that went backwards in a way that nobody saw.

use super::world::{Lasting, World};
use crate::disk::faulty::FaultyDisk;

/// As a snapshot of a whole disk: the same incarnation, the same feed.
#[test]
fn a_checkpoint_of_another_branch_tells_everything_anew() {
    let disk = FaultyDisk::default();
    let mut world = World::open(&disk, Lasting::default());
    world.append(1);
    let before = world.changes(None, 100).unwrap().up_to;
    world.close().unwrap();
    let (copy, lasting) = (disk.fork(), world.lasting);
    let branch = |disk: &FaultyDisk, documents: std::ops::Range<u64>| {
        let mut world = World::open(disk, lasting.clone());
        documents.for_each(|document| world.append(document));
        let changes = world.changes(Some(&before), 100).unwrap();
        assert!(!changes.anew, "what was told before is known in both");
        (world, changes.up_to)
    };
    let (one, of_one) = branch(&disk, 10..14);
    let (other, of_other) = branch(&copy, 20..30);
    for (world, checkpoint, count) in [(one, of_other, 5), (other, of_one, 11)] {
        let changes = world.changes(Some(&checkpoint), 100).unwrap();
        assert!(changes.anew);
        assert_eq!(changes.documents.len(), count);
        // Also after a restart.
        let mut world = world;
        world.close().unwrap();
    }
}
