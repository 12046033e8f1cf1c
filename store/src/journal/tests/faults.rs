//! A disk that says no: any write, sync, creation, removal or change of the folder, once or from then on.

use std::sync::{Arc, mpsc};

use rustix::io::Errno;

use super::super::{Journal, JournalError};
use super::script::{Outcome, Step, script};
use super::{Dice, SMALL, images_wanted, operation};
use crate::disk::faulty::{Fault, FaultyDisk};

const FAULTS: [Fault; 4] = [
    Fault { errno: Errno::IO, lasts: false },
    Fault { errno: Errno::IO, lasts: true },
    Fault { errno: Errno::NOSPC, lasts: false },
    Fault { errno: Errno::NOSPC, lasts: true },
];

/// One life of a journal with a fault at this call, another one on the same disk, and power cuts in both.
fn fault(steps: &[Step], calls: u64, fault: Fault, dice: &mut Dice, context: &str) -> bool {
    let disk = FaultyDisk::default();
    disk.fail_call(calls, fault);
    let mut outcome = Outcome::default();
    let _ = outcome.play(&disk, steps);
    let failed = disk.has_failed();
    disk.heal();
    let folder = usize::try_from(dice.roll(disk.folder_changes() as u64 + 1)).unwrap();
    let image = disk.image(folder, || dice.roll(2) == 0);
    outcome.check(&image, &format!("{context}, then a power cut"));
    // Started again without one: what the failed sync dropped can still be read.
    let mut after = outcome.check(&disk, &format!("{context}, started again"));
    let mut next = after.tried.len() as u64 + 1;
    disk.cut_after(dice.roll(20));
    let _ = after.play(&disk, &script(dice, &mut next));
    let folder = usize::try_from(dice.roll(disk.folder_changes() as u64 + 1)).unwrap();
    let image = disk.image(folder, || dice.roll(2) == 0);
    after.check(&image, &format!("{context}, started again, then a power cut"));
    failed
}

#[test]
fn no_fault_loses_what_had_a_receipt() {
    let mut dice = Dice(7);
    let (mut images, mut faults) = (0, 0);
    while images < images_wanted() / 10 {
        let mut next = 1;
        let steps = script(&mut dice, &mut next);
        for kind in FAULTS {
            for calls in 0.. {
                let context = format!("{images} images before, {kind:?} at call {calls}");
                images += 3;
                if !fault(&steps, calls, kind, &mut dice, &context) {
                    break;
                }
                faults += 1;
            }
        }
    }
    println!("{images} images of {faults} faults");
}

/// What a journal with its thread answers when a call fails, and what it says about it.
fn answers(calls: u64, fault: Fault) -> bool {
    let context = format!("{fault:?} at call {calls}");
    let disk = FaultyDisk::default();
    disk.fail_call(calls, fault);
    let reason = std::io::Error::from(fault.errno).to_string();
    let mut acknowledged = 0_usize;
    match Journal::open(Arc::new(disk.clone()), SMALL) {
        Err(error) => {
            assert!(matches!(&error, JournalError::Io(source) if source.to_string() == reason), "{context}");
        }
        Ok((journal, _)) => {
            let mut refused = false;
            for seq in 1..=12 {
                let (sender, receiver) = mpsc::channel();
                journal.append(operation(seq, 300), Box::new(move |result| drop(sender.send(result))));
                let answer = loop {
                    match receiver.try_recv() {
                        Ok(answer) => break Some(answer),
                        Err(mpsc::TryRecvError::Disconnected) => panic!("{context}: no answer"),
                        Err(mpsc::TryRecvError::Empty) if journal.stalled().is_some() => break None,
                        Err(mpsc::TryRecvError::Empty) => std::thread::yield_now(),
                    }
                };
                match answer {
                    Some(Ok(_)) => {
                        assert!(!refused, "{context}: acknowledged after a failure");
                        acknowledged += 1;
                    }
                    Some(Err(JournalError::ReadOnly(source))) => {
                        assert_eq!(source.to_string(), reason, "{context}");
                        assert!(journal.read_only().is_some(), "{context}");
                        refused = true;
                    }
                    Some(Err(error)) => panic!("{context}: {error}"),
                    None => {
                        assert_eq!((fault.errno, journal.stalled()), (Errno::NOSPC, Some(reason)));
                        break;
                    }
                }
            }
            journal.close();
            let hit = disk.has_failed();
            assert!(fault.errno != Errno::IO || journal.read_only().is_some() == hit, "{context}");
        }
    }
    let failed = disk.has_failed();
    disk.heal();
    for disk in [disk.image(0, || false), disk.image(usize::MAX, || true), disk] {
        let found = super::replayed(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(found.len() >= acknowledged, "{context}: {acknowledged} acknowledged");
        let tried: Vec<_> = (1..=found.len() as u64).map(|seq| operation(seq, 300)).collect();
        assert_eq!(found, tried, "{context}");
    }
    failed
}

#[test]
fn a_fault_ends_all_receipts_and_says_why() {
    for fault in FAULTS {
        let faults = (0..).take_while(|calls| answers(*calls, fault)).count();
        assert!(faults > 30, "only {faults} calls could fail");
    }
}
