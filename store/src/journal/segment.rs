//! A segment: a preallocated file of records that names its predecessor's content by hash.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic `TMBLJRNL` |
//! | 8 | 1 | version: 1 |
//! | 9 | 7 | zeros |
//! | 16 | 8 | number of the segment |
//! | 24 | 32 | BLAKE3 over the previous segment's bytes from its header to its last record; zeros if it is the first |
//! | 56 | 4 | CRC-32 of the bytes before |
//! | 60 | 4 | zeros |
//! | 64 | | records |
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
const DRAFT_SUFFIX: &str = ".draft";

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
    name.ends_with(DRAFT_SUFFIX)
}

/// The hash of a segment's header and records.
pub(super) type Chain = [u8; 32];

/// Makes a segment of `len` bytes, durable with its name.
pub(super) fn create(
    disk: &dyn Disk,
    id: SegmentId,
    chain: &Chain,
    len: u64,
) -> std::io::Result<Arc<dyn DiskFile>> {
    let name = id.file_name();
    let draft = format!("{name}{DRAFT_SUFFIX}");
    let file = disk.create(&draft, len)?;
    file.write_at(0, &header(id, chain))?;
    file.sync()?;
    disk.rename(&draft, &name)?;
    disk.sync_folder()?;
    Ok(file)
}

/// Removes a segment, durably before anything else happens: a hole between two segments is damage.
pub(super) fn remove(disk: &dyn Disk, id: SegmentId) -> std::io::Result<()> {
    disk.remove(&id.file_name())?;
    disk.sync_folder()
}

/// The bytes of a header.
pub(super) fn header(id: SegmentId, chain: &Chain) -> [u8; HEADER_LEN] {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&[0; 7]);
    bytes.extend_from_slice(&id.0.to_be_bytes());
    bytes.extend_from_slice(chain);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes.resize(HEADER_LEN, 0);
    bytes.try_into().unwrap_or([0; HEADER_LEN])
}

/// Reads a header; gives back the hash of the previous segment.
pub(super) fn read_header(bytes: &[u8], segment: SegmentId) -> Result<Chain, JournalError> {
    let damaged = |found| JournalError::Damaged { segment, offset: 0, found };
    let head = bytes.first_chunk::<HEADER_LEN>().ok_or_else(|| damaged("the header is cut off"))?;
    let chain = head.get(24..56).and_then(|chain| chain.try_into().ok()).unwrap_or_default();
    let mut expected = header(segment, &chain);
    if let (Some(version), true) = (head.get(8), head.get(..8) == Some(MAGIC)) {
        // Only a header that is whole under its own version is of a later program.
        if let Some(field) = expected.get_mut(8) {
            *field = *version;
        }
        let crc = crc32fast::hash(expected.get(..56).unwrap_or_default()).to_be_bytes();
        if let Some(field) = expected.get_mut(56..60) {
            field.copy_from_slice(&crc);
        }
        if *version != VERSION && expected == *head {
            return Err(JournalError::TooNew { segment, version: *version });
        }
    }
    if header(segment, &chain) == *head {
        Ok(chain)
    } else {
        Err(damaged("the header is not as it was written"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_header() {
        let bytes = header(SegmentId(1), &[9; 32]);
        assert_eq!(bytes[..17], *b"TMBLJRNL\x01\0\0\0\0\0\0\0\0");
        assert_eq!(bytes[56..], [0xc7, 0x8d, 0xb3, 0xe4, 0, 0, 0, 0]);
        assert_eq!(read_header(&bytes, SegmentId(1)).unwrap(), [9; 32]);
    }

    #[test]
    fn every_flip_in_a_header_is_seen() {
        for bit in 0..HEADER_LEN * 8 {
            let mut bytes = header(SegmentId(5), &[1; 32]);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(read_header(&bytes, SegmentId(5)), Err(JournalError::Damaged { .. })),
                "bit {bit}"
            );
        }
        assert!(read_header(&header(SegmentId(5), &[1; 32]), SegmentId(6)).is_err());
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut bytes = header(SegmentId(5), &[1; 32]);
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..56]).to_be_bytes();
        bytes[56..60].copy_from_slice(&crc);
        assert!(matches!(read_header(&bytes, SegmentId(5)), Err(JournalError::TooNew { version: 2, .. })));
    }

    #[test]
    fn names_come_back() {
        let id = SegmentId(42);
        assert_eq!(SegmentId::of_file_name(&id.file_name()), Some(id));
        for name in ["42.journal", "0000000000000042.journal.draft", "lock", "+000000000000042.journal"] {
            assert_eq!(SegmentId::of_file_name(name), None, "{name}");
        }
    }
}
