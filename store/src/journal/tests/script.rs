//! What a journal is put through, and what must be true of it afterwards.

use tombolo_core::operation::Operation;

use super::super::JournalError;
use super::super::segment::{self, SegmentId};
use super::super::writer::{CommitError, Writer};
use super::{Dice, open, operation, replayed};
use crate::disk::Disk;
use crate::disk::faulty::FaultyDisk;

pub(super) enum Step {
    Commit(Vec<Operation>),
    Mark,
    /// The last one.
    Close,
    /// Everything before the segment that is written to is elsewhere.
    Reclaim,
}

pub(super) fn script(dice: &mut Dice, next: &mut u64) -> Vec<Step> {
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
    let mut script: Vec<_> = (0..steps).map(|_| step()).collect();
    if dice.roll(2) == 0 {
        script.push(Step::Close);
    }
    script
}

/// What a run left behind: what was tried in order, how many of it had receipts, how many were given up.
#[derive(Clone, Default)]
pub(super) struct Outcome {
    pub(super) tried: Vec<Operation>,
    pub(super) durable: usize,
    reclaimed: usize,
}

impl Outcome {
    pub(super) fn play(&mut self, disk: &FaultyDisk, steps: &[Step]) -> Result<(), JournalError> {
        let opened = open(disk)?;
        let mut placed: Vec<SegmentId> =
            opened.replay.operations.iter().map(|(segment, _)| *segment).collect();
        let mut first = self.tried.len() - placed.len();
        let mut live: Vec<_> = opened.segments.iter().map(|(segment, _)| *segment).collect();
        let mut writer = opened.writer;
        for step in steps {
            match step {
                Step::Commit(batch) => {
                    self.tried.extend(batch.iter().cloned());
                    self.commit(&mut writer, batch, &mut placed, &mut live)?;
                    // What is made beside comes to its end first, so that a seed always gives the same calls.
                    writer.catch_up().map_err(ended)?;
                    while writer.is_making_room() {
                        std::thread::yield_now();
                    }
                    writer.catch_up().map_err(ended)?;
                }
                Step::Mark => writer.mark()?,
                Step::Close => return Ok(writer.close()?),
                Step::Reclaim => {
                    let current = writer.durable().0;
                    let gone = placed.iter().filter(|segment| **segment < current).count();
                    self.reclaimed = first + gone;
                    placed.drain(..gone);
                    first += gone;
                    for segment in live.extract_if(.., |segment| *segment < current) {
                        segment::remove(disk, segment)?;
                        disk.sync_folder()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// As the committer does it: where there was no room it is tried again, once.
    fn commit(
        &mut self,
        writer: &mut Writer,
        batch: &[Operation],
        placed: &mut Vec<SegmentId>,
        live: &mut Vec<SegmentId>,
    ) -> Result<(), JournalError> {
        let mut segments = Vec::new();
        let mut encode = |segments: &mut Vec<_>| {
            let rest = batch[segments.len()..].iter();
            writer.encode(rest, segments, |segment, _| live.push(segment))
        };
        match encode(&mut segments) {
            Err(CommitError::NoRoom(_)) => {
                self.durable += segments.len();
                encode(&mut segments).map_err(ended)?;
            }
            encoded => encoded.map_err(ended)?,
        }
        writer.sync().map_err(ended)?;
        placed.extend(segments);
        self.durable = self.tried.len();
        Ok(())
    }

    /// Opens a disk after a cut: no error, everything durable there, nothing that was never tried, in order.
    pub(super) fn check(&self, disk: &FaultyDisk, context: &str) -> Outcome {
        let found = replayed(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
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
        CommitError::NoRoom(source) | CommitError::Failed(source) => source.into(),
    }
}
