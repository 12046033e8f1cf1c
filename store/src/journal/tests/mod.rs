//! The journal under power cuts, damage and failing disks.

mod crash; // the power goes
mod damage; // bytes change at rest
mod faults; // the disk says no
mod life; // receipts, room, reclaiming
mod script; // what a journal is put through
mod version_1; // what the first version wrote

use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};

use super::writer::Writer;
use super::{JournalConfig, JournalError, replay};
use crate::disk::Disk;
use crate::disk::faulty::FaultyDisk;

const SMALL: JournalConfig = JournalConfig { segment_bytes: 2048 };

fn operation(seq: u64, payload_len: usize) -> Operation {
    let byte = u8::try_from(seq % 251).unwrap();
    Operation {
        document: DocumentId::yjs(&format!("document {}", seq / 8)).unwrap(),
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

/// Images of cut disks that a test looks at; `TOMBOLO_TEST_IMAGES=1000000` is the long mode.
fn images_wanted() -> usize {
    std::env::var("TOMBOLO_TEST_IMAGES").map_or(100_000, |images| images.parse().unwrap())
}

fn open(disk: &FaultyDisk) -> Result<replay::Opened, JournalError> {
    replay::open(&(Arc::new(disk.clone()) as Arc<dyn Disk>), SMALL)
}

/// What opening a disk gives.
fn replayed(disk: &FaultyDisk) -> Result<Vec<Operation>, JournalError> {
    Ok(open(disk)?.replay.operations.into_iter().map(|(_, operation)| operation).collect())
}

fn commit(writer: &mut Writer, operation: &Operation) {
    writer.encode(std::iter::once(operation), &mut Vec::new(), |_, _| ()).unwrap();
    writer.sync().unwrap();
}

/// A closed journal with several segments, its disk and what it holds.
fn closed_journal() -> (FaultyDisk, Vec<Operation>) {
    let disk = FaultyDisk::default();
    let operations: Vec<_> = (1..=12).map(|seq| operation(seq, 40 * usize::try_from(seq).unwrap())).collect();
    let opened = replay::open(&(Arc::new(disk.clone()) as Arc<dyn Disk>), SMALL).unwrap();
    let mut writer = opened.writer;
    for operation in &operations {
        commit(&mut writer, operation);
    }
    writer.close().unwrap();
    assert!(disk.list().unwrap().len() > 2);
    (disk, operations)
}
