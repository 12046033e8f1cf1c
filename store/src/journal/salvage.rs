//! What can still be read of a damaged journal: every whole record, whatever happened to the bytes around it.
//!
//! Changes nothing. A record's checksum is bound to its segment and place, so each proves itself.

use std::io;

use tombolo_core::operation::Operation;

use super::error::JournalError;
use super::record::Entry;
use super::segment::{self, HEADER_LEN, SegmentId};
use super::walk::{self, Image};
use crate::disk::Disk;

/// What salvaging a journal gave.
#[derive(Clone, Debug, Default)]
pub struct Salvage {
    /// Segments that were looked through.
    pub segments: u64,
    /// Operations that were handed over, copies of one counted each.
    pub operations: u64,
    /// Bytes that are part of no whole record and not blank space at the end.
    pub lost_bytes: u64,
    /// Segments of which nothing could be read, with the reason.
    pub skipped: Vec<(SegmentId, String)>,
}

/// Hands over every operation whose record is whole, by segment and place. An operation may come more than
/// once, and one that nobody had a receipt for may be among them.
///
/// # Errors
/// What the system says to a list of the folder. A segment that cannot be read is skipped and named.
pub fn salvage(disk: &dyn Disk, take: &mut dyn FnMut(SegmentId, Operation)) -> io::Result<Salvage> {
    let mut salvage = Salvage::default();
    for id in segment::ids(&disk.list()?) {
        match disk.open(&id.file_name()).and_then(|file| Image::read(&*file, None)) {
            Ok(image) => salvage.segment(id, &image.bytes, take),
            Err(error) => salvage.skipped.push((id, error.to_string())),
        }
    }
    Ok(salvage)
}

impl Salvage {
    fn segment(&mut self, id: SegmentId, bytes: &[u8], take: &mut dyn FnMut(SegmentId, Operation)) {
        let head = match segment::read_header(bytes, id) {
            Ok(head) => Some(head),
            Err(error @ JournalError::TooNew { .. }) => {
                self.skipped.push((id, error.to_string()));
                return;
            }
            Err(_) => None,
        };
        self.segments += 1;
        let mut end = if head.is_some() { HEADER_LEN } else { 0 };
        if let Some(nonce) = walk::nonce(bytes, id, head.as_ref()) {
            for (offset, record) in walk::records(bytes, id, nonce) {
                self.lost_bytes += (offset - end) as u64;
                end = offset + record.len;
                if let Entry::Operation(operation) = record.entry {
                    self.operations += 1;
                    take(id, operation);
                }
            }
        }
        let rest = bytes.get(end..).unwrap_or_default();
        self.lost_bytes += rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    }
}
