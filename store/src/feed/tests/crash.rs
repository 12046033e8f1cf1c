//! Power cuts between any two calls: no change is ever invisible to a checkpoint that was given out before.

use std::io;

use super::world::{Lasting, World};
use crate::disk::faulty::FaultyDisk;
use crate::feed::Checkpoint;

/// SplitMix64 (Steele et al. 2014): the same seed, the same run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// A checkpoint, and how much of the log was told with it.
type Known = Vec<(Checkpoint, usize)>;

/// One life of a store, until it is closed or the power goes.
fn live(world: &mut World, dice: &mut Dice, known: &mut Known, context: &str) -> io::Result<()> {
    for _ in 0..3 + dice.roll(20) {
        match dice.roll(12) {
            0..4 => world.append(dice.roll(12)),
            4 => world.roll(),
            5..7 => world.take(dice.roll(8) == 0)?,
            7 => {
                let (document, more, stop) = (dice.roll(12), dice.roll(3), dice.roll(3) == 0);
                let between = |world: &mut World| match more {
                    0 => {
                        world.append(document);
                        // What it says comes with the next call that changes something.
                        drop(world.take(false));
                    }
                    1 => drop(world.take(false)),
                    _ => {}
                };
                world.release(document, between, stop)?;
            }
            _ => {
                let at = usize::try_from(dice.roll(known.len() as u64 + 1)).unwrap();
                let limit = if dice.roll(2) == 0 { 1 + usize::try_from(dice.roll(4)).unwrap() } else { 1000 };
                let told = world.lasting.log.len();
                let up_to = world.check(known.get(at).copied(), limit, context)?;
                known.push((up_to, told));
            }
        }
    }
    if dice.roll(2) == 0 { world.close() } else { Ok(()) }
}

/// Number of images looked at.
fn crash(seed: u64) -> usize {
    let mut dice = Dice(seed);
    let (mut disk, mut lasting, mut known) = (FaultyDisk::default(), Lasting::default(), Known::new());
    let lives = 6;
    for life in 0..lives {
        let context = format!("seed {seed}, life {life}");
        if dice.roll(4) > 0 {
            disk.cut_after(dice.roll(25));
        }
        let mut world = World::open(&disk, lasting);
        // However it ended.
        let _ = live(&mut world, &mut dice, &mut known, &context);
        lasting = world.lasting;
        let changes = usize::try_from(dice.roll(disk.folder_changes() as u64 + 1)).unwrap();
        disk = disk.image(changes, || dice.roll(2) == 0);
        // Whoever asks next, with whatever checkpoint, misses nothing.
        for (at, since) in known.iter().enumerate() {
            let there = disk.fork();
            let world = World::open(&there, lasting.clone());
            world.check(Some(*since), 1 + at, &format!("{context}, asked with checkpoint {at}")).unwrap();
        }
    }
    lives
}

#[test]
fn no_power_cut_hides_a_change() {
    let wanted = std::env::var("TOMBOLO_TEST_IMAGES").map_or(6_000, |images| images.parse().unwrap());
    let (mut images, mut seed) = (0, 0);
    while images < wanted {
        images += crash(seed);
        seed += 1;
    }
    println!("{images} images");
}
