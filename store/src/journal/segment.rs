//! A segment: a preallocated file of records that names its predecessor's content by hash.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic `TMBLJRNL` |
//! | 8 | 1 | version: 1 |
//! | 9 | 3 | zeros |
//! | 12 | 4 | nonce: what the records of this segment start with |
//! | 16 | 8 | number of the segment |
//! | 24 | 32 | BLAKE3 over the previous segment's bytes from its header to its last record; zeros if it is the first |
//! | 56 | 4 | CRC-32 of the bytes before |
//! | 60 | 4 | zeros |
//! | 64 | | records |
//!
//! The nonce is random, so that nobody can write payloads that look like records.
//!
//! It is written and synced under another name and then renamed, so a file with a segment's name has a whole
//! header, or it is damaged.

use std::fmt;
use std::sync::Arc;

use super::error::JournalError;
use crate::disk::{Disk, DiskFile};

const MAGIC: &[u8; 8] = b"TMBLJRNL";
const VERSION: u8 = 1;
const SUFFIX: &str = ".journal";
const DRAFT: &str = "next.draft";

/// Length of the header in bytes; the first record follows.
pub(super) const HEADER_LEN: usize = 64;

/// Number of a segment; each is one more than its predecessor's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl SegmentId {
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub(super) fn file_name(self) -> String {
        format!("{:016}{SUFFIX}", self.0)
    }

    /// The segment whose file has this name.
    pub(super) fn of_file_name(name: &str) -> Option<Self> {
        let id = Self(name.strip_suffix(SUFFIX)?.parse().ok()?);
        (id.file_name() == name).then_some(id)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether a file is a segment that was never finished.
pub(super) fn is_draft(name: &str) -> bool {
    name == DRAFT
}

/// The hash of a segment's header and records.
pub(super) type Chain = [u8; 32];

/// What the records of a segment start with; never zeros, which is what an unwritten place has.
pub(super) type Nonce = [u8; 4];

/// A new nonce.
pub(super) fn nonce() -> std::io::Result<Nonce> {
    let mut nonce = [0; 4];
    while nonce == [0; 4] {
        getrandom::fill(&mut nonce).map_err(|error| std::io::Error::other(error.to_string()))?;
    }
    Ok(nonce)
}

/// A file with room for a segment, made ahead; its zeros are on the disk.
pub(super) fn draft(disk: &dyn Disk, len: u64) -> std::io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(DRAFT, len)?;
    file.sync()?;
    Ok(file)
}

/// Makes the draft a segment, durable with its name.
pub(super) fn finish(
    disk: &dyn Disk,
    draft: &dyn DiskFile,
    id: SegmentId,
    head: &Head,
) -> std::io::Result<()> {
    draft.write_at(0, &header(id, head))?;
    draft.sync()?;
    disk.rename(DRAFT, &id.file_name())?;
    disk.sync_folder()
}

/// Removes a segment, durably before anything else happens: a hole between two segments is damage.
pub(super) fn remove(disk: &dyn Disk, id: SegmentId) -> std::io::Result<()> {
    match disk.remove(&id.file_name()) {
        // Removed by an earlier call whose sync failed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    disk.sync_folder()
}

/// What a header says besides the segment's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) chain: Chain,
    pub(super) nonce: Nonce,
}

/// The bytes of a header.
pub(super) fn header(id: SegmentId, head: &Head) -> [u8; HEADER_LEN] {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&[0; 3]);
    bytes.extend_from_slice(&head.nonce);
    bytes.extend_from_slice(&id.0.to_be_bytes());
    bytes.extend_from_slice(&head.chain);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes.resize(HEADER_LEN, 0);
    bytes.try_into().unwrap_or([0; HEADER_LEN])
}

/// Reads a header.
pub(super) fn read_header(bytes: &[u8], segment: SegmentId) -> Result<Head, JournalError> {
    let damaged = |found| JournalError::Damaged { segment, offset: 0, found };
    let found = bytes.first_chunk::<HEADER_LEN>().ok_or_else(|| damaged("the header is cut off"))?;
    let chain = found.get(24..56).and_then(|chain| chain.try_into().ok()).unwrap_or_default();
    let nonce = found.get(12..16).and_then(|nonce| nonce.try_into().ok()).unwrap_or_default();
    let head = Head { chain, nonce };
    let expected = header(segment, &head);
    if expected == *found && nonce != [0; 4] {
        return Ok(head);
    }
    match found.get(8) {
        // Only a header that is whole under its own version is of a later program.
        Some(version) if with_version(expected, *version) == *found && *version != VERSION => {
            Err(JournalError::TooNew { segment, version: *version })
        }
        _ => Err(damaged("the header is not as it was written")),
    }
}

fn with_version(mut header: [u8; HEADER_LEN], version: u8) -> [u8; HEADER_LEN] {
    if let Some(field) = header.get_mut(8) {
        *field = version;
    }
    let crc = crc32fast::hash(header.get(..56).unwrap_or_default()).to_be_bytes();
    if let Some(field) = header.get_mut(56..60) {
        field.copy_from_slice(&crc);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { chain: [9; 32], nonce: *b"nonc" };

    #[test]
    fn golden_bytes_of_a_header() {
        let bytes = header(SegmentId(1), &HEAD);
        assert_eq!(bytes[..24], *b"TMBLJRNL\x01\0\0\0nonc\0\0\0\0\0\0\0\x01");
        assert_eq!(bytes[24..56], [9; 32]);
        assert_eq!(bytes[56..], [0x9a, 0x49, 0xd8, 0x7b, 0, 0, 0, 0]);
        assert_eq!(read_header(&bytes, SegmentId(1)).unwrap(), HEAD);
    }

    #[test]
    fn every_flip_in_a_header_is_seen() {
        for bit in 0..HEADER_LEN * 8 {
            let mut bytes = header(SegmentId(5), &HEAD);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(read_header(&bytes, SegmentId(5)), Err(JournalError::Damaged { .. })),
                "bit {bit}"
            );
        }
        assert!(read_header(&header(SegmentId(5), &HEAD), SegmentId(6)).is_err());
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let bytes = with_version(header(SegmentId(5), &HEAD), 2);
        assert!(matches!(read_header(&bytes, SegmentId(5)), Err(JournalError::TooNew { version: 2, .. })));
    }

    #[test]
    fn names_come_back() {
        let id = SegmentId(42);
        assert_eq!(SegmentId::of_file_name(&id.file_name()), Some(id));
        for name in ["42.journal", "next.draft", "lock", "+000000000000042.journal"] {
            assert_eq!(SegmentId::of_file_name(name), None, "{name}");
        }
    }
}
