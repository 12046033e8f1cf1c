//! Receipts, room and reclaiming.

use std::sync::{Arc, Mutex, mpsc};

use rustix::io::Errno;
use tombolo_core::operation::Operation;

use super::super::segment::SegmentId;
use super::super::writer::CommitError;
use super::super::{Journal, JournalConfig, JournalError, replay};
use super::{SMALL, closed_journal, commit, operation};
use crate::disk::Disk;
use crate::disk::faulty::{Fault, FaultyDisk};

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

/// What was said a while ago about room ahead of need is no reason to let anybody wait now.
#[test]
fn room_that_was_not_there_ahead_of_need_is_asked_for_again_when_it_is_needed() {
    let disk = FaultyDisk::default();
    let mut writer = super::open(&disk).unwrap().writer;
    commit(&mut writer, &operation(1, 1000));
    disk.set_full(true);
    writer.catch_up().unwrap();
    while writer.is_making_room() {
        std::thread::yield_now();
    }
    disk.set_full(false);
    commit(&mut writer, &operation(2, 1000));
    assert_eq!(super::replayed(&disk).unwrap().len(), 2);
}

/// A thread that the system does not give is waited for as for room; a failed write is not.
#[test]
fn what_passes_by_itself_ends_no_journal() {
    for errno in [Errno::AGAIN, Errno::NOSPC, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::DQUOT] {
        assert!(matches!(CommitError::from(std::io::Error::from(errno)), CommitError::NoRoom(_)), "{errno}");
    }
    assert!(matches!(CommitError::from(std::io::Error::from(Errno::IO)), CommitError::Failed(_)));
}

#[test]
fn reclaiming_again_after_a_failure_goes_on() {
    let (disk, _) = closed_journal();
    let (journal, replay) = Journal::open(Arc::new(disk.clone()), SMALL).unwrap();
    let last = replay.operations.last().unwrap().0;
    disk.fail_call(0, Fault { errno: Errno::IO, lasts: false });
    assert!(journal.reclaim_below(last).is_err());
    assert!(journal.read_only().is_none());
    journal.reclaim_below(last).unwrap();
    assert!(journal.bytes() < 3 * 2048);
}

/// Else the next segment could go for good and this one be back after a power cut, with a hole between.
#[test]
fn reclaiming_does_not_sync_again_what_failed_to() {
    let (disk, _) = closed_journal();
    let (journal, replay) = Journal::open(Arc::new(disk.clone()), SMALL).unwrap();
    let last = replay.operations.last().unwrap().0;
    let before = disk.list().unwrap().len();
    disk.fail_call(1, Fault { errno: Errno::IO, lasts: false });
    assert!(matches!(journal.reclaim_below(last), Err(JournalError::ReadOnly(_))));
    assert!(journal.read_only().is_some());
    assert!(matches!(journal.reclaim_below(last), Err(JournalError::ReadOnly(_))));
    assert_eq!(disk.list().unwrap().len(), before - 1);
}

/// While it is written to and reclaimed, nothing is found.
#[test]
fn a_journal_in_use_is_inspected_without_false_alarms() {
    let disk = FaultyDisk::default();
    let (journal, _) = Journal::open(Arc::new(disk.clone()), SMALL).unwrap();
    let durable = Arc::new(Mutex::new((0, SegmentId(0))));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for seq in 1..=600 {
                let durable = Arc::clone(&durable);
                let receipt = move |result: Result<_, _>| *durable.lock().unwrap() = (seq, result.unwrap());
                journal.append(operation(seq, 300), Box::new(receipt));
                if seq % 50 == 0 {
                    journal.reclaim_below(durable_segment(&journal)).unwrap();
                }
            }
        });
        while !writing.is_finished() {
            let inspection = journal.inspect_live();
            assert!(inspection.findings.is_empty(), "{:?}", inspection.findings);
        }
    });
    durable_segment(&journal);
    let first = journal.inspect_live();
    assert!(first.findings.is_empty() && first.operations > 0);
    // But damage is.
    let (last, end) = journal.durable();
    let file = disk.open(&last.file_name()).unwrap();
    file.write_at(end - 8, &[0xee]).unwrap();
    let findings = journal.inspect_live().findings;
    assert!(findings.iter().any(|finding| finding.segment == last && finding.is_damage()));
    assert_eq!(durable.lock().unwrap().0, 600);
}

/// The segment of what was appended last, when that is durable.
fn durable_segment(journal: &Journal) -> SegmentId {
    let (sender, receiver) = mpsc::channel();
    journal.barrier(Box::new(move |result| sender.send(result.unwrap()).unwrap()));
    receiver.recv().unwrap()
}

#[test]
fn closing_leaves_no_draft() {
    let disk = FaultyDisk::default();
    let (journal, _) = Journal::open(Arc::new(disk.clone()), SMALL).unwrap();
    for seq in 1..=4 {
        journal.append(operation(seq, 300), Box::new(|result| assert!(result.is_ok())));
    }
    journal.close();
    assert_eq!(disk.list().unwrap(), [SegmentId(1).file_name()]);
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
    commit(&mut writer, &crafted);
    let file = disk.open(&SegmentId(1).file_name()).unwrap();
    file.write_at(512, &[0; 512]).unwrap();
    let opened = replay::open(&disk, large).unwrap();
    assert!(opened.replay.operations.is_empty() && opened.replay.cut_bytes > 4_000_000);
}
