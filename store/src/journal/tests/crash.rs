//! Power cuts between any two calls, and what the disk may hold after each.

use super::super::inspect;
use super::script::{Outcome, script};
use super::{Dice, images_wanted, open};
use crate::disk::faulty::FaultyDisk;

/// Number of images looked at, of power cuts in one life of a journal.
fn crash(seed: u64) -> usize {
    let mut dice = Dice(seed);
    let mut next = 1;
    let steps = script(&mut dice, &mut next);
    let mut images = 0;
    for calls in 0.. {
        let disk = FaultyDisk::default();
        disk.cut_after(calls);
        let mut outcome = Outcome::default();
        let finished = outcome.play(&disk, &steps).is_ok();
        let tries = if disk.undecided() <= 3 { 1 << disk.undecided() } else { 12 };
        for fate in 0..tries {
            let folder = usize::try_from(dice.roll(disk.folder_changes() as u64 + 1)).unwrap();
            let image = disk.image(folder, || dice.roll(2) == 0);
            let context = format!("seed {seed}, cut after {calls} calls, fate {fate}");
            no_false_alarm(&image, &context);
            // The recovery is cut, too, wherever it is.
            let again = image.fork();
            again.cut_after(dice.roll(6));
            let _ = open(&again);
            let found = outcome.check(&again.image(usize::MAX, || dice.roll(2) == 0), &context);
            // Life goes on, with the sequence as recovered, and is cut again.
            let mut after = outcome.check(&image, &context);
            assert!(after.durable >= outcome.durable && found.durable >= outcome.durable);
            let mut next = after.tried.len() as u64 + 1;
            let more = script(&mut dice, &mut next);
            let second = image.fork();
            second.cut_after(dice.roll(20));
            let _ = after.play(&second, &more);
            let third = second.image(usize::MAX, || dice.roll(2) == 0);
            no_false_alarm(&third, &format!("{context}, second life"));
            after.check(&third, &format!("{context}, second life"));
            images += 3;
        }
        if finished {
            return images;
        }
    }
    images
}

/// A stop leaves at most a torn tail.
fn no_false_alarm(image: &FaultyDisk, context: &str) {
    let inspection = inspect(image).unwrap();
    let damage = inspection.findings.iter().find(|finding| finding.is_damage());
    assert!(damage.is_none(), "{context}: {damage:?}");
}

#[test]
fn no_power_cut_loses_what_had_a_receipt() {
    let wanted = images_wanted();
    let mut images = 0;
    for seed in 0.. {
        images += crash(seed);
        if images >= wanted {
            break;
        }
    }
    println!("{images} images");
}
