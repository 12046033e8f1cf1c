//! A segment's records whatever lies between them, for those who look at damage.
//!
//! Opening stops at the first thing that is no record; inspection and salvage go on behind it. The nonce tells
//! records from payloads that look like some, so it is taken from the header if that is whole, else from what
//! whole records agree on.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::checksum::{Ranges, Version};
use super::record::{ALIGNMENT, Head, Place, Record, checksum_of_place, decode};
use super::segment::{self, HEADER_LEN, Nonce, SegmentId};
use crate::disk::DiskFile;

/// What could be read of a file.
pub(super) struct Image {
    /// Zeros where the disk gives nothing.
    pub(super) bytes: Vec<u8>,
    /// Length of the whole file.
    pub(super) size: u64,
    /// Where it gave nothing first, and why.
    pub(super) unreadable: Option<(u64, Arc<io::Error>)>,
}

impl Image {
    /// Reads a file, or that much of it.
    pub(super) fn read(file: &dyn DiskFile, limit: Option<u64>) -> io::Result<Self> {
        let size = file.size()?;
        let len = limit.map_or(size, |limit| limit.min(size));
        let mut image =
            Self { bytes: vec![0; usize::try_from(len).unwrap_or(usize::MAX)], size, unreadable: None };
        if file.read_at(0, &mut image.bytes).is_ok() {
            return Ok(image);
        }
        for (index, piece) in image.bytes.chunks_mut(PIECE).enumerate() {
            let offset = (index * PIECE) as u64;
            if let Err(error) = file.read_at(offset, piece) {
                piece.fill(0);
                image.unreadable.get_or_insert((offset, Arc::new(error)));
            }
        }
        Ok(image)
    }
}

/// What a disk that fails is asked for at once.
const PIECE: usize = 4096;

/// Every whole record with this nonce, by its offset.
pub(super) fn records(
    bytes: &[u8],
    segment: SegmentId,
    nonce: Nonce,
) -> impl Iterator<Item = (usize, Record)> {
    let mut at = HEADER_LEN;
    std::iter::from_fn(move || {
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let offset = at;
            let place = Place { segment, nonce, offset: offset as u64 };
            if rest.starts_with(&nonce)
                && let Ok(record) = decode(rest, place)
            {
                at += record.len;
                return Some((offset, record));
            }
            at += ALIGNMENT;
        }
        None
    })
}

/// The nonce of a segment: that of its header, or of its records if that is damaged; none if there is neither.
pub(super) fn nonce(bytes: &[u8], segment: SegmentId, head: Option<&segment::Head>) -> Option<Nonce> {
    head.map(|head| head.nonce).or_else(|| nonce_of_records(bytes, segment))
}

/// The nonce of most records; of equals the one that is most like what the damaged header says. A record that
/// lies in another's payload has no vote.
fn nonce_of_records(bytes: &[u8], segment: SegmentId) -> Option<Nonce> {
    let ranges = [Version::One, Version::Two].map(|version| (version, Ranges::of(version, bytes)));
    let mut votes: HashMap<Nonce, u64> = HashMap::new();
    let mut at = HEADER_LEN;
    while let Some(head) = bytes.get(at..).and_then(Head::read) {
        let range = ranges.iter().find(|(version, _)| version.tag() == head.version);
        let right = head.nonce != [0; 4]
            && range.is_some_and(|(version, ranges)| {
                let crc = checksum_of_place(*version, segment, at as u64);
                ranges.append(crc, at + 8, at + head.record_len()) == Some(head.crc)
            });
        if right {
            *votes.entry(head.nonce).or_default() += 1;
        }
        at += if right { head.record_len() } else { ALIGNMENT };
    }
    let said = u32::from_be_bytes(segment::said_nonce(bytes).unwrap_or_default());
    let alike = |nonce: Nonce| (u32::from_be_bytes(nonce) ^ said).count_zeros();
    votes.into_iter().max_by_key(|(nonce, count)| (*count, alike(*nonce))).map(|(nonce, _)| nonce)
}
