//! Bytes that change at rest: found by inspection, named or harmless on opening, and no reason to lose others.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Operation;

use super::super::record::{Entry, MARK_LEN, Mark, Record, encoded_len};
use super::super::segment::{self, HEADER_LEN, Nonce, SegmentId};
use super::super::{Finding, Found, JournalError, inspect, replay, salvage, walk};
use super::script::{Outcome, Step, script};
use super::{Dice, SMALL, closed_journal, commit, images_wanted, operation, replayed};
use crate::disk::Disk;
use crate::disk::faulty::FaultyDisk;

/// Every record of a journal, by its segment and offset.
fn records(disk: &FaultyDisk) -> Vec<(SegmentId, usize, Record)> {
    let mut records = Vec::new();
    for id in segment::ids(&disk.list().unwrap()) {
        let bytes = disk.bytes(&id.file_name());
        let nonce = segment::read_header(&bytes, id).unwrap().nonce;
        records.extend(walk::records(&bytes, id, nonce).map(|(offset, record)| (id, offset, record)));
    }
    records
}

/// Where each operation of a journal lies: segment, offset, length.
fn places(disk: &FaultyDisk) -> Vec<(SegmentId, usize, usize, Operation)> {
    let operation = |(id, offset, record): (SegmentId, usize, Record)| match record.entry {
        Entry::Operation(operation) => Some((id, offset, record.len, operation)),
        Entry::Mark(_) => None,
    };
    records(disk).into_iter().filter_map(operation).collect()
}

/// Where the closed mark starts.
fn closed_mark(disk: &FaultyDisk) -> (SegmentId, usize) {
    let id = *segment::ids(&disk.list().unwrap()).last().unwrap();
    let bytes = disk.bytes(&id.file_name());
    let nonce = segment::read_header(&bytes, id).unwrap().nonce;
    let (offset, record) = walk::records(&bytes, id, nonce).last().unwrap();
    assert_eq!(record.entry, Entry::Mark(Mark::Closed));
    (id, offset)
}

#[test]
fn every_flipped_byte_is_found() {
    let (disk, operations) = closed_journal();
    assert!(inspect(&disk).unwrap().findings.is_empty());
    let (last, mark) = closed_mark(&disk);
    let (mut found, mut harmless) = (0, 0);
    for name in disk.list().unwrap() {
        let id = SegmentId::of_file_name(&name).unwrap();
        for offset in 0..disk.bytes(&name).len() {
            let context = format!("{name} at {offset}");
            let flipped = disk.fork();
            flipped.flip(&name, offset, 1 << (offset % 8));
            let findings = inspect(&flipped).unwrap().findings;
            assert!(findings.iter().any(|finding| finding.segment == id), "{context}: {findings:?}");
            // The last word itself cannot always be told from one that was torn.
            let last_word = id == last && (mark..mark + MARK_LEN).contains(&offset);
            assert!(findings.iter().any(Finding::is_damage) || last_word, "{context}: {findings:?}");
            match replayed(&flipped) {
                Err(JournalError::Damaged { segment, .. }) => {
                    assert_eq!(segment, id);
                    found += 1;
                }
                Err(error) => panic!("{context}: {error}"),
                Ok(still) => {
                    assert_eq!(still, operations, "{context}");
                    harmless += 1;
                }
            }
        }
    }
    assert!(found > 3000 && harmless > 0, "{found} found, {harmless} harmless");
}

/// Of any journal that was closed: all that had a receipt comes back, or opening names the place.
#[test]
fn a_flip_at_rest_loses_nothing_in_silence() {
    let (mut images, mut refused) = (0, 0);
    for seed in 0.. {
        let mut dice = Dice(seed);
        let mut steps = script(&mut dice, &mut 1);
        steps.push(Step::Close);
        let disk = FaultyDisk::default();
        Outcome::default().play(&disk, &steps).unwrap();
        let kept = replayed(&disk.fork()).unwrap();
        for name in disk.list().unwrap() {
            let id = SegmentId::of_file_name(&name).unwrap();
            for _ in 0..20 {
                let flipped = disk.fork();
                let offset = usize::try_from(dice.roll(disk.bytes(&name).len() as u64)).unwrap();
                flipped.flip(&name, offset, 1 << dice.roll(8));
                match replayed(&flipped) {
                    Ok(found) => assert_eq!(found, kept, "seed {seed}, {name} at {offset}"),
                    Err(JournalError::Damaged { segment, .. }) if segment == id => refused += 1,
                    Err(error) => panic!("seed {seed}, {name} at {offset}: {error}"),
                }
                images += 1;
            }
        }
        if images >= images_wanted() / 10 {
            break;
        }
    }
    assert!(refused > images / 10, "only {refused} of {images} refused");
}

#[test]
fn every_truncation_is_found_and_refused() {
    let (disk, _) = closed_journal();
    for name in disk.list().unwrap() {
        let id = SegmentId::of_file_name(&name).unwrap();
        let len = disk.bytes(&name).len();
        for cut in (0..len).step_by(7).chain([len - 1, len + 1]) {
            let truncated = disk.fork();
            truncated.damage(&name, |bytes| bytes.resize(cut, 0));
            let findings = inspect(&truncated).unwrap().findings;
            let named = |finding: &Finding| finding.segment == id && finding.is_damage();
            assert!(findings.iter().any(named), "{name} cut to {cut}: {findings:?}");
            let refused = replayed(&truncated);
            assert!(
                matches!(refused, Err(JournalError::Damaged { segment, .. }) if segment == id),
                "{name} cut to {cut}: {refused:?}"
            );
        }
    }
}

#[test]
fn a_missing_segment_is_named() {
    let (disk, _) = closed_journal();
    disk.remove(&SegmentId(2).file_name()).unwrap();
    let findings = inspect(&disk).unwrap().findings;
    assert!(matches!(
        findings.as_slice(),
        [Finding { segment: SegmentId(2), found: Found::Missing { before: SegmentId(3) }, .. }]
    ));
    let refused = replayed(&disk);
    assert!(matches!(refused.err(), Some(JournalError::Missing { segment: SegmentId(2) })));
}

#[test]
fn a_later_format_is_named() {
    let (disk, _) = closed_journal();
    let last = segment::ids(&disk.list().unwrap()).pop().unwrap();
    disk.damage(&last.file_name(), |bytes| {
        bytes[8] = 3;
        let crc = crc32c::crc32c(&bytes[..60]).to_be_bytes();
        bytes[60..64].copy_from_slice(&crc);
    });
    let findings = inspect(&disk).unwrap().findings;
    assert!(matches!(findings.as_slice(), [Finding { found: Found::TooNew(3), .. }]), "{findings:?}");
    assert!(matches!(replayed(&disk), Err(JournalError::TooNew { version: 3, .. })));
}

#[test]
fn the_documents_of_damaged_records_are_named() {
    let (disk, _) = closed_journal();
    for (id, offset, _, operation) in places(&disk) {
        // In the payload: the head still names the document.
        let flipped = disk.fork();
        flipped.flip(&id.file_name(), offset + 75, 1);
        let findings = inspect(&flipped).unwrap().findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].segment, findings[0].offset), (id, offset as u64));
        assert_eq!(findings[0].documents.as_slice(), std::slice::from_ref(&operation.document));
    }
}

#[test]
fn a_gap_in_a_document_names_it() {
    let disk = FaultyDisk::default();
    let mut writer = super::open(&disk).unwrap().writer;
    let document = DocumentId::yjs("one").unwrap();
    for seq in 1..=3 {
        let operation = Operation { document: document.clone(), ..operation(seq, 40) };
        commit(&mut writer, &operation);
    }
    writer.close().unwrap();
    let (id, offset, len, _) = places(&disk).swap_remove(1);
    disk.damage(&id.file_name(), |bytes| bytes[offset..offset + len].fill(0));
    let findings = inspect(&disk).unwrap().findings;
    assert_eq!((findings.len(), findings[0].offset), (1, offset as u64));
    assert_eq!(findings[0].documents, [document]);
}

const NONCE_LEN: usize = size_of::<Nonce>();

/// Segments whose header and one of whose records lost the same bit of the nonce: they agree on a wrong one, and
/// what had the right one may be outvoted.
fn misled(records: &[(SegmentId, usize, Record)], changed: &[(SegmentId, usize)]) -> Vec<SegmentId> {
    let hit = |id, from: usize| {
        changed.iter().any(|(file, at)| *file == id && (from..from + NONCE_LEN).contains(at))
    };
    let both = records.iter().filter(|(id, offset, _)| hit(*id, *offset) && hit(*id, 12));
    both.map(|(id, ..)| *id).collect()
}

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, Index, u8),
    Truncate(Index, Index),
    /// Of the header's nonce.
    Nonce(Index, u8),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let flip = (any::<Index>(), any::<Index>(), 0u8..8);
    let change = prop_oneof![
        8 => flip.prop_map(|(file, at, bit)| Change::Flip(file, at, bit)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(file, at)| Change::Truncate(file, at)),
        2 => (any::<Index>(), 0u8..32).prop_map(|(file, bit)| Change::Nonce(file, bit)),
    ];
    prop::collection::vec(change, 1..6)
}

/// Makes the changes; says which bytes are not what they were.
fn change(disk: &FaultyDisk, changes: &[Change]) -> Vec<(SegmentId, usize)> {
    let ids = segment::ids(&disk.list().unwrap());
    let clean: Vec<_> = ids.iter().map(|id| disk.bytes(&id.file_name())).collect();
    for change in changes {
        let (Change::Flip(file, ..) | Change::Truncate(file, _) | Change::Nonce(file, _)) = change;
        disk.damage(&file.get(&ids).file_name(), |bytes| match change {
            _ if bytes.len() < 16 => {}
            Change::Flip(_, at, bit) => *at.get_mut(bytes) ^= 1 << bit,
            Change::Truncate(_, at) => bytes.truncate(at.index(bytes.len())),
            Change::Nonce(_, bit) => bytes[12 + usize::from(bit / 8)] ^= 1 << (bit % 8),
        });
    }
    let mut changed = Vec::new();
    for (id, clean) in ids.into_iter().zip(clean) {
        let now = disk.bytes(&id.file_name());
        changed.extend((0..clean.len()).filter(|at| now.get(*at) != clean.get(*at)).map(|at| (id, at)));
    }
    changed
}

proptest! {
    #[test]
    fn everything_untouched_is_salvaged_and_every_change_is_found(changes in changes()) {
        let (disk, _) = closed_journal();
        let (records, places) = (records(&disk), places(&disk));
        let changed = change(&disk, &changes);
        let before: Vec<_> = disk.list().unwrap().iter().map(|name| disk.bytes(name)).collect();
        // The first four bytes of a record are the nonce that its header has, too, and no part of what it says:
        // where a header and a lone record lost the same bit of it, the record is as good as ever.
        let whole_from = |skipped: usize| {
            let whole = |(id, offset, len, _): &&(SegmentId, usize, usize, Operation)| {
                !changed.iter().any(|(file, at)| file == id && (offset + skipped..offset + len).contains(at))
            };
            let operations = places.iter().filter(whole).map(|(id, .., operation)| (*id, operation.clone()));
            operations.collect::<Vec<_>>()
        };
        let (untouched, intact) = (whole_from(0), whole_from(NONCE_LEN));
        let mut salvaged = Vec::new();
        let counts = salvage(&disk, &mut |id, operation| salvaged.push((id, operation))).unwrap();
        prop_assert_eq!(counts.operations, salvaged.len() as u64);
        let misled = misled(&records, &changed);
        for operation in untouched.iter().filter(|(id, _)| !misled.contains(id)) {
            prop_assert!(salvaged.contains(operation), "lost {:?}", operation);
        }
        let mut rest = intact.iter();
        for operation in &salvaged {
            prop_assert!(rest.any(|intact| intact == operation), "invented or out of order {:?}", operation);
        }
        let inspection = inspect(&disk).unwrap();
        for (id, at) in &changed {
            let named = |finding: &Finding| finding.segment == *id;
            prop_assert!(inspection.findings.iter().any(named), "{} at {}: {:?}", id, at, inspection);
        }
        let after: Vec<_> = disk.list().unwrap().iter().map(|name| disk.bytes(name)).collect();
        prop_assert_eq!(before, after);
    }
}

/// The last group, behind which nothing says that it was durable: a flip in it is no torn tail.
#[test]
fn a_flip_in_the_last_group_is_damage() {
    let disk = FaultyDisk::default();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut writer = replay::open(&shared, SMALL).unwrap().writer;
    let last = operation(1, 300);
    commit(&mut writer, &last);
    let name = SegmentId(1).file_name();
    let end = HEADER_LEN + encoded_len(&last);
    let (mut seen, mut torn) = (0, 0);
    for offset in HEADER_LEN..end {
        let flipped = disk.fork();
        flipped.flip(&name, offset, 1 << (offset % 8));
        let findings = inspect(&flipped).unwrap().findings;
        match replayed(&flipped) {
            Err(JournalError::Damaged { .. }) => {
                assert!(findings.iter().any(Finding::is_damage));
                seen += 1;
            }
            Err(error) => panic!("{offset}: {error}"),
            Ok(operations) => {
                assert!(operations.is_empty() && !findings.is_empty(), "{offset}: not even noted");
                torn += 1;
            }
        }
    }
    // Lengths that reach into blank space cannot be told from a torn tail.
    assert!(seen > 300 && torn <= 6, "{seen} seen, {torn} taken for torn");
}
