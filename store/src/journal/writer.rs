//! Batches into segments: write, one fdatasync, durable.
//!
//! Holds no thread and no queue, so that tests drive it call by call.

use std::io;
use std::sync::Arc;

use tombolo_core::operation::Operation;

use super::record::{MARK_LEN, Place, encode_mark, encode_operation, encoded_len};
use super::segment::{self, Chain, HEADER_LEN, SegmentId};
use crate::disk::{Disk, DiskFile};

/// Where the next record goes.
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    file: Arc<dyn DiskFile>,
    id: SegmentId,
    /// Length of the segment's file.
    len: u64,
    /// Where the next record goes.
    end: u64,
    /// Header and records so far.
    hash: blake3::Hasher,
    /// Nothing was written since the last mark or the header.
    marked: bool,
    buffer: Vec<u8>,
}

/// A segment whose records were read to their end.
pub(super) struct Tail {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) id: SegmentId,
    pub(super) len: u64,
    pub(super) end: u64,
    pub(super) hash: blake3::Hasher,
    pub(super) marked: bool,
}

impl Writer {
    /// Goes on behind the last record of the last segment.
    pub(super) fn resume(disk: Arc<dyn Disk>, segment_bytes: u64, tail: Tail) -> Self {
        let Tail { file, id, len, end, hash, marked } = tail;
        Self { disk, segment_bytes, file, id, len, end, hash, marked, buffer: Vec::new() }
    }

    /// The segment that is written to, and its length in bytes.
    pub(super) fn segment(&self) -> (SegmentId, u64) {
        (self.id, self.len)
    }

    /// Whether everything written is also known to be durable by what is on the disk.
    pub(super) fn is_marked(&self) -> bool {
        self.marked
    }

    /// Makes the operations durable, in order; gives back the segment of each. `rolled` hears of each new
    /// segment.
    ///
    /// # Errors
    /// What the disk says. What is durable then is unknown: the writer must not be used again.
    pub(super) fn commit<'a>(
        &mut self,
        operations: impl Iterator<Item = &'a Operation>,
        mut rolled: impl FnMut(SegmentId, u64),
    ) -> io::Result<Vec<SegmentId>> {
        let mut segments = Vec::new();
        for operation in operations {
            let len = (encoded_len(operation) + MARK_LEN) as u64;
            if self.end + self.buffer.len() as u64 + len > self.len {
                self.write_buffer()?;
                self.roll(len)?;
                rolled(self.id, self.len);
            }
            let place = Place { segment: self.id, offset: self.end + self.buffer.len() as u64 };
            encode_operation(&mut self.buffer, place, self.end, operation);
            segments.push(self.id);
        }
        self.write_buffer()?;
        Ok(segments)
    }

    /// Leaves word that everything so far is durable. There is always room for that.
    ///
    /// # Errors
    /// As for [`Writer::commit`].
    pub(super) fn mark(&mut self) -> io::Result<()> {
        if !self.marked {
            encode_mark(&mut self.buffer, Place { segment: self.id, offset: self.end }, self.end);
            self.write_buffer()?;
            self.marked = true;
        }
        Ok(())
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_at(self.end, &self.buffer)?;
        self.file.sync()?;
        self.hash.update(&self.buffer);
        self.end += self.buffer.len() as u64;
        self.marked = false;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT);
        Ok(())
    }

    /// Starts the next segment, with room for at least `len` bytes of records.
    fn roll(&mut self, len: u64) -> io::Result<()> {
        let chain = *self.hash.finalize().as_bytes();
        let (id, len) = (self.id.next(), self.segment_bytes.max(HEADER_LEN as u64 + len));
        let tail = create(&*self.disk, id, &chain, len)?;
        *self = Self::resume(Arc::clone(&self.disk), self.segment_bytes, tail);
        Ok(())
    }
}

/// Makes a segment without records.
pub(super) fn create(disk: &dyn Disk, id: SegmentId, chain: &Chain, len: u64) -> io::Result<Tail> {
    let file = segment::create(disk, id, chain, len)?;
    let mut hash = blake3::Hasher::new();
    hash.update(&segment::header(id, chain));
    Ok(Tail { file, id, len, end: HEADER_LEN as u64, hash, marked: true })
}

/// A batch of large operations may grow the buffer; more than this is given back.
const BUFFER_KEPT: usize = 1024 * 1024;
