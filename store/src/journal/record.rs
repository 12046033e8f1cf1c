//! One operation as bytes. Every integer is big-endian; records start at multiples of 8.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | the segment's nonce |
//! | 4 | 4 | CRC-32 of the segment's number, the record's offset and everything from 8 to the record's end |
//! | 8 | 1 | version: 1 |
//! | 9 | 1 | 0 mark, 1 Yjs update, 2 Automerge changes |
//! | 10 | 2 | length of the document's key |
//! | 12 | 4 | length of the payload |
//! | 16 | 8 | durable: bytes of this segment that were synced when the record was written |
//! | 24 | 16 | replica |
//! | 40 | 8 | seq |
//! | 48 | 8 | stamp |
//! | 56 | | key of the document, payload, zeros up to a multiple of 8 |
//!
//! The checksum is bound to the place, so a record that lies anywhere else is none. A *mark* has no key and
//! no payload: it says only that everything before it is durable, so that later damage to that cannot be
//! taken for a torn tail.

use bytes::Bytes;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};

use super::segment::{Nonce, SegmentId};

/// Largest payload of one operation in bytes. Updates are at most 64 MiB; what an Automerge sync message of
/// that size brings may inflate to 256 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 320 * 1024 * 1024;

pub(super) const ALIGNMENT: usize = 8;
const VERSION: u8 = 1;
const MARK: u8 = 0;
const HEAD: usize = 56;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: SegmentId,
    pub(super) nonce: Nonce,
    pub(super) offset: u64,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Mark,
    Operation(Operation),
}

/// A record as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) entry: Entry,
    /// Bytes of the segment that were durable when it was written.
    pub(super) durable: u64,
    /// Its length with padding.
    pub(super) len: usize,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRecord {
    /// Nothing was written here.
    Blank,
    /// Something is here that is no record of this place.
    Broken(&'static str),
    /// A whole record of a later program.
    TooNew(u8),
}

/// Length of the record of an operation, with padding.
pub(super) fn encoded_len(operation: &Operation) -> usize {
    padded(HEAD + operation.document.key_len() + operation.payload.len())
}

/// Length of a mark.
pub(super) const MARK_LEN: usize = HEAD;

fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

/// Appends the record of an operation.
pub(super) fn encode_operation(out: &mut Vec<u8>, place: Place, durable: u64, operation: &Operation) {
    let key = operation.document.to_key();
    let ids = (operation.replica, operation.seq, operation.stamp);
    encode(out, place, durable, operation.kind.tag(), ids, &key, &operation.payload);
}

/// Appends a mark.
pub(super) fn encode_mark(out: &mut Vec<u8>, place: Place, durable: u64) {
    encode(out, place, durable, MARK, (ReplicaId([0; 16]), Seq(0), Stamp(0)), &[], &[]);
}

fn encode(
    out: &mut Vec<u8>,
    place: Place,
    durable: u64,
    kind: u8,
    (replica, seq, stamp): (ReplicaId, Seq, Stamp),
    key: &[u8],
    payload: &[u8],
) {
    let start = out.len();
    out.extend_from_slice(&place.nonce);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[VERSION, kind]);
    // Keys are at most 513 bytes and payloads at most PAYLOAD_BYTES_MAX, which both are checked at the door.
    out.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&durable.to_be_bytes());
    out.extend_from_slice(&replica.0);
    out.extend_from_slice(&seq.0.to_be_bytes());
    out.extend_from_slice(&stamp.0.to_be_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(payload);
    out.resize(start + padded(out.len() - start), 0);
    let crc = out.get(start + 8..).map(|rest| checksum(place, rest)).unwrap_or_default();
    if let Some(field) = out.get_mut(start + 4..start + 8) {
        field.copy_from_slice(&crc.to_be_bytes());
    }
}

fn checksum(place: Place, rest: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&place.segment.0.to_be_bytes());
    crc.update(&place.offset.to_be_bytes());
    crc.update(rest);
    crc.finalize()
}

/// Reads the record at the start of `bytes`, which lie at `place`. The payload is copied out.
pub(super) fn decode(bytes: &[u8], place: Place) -> Result<Record, NoRecord> {
    let head = bytes.first_chunk::<HEAD>().ok_or(NoRecord::Blank)?;
    if bytes.iter().take(HEAD).all(|byte| *byte == 0) {
        return Err(NoRecord::Blank);
    }
    let fields = Fields(head);
    if fields.take::<4>(0) != place.nonce {
        return Err(NoRecord::Broken("no record starts here"));
    }
    let key_len = usize::from(u16::from_be_bytes(fields.take(10)));
    let payload_len = u32::from_be_bytes(fields.take(12)) as usize;
    let len = padded(HEAD + key_len + payload_len);
    let whole = bytes.get(..len).ok_or(NoRecord::Broken("the record is longer than the segment"))?;
    let checked = whole.get(8..).unwrap_or_default();
    if checksum(place, checked) != u32::from_be_bytes(fields.take(4)) {
        return Err(NoRecord::Broken("the checksum is wrong"));
    }
    let [version] = fields.take(8);
    if version != VERSION {
        return Err(NoRecord::TooNew(version));
    }
    let [kind] = fields.take(9);
    let entry = if kind == MARK {
        Entry::Mark
    } else {
        let kind = Kind::from_tag(kind).ok_or(NoRecord::Broken("the kind is unknown"))?;
        let key = whole.get(HEAD..HEAD + key_len).unwrap_or_default();
        let payload = whole.get(HEAD + key_len..HEAD + key_len + payload_len).unwrap_or_default();
        Entry::Operation(Operation {
            document: DocumentId::from_key(key)
                .map_err(|_| NoRecord::Broken("the document's name is none"))?,
            replica: ReplicaId(fields.take(24)),
            seq: Seq(u64::from_be_bytes(fields.take(40))),
            stamp: Stamp(u64::from_be_bytes(fields.take(48))),
            kind,
            payload: Bytes::copy_from_slice(payload),
        })
    };
    Ok(Record { entry, durable: u64::from_be_bytes(fields.take(16)), len })
}

/// The fixed fields; every range that is taken lies inside.
struct Fields<'a>(&'a [u8; HEAD]);

impl Fields<'_> {
    fn take<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operation(payload: &'static [u8]) -> Operation {
        Operation {
            document: DocumentId::yjs("d").unwrap(),
            replica: ReplicaId([7; 16]),
            seq: Seq(3),
            stamp: Stamp(5),
            kind: Kind::YjsUpdate,
            payload: Bytes::from_static(payload),
        }
    }

    const PLACE: Place = Place { segment: SegmentId(2), nonce: *b"TREC", offset: 64 };

    /// Written by the first version; must be read for ever.
    const GOLDEN: &str = concat!(
        "54524543",
        "8970d475",
        "01",
        "01",
        "0002",
        "00000002",
        "0000000000000040",
        "07070707070707070707070707070707",
        "0000000000000003",
        "0000000000000005",
        "0164",
        "0000",
        "00000000"
    );

    #[test]
    fn golden_bytes_of_a_record() {
        let mut bytes = Vec::new();
        encode_operation(&mut bytes, PLACE, 64, &operation(&[0, 0]));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        let record = decode(&bytes, PLACE).unwrap();
        assert_eq!(
            record,
            Record { entry: Entry::Operation(operation(&[0, 0])), durable: 64, len: bytes.len() }
        );
    }

    #[test]
    fn a_record_of_another_place_is_none() {
        let mut bytes = Vec::new();
        encode_operation(&mut bytes, PLACE, 64, &operation(b"xyz"));
        let elsewhere = [
            Place { offset: 72, ..PLACE },
            Place { segment: SegmentId(3), ..PLACE },
            Place { nonce: *b"RECT", ..PLACE },
        ];
        for place in elsewhere {
            assert!(matches!(decode(&bytes, place), Err(NoRecord::Broken(_))));
        }
    }

    #[test]
    fn later_versions_are_told_from_damage() {
        let mut bytes = Vec::new();
        encode_operation(&mut bytes, PLACE, 64, &operation(b"xyz"));
        bytes[8] = 9;
        let crc = checksum(PLACE, &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(decode(&bytes, PLACE), Err(NoRecord::TooNew(9)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, PLACE);
        }

        #[test]
        fn every_flip_and_cut_is_seen(payload in prop::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = Vec::new();
            let operation = Operation { payload: payload.into(), ..operation(b"") };
            encode_operation(&mut bytes, PLACE, 64, &operation);
            prop_assert_eq!(bytes.len(), encoded_len(&operation));
            prop_assert!(decode(&bytes, PLACE).is_ok());
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at], PLACE).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(&bytes, PLACE).is_err());
        }
    }
}
