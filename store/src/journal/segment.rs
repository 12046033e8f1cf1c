//! A segment: a preallocated file of records that names its predecessor's content by hash.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic `TMBLJRNL` |
//! | 8 | 1 | version: 2 |
//! | 9 | 3 | zeros |
//! | 12 | 4 | nonce: what the records of this segment start with |
//! | 16 | 8 | number of the segment |
//! | 24 | 32 | BLAKE3 over the previous segment's bytes from its header to its last record; zeros if it is the first |
//! | 56 | 4 | length of the file in units of 8 bytes |
//! | 60 | 4 | CRC32C of the bytes before; stays there in every later version |
//! | 64 | | records |
//!
//! Version 1 has a CRC-32 at 56 and zeros at 60, and does not say how long it is.
//!
//! The nonce is random, so that nobody can write payloads that look like records.
//!
//! It is written and synced under another name and then renamed, so a file with a segment's name has a whole
//! header, or it is damaged.

use std::fmt;
use std::sync::Arc;

use super::checksum::Version;
use super::error::JournalError;
use super::record::ALIGNMENT;
use crate::disk::{Disk, DiskFile};

const MAGIC: &[u8; 8] = b"TMBLJRNL";
const SUFFIX: &str = ".journal";
const DRAFT: &str = "next.draft";

/// Length of the header in bytes; the first record follows.
pub(super) const HEADER_LEN: usize = 64;

/// Largest file that a header can tell the length of, in bytes.
pub(super) const SEGMENT_BYTES_MAX: u64 = u32::MAX as u64 * ALIGNMENT as u64;

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

/// The segments among these files, in order.
pub(super) fn ids(names: &[String]) -> Vec<SegmentId> {
    let mut ids: Vec<_> = names.iter().filter_map(|name| SegmentId::of_file_name(name)).collect();
    ids.sort_unstable();
    ids
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

/// Whether the system has no descriptor left for a file, which passes by itself.
pub(super) fn is_without_descriptors(error: &std::io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    errno == Some(rustix::io::Errno::MFILE) || errno == Some(rustix::io::Errno::NFILE)
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

/// Gives back a draft that nobody needs.
pub(super) fn remove_draft(disk: &dyn Disk) -> std::io::Result<()> {
    disk.remove(DRAFT)
}

/// Removes a segment. The folder must be synced before anything else happens: a hole between two segments is
/// damage.
pub(super) fn remove(disk: &dyn Disk, id: SegmentId) -> std::io::Result<()> {
    match disk.remove(&id.file_name()) {
        // Somebody else did.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// What a header says besides the segment's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) chain: Chain,
    pub(super) nonce: Nonce,
    /// Length of the file in bytes, a multiple of 8; none in version 1.
    pub(super) len: Option<u64>,
}

impl Head {
    pub(super) fn version(&self) -> Version {
        if self.len.is_some() { Version::Two } else { Version::One }
    }

    /// Where the file of so many bytes has another length than it was made with, if it has.
    pub(super) fn cut_at(&self, size: u64) -> Option<u64> {
        self.len.filter(|len| *len != size).map(|len| len.min(size))
    }
}

/// What is wrong with a file of another length.
pub(super) const CUT: &str = "the file has not the length that its header says";

/// What is wrong with a segment that another one follows and that ends too early.
pub(super) const UNCHAINED: &str = "what was read up to here is not what the next segment says was written";

/// The bytes of a header.
pub(super) fn header(id: SegmentId, head: &Head) -> [u8; HEADER_LEN] {
    let version = head.version();
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend_from_slice(MAGIC);
    bytes.push(version.tag());
    bytes.extend_from_slice(&[0; 3]);
    bytes.extend_from_slice(&head.nonce);
    bytes.extend_from_slice(&id.0.to_be_bytes());
    bytes.extend_from_slice(&head.chain);
    if let Some(len) = head.len {
        // The writer makes no longer ones.
        let units = u32::try_from(len / ALIGNMENT as u64).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&units.to_be_bytes());
    }
    bytes.extend_from_slice(&version.append(0, &bytes).to_be_bytes());
    bytes.resize(HEADER_LEN, 0);
    bytes.try_into().unwrap_or([0; HEADER_LEN])
}

/// Reads a header.
pub(super) fn read_header(bytes: &[u8], segment: SegmentId) -> Result<Head, JournalError> {
    let damaged = |found| JournalError::Damaged { segment, offset: 0, found };
    let found = bytes.first_chunk::<HEADER_LEN>().ok_or_else(|| damaged("the header is cut off"))?;
    let [version] = field(found, 8);
    let units = u64::from(u32::from_be_bytes(field(found, 56)));
    let len = (version != Version::One.tag()).then_some(units * ALIGNMENT as u64);
    let head = Head { chain: field(found, 24), nonce: field(found, 12), len };
    if Version::from_tag(version).is_some() {
        let whole = header(segment, &head) == *found && head.nonce != [0; 4];
        return whole.then_some(head).ok_or_else(|| damaged("the header is not as it was written"));
    }
    // Only a header that is whole is of a later program.
    let (before, crc) = found.split_at(HEADER_LEN - 4);
    if found.starts_with(MAGIC) && Version::LATEST.append(0, before).to_be_bytes() == crc {
        return Err(JournalError::TooNew { segment, version });
    }
    Err(damaged("the header is not as it was written"))
}

/// The nonce that a header says, whatever else is wrong with it.
pub(super) fn said_nonce(bytes: &[u8]) -> Option<Nonce> {
    bytes.first_chunk::<HEADER_LEN>().map(|header| field(header, 12))
}

/// Bytes of a header; every range that is taken lies inside.
fn field<const N: usize>(header: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    header.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_1: Head = Head { chain: [9; 32], nonce: *b"nonc", len: None };
    const HEAD_2: Head = Head { chain: [9; 32], nonce: *b"nonc", len: Some(0x0100_0000) };

    #[test]
    fn golden_bytes_of_a_header() {
        let bytes = header(SegmentId(1), &HEAD_2);
        assert_eq!(bytes[..24], *b"TMBLJRNL\x02\0\0\0nonc\0\0\0\0\0\0\0\x01");
        assert_eq!(bytes[24..56], [9; 32]);
        assert_eq!(bytes[56..], [0, 0x20, 0, 0, 0x63, 0x2b, 0x83, 0xba]);
        assert_eq!(read_header(&bytes, SegmentId(1)).unwrap(), HEAD_2);
    }

    #[test]
    fn golden_bytes_of_a_header_of_version_1() {
        let bytes = header(SegmentId(1), &HEAD_1);
        assert_eq!(bytes[..24], *b"TMBLJRNL\x01\0\0\0nonc\0\0\0\0\0\0\0\x01");
        assert_eq!(bytes[24..56], [9; 32]);
        assert_eq!(bytes[56..], [0x9a, 0x49, 0xd8, 0x7b, 0, 0, 0, 0]);
        assert_eq!(read_header(&bytes, SegmentId(1)).unwrap(), HEAD_1);
    }

    #[test]
    fn every_flip_in_a_header_is_seen() {
        for head in [HEAD_1, HEAD_2] {
            for bit in 0..HEADER_LEN * 8 {
                let mut bytes = header(SegmentId(5), &head);
                bytes[bit / 8] ^= 1 << (bit % 8);
                let read = read_header(&bytes, SegmentId(5));
                assert!(matches!(read, Err(JournalError::Damaged { .. })), "bit {bit}");
            }
            assert!(read_header(&header(SegmentId(5), &head), SegmentId(6)).is_err());
        }
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut bytes = header(SegmentId(5), &HEAD_2);
        bytes[8] = 3;
        let crc = Version::LATEST.append(0, &bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(read_header(&bytes, SegmentId(5)), Err(JournalError::TooNew { version: 3, .. })));
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
