//! One operation as bytes. Every integer is big-endian; records start at multiples of 8.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | the segment's nonce |
//! | 4 | 4 | CRC32C (version 1: CRC-32) of the segment's number, the record's offset and the record from 8 on |
//! | 8 | 1 | version: 2 |
//! | 9 | 1 | 0 mark, 1 Yjs update, 2 Automerge changes |
//! | 10 | 2 | length of the document's key |
//! | 12 | 4 | length of the payload |
//! | 16 | 8 | durable: bytes of this segment that were synced when the record was written |
//! | 24 | 16 | replica |
//! | 40 | 8 | seq; of a mark: 0 quiet, 1 opened, 2 closed |
//! | 48 | 8 | stamp |
//! | 56 | | key of the document, payload, zeros up to a multiple of 8 |
//!
//! The checksum is bound to the place, so a record that lies anywhere else is none. A *mark* has no key and
//! no payload: it says that everything before it is durable, so that later damage to that cannot be taken for
//! a torn tail. All records of a segment have its version.

use bytes::Bytes;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};

use super::checksum::Version;
use super::segment::{Nonce, SegmentId};

/// Largest payload of one operation in bytes. Updates are at most 64 MiB; what an Automerge sync message of
/// that size brings may inflate to 256 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 320 * 1024 * 1024;

pub(super) const ALIGNMENT: usize = 8;
const MARK: u8 = 0;
pub(super) const HEAD: usize = 56;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: SegmentId,
    pub(super) nonce: Nonce,
    pub(super) offset: u64,
}

/// Why a mark was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing came for a while.
    Quiet,
    /// A journal that ends in another mark goes on here.
    Opened,
    /// The journal was closed whole: nothing but zeros follows.
    Closed,
    /// As closed, and everything before is on the shelf.
    Taken,
}

impl Mark {
    fn from_tag(tag: u64) -> Option<Self> {
        match tag {
            0 => Some(Self::Quiet),
            1 => Some(Self::Opened),
            2 => Some(Self::Closed),
            3 => Some(Self::Taken),
            _ => None,
        }
    }

    fn tag(self) -> u64 {
        match self {
            Self::Quiet => 0,
            Self::Opened => 1,
            Self::Closed => 2,
            Self::Taken => 3,
        }
    }
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Mark(Mark),
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
pub(super) fn encode_operation(
    out: &mut Vec<u8>,
    version: Version,
    place: Place,
    durable: u64,
    operation: &Operation,
) {
    // Keys are at most 513 bytes and payloads at most PAYLOAD_BYTES_MAX, which both are checked at the door.
    let head = Head {
        nonce: place.nonce,
        crc: 0,
        version: version.tag(),
        kind: operation.kind.tag(),
        key_len: u16::try_from(operation.document.key_len()).unwrap_or(u16::MAX),
        payload_len: u32::try_from(operation.payload.len()).unwrap_or(u32::MAX),
        durable,
        replica: operation.replica.0,
        seq: operation.seq.0,
        stamp: operation.stamp.0,
    };
    let start = out.len();
    out.extend_from_slice(&head.to_bytes());
    operation.document.append_key(out);
    out.extend_from_slice(&operation.payload);
    finish(out, start, version, place);
}

/// Appends a mark.
pub(super) fn encode_mark(out: &mut Vec<u8>, version: Version, place: Place, durable: u64, mark: Mark) {
    let head = Head {
        nonce: place.nonce,
        version: version.tag(),
        kind: MARK,
        durable,
        seq: mark.tag(),
        ..Head::default()
    };
    let start = out.len();
    out.extend_from_slice(&head.to_bytes());
    finish(out, start, version, place);
}

/// Pads the record and puts its checksum in.
fn finish(out: &mut Vec<u8>, start: usize, version: Version, place: Place) {
    out.resize(start + padded(out.len() - start), 0);
    let crc = out.get(start + 8..).map(|rest| checksum(version, place, rest)).unwrap_or_default();
    if let Some(field) = out.get_mut(start + 4..start + 8) {
        field.copy_from_slice(&crc.to_be_bytes());
    }
}

/// The checksum of a record's place, which that of its bytes goes on from.
pub(super) fn checksum_of_place(version: Version, segment: SegmentId, offset: u64) -> u32 {
    let mut place = [0; 16];
    let (one, two) = place.split_at_mut(8);
    one.copy_from_slice(&segment.0.to_be_bytes());
    two.copy_from_slice(&offset.to_be_bytes());
    version.append(0, &place)
}

fn checksum(version: Version, place: Place, rest: &[u8]) -> u32 {
    version.append(checksum_of_place(version, place.segment, place.offset), rest)
}

/// The fixed fields of a record, whatever they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) nonce: Nonce,
    pub(super) crc: u32,
    pub(super) version: u8,
    pub(super) kind: u8,
    pub(super) key_len: u16,
    pub(super) payload_len: u32,
    pub(super) durable: u64,
    replica: [u8; 16],
    seq: u64,
    stamp: u64,
}

impl Head {
    /// The fields at the start of these bytes; none if there are too few.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEAD>()?;
        let fields = Fields(bytes);
        let [version] = fields.take(8);
        let [kind] = fields.take(9);
        Some(Self {
            nonce: fields.take(0),
            crc: u32::from_be_bytes(fields.take(4)),
            version,
            kind,
            key_len: u16::from_be_bytes(fields.take(10)),
            payload_len: u32::from_be_bytes(fields.take(12)),
            durable: u64::from_be_bytes(fields.take(16)),
            replica: fields.take(24),
            seq: u64::from_be_bytes(fields.take(40)),
            stamp: u64::from_be_bytes(fields.take(48)),
        })
    }

    fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + field.len()) {
                place.copy_from_slice(field);
            }
            at += field.len();
        };
        put(&self.nonce);
        put(&self.crc.to_be_bytes());
        put(&[self.version, self.kind]);
        put(&self.key_len.to_be_bytes());
        put(&self.payload_len.to_be_bytes());
        put(&self.durable.to_be_bytes());
        put(&self.replica);
        put(&self.seq.to_be_bytes());
        put(&self.stamp.to_be_bytes());
        bytes
    }

    /// Length of the record that it claims, with padding.
    pub(super) fn record_len(&self) -> usize {
        padded(HEAD + usize::from(self.key_len) + self.payload_len as usize)
    }

    /// The document that a record with this head is about, if it still names one.
    pub(super) fn document(&self, record: &[u8]) -> Option<DocumentId> {
        let key = record.get(HEAD..HEAD + usize::from(self.key_len))?;
        DocumentId::from_key(key).ok()
    }
}

/// Reads the record at the start of `bytes`, which lie at `place`. The payload is copied out.
pub(super) fn decode(bytes: &[u8], place: Place) -> Result<Record, NoRecord> {
    let head = Head::read(bytes).ok_or(NoRecord::Blank)?;
    if head == Head::default() {
        return Err(NoRecord::Blank);
    }
    if head.nonce != place.nonce {
        return Err(NoRecord::Broken("no record starts here"));
    }
    let whole =
        bytes.get(..head.record_len()).ok_or(NoRecord::Broken("the record is longer than the segment"))?;
    // A later program's record is known by the latest checksum; what that is not right for is no record.
    let version = Version::from_tag(head.version);
    let rest = whole.get(8..).unwrap_or_default();
    if checksum(version.unwrap_or(Version::LATEST), place, rest) != head.crc {
        return Err(NoRecord::Broken("the checksum is wrong"));
    }
    if version.is_none() {
        return Err(NoRecord::TooNew(head.version));
    }
    Ok(Record { entry: entry(&head, whole)?, durable: head.durable, len: whole.len() })
}

/// What a whole record says.
fn entry(head: &Head, whole: &[u8]) -> Result<Entry, NoRecord> {
    if head.kind == MARK {
        let mark = Mark::from_tag(head.seq).ok_or(NoRecord::Broken("the mark is unknown"))?;
        return Ok(Entry::Mark(mark));
    }
    let payload_at = HEAD + usize::from(head.key_len);
    let payload = whole.get(payload_at..payload_at + head.payload_len as usize).unwrap_or_default();
    Ok(Entry::Operation(Operation {
        document: head.document(whole).ok_or(NoRecord::Broken("the document's name is none"))?,
        replica: ReplicaId(head.replica),
        seq: Seq(head.seq),
        stamp: Stamp(head.stamp),
        kind: Kind::from_tag(head.kind).ok_or(NoRecord::Broken("the kind is unknown"))?,
        payload: Bytes::copy_from_slice(payload),
    }))
}

/// The fixed fields as bytes; every range that is taken lies inside.
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
    const GOLDEN_1: &str = concat!(
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

    /// What version 2 writes.
    const GOLDEN_2: &str = concat!(
        "54524543",
        "5bc6275a",
        "02",
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

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn encoded(operation: &Operation) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_operation(&mut bytes, Version::LATEST, PLACE, 64, operation);
        bytes
    }

    #[test]
    fn golden_bytes_of_a_record() {
        for (version, golden) in [(Version::One, GOLDEN_1), (Version::Two, GOLDEN_2)] {
            let mut bytes = Vec::new();
            encode_operation(&mut bytes, version, PLACE, 64, &operation(&[0, 0]));
            assert_eq!(hex(&bytes), golden);
            let record = decode(&bytes, PLACE).unwrap();
            let entry = Entry::Operation(operation(&[0, 0]));
            assert_eq!(record, Record { entry, durable: 64, len: bytes.len() });
        }
    }

    #[test]
    fn golden_bytes_of_a_mark() {
        for (mark, crc, tag) in [
            (Mark::Quiet, "0226fe16", 0),
            (Mark::Opened, "f618285e", 1),
            (Mark::Closed, "efb72477", 2),
            (Mark::Taken, "1b89f23f", 3),
        ] {
            let mut bytes = Vec::new();
            encode_mark(&mut bytes, Version::Two, PLACE, 64, mark);
            let zeros = "0".repeat(32);
            let golden = format!("54524543{crc}02000000000000000000000000000040{zeros}{tag:016x}{:016x}", 0);
            assert_eq!(hex(&bytes), golden);
            let record = Record { entry: Entry::Mark(mark), durable: 64, len: MARK_LEN };
            assert_eq!(decode(&bytes, PLACE).unwrap(), record);
        }
    }

    #[test]
    fn a_record_of_another_place_is_none() {
        let bytes = encoded(&operation(b"xyz"));
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
        let mut bytes = encoded(&operation(b"xyz"));
        bytes[8] = 9;
        let crc = checksum(Version::LATEST, PLACE, &bytes[8..]);
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
            let operation = Operation { payload: payload.into(), ..operation(b"") };
            let mut bytes = encoded(&operation);
            prop_assert_eq!(bytes.len(), encoded_len(&operation));
            prop_assert!(decode(&bytes, PLACE).is_ok());
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at], PLACE).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(&bytes, PLACE).is_err());
        }
    }
}
