//! Batches into segments: write, one fdatasync, durable.
//!
//! Holds no thread and no queue, so that tests drive it call by call.

use std::io;
use std::sync::Arc;

use tombolo_core::operation::Operation;

use super::record::{MARK_LEN, Place, encode_mark, encode_operation, encoded_len};
use super::segment::{self, Chain, HEADER_LEN, Head, Nonce, SegmentId};
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
}

/// A segment whose records were read or written to their end.
pub(super) struct Tail {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) id: SegmentId,
    pub(super) nonce: Nonce,
    /// Length of the segment's file.
    pub(super) len: u64,
    /// Where the next record goes.
    pub(super) end: u64,
    /// Header and records so far.
    pub(super) hash: blake3::Hasher,
    /// Nothing was written since the last mark or the header.
    pub(super) marked: bool,
}

struct Draft {
    file: Arc<dyn DiskFile>,
    len: u64,
}

/// Why not all of a batch is durable.
#[derive(Debug)]
pub(super) enum CommitError {
    /// There is no room for another segment now. The first operations, as many as there are segments here, are
    /// durable, nothing is known to be wrong, and the rest may be committed again.
    NoRoom { durable: Vec<SegmentId>, source: io::Error },
    /// A write or a sync failed. What is durable is unknown: the writer must not be used again.
    Failed(io::Error),
}

impl Writer {
    /// Goes on behind the last record of the last segment.
    pub(super) fn resume(disk: Arc<dyn Disk>, segment_bytes: u64, tail: Tail) -> Self {
        Self { disk, segment_bytes, tail, buffer: Vec::new(), unhashed: Vec::new(), draft: None }
    }

    /// The segment that is written to, and its length in bytes.
    pub(super) fn segment(&self) -> (SegmentId, u64) {
        (self.tail.id, self.tail.len)
    }

    /// Whether everything written is also known to be durable by what is on the disk.
    pub(super) fn is_marked(&self) -> bool {
        self.tail.marked
    }

    /// Makes the operations durable, in order; gives back the segment of each. `rolled` hears of each new
    /// segment.
    ///
    /// # Errors
    /// [`CommitError`], by whether the writer can go on.
    pub(super) fn commit<'a>(
        &mut self,
        operations: impl Iterator<Item = &'a Operation>,
        mut rolled: impl FnMut(SegmentId, u64),
    ) -> Result<Vec<SegmentId>, CommitError> {
        let mut segments = Vec::new();
        for operation in operations {
            let len = (encoded_len(operation) + MARK_LEN) as u64;
            if self.tail.end + self.buffer.len() as u64 + len > self.tail.len {
                self.write_buffer().map_err(CommitError::Failed)?;
                if let Err(source) = self.prepare(len) {
                    return Err(CommitError::NoRoom { durable: segments, source });
                }
                self.roll().map_err(CommitError::Failed)?;
                rolled(self.tail.id, self.tail.len);
            }
            let place = self.place(self.buffer.len());
            encode_operation(&mut self.buffer, place, self.tail.end, operation);
            segments.push(self.tail.id);
        }
        self.write_buffer().map_err(CommitError::Failed)?;
        Ok(segments)
    }

    /// Leaves word that everything so far is durable. There is always room for that.
    ///
    /// # Errors
    /// What the disk says; the writer must not be used again then.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        if !self.tail.marked {
            let place = self.place(0);
            encode_mark(&mut self.buffer, place, self.tail.end);
            self.write_buffer()?;
            self.tail.marked = true;
        }
        Ok(())
    }

    /// Does what can wait until receipts are out: hashes what was written, and makes room for the next segment
    /// once half of this one is used.
    ///
    /// # Errors
    /// What the disk says to more room; nothing is lost, and it is tried again when the room is needed.
    pub(super) fn catch_up(&mut self) -> io::Result<()> {
        self.hash_written();
        if self.tail.end > self.tail.len / 2 { self.prepare(0) } else { Ok(()) }
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
        self.tail.marked = false;
        std::mem::swap(&mut self.buffer, &mut self.unhashed);
        Ok(())
    }

    fn hash_written(&mut self) {
        self.tail.hash.update(&self.unhashed);
        self.unhashed.clear();
        self.unhashed.shrink_to(BUFFER_KEPT);
    }

    /// Makes sure that a draft has room for at least `len` bytes of records.
    fn prepare(&mut self, len: u64) -> io::Result<()> {
        let len = self.segment_bytes.max(HEADER_LEN as u64 + len);
        if self.draft.as_ref().is_none_or(|draft| draft.len < len) {
            self.draft = None;
            self.draft = Some(Draft { file: segment::draft(&*self.disk, len)?, len });
        }
        Ok(())
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
    let draft = Draft { file: segment::draft(disk, len)?, len };
    finish(disk, draft, SegmentId(1), [0; 32])
}

fn finish(disk: &dyn Disk, draft: Draft, id: SegmentId, chain: Chain) -> io::Result<Tail> {
    let head = Head { chain, nonce: segment::nonce()? };
    segment::finish(disk, &*draft.file, id, &head)?;
    let mut hash = blake3::Hasher::new();
    hash.update(&segment::header(id, &head));
    let (file, len) = (draft.file, draft.len);
    Ok(Tail { file, id, nonce: head.nonce, len, end: HEADER_LEN as u64, hash, marked: true })
}

/// A batch of large operations may grow the buffers; more than this is given back.
const BUFFER_KEPT: usize = 1024 * 1024;
