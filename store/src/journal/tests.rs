//! The journal under power cuts, damage and failing disks.

use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};

use super::replay;
use super::segment::{self, SegmentId};
use super::writer::CommitError;
use super::{Journal, JournalConfig, JournalError};
use crate::disk::Disk;
use crate::disk::faulty::FaultyDisk;

const SMALL: JournalConfig = JournalConfig { segment_bytes: 2048 };

fn operation(seq: u64, payload_len: usize) -> Operation {
    let byte = u8::try_from(seq % 251).unwrap();
    Operation {
        document: DocumentId::yjs(&format!("document {}", seq % 3)).unwrap(),
        replica: ReplicaId([1; 16]),
        seq: Seq(seq),
        stamp: Stamp(seq),
        kind: Kind::YjsUpdate,
        payload: Bytes::from(vec![byte; payload_len]),
    }
}

/// A small generator (SplitMix64, Steele et al. 2014): the same seed, the same run.
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

enum Step {
    Commit(Vec<Operation>),
    Mark,
    /// Everything before the segment that is written to is elsewhere.
    Reclaim,
}

fn script(dice: &mut Dice, next: &mut u64) -> Vec<Step> {
    let steps = 2 + dice.roll(8);
    let mut step = || match dice.roll(6) {
        0 => Step::Mark,
        1 => Step::Reclaim,
        _ => {
            let mut batch = Vec::new();
            for _ in 0..=dice.roll(4) {
                let len = if dice.roll(12) == 0 { 3000 } else { dice.roll(500) };
                batch.push(operation(*next, usize::try_from(len).unwrap()));
                *next += 1;
            }
            Step::Commit(batch)
        }
    };
    (0..steps).map(|_| step()).collect()
}

/// What a run left behind: what was tried in order, how many of it had receipts, how many were given up.
#[derive(Clone, Default)]
struct Outcome {
    tried: Vec<Operation>,
    durable: usize,
    reclaimed: usize,
}

impl Outcome {
    fn play(&mut self, disk: &FaultyDisk, steps: &[Step]) -> Result<(), JournalError> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let opened = replay::open(&disk, SMALL)?;
        let mut placed: Vec<SegmentId> =
            opened.replay.operations.iter().map(|(segment, _)| *segment).collect();
        let mut first = self.tried.len() - placed.len();
        let mut live: Vec<_> = opened.segments.iter().map(|(segment, _)| *segment).collect();
        let mut writer = opened.writer;
        for step in steps {
            match step {
                Step::Commit(batch) => {
                    self.tried.extend(batch.iter().cloned());
                    placed
                        .extend(writer.commit(batch.iter(), |segment, _| live.push(segment)).map_err(ended)?);
                    self.durable = self.tried.len();
                    writer.catch_up().map_err(ended)?;
                }
                Step::Mark => writer.mark()?,
                Step::Reclaim => {
                    let current = writer.segment().0;
                    let gone = placed.iter().filter(|segment| **segment < current).count();
                    self.reclaimed = first + gone;
                    placed.drain(..gone);
                    first += gone;
                    for segment in live.extract_if(.., |segment| *segment < current) {
                        segment::remove(&*disk, segment)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Opens a disk after a cut: no error, everything durable there, nothing that was never tried, in order.
    fn check(&self, disk: &FaultyDisk, context: &str) -> Outcome {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let opened = replay::open(&disk, SMALL).unwrap_or_else(|error| panic!("{context}: {error}"));
        let found: Vec<_> = opened.replay.operations.into_iter().map(|(_, operation)| operation).collect();
        let end = found.last().map_or(self.durable, |last| usize::try_from(last.seq.0).unwrap());
        let start = end - found.len();
        assert!(start <= self.reclaimed, "{context}: operations before {start} are lost");
        assert!(end >= self.durable, "{context}: operations after {end} are lost");
        assert_eq!(found, self.tried[start..end], "{context}");
        Outcome { tried: self.tried[..end].to_vec(), durable: end, reclaimed: self.reclaimed }
    }
}

/// The power is gone, whatever it was that failed.
fn ended(error: CommitError) -> JournalError {
    match error {
        CommitError::NoRoom { source, .. } | CommitError::Failed(source) => source.into(),
    }
}

/// Number of power cuts' images looked at.
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
            // The recovery is cut, too, wherever it is.
            let again = image.fork();
            again.cut_after(dice.roll(4));
            let _ = replay::open(&(Arc::new(again.clone()) as Arc<dyn Disk>), SMALL);
            let found = outcome.check(&again.image(usize::MAX, || dice.roll(2) == 0), &context);
            // Life goes on, with the sequence as recovered, and is cut again.
            let mut after = outcome.check(&image, &context);
            assert!(after.durable >= outcome.durable && found.durable >= outcome.durable);
            let mut next = after.tried.len() as u64 + 1;
            let more = script(&mut dice, &mut next);
            let second = image.fork();
            second.cut_after(dice.roll(20));
            let _ = after.play(&second, &more);
            after.check(&second.image(usize::MAX, || dice.roll(2) == 0), &format!("{context}, second life"));
            images += 3;
        }
        if finished {
            return images;
        }
    }
    images
}

#[test]
fn no_power_cut_loses_what_had_a_receipt() {
    let images: usize = (0..600).map(crash).sum();
    assert!(images > 100_000, "only {images} images");
}

/// A closed journal with several segments, its disk and what it holds.
fn closed() -> (FaultyDisk, Vec<Operation>) {
    let disk = FaultyDisk::default();
    let operations: Vec<_> = (1..=12).map(|seq| operation(seq, 40 * usize::try_from(seq).unwrap())).collect();
    let opened = replay::open(&(Arc::new(disk.clone()) as Arc<dyn Disk>), SMALL).unwrap();
    let mut writer = opened.writer;
    for operation in &operations {
        writer.commit([operation].into_iter(), |_, _| ()).unwrap();
    }
    writer.mark().unwrap();
    assert!(disk.list().unwrap().len() > 2);
    (disk, operations)
}

#[test]
fn every_flipped_byte_is_found_or_harmless() {
    let (disk, operations) = closed();
    let (mut found, mut harmless) = (0, 0);
    for name in disk.list().unwrap() {
        for offset in 0..disk.bytes(&name).len() {
            let flipped = disk.fork();
            flipped.flip(&name, offset, 1 << (offset % 8));
            match replay::open(&(Arc::new(flipped) as Arc<dyn Disk>), SMALL) {
                Err(JournalError::Damaged { segment, .. }) => {
                    assert_eq!(segment.file_name(), name);
                    found += 1;
                }
                Err(error) => panic!("{name} at {offset}: {error}"),
                Ok(opened) => {
                    let still: Vec<_> =
                        opened.replay.operations.into_iter().map(|(_, operation)| operation).collect();
                    assert_eq!(still, operations, "{name} at {offset}");
                    harmless += 1;
                }
            }
        }
    }
    assert!(found > 3000 && harmless > 0, "{found} found, {harmless} harmless");
}

#[test]
fn a_missing_segment_is_named() {
    let (disk, _) = closed();
    disk.remove(&SegmentId(2).file_name()).unwrap();
    let opened = replay::open(&(Arc::new(disk) as Arc<dyn Disk>), SMALL);
    assert!(matches!(opened.err(), Some(JournalError::Missing { segment: SegmentId(2) })));
}

#[test]
fn receipts_come_in_order_and_everything_is_replayed() {
    let disk = FaultyDisk::default();
    let (journal, replay) = Journal::open(Arc::new(disk.clone()), SMALL).unwrap();
    assert!(replay.operations.is_empty());
    let receipts = Arc::new(Mutex::new(Vec::new()));
    for seq in 1..=200 {
        let receipts = Arc::clone(&receipts);
        journal.append(
            operation(seq, 30),
            Box::new(move |result| receipts.lock().unwrap().push((seq, result.unwrap()))),
        );
    }
    let (sender, receiver) = mpsc::channel();
    journal.barrier(Box::new(move |result| sender.send(result.unwrap()).unwrap()));
    let last = receiver.recv().unwrap();
    assert_eq!(journal.queued_bytes(), 0);
    assert_eq!(journal.stats().operations, 200);
    let receipts = std::mem::take(&mut *receipts.lock().unwrap());
    assert!(receipts.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0 && pair[0].1 <= pair[1].1));
    assert_eq!((receipts.len(), receipts.last().unwrap().1), (200, last));
    journal.reclaim_below(last).unwrap();
    assert!(journal.bytes() <= 2048);
    journal.close();
    let (refused, closed) = mpsc::channel();
    journal.append(operation(201, 1), Box::new(move |result| refused.send(result).unwrap()));
    assert!(matches!(closed.recv().unwrap(), Err(JournalError::Closed)));

    let (_, replay) = Journal::open(Arc::new(disk.fork()), SMALL).unwrap();
    let kept = receipts.iter().filter(|(_, segment)| *segment == last).count();
    assert_eq!(replay.operations.len(), kept);
    assert_eq!(replay.operations.last().unwrap().1, operation(200, 30));
}

#[test]
fn a_failed_sync_ends_all_receipts() {
    let disk = FaultyDisk::default();
    let (journal, _) = Journal::open(Arc::new(disk.clone()), SMALL).unwrap();
    disk.fail_syncs();
    let (sender, receiver) = mpsc::channel();
    for seq in 1..=3 {
        let sender = sender.clone();
        journal.append(operation(seq, 10), Box::new(move |result| sender.send(result.map(|_| ())).unwrap()));
    }
    for _ in 0..3 {
        assert!(matches!(receiver.recv().unwrap(), Err(JournalError::ReadOnly(_))));
    }
    assert!(journal.read_only().is_some());
}

#[test]
fn a_receipt_that_panics_leaves_nobody_waiting() {
    let (journal, _) = Journal::open(Arc::new(FaultyDisk::default()), SMALL).unwrap();
    journal.append(operation(1, 10), Box::new(|_| panic!("as a careless caller does")));
    loop {
        let (sender, receiver) = mpsc::channel();
        journal.barrier(Box::new(move |result| sender.send(result).unwrap()));
        if receiver.recv().is_ok_and(|result| result.is_err()) {
            break;
        }
    }
    assert!(journal.read_only().is_some());
}

#[test]
fn a_full_disk_makes_receipts_wait_and_refuses_none() {
    let disk = FaultyDisk::default();
    let (journal, _) = Journal::open(Arc::new(disk.clone()), SMALL).unwrap();
    disk.set_full(true);
    let (sender, receiver) = mpsc::channel();
    for seq in 1..=30 {
        let sender = sender.clone();
        journal
            .append(operation(seq, 200), Box::new(move |result| sender.send((seq, result.is_ok())).unwrap()));
    }
    while journal.stalled().is_none() {
        std::thread::yield_now();
    }
    let early: Vec<_> = receiver.try_iter().collect();
    assert!(!early.is_empty() && early.len() < 30, "{} receipts", early.len());
    assert!(journal.read_only().is_none());
    disk.set_full(false);
    let late: Vec<_> = receiver.iter().take(30 - early.len()).collect();
    let all: Vec<_> = early.into_iter().chain(late).collect();
    assert_eq!(all, (1..=30).map(|seq| (seq, true)).collect::<Vec<_>>());
    assert_eq!(journal.stalled(), None);
    // Closing does not wait for room for ever.
    disk.set_full(true);
    for seq in 31..=60 {
        journal.append(operation(seq, 200), Box::new(drop));
    }
    journal.close();
}

#[test]
fn reclaiming_again_after_a_failure_goes_on() {
    let (disk, _) = closed();
    let (journal, replay) = Journal::open(Arc::new(disk.clone()), SMALL).unwrap();
    let last = replay.operations.last().unwrap().0;
    disk.fail_syncs();
    assert!(journal.reclaim_below(last).is_err());
    disk.heal();
    journal.reclaim_below(last).unwrap();
    assert!(journal.bytes() < 3 * 2048);
}

/// Payloads full of what looks like records, torn: reading them back must not cost more than reading them.
#[test]
fn a_payload_cannot_pretend_to_be_records() {
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::default());
    let large = JournalConfig { segment_bytes: 8 * 1024 * 1024 };
    let mut writer = replay::open(&disk, large).unwrap().writer;
    let mut payload = Vec::new();
    while payload.len() < 4 * 1024 * 1024 {
        payload.extend_from_slice(b"TREC\0\0\0\0\x01\x01\0\x01\0\x7f\xff\xff");
        payload.extend_from_slice(&[0xff; 40]);
    }
    let crafted = Operation { payload: payload.into(), ..operation(1, 0) };
    writer.commit([&crafted].into_iter(), |_, _| ()).unwrap();
    let file = disk.open(&SegmentId(1).file_name()).unwrap();
    file.write_at(100, &[0xee; 4]).unwrap();
    let opened = replay::open(&disk, large).unwrap();
    assert!(opened.replay.operations.is_empty() && opened.replay.cut_bytes > 4_000_000);
}
