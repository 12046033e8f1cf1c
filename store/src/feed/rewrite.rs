//! The file made anew with one change for each document: the latest.
//!
//! Memory follows neither documents nor rows, but for one bit of each row: the latest change of each document is looked for part by
//! part of all names.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::ControlFlow;

use super::file::{FeedFile, OPENINGS_KEPT};
use super::row::Row;
use crate::disk::Disk;

/// Names that are held in memory at once, about.
const PART: u64 = 64 * 1024;

/// Makes it anew and puts that in its place. None if a row is not whole any more.
///
/// # Errors
/// What the disk says.
pub(super) fn rewrite(disk: &dyn Disk, old: &FeedFile) -> io::Result<Option<FeedFile>> {
    let Some(latest) = Latest::of(old)? else { return Ok(None) };
    let mut new = FeedFile::begin(disk, old.header().feed, old.header().incarnation)?;
    let kept = old.openings().len().saturating_sub(OPENINGS_KEPT);
    let known_from = old.openings().get(kept).copied().unwrap_or_default();
    let (mut index, mut result) = (0, Ok(()));
    old.rows(&mut |_, row| {
        let kept = match *row {
            Row::Changed { number, key, .. } if latest.has(index) => {
                Some(Row::Changed { number, key, settles: false })
            }
            Row::Opened { number } if number >= known_from => Some(*row),
            _ => None,
        };
        index += 1;
        result = kept.map_or(Ok(()), |row| new.put(&row));
        if result.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    result?;
    for (key, count) in old.intended() {
        (0..*count).try_for_each(|_| new.put(&Row::Intended { key }))?;
    }
    new.put(&Row::Covered(old.covered()))?;
    new.publish(disk, latest.count)?;
    Ok(Some(new))
}

/// Which rows are the latest change of a document.
struct Latest {
    bits: Vec<u64>,
    count: u64,
}

impl Latest {
    fn of(file: &FeedFile) -> io::Result<Option<Self>> {
        let parts = file.rows_len().div_ceil(PART).max(1);
        let words = usize::try_from(file.rows_len() / 64 + 1).unwrap_or(usize::MAX);
        let mut latest = Self { bits: vec![0; words], count: 0 };
        let hasher = RandomState::new();
        for part in 0..parts {
            let mut last: HashMap<Vec<u8>, u64> = HashMap::new();
            let mut index = 0;
            let end = file.rows(&mut |_, row| {
                if let Row::Changed { key, .. } = row
                    && hasher.hash_one(key) % parts == part
                {
                    match last.get_mut(*key) {
                        Some(known) => *known = index,
                        None => drop(last.insert(key.to_vec(), index)),
                    }
                }
                index += 1;
                ControlFlow::Continue(())
            })?;
            if end != file.end() {
                return Ok(None);
            }
            latest.count += last.len() as u64;
            last.into_values().for_each(|index| latest.set(index));
        }
        Ok(Some(latest))
    }

    fn set(&mut self, index: u64) {
        if let Some(word) = self.bits.get_mut(usize::try_from(index / 64).unwrap_or(usize::MAX)) {
            *word |= 1 << (index % 64);
        }
    }

    fn has(&self, index: u64) -> bool {
        let word = usize::try_from(index / 64).ok().and_then(|at| self.bits.get(at));
        word.is_some_and(|word| word >> (index % 64) & 1 == 1)
    }
}
