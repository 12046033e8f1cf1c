//! The bytes of the file `feed`: a header, then rows.
//!
//! | offset in header | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic and version `TMBLFED1` |
//! | 8 | 16 | feed |
//! | 24 | 16 | incarnation of the store that writes it |
//! | 40 | 8 | documents in it when it was made |
//! | 48 | 4 | CRC-32C of the bytes before |
//!
//! | offset in row | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | CRC-32C of the feed (16), the offset of the row in the file (8) and the row from 4 on |
//! | 4 | 1 | 1 changed, 2 opened, 3 about to change, 4 covered, 5 changed as it was about to |
//! | 5 | 2 | length of the body |
//! | 7 | 8 | number; of 3: 0; of 4: the segment of the journal |
//! | 15 | | of 1, 3 and 5: key of the document; of 4: offset in the segment (8) |
//!
//! A row is bound to its feed and its place, so that none of another file or of an earlier write passes for one.

use tombolo_core::id::Incarnation;

use super::checkpoint::FeedId;
use crate::journal::{Position, SegmentId};

const MAGIC: &[u8; 8] = b"TMBLFED1";

/// Length of the header in bytes.
pub(super) const HEADER_LEN: usize = 52;
/// Length of a row's head in bytes.
pub(super) const HEAD_LEN: usize = 15;
/// Most bytes of a body: more than any key has.
pub(super) const BODY_MAX: usize = 1024;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) feed: FeedId,
    pub(super) incarnation: Incarnation,
    /// Documents in the file when it was made.
    pub(super) documents: u64,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes =
            [&MAGIC[..], &self.feed.0, &self.incarnation.0, &self.documents.to_be_bytes()].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (whole, crc) = bytes.split_last_chunk::<4>()?;
        let (feed, rest) = whole.strip_prefix(MAGIC)?.split_first_chunk()?;
        let (incarnation, documents) = rest.split_first_chunk()?;
        let documents = u64::from_be_bytes(documents.try_into().ok()?);
        (crc32c::crc32c(whole) == u32::from_be_bytes(*crc)).then_some(Self {
            feed: FeedId(*feed),
            incarnation: Incarnation(*incarnation),
            documents,
        })
    }
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row<'a> {
    /// The document of this key changed; `settles` says that it was intended, and is not any more.
    Changed { number: u64, key: &'a [u8], settles: bool },
    /// The store was opened: its changes have numbers above this one.
    Opened { number: u64 },
    /// The document of this key is about to change otherwise than by an operation. If it is not settled behind this,
    /// it counts as changed after the next opening.
    Intended { key: &'a [u8] },
    /// All changes by operations that lie in the journal before this place are above.
    Covered(Position),
}

impl<'a> Row<'a> {
    /// Appends the row's bytes for this place in the file.
    pub(super) fn encode(&self, feed: FeedId, offset: u64, out: &mut Vec<u8>) {
        let at;
        let (kind, number, body): (u8, u64, &[u8]) = match *self {
            Self::Changed { number, key, settles } => (if settles { 5 } else { 1 }, number, key),
            Self::Opened { number } => (2, number, &[]),
            Self::Intended { key } => (3, 0, key),
            Self::Covered((segment, offset)) => {
                at = offset.to_be_bytes();
                (4, segment.0, &at)
            }
        };
        // No key is longer than a body may be.
        let len = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
        let rest = [&[kind][..], &len, &number.to_be_bytes(), body].concat();
        out.extend_from_slice(&checksum(feed, offset, &rest).to_be_bytes());
        out.extend_from_slice(&rest);
    }

    /// The row that these bytes start with, and its length. None if there is none, or it is not all here.
    pub(super) fn decode(bytes: &'a [u8], feed: FeedId, offset: u64) -> Option<(Self, usize)> {
        let (crc, behind) = bytes.split_first_chunk::<4>()?;
        let ([kind, len @ .., _, _, _, _, _, _, _, _], _) = behind.split_first_chunk::<{ HEAD_LEN - 4 }>()?;
        let len = HEAD_LEN + usize::from(u16::from_be_bytes(*len));
        let rest = behind.get(..len - 4)?;
        if checksum(feed, offset, rest).to_be_bytes() != *crc {
            return None;
        }
        let number = u64::from_be_bytes(*rest.get(3..)?.first_chunk()?);
        let body = rest.get(HEAD_LEN - 4..)?;
        let row = match kind {
            1 | 5 => Self::Changed { number, key: body, settles: *kind == 5 },
            2 if body.is_empty() => Self::Opened { number },
            3 => Self::Intended { key: body },
            4 => Self::Covered((SegmentId(number), u64::from_be_bytes(body.try_into().ok()?))),
            _ => return None,
        };
        Some((row, len))
    }
}

fn checksum(feed: FeedId, offset: u64, rest: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&feed.0), &offset.to_be_bytes());
    crc32c::crc32c_append(place, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: FeedId = FeedId([7; 16]);

    #[test]
    fn golden_bytes_of_the_header() {
        let header = Header { feed: FEED, incarnation: Incarnation([8; 16]), documents: 258 };
        let mut golden = [b"TMBLFED1", &[7; 16][..], &[8; 16], &[0, 0, 0, 0, 0, 0, 1, 2]].concat();
        golden.extend([0xfb, 0x87, 0x44, 0x7e]);
        assert_eq!(header.encode(), golden);
        let golden: [u8; HEADER_LEN] = golden.try_into().unwrap();
        assert_eq!(Header::decode(&golden), Some(header));
        for at in 0..HEADER_LEN {
            let mut bytes = golden;
            bytes[at] ^= 1;
            assert_eq!(Header::decode(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn golden_bytes_of_rows() {
        let rows: [(Row<'_>, &str); 5] = [
            (Row::Changed { number: 258, key: b"\x01d", settles: false }, "01000200000000000001020164"),
            (Row::Changed { number: 258, key: b"\x01d", settles: true }, "05000200000000000001020164"),
            (Row::Opened { number: 5 }, "0200000000000000000005"),
            (Row::Intended { key: b"\x01d" }, "03000200000000000000000164"),
            (Row::Covered((SegmentId(3), 64)), "04000800000000000000030000000000000040"),
        ];
        let crcs = ["f30eeed7", "30460f43", "03a1011b", "008066a8", "d9a95546"];
        for ((row, golden), crc) in rows.iter().zip(crcs) {
            let mut bytes = Vec::new();
            row.encode(FEED, 52, &mut bytes);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, format!("{crc}{golden}"));
            bytes.push(9);
            assert_eq!(Row::decode(&bytes, FEED, 52), Some((*row, bytes.len() - 1)));
            assert_eq!(Row::decode(&bytes, FEED, 53), None, "elsewhere");
            assert_eq!(Row::decode(&bytes, FeedId([6; 16]), 52), None, "of another feed");
            for at in 0..bytes.len() - 1 {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert_eq!(Row::decode(&changed, FEED, 52), None, "byte {at}");
                assert_eq!(Row::decode(&bytes[..at], FEED, 52), None);
            }
        }
    }
}
