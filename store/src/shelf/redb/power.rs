//! Power cuts between any two writes of redb's file: what was synced is there, each batch is whole or absent, and a
//! newest commit that was damaged is never taken for one that was torn.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use ::redb::StorageBackend;

use super::super::VALUE_BYTES_MAX;
use super::*;

/// What a disk keeps or loses as one.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Step {
    Length(u64),
    Write(u64, Vec<u8>),
    Sync,
    /// The caller was told that so many batches are durable.
    Answered(usize),
}

/// A file in memory that remembers how it came to be, and can fail to sync.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Medium>>);

#[derive(Clone, Debug, Default)]
struct Medium {
    bytes: Vec<u8>,
    steps: Vec<Step>,
    fails: bool,
}

impl Disk {
    fn with(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Medium { bytes, ..Medium::default() })))
    }

    fn note(&self, step: Step) {
        let mut disk = self.0.lock().unwrap();
        apply(&mut disk.bytes, &step, &mut |_| true);
        disk.steps.push(step);
    }

    fn open(&self) -> Result<RedbShelf, ShelfError> {
        guarded(|| Ok(RedbShelf::of(builder().create_with_backend(self.clone()).map_err(fault)?)))
    }
}

fn apply(bytes: &mut Vec<u8>, step: &Step, kept: &mut dyn FnMut(usize) -> bool) {
    match step {
        Step::Length(length) if kept(0) => bytes.resize(usize::try_from(*length).unwrap(), 0),
        Step::Write(at, data) => {
            let at = usize::try_from(*at).unwrap();
            for (number, sector) in data.chunks(SECTOR).enumerate().filter(|(number, _)| kept(*number)) {
                let from = at + number * SECTOR;
                bytes.resize(bytes.len().max(from + sector.len()), 0);
                bytes[from..from + sector.len()].copy_from_slice(sector);
            }
        }
        Step::Length(_) | Step::Sync | Step::Answered(_) => {}
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let disk = self.0.lock().unwrap();
        let from = usize::try_from(offset).unwrap();
        let found = disk.bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.note(Step::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        if self.0.lock().unwrap().fails {
            return Err(io::Error::other("the disk does not sync"));
        }
        self.note(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.note(Step::Write(offset, data.to_vec()));
        Ok(())
    }
}

/// splitmix64 (Vigna 2015).
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

type Rows = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

fn rows(shelf: &RedbShelf) -> Result<Rows, ShelfError> {
    let mut rows = Rows::new();
    for tree in Tree::ALL {
        shelf.scan(tree, &[], None, &mut |key, value| {
            rows.insert((tree, key.to_vec()), value.to_vec());
            ControlFlow::Continue(())
        })?;
    }
    Ok(rows)
}

fn batch(dice: &mut Dice, number: usize) -> (Tree, Vec<Change>) {
    let tree = Tree::ALL[number % Tree::ALL.len()];
    let changes = (0..=dice.below(8)).map(|_| {
        let key = dice.below(12).to_be_bytes().to_vec();
        let len = usize::try_from(dice.below(VALUE_BYTES_MAX as u64 + 1)).unwrap();
        let value = vec![u8::try_from(number).unwrap(); len];
        (key, (dice.below(4) > 0).then_some(value))
    });
    (tree, changes.collect())
}

/// Makes a database and changes it in batches, two or so to a sync; gives back what it was after each batch.
fn run(disk: &Disk, batches: usize) -> (RedbShelf, Vec<Rows>) {
    let mut dice = Dice(5);
    let shelf = RedbShelf::of(builder().create_with_backend(disk.clone()).unwrap()).with_tables().unwrap();
    disk.note(Step::Answered(0));
    let mut states = vec![Rows::new()];
    for number in 0..batches {
        let (tree, changes) = batch(&mut dice, number);
        let mut state = states[number].clone();
        for (key, value) in changes.clone() {
            match value {
                Some(value) => state.insert((tree, key), value),
                None => state.remove(&(tree, key)),
            };
        }
        states.push(state);
        shelf.batch(tree, changes).unwrap();
        if dice.below(2) == 0 {
            shelf.sync().unwrap();
            disk.note(Step::Answered(number + 1));
        }
    }
    (shelf, states)
}

#[test]
fn a_power_cut_loses_nothing_that_was_synced() {
    let disk = Disk::default();
    let (shelf, states) = run(&disk, 24);
    drop(shelf);
    let steps = disk.0.lock().unwrap().steps.clone();
    let mut dice = Dice(6);
    let (mut durable, mut synced, mut answered) = (Vec::new(), 0, None);
    let (mut images, mut newer) = (0, 0);
    for cut in 0..steps.len() {
        match steps[cut] {
            Step::Sync => {
                steps[synced..cut].iter().for_each(|step| apply(&mut durable, step, &mut |_| true));
                synced = cut;
            }
            Step::Answered(batches) => answered = Some(batches),
            _ => {}
        }
        let Some(answered) = answered else { continue };
        // All that is not synced is there, or none of it, or some of it.
        for fate in 0..3 {
            let mut image = durable.clone();
            for step in &steps[synced..=cut] {
                apply(&mut image, step, &mut |_| fate == 0 || (fate == 2 && dice.below(2) == 0));
            }
            let shelf = Disk::with(image).open().unwrap_or_else(|error| panic!("step {cut}: {error:?}"));
            let found = rows(&shelf).unwrap();
            let state = states.iter().rposition(|state| *state == found).expect("no state there ever was");
            assert!(state >= answered, "step {cut}: {answered} batches were durable, {state} are there");
            newer += usize::from(state > answered);
            images += 1;
        }
    }
    assert!(images > 300 && newer > 5, "{images} images, {newer} of them newer than what was answered");
}

#[test]
fn a_failed_sync_stays_failed_until_it_is_opened_anew() {
    let disk = Disk::default();
    let (shelf, states) = run(&disk, 9);
    shelf.sync().unwrap();
    disk.0.lock().unwrap().fails = true;
    let late = vec![(b"late".to_vec(), Some(vec![1]))];
    shelf.batch(Tree::Tails, late.clone()).unwrap();
    assert!(matches!(shelf.sync(), Err(ShelfError::Io(_))));
    disk.0.lock().unwrap().fails = false;
    assert!(shelf.sync().is_err() && shelf.batch(Tree::Tails, late.clone()).is_err());
    drop(shelf);
    let shelf = disk.open().unwrap();
    assert!(rows(&shelf).unwrap().len() >= states[9].len());
    shelf.batch(Tree::Tails, late).unwrap();
    shelf.sync().unwrap();
    assert_eq!(shelf.get(Tree::Tails, b"late").unwrap(), Some(vec![1]));
}

#[test]
fn a_damaged_newest_commit_is_not_taken_for_a_torn_one() {
    let disk = Disk::default();
    let (shelf, states) = run(&disk, 20);
    let before = disk.0.lock().unwrap().steps.len();
    shelf.batch(Tree::Snapshots, vec![(vec![7], Some(vec![7; 4000]))]).unwrap();
    shelf.sync().unwrap();
    // As a kill leaves it: redb is not closed.
    let Medium { bytes: image, steps, .. } = disk.0.lock().unwrap().clone();
    let mut refused = 0;
    for step in &steps[before..] {
        let Step::Write(at, data) = step else { continue };
        for offset in (0..data.len()).step_by(997) {
            let mut image = image.clone();
            image[usize::try_from(*at).unwrap() + offset] ^= 0x10;
            match Disk::with(image).open().and_then(|shelf| rows(&shelf)) {
                Ok(found) => assert!(found.len() > states[20].len(), "the newest commit is gone"),
                Err(ShelfError::Engine(_)) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert!(refused > 5, "{refused}");
}
