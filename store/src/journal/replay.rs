//! Reading the journal back after any kind of stop.
//!
//! Of what was durable everything must be there and unchanged. Only behind the last record that was synced
//! may anything lie: a torn tail, for which nobody had a receipt. Two things tell a torn tail from damage: a
//! record further on that says how far the segment was durable when it was written, and the next segment,
//! whose header hashes this one.
//!
//! What was read need not be durable: a program that was killed, or whose sync failed, leaves it in the system's
//! memory only. So what nothing proves durable is written and synced once more before anybody hears of it.

use std::sync::Arc;

use tombolo_core::operation::Operation;

use super::JournalConfig;
use super::error::JournalError;
use super::record::{ALIGNMENT, Entry, Mark, NoRecord, Place, decode};
use super::segment::{self, Chain, HEADER_LEN, Nonce, SegmentId};
use super::torn;
use super::writer::{self, Last, Tail, Writer};
use crate::disk::Disk;

/// What a journal held when it was opened.
#[derive(Debug, Default)]
pub struct Replay {
    /// Every durable operation that the shelf may lack, in the order of receipts, with the segment that holds it.
    pub operations: Vec<(SegmentId, Operation)>,
    /// Everything before this place, a segment and an offset in it, is on the shelf and not in `operations`.
    pub shelved: (SegmentId, u64),
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
    // A name that was given just before a kill may be in the system's memory only.
    disk.sync_folder()?;
    let mut replay = Replay::default();
    let mut segments = Vec::new();
    let mut last: Option<Read> = None;
    for id in ids {
        let read = read(&**disk, id, last.as_ref(), &mut replay)?;
        segments.push((id, read.tail.len));
        last = Some(read);
    }
    let tail = match last {
        Some(read) => {
            replay.cut_bytes = cut(&read)?;
            write_again(&read)?;
            read.tail
        }
        None => {
            let tail = writer::create_first(&**disk, config.segment_bytes)?;
            segments.push((tail.id, tail.len));
            tail
        }
    };
    let mut writer = Writer::resume(Arc::clone(disk), config.segment_bytes, tail);
    writer.mark_opened()?;
    Ok(Opened { writer, replay, segments })
}

/// A segment as read.
struct Read {
    tail: Tail,
    /// Up to where some record says that it is durable.
    proven: u64,
    /// Records from there to the end.
    unproven: Vec<u8>,
    /// Bytes behind the last record, up to the last that is not blank.
    torn: usize,
}

fn read(
    disk: &dyn Disk,
    id: SegmentId,
    previous: Option<&Read>,
    replay: &mut Replay,
) -> Result<Read, JournalError> {
    let file = disk.open(&id.file_name())?;
    let len = file.size()?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    file.read_at(0, &mut bytes)?;
    let head = segment::read_header(&bytes, id)?;
    if let Some(offset) = head.cut_at(len) {
        return Err(JournalError::Damaged { segment: id, offset, found: segment::CUT });
    }
    match previous {
        Some(previous) => check_chain(&previous.tail, &head.chain)?,
        None => replay.shelved = (id, 0),
    }
    let Scanned { end, proven, last } = scan(&bytes, id, head.nonce, replay)?;
    let mut hash = blake3::Hasher::new();
    hash.update(bytes.get(..end).unwrap_or_default());
    let unproven = bytes.get(proven..end).unwrap_or_default().to_vec();
    let torn = torn::up_to_blank(bytes.get(end..).unwrap_or_default());
    let (nonce, version, end) = (head.nonce, head.version(), end as u64);
    let tail = Tail { file, id, nonce, version, len, end, hash, last };
    Ok(Read { tail, proven: proven as u64, unproven, torn })
}

/// The segments in order, none missing; drafts are removed.
fn segments_of(disk: &dyn Disk) -> Result<Vec<SegmentId>, JournalError> {
    let names = disk.list()?;
    for draft in names.iter().filter(|name| segment::is_draft(name)) {
        disk.remove(draft)?;
    }
    let ids = segment::ids(&names);
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
    let (segment, offset) = (previous.id, previous.end);
    Err(JournalError::Damaged { segment, offset, found: segment::UNCHAINED })
}

struct Scanned {
    end: usize,
    /// Up to where the records say that they are durable; not behind the end.
    proven: usize,
    last: Last,
}

/// Reads records to the first place that has none, and makes sure that nothing durable lies behind it.
fn scan(bytes: &[u8], id: SegmentId, nonce: Nonce, replay: &mut Replay) -> Result<Scanned, JournalError> {
    let (mut end, mut durable, mut last) = (HEADER_LEN, HEADER_LEN as u64, Last::Header);
    let place = |offset: usize| Place { segment: id, nonce, offset: offset as u64 };
    let found = loop {
        let rest = bytes.get(end..).unwrap_or_default();
        match decode(rest, place(end)) {
            Ok(record) => {
                let start = end;
                end += record.len;
                durable = durable.max(record.durable);
                last = match record.entry {
                    Entry::Mark(mark) => {
                        if mark == Mark::Taken {
                            replay.operations.clear();
                            replay.shelved = (id, start as u64);
                        }
                        Last::Mark(mark)
                    }
                    Entry::Operation(operation) => {
                        replay.operations.push((id, operation));
                        Last::Operation
                    }
                };
            }
            Err(NoRecord::TooNew(version)) => return Err(JournalError::TooNew { segment: id, version }),
            Err(NoRecord::Blank) => break "nothing where a record was",
            Err(NoRecord::Broken(found)) if torn::is_possible(bytes, end) => break found,
            Err(NoRecord::Broken(found)) => {
                return Err(JournalError::Damaged { segment: id, offset: end as u64, found });
            }
        }
    };
    // Most of a segment is blank, so it is not looked at place by place.
    let mut from = end + 1;
    while let Some(at) = bytes.get(from..).and_then(|rest| memchr::memmem::find(rest, &nonce)) {
        let offset = from + at;
        from = offset + 1;
        let rest = bytes.get(offset..).unwrap_or_default();
        if (offset - end).is_multiple_of(ALIGNMENT)
            && let Ok(later) = decode(rest, place(offset))
            && later.durable > end as u64
        {
            return Err(JournalError::Damaged { segment: id, offset: end as u64, found });
        }
    }
    let proven = usize::try_from(durable).unwrap_or(end).min(end);
    Ok(Scanned { end, proven, last })
}

/// Blanks what lies behind the last record, so that no later record can be followed by an old one.
fn cut(read: &Read) -> Result<u64, JournalError> {
    if read.torn > 0 {
        read.tail.file.write_at(read.tail.end, &vec![0; read.torn])?;
        read.tail.file.sync()?;
    }
    Ok(read.torn as u64)
}

/// Makes what was read durable. The same bytes over themselves: a power cut meanwhile changes none of them.
fn write_again(read: &Read) -> Result<(), JournalError> {
    if !read.unproven.is_empty() {
        read.tail.file.write_at(read.proven, &read.unproven)?;
        read.tail.file.sync()?;
    }
    Ok(())
}
