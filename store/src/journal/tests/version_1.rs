//! A journal that the first version wrote is read and gone on with.

use tombolo_core::operation::Operation;

use super::super::checksum::Version;
use super::super::inspect;
use super::super::record::{Mark, Place, encode_mark, encode_operation};
use super::super::segment::{self, SegmentId};
use super::{commit, open, operation, replayed};
use crate::disk::Disk;
use crate::disk::faulty::FaultyDisk;

const SEGMENT: SegmentId = SegmentId(1);

/// As the first version left it: a segment with three operations and, if it had the time, a mark.
fn written(marked: bool) -> (FaultyDisk, Vec<Operation>) {
    let head = segment::Head { chain: [0; 32], nonce: *b"once", len: None };
    let mut bytes = segment::header(SEGMENT, &head).to_vec();
    let place = |bytes: &Vec<u8>| Place { segment: SEGMENT, nonce: head.nonce, offset: bytes.len() as u64 };
    let operations: Vec<_> = (1..=3).map(|seq| operation(seq, 100)).collect();
    for operation in &operations {
        let (place, durable) = (place(&bytes), bytes.len() as u64);
        encode_operation(&mut bytes, Version::One, place, durable, operation);
    }
    if marked {
        let (place, durable) = (place(&bytes), bytes.len() as u64);
        encode_mark(&mut bytes, Version::One, place, durable, Mark::Quiet);
    }
    let disk = FaultyDisk::default();
    let file = disk.create(&SEGMENT.file_name(), 2048).unwrap();
    file.write_at(0, &bytes).unwrap();
    file.sync().unwrap();
    disk.sync_folder().unwrap();
    (disk, operations)
}

#[test]
fn it_is_gone_on_with_and_followed_by_the_latest() {
    for marked in [false, true] {
        let (disk, mut operations) = written(marked);
        assert!(inspect(&disk).unwrap().findings.is_empty());
        for seq in 4..=20 {
            operations.push(operation(seq, 200));
            let mut writer = open(&disk).unwrap().writer;
            commit(&mut writer, operations.last().unwrap());
            if seq % 2 == 0 {
                writer.close().unwrap();
            }
            assert_eq!(replayed(&disk).unwrap(), operations);
            let inspection = inspect(&disk).unwrap();
            assert!(inspection.findings.is_empty(), "{:?}", inspection.findings);
            assert_eq!(inspection.operations, seq);
        }
        let versions: Vec<_> = (1..4).map(|id| disk.bytes(&SegmentId(id).file_name())[8]).collect();
        assert_eq!(versions, [1, 2, 2]);
        assert_eq!(disk.bytes(&SEGMENT.file_name())[2048 - 8..].len(), 8);
    }
}

#[test]
fn damage_to_it_is_found() {
    let (disk, operations) = written(true);
    let end = 2048 - disk.bytes(&SEGMENT.file_name()).iter().rev().take_while(|byte| **byte == 0).count();
    for offset in 0..end {
        let flipped = disk.fork();
        flipped.flip(&SEGMENT.file_name(), offset, 1 << (offset % 8));
        let findings = inspect(&flipped).unwrap().findings;
        assert!(!findings.is_empty(), "at {offset}");
        match replayed(&flipped) {
            Ok(found) => assert_eq!(found, operations, "at {offset}"),
            Err(_) => assert!(findings.iter().any(|finding| finding.is_damage()), "at {offset}"),
        }
    }
}
