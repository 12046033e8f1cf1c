//! Batches into segments: write, one fdatasync, durable.
//!
//! Holds no thread and no queue, so that tests drive it call by call.

use std::io;
use std::sync::Arc;

use tombolo_core::operation::Operation;

use super::ahead::{Ahead, Draft};
use super::checksum::Version;
use super::record::{ALIGNMENT, MARK_LEN, Mark, Place, encode_mark, encode_operation, encoded_len};
use super::segment::{self, Chain, HEADER_LEN, Head, Nonce, SEGMENT_BYTES_MAX, SegmentId};
use crate::disk::{Disk, DiskFile};

/// Where the next record goes.
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    tail: Tail,
    /// Encoded and not yet written.
    buffer: Vec<u8>,
    /// Written and durable, and not yet in the segment's hash.
    unhashed: Vec<u8>,
    /// Room for the next segment, made before it is needed.
    draft: Option<Draft>,
    /// The same, while it is being made.
    ahead: Ahead,
}

/// A segment whose records were read or written to their end.
pub(super) struct Tail {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) id: SegmentId,
    pub(super) nonce: Nonce,
    /// What its header says, and all its records.
    pub(super) version: Version,
    /// Length of the segment's file.
    pub(super) len: u64,
    /// Where the next record goes.
    pub(super) end: u64,
    /// Header and records so far.
    pub(super) hash: blake3::Hasher,
    pub(super) last: Last,
}

/// What a segment ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Header,
    Mark(Mark),
    Operation,
}

/// Why not all of a group is durable.
#[derive(Debug)]
pub(super) enum CommitError {
    /// There is no room for another segment now. Everything encoded before is durable, nothing is known to be
    /// wrong, and the rest may be tried again.
    NoRoom(io::Error),
    /// A write or a sync failed. What is durable is unknown: the writer must not be used again.
    Failed(io::Error),
}

impl Writer {
    /// Goes on behind the last record of the last segment.
    pub(super) fn resume(disk: Arc<dyn Disk>, segment_bytes: u64, tail: Tail) -> Self {
        let segment_bytes = segment_bytes.min(SEGMENT_BYTES_MAX);
        Self {
            disk,
            segment_bytes,
            tail,
            buffer: Vec::new(),
            unhashed: Vec::new(),
            draft: None,
            ahead: Ahead::default(),
        }
    }

    /// The segment that is written to, and how many bytes of it are durable.
    pub(super) fn durable(&self) -> (SegmentId, u64) {
        (self.tail.id, self.tail.end)
    }

    /// Whether everything written is also known to be durable by what is on the disk.
    pub(super) fn is_marked(&self) -> bool {
        self.tail.last != Last::Operation
    }

    /// Encodes operations, in order, and notes the segment of each. `rolled` hears of each new segment; what
    /// was encoded before one is durable then.
    ///
    /// # Errors
    /// [`CommitError`], by whether the writer can go on.
    pub(super) fn encode<'a>(
        &mut self,
        operations: impl Iterator<Item = &'a Operation>,
        segments: &mut Vec<SegmentId>,
        mut rolled: impl FnMut(SegmentId, u64),
    ) -> Result<(), CommitError> {
        for operation in operations {
            let len = (encoded_len(operation) + MARKS_LEN) as u64;
            if self.tail.end + self.buffer.len() as u64 + len > self.tail.len {
                self.sync()?;
                self.prepare(len)?;
                self.roll().map_err(CommitError::Failed)?;
                rolled(self.tail.id, self.tail.len);
            }
            let place = self.place(self.buffer.len());
            encode_operation(&mut self.buffer, self.tail.version, place, self.tail.end, operation);
            segments.push(self.tail.id);
        }
        Ok(())
    }

    /// Makes everything encoded durable.
    ///
    /// # Errors
    /// [`CommitError::Failed`].
    pub(super) fn sync(&mut self) -> Result<(), CommitError> {
        self.write_buffer().map_err(CommitError::Failed)
    }

    /// Leaves word that everything so far is durable. There is always room for that.
    ///
    /// # Errors
    /// What the disk says; the writer must not be used again then.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        if self.is_marked() { Ok(()) } else { self.write_mark(Mark::Quiet) }
    }

    /// Leaves word, before anything else, that a journal which has records goes on. Without room for two marks
    /// there is none for an operation either: nothing will follow, so nothing need be said.
    ///
    /// # Errors
    /// As of [`Writer::mark`].
    pub(super) fn mark_opened(&mut self) -> io::Result<()> {
        let fits = self.tail.end + MARKS_LEN as u64 <= self.tail.len;
        if self.tail.last == Last::Header || !fits { Ok(()) } else { self.write_mark(Mark::Opened) }
    }

    /// Leaves word that the journal was closed whole, and gives back the room that was made ahead.
    ///
    /// # Errors
    /// As of [`Writer::mark`].
    pub(super) fn close(&mut self) -> io::Result<()> {
        // Only where version 0.1 ended a segment is there no room for it.
        let fits = self.tail.end + MARK_LEN as u64 <= self.tail.len;
        if !matches!(self.tail.last, Last::Mark(Mark::Closed | Mark::Taken)) && fits {
            self.write_mark(Mark::Closed)?;
        }
        let made = match self.ahead.take().map_err(CommitError::from) {
            Ok(made) => made,
            // Nothing needs the room any more. What is there without a name is removed at the next start.
            Err(CommitError::NoRoom(_)) => None,
            Err(CommitError::Failed(error)) => return Err(error),
        };
        if self.draft.take().or(made).is_some() { segment::remove_draft(&*self.disk) } else { Ok(()) }
    }

    /// Leaves word that the shelf has everything, behind everything else.
    ///
    /// # Errors
    /// As of [`Writer::mark`].
    pub(super) fn mark_taken(&mut self) -> io::Result<()> {
        let fits = self.tail.end + MARK_LEN as u64 <= self.tail.len;
        if self.tail.last == Last::Mark(Mark::Closed) && fits { self.write_mark(Mark::Taken) } else { Ok(()) }
    }

    fn write_mark(&mut self, mark: Mark) -> io::Result<()> {
        let place = self.place(0);
        encode_mark(&mut self.buffer, self.tail.version, place, self.tail.end, mark);
        self.write_buffer()?;
        self.tail.last = Last::Mark(mark);
        Ok(())
    }

    /// Does what can wait until receipts are out: hashes what was written, and sees to room for the next segment
    /// once half of this one is used. That is made beside, while commits go on.
    ///
    /// # Errors
    /// [`CommitError`]: without room nothing is lost, and it is tried again when the room is needed.
    pub(super) fn catch_up(&mut self) -> Result<(), CommitError> {
        self.hash_written();
        if self.draft.is_some() || self.tail.end <= self.tail.len / 2 || self.ahead.is_busy() {
            return Ok(());
        }
        self.draft = self.ahead.take()?;
        if self.draft.is_none() {
            self.ahead.begin(&self.disk, self.draft_len(0))?;
        }
        Ok(())
    }

    /// Whether room for the next segment is being made still.
    #[cfg(test)]
    pub(super) fn is_making_room(&self) -> bool {
        self.ahead.is_busy()
    }

    fn place(&self, ahead: usize) -> Place {
        Place { segment: self.tail.id, nonce: self.tail.nonce, offset: self.tail.end + ahead as u64 }
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.hash_written();
        self.tail.file.write_at(self.tail.end, &self.buffer)?;
        self.tail.file.sync()?;
        self.tail.end += self.buffer.len() as u64;
        self.tail.last = Last::Operation;
        std::mem::swap(&mut self.buffer, &mut self.unhashed);
        Ok(())
    }

    fn hash_written(&mut self) {
        self.tail.hash.update(&self.unhashed);
        self.unhashed.clear();
        self.unhashed.shrink_to(BUFFER_KEPT);
    }

    /// Makes sure that a draft has room for at least `len` bytes of records.
    fn prepare(&mut self, len: u64) -> Result<(), CommitError> {
        match self.ahead.take().map_err(CommitError::from) {
            Ok(Some(draft)) => self.draft = Some(draft),
            // There may be room by now.
            Ok(None) | Err(CommitError::NoRoom(_)) => {}
            Err(failed) => return Err(failed),
        }
        let len = self.draft_len(len);
        if self.draft.as_ref().is_none_or(|draft| draft.len < len) {
            self.draft = None;
            self.draft = Some(Draft::make(&*self.disk, len)?);
        }
        Ok(())
    }

    /// Length of a segment that has room for at least so many bytes of records.
    fn draft_len(&self, len: u64) -> u64 {
        self.segment_bytes.max(HEADER_LEN as u64 + len).next_multiple_of(ALIGNMENT as u64)
    }

    /// Goes over to the draft.
    fn roll(&mut self) -> io::Result<()> {
        let Some(draft) = self.draft.take() else { return Err(io::ErrorKind::NotFound.into()) };
        self.hash_written();
        let chain = *self.tail.hash.finalize().as_bytes();
        self.tail = finish(&*self.disk, draft, self.tail.id.next(), chain)?;
        Ok(())
    }
}

/// Makes the first segment of a journal.
pub(super) fn create_first(disk: &dyn Disk, len: u64) -> io::Result<Tail> {
    let len = len.clamp(HEADER_LEN as u64, SEGMENT_BYTES_MAX).next_multiple_of(ALIGNMENT as u64);
    finish(disk, Draft::make(disk, len)?, SegmentId(1), [0; 32])
}

fn finish(disk: &dyn Disk, draft: Draft, id: SegmentId, chain: Chain) -> io::Result<Tail> {
    let Draft { file, len } = draft;
    let head = Head { chain, nonce: segment::nonce()?, len: Some(len) };
    segment::finish(disk, &*file, id, &head)?;
    let mut hash = blake3::Hasher::new();
    hash.update(&segment::header(id, &head));
    let (nonce, version, end) = (head.nonce, head.version(), HEADER_LEN as u64);
    Ok(Tail { file, id, nonce, version, len, end, hash, last: Last::Header })
}

/// Of making room ahead: only what passes by itself may be tried again, such as that the system has no thread for it
/// (which it calls `WouldBlock`). A sync that failed is not.
impl From<io::Error> for CommitError {
    fn from(source: io::Error) -> Self {
        use io::ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull, WouldBlock};
        let passes = matches!(source.kind(), StorageFull | QuotaExceeded | OutOfMemory | WouldBlock)
            || segment::is_without_descriptors(&source);
        if passes { Self::NoRoom(source) } else { Self::Failed(source) }
    }
}

/// What stays free behind each operation: room for the mark of a quiet time and for that of the end.
const MARKS_LEN: usize = 3 * MARK_LEN;

/// A batch of large operations may grow the buffers; more than this is given back.
const BUFFER_KEPT: usize = 1024 * 1024;
