//! The file stays as long as its documents are many, whatever happens to them.

use super::world::{Lasting, World};
use crate::disk::Disk;
use crate::disk::faulty::FaultyDisk;

#[test]
fn what_is_superseded_goes_and_nothing_is_missed() {
    let disk = FaultyDisk::default();
    let mut world = World::open(&disk, Lasting::default());
    (0..1500).for_each(|document| world.append(document));
    world.take(false).unwrap();
    let first = world.changes(None, 10_000).unwrap().up_to;
    let (mut longest, mut shrunk) = (0, 0);
    let mut last = first;
    for round in 0..400 {
        let told = world.lasting.log.len();
        (0..50).for_each(|n| world.append((round * 7 + n * 3) % 300));
        world.take(false).unwrap();
        last = world.check(Some((last, told)), 10_000, &format!("round {round}")).unwrap();
        let len = disk.open("feed").unwrap().size().unwrap();
        shrunk += u64::from(len < longest);
        longest = len;
    }
    assert!(shrunk > 2, "made anew {shrunk} times");
    assert!(longest < (1024 + 3 * 1500 + 100) * 50, "{longest} bytes");
    let since_first = world.changes(Some(&first), 10_000).unwrap();
    assert!(!since_first.anew);
    assert_eq!(since_first.documents.len(), 300);
    world.close().unwrap();
    let world = World::open(&disk, world.lasting);
    assert_eq!(world.changes(Some(&first), 10_000).unwrap().documents, since_first.documents);
    assert_eq!(world.changes(None, 10_000).unwrap().documents.len(), 1500);
}

#[test]
fn numbers_grow_also_when_the_feed_is_made_anew() {
    let disk = FaultyDisk::default();
    let mut lasting = Lasting::default();
    // Each opening is farther up.
    for round in 0..4 {
        let mut last = 0;
        let mut world = World::open(&disk, lasting);
        world.append(round);
        world.take(false).unwrap();
        for _ in 0..2 {
            let known = world.changes(None, 10_000).unwrap().up_to;
            assert!(known.number > last, "round {round}: {} behind {last}", known.number);
            last = known.number;
            disk.damage("feed", |bytes| *bytes.last_mut().unwrap() ^= 1);
            world.append(round);
            // Whoever writes or asks sees that, and what is told from then on is above.
            let told = world.changes(Some(&known), 10_000).unwrap();
            assert!(told.up_to.number > last, "round {round}: {} behind {last}", told.up_to.number);
            last = told.up_to.number;
        }
        world.close().unwrap();
        lasting = world.lasting;
    }
}
