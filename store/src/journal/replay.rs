//! Reading the journal back after any kind of stop.
//!
//! Of what was durable everything must be there and unchanged. Only behind the last record that was synced
//! may anything lie: a torn tail, for which nobody had a receipt. Two things tell a torn tail from damage: a
//! record further on that says how far the segment was durable when it was written, and the next segment,
//! whose header hashes this one.

use std::sync::Arc;

use tombolo_core::operation::Operation;

use super::JournalConfig;
use super::error::JournalError;
use super::record::{ALIGNMENT, Entry, NoRecord, Place, decode};
use super::segment::{self, Chain, HEADER_LEN, Head, Nonce, SegmentId};
use super::writer::{self, Tail, Writer};
use crate::disk::Disk;

/// What a journal held when it was opened.
#[derive(Debug, Default)]
pub struct Replay {
    /// Every durable operation, in the order of receipts, with the segment that holds it.
    pub operations: Vec<(SegmentId, Operation)>,
    /// Bytes of a torn tail that were cut; none of them was acknowledged.
    pub cut_bytes: u64,
}

/// What opening a journal gives.
pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) replay: Replay,
    /// Every segment with its length in bytes.
    pub(super) segments: Vec<(SegmentId, u64)>,
}

/// Opens the journal of a disk, making the first segment if there is none.
pub(super) fn open(disk: &Arc<dyn Disk>, config: JournalConfig) -> Result<Opened, JournalError> {
    let ids = segments_of(&**disk)?;
    let mut replay = Replay::default();
    let mut segments = Vec::new();
    let mut last: Option<Tail> = None;
    for id in ids {
        let file = disk.open(&id.file_name())?;
        let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(usize::MAX)];
        file.read_at(0, &mut bytes)?;
        let Head { chain, nonce } = segment::read_header(&bytes, id)?;
        if let Some(last) = &last {
            check_chain(last, &chain)?;
        }
        let scanned = scan(&bytes, id, nonce, &mut replay.operations)?;
        let mut hash = blake3::Hasher::new();
        hash.update(bytes.get(..scanned.end).unwrap_or_default());
        let len = bytes.len() as u64;
        segments.push((id, len));
        last = Some(Tail { file, id, nonce, len, end: scanned.end as u64, hash, marked: scanned.marked });
    }
    let tail = match last {
        Some(tail) => {
            replay.cut_bytes = cut(&tail)?;
            tail
        }
        None => {
            let tail = writer::create_first(&**disk, config.segment_bytes)?;
            segments.push((tail.id, tail.len));
            tail
        }
    };
    let writer = Writer::resume(Arc::clone(disk), config.segment_bytes, tail);
    Ok(Opened { writer, replay, segments })
}

/// The segments in order, none missing; drafts are removed.
fn segments_of(disk: &dyn Disk) -> Result<Vec<SegmentId>, JournalError> {
    let names = disk.list()?;
    for draft in names.iter().filter(|name| segment::is_draft(name)) {
        disk.remove(draft)?;
    }
    let mut ids: Vec<_> = names.iter().filter_map(|name| SegmentId::of_file_name(name)).collect();
    ids.sort_unstable();
    for pair in ids.windows(2) {
        if let [one, two] = pair
            && one.next() != *two
        {
            return Err(JournalError::Missing { segment: one.next() });
        }
    }
    Ok(ids)
}

fn check_chain(previous: &Tail, chain: &Chain) -> Result<(), JournalError> {
    if previous.hash.finalize().as_bytes() == chain {
        return Ok(());
    }
    Err(JournalError::Damaged {
        segment: previous.id,
        offset: previous.end,
        found: "what was read up to here is not what the next segment says was written",
    })
}

struct Scanned {
    end: usize,
    marked: bool,
}

/// Reads records to the first place that has none, and makes sure that nothing durable lies behind it.
fn scan(
    bytes: &[u8],
    id: SegmentId,
    nonce: Nonce,
    operations: &mut Vec<(SegmentId, Operation)>,
) -> Result<Scanned, JournalError> {
    let (mut end, mut marked) = (HEADER_LEN, true);
    let place = |offset: usize| Place { segment: id, nonce, offset: offset as u64 };
    let found = loop {
        let rest = bytes.get(end..).unwrap_or_default();
        match decode(rest, place(end)) {
            Ok(record) => {
                end += record.len;
                marked = record.entry == Entry::Mark;
                if let Entry::Operation(operation) = record.entry {
                    operations.push((id, operation));
                }
            }
            Err(NoRecord::TooNew(version)) => return Err(JournalError::TooNew { segment: id, version }),
            Err(NoRecord::Blank) => break "nothing where a record was",
            Err(NoRecord::Broken(found)) => break found,
        }
    };
    for offset in (end..bytes.len()).step_by(ALIGNMENT).skip(1) {
        let rest = bytes.get(offset..).unwrap_or_default();
        if rest.starts_with(&nonce)
            && let Ok(later) = decode(rest, place(offset))
            && later.durable > end as u64
        {
            return Err(JournalError::Damaged { segment: id, offset: end as u64, found });
        }
    }
    Ok(Scanned { end, marked })
}

/// Blanks what lies behind the last record, so that no later record can be followed by an old one.
fn cut(tail: &Tail) -> Result<u64, JournalError> {
    let behind = usize::try_from(tail.len.saturating_sub(tail.end)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; behind];
    tail.file.read_at(tail.end, &mut bytes)?;
    let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { return Ok(0) };
    let torn = last + 1;
    tail.file.write_at(tail.end, &vec![0; torn])?;
    tail.file.sync()?;
    Ok(torn as u64)
}
