//! A snapshot as it is packed: zstd frames, and before them the outline of an update.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | `54 2a 4d 18`: a frame that zstd skips |
//! | 4 | 4 | length of what follows of it, little-endian as zstd reads it |
//! | 8 | 1 | version: 1 |
//! | 9 | 4 | length of the second zstd frame |
//! | 13 | 4 | CRC-32C of bytes 8 to 12, the outline, and the last four bytes of either zstd frame, their checksums |
//! | 17 | | outline (`tombolo_core::update::Outline`) |
//! | | | zstd frame: the update up to its deletes |
//! | | | zstd frame: its deletes |
//!
//! So what an update holds is known without unpacking its structs, and an outline can belong to no other update.
//! What has no outline (Automerge, an update with holes, everything that was stored before there were any) is one
//! zstd frame alone.

use bytes::Bytes;
use tombolo_core::update::Outline;

/// Fast, and near the ratio of the slow levels on operation bytes.
const LEVEL: i32 = 3;
const MAGIC: [u8; 4] = [0x54, 0x2a, 0x4d, 0x18];
const VERSION: u8 = 1;
const HEAD: usize = 17;
/// Longest snapshot unpacked, in bytes: a few packed ones may claim to unpack to any length.
pub(super) const BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Why packed bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unpackable {
    /// What is wrong.
    Damaged(&'static str),
    /// Written by a later version.
    TooNew(u8),
}

/// Packs a snapshot. An outline that is not one of these bytes is left out.
pub(super) fn pack(snapshot: &[u8], outline: Option<&Outline>) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    // Rows have checksums of their own; this one says that they belong together.
    compressor.include_checksum(true)?;
    let split = outline.and_then(|outline| Some((outline, snapshot.split_at_checked(outline.deletes_at())?)));
    let Some((outline, (structs, deletes))) = split else { return compressor.compress(snapshot) };
    let (structs, deletes) = (compressor.compress(structs)?, compressor.compress(deletes)?);
    let outline = outline.encode();
    let lengths = u32::try_from(HEAD - 8 + outline.len()).ok().zip(u32::try_from(deletes.len()).ok());
    let Some((following, deletes_len)) = lengths else { return compressor.compress(snapshot) };
    let mut packed = Vec::with_capacity(HEAD + outline.len() + structs.len() + deletes.len());
    packed.extend_from_slice(&MAGIC);
    packed.extend_from_slice(&following.to_le_bytes());
    packed.push(VERSION);
    packed.extend_from_slice(&deletes_len.to_be_bytes());
    let crc = checksum(packed.get(8..).unwrap_or_default(), &outline, [&structs, &deletes]);
    packed.extend_from_slice(&crc.to_be_bytes());
    packed.extend_from_slice(&outline);
    packed.extend_from_slice(&structs);
    packed.extend_from_slice(&deletes);
    Ok(packed)
}

fn checksum(head: &[u8], outline: &[u8], frames: [&[u8]; 2]) -> u32 {
    let ends = frames.map(|frame| frame.last_chunk::<4>().copied().unwrap_or_default());
    [head, outline, &ends.concat()].into_iter().fold(0, crc32c::crc32c_append)
}

/// What stands before the zstd frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its length in bytes.
    pub(super) len: usize,
    /// That of the last zstd frame.
    deletes: usize,
    crc: u32,
}

impl Head {
    /// The head of packed bytes, of which only the first need be here. None if there is none.
    pub(super) fn read(packed: &[u8]) -> Result<Option<Self>, Unpackable> {
        if !packed.starts_with(&MAGIC) {
            return Ok(None);
        }
        let head = packed.first_chunk::<HEAD>().ok_or(Unpackable::Damaged("its outline is cut off"))?;
        let [_, _, _, _, l0, l1, l2, l3, version, d0, d1, d2, d3, c0, c1, c2, c3] = *head;
        if version != VERSION {
            return Err(Unpackable::TooNew(version));
        }
        let number = |bytes| usize::try_from(u32::from_be_bytes(bytes)).ok();
        let (following, deletes) = number([l3, l2, l1, l0]).zip(number([d0, d1, d2, d3])).unwrap_or_default();
        if following < HEAD - 8 {
            return Err(Unpackable::Damaged("its outline has an impossible length"));
        }
        Ok(Some(Self { len: following + 8, deletes, crc: u32::from_be_bytes([c0, c1, c2, c3]) }))
    }

    /// Where of so many packed bytes the last four of the first zstd frame start; the second follows them.
    pub(super) fn tail_at(&self, stored: usize) -> Option<usize> {
        stored.checked_sub(self.deletes)?.checked_sub(4).filter(|at| *at >= self.len)
    }

    /// The outline, and the packed deletes, from the head with what follows of it, and from the bytes behind
    /// [`Head::tail_at`].
    fn open<'a>(&self, first: &[u8], tail: &'a [u8]) -> Result<(Outline, &'a [u8]), Unpackable> {
        let outline = first.get(HEAD..self.len).ok_or(Unpackable::Damaged("its outline is cut off"))?;
        let (structs, deletes) = tail.split_at_checked(4).unwrap_or_default();
        let head = first.get(8..13).unwrap_or_default();
        if deletes.len() != self.deletes || checksum(head, outline, [structs, deletes]) != self.crc {
            return Err(Unpackable::Damaged("its outline belongs to another one"));
        }
        let outline =
            Outline::parse(outline).map_err(|_| Unpackable::Damaged("its outline cannot be read"))?;
        Ok((outline, deletes))
    }

    /// The outline, and the deletes unpacked, from the same of a snapshot that is so long unpacked.
    pub(super) fn survey(
        &self,
        first: &[u8],
        tail: &[u8],
        snapshot_bytes: usize,
    ) -> Result<(Outline, Bytes), Unpackable> {
        let (outline, deletes) = self.open(first, tail)?;
        let len = snapshot_bytes.checked_sub(outline.deletes_at());
        let deletes = len.and_then(|len| unpack_frames(deletes, len));
        Ok((outline, deletes.ok_or(Unpackable::Damaged("its deletes do not unpack"))?))
    }
}

/// Unpacks a snapshot that is so long unpacked.
pub(super) fn unpack(packed: &[u8], len: usize) -> Result<(Bytes, Option<Outline>), Unpackable> {
    let head = Head::read(packed)?;
    let outline = match &head {
        None => None,
        Some(head) => {
            let tail = head.tail_at(packed.len()).and_then(|at| packed.get(at..)).unwrap_or_default();
            Some(head.open(packed, tail)?.0)
        }
    };
    let frames = packed.get(head.map_or(0, |head| head.len)..).unwrap_or_default();
    match unpack_frames(frames, len) {
        Some(snapshot) => Ok((snapshot, outline)),
        None => Err(Unpackable::Damaged("the snapshot does not unpack to the size it had")),
    }
}

/// Unpacks bytes of which nothing tells how long they are; none if they are not one snapshot.
pub(super) fn unpack_unknown(packed: &[u8]) -> Option<Bytes> {
    let size = |frame: &[u8]| {
        let size = zstd::zstd_safe::get_frame_content_size(frame).ok()??;
        usize::try_from(size).ok().filter(|size| *size <= BYTES_MAX)
    };
    let len = match Head::read(packed).ok()? {
        None => size(packed)?,
        Some(head) => size(packed.get(head.len..)?)? + size(packed.get(head.tail_at(packed.len())? + 4..)?)?,
    };
    (len <= BYTES_MAX).then(|| unpack(packed, len).ok()).flatten().map(|(snapshot, _)| snapshot)
}

/// One frame or two, if they unpack to that length.
fn unpack_frames(frames: &[u8], len: usize) -> Option<Bytes> {
    let unpacked = zstd::bulk::decompress(frames, len).ok()?;
    (unpacked.len() == len).then(|| unpacked.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tombolo_core::update::Update;

    use super::*;

    /// Ten letters of client 7, of which two are deleted.
    const UPDATE: &[u8] = b"\x01\x01\x07\x00\x04\x01\x01t\x0aabcdefghij\x01\x07\x01\x03\x02";
    /// Written by the first version that had outlines; must be read for ever.
    const GOLDEN: &[u8] = b"T*M\x18\x0f\0\0\0\x01\0\0\0\x12\xad0\xba\xdd\x01\x07\x01\n\x04\x0f(\xb5/\xfd$\x13\x99\0\0\x01\x01\x07\0\x04\x01\x01t\nabcdefghijt\xf0Lk(\xb5/\xfd$\x05)\0\0\x01\x07\x01\x03\x021\x98\x8bg";

    fn outline() -> Outline {
        Update::parse(Bytes::from_static(UPDATE)).unwrap().outline().unwrap()
    }

    #[test]
    fn golden_bytes_of_a_packed_snapshot() {
        let read = || Ok((Bytes::from_static(UPDATE), Some(outline())));
        assert_eq!(unpack(GOLDEN, UPDATE.len()), read());
        assert_eq!(unpack(&pack(UPDATE, Some(&outline())).unwrap(), UPDATE.len()), read());
        assert_eq!(pack(UPDATE, Some(&outline())).unwrap()[..17], GOLDEN[..17]);
        let head = Head::read(&GOLDEN[..17]).unwrap().unwrap();
        let tail = &GOLDEN[head.tail_at(GOLDEN.len()).unwrap()..];
        let deletes = Bytes::from_static(&UPDATE[UPDATE.len() - 5..]);
        assert_eq!(head.survey(&GOLDEN[..head.len], tail, UPDATE.len()), Ok((outline(), deletes)));
    }

    #[test]
    fn an_outline_can_belong_to_no_other_update() {
        let mut other = UPDATE.to_vec();
        other[10] = b'z';
        let (one, other) = (pack(UPDATE, Some(&outline())).unwrap(), pack(&other, Some(&outline())).unwrap());
        let len = Head::read(&one).unwrap().unwrap().len;
        let mixed = [&one[..len], &other[len..]].concat();
        assert_eq!(
            unpack(&mixed, UPDATE.len()),
            Err(Unpackable::Damaged("its outline belongs to another one"))
        );
        let mut later = one;
        later[8] = 2;
        assert_eq!(unpack(&later, UPDATE.len()), Err(Unpackable::TooNew(2)));
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            bytes in prop::collection::vec(any::<u8>(), 0..3000),
            flip in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let packed = pack(&bytes, None).unwrap();
            prop_assert_eq!(unpack(&packed, bytes.len()), Ok((bytes.clone().into(), None)));
            prop_assert_eq!(unpack_unknown(&packed), Some(bytes.into()));
            let mut packed = pack(UPDATE, Some(&outline())).unwrap();
            prop_assert_eq!(unpack_unknown(&packed), Some(Bytes::from_static(UPDATE)));
            let at = flip.index(packed.len());
            packed[at] ^= 1 << bit;
            // Bits of a zstd head may say the same in another way; never is it something else.
            if let Ok((snapshot, _)) = unpack(&packed, UPDATE.len()) {
                prop_assert_eq!(&snapshot[..], UPDATE);
            }
            let _ = unpack_unknown(&packed);
        }
    }
}
