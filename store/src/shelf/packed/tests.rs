//! Golden bytes of every version, and packing there and back.

use bytes::Bytes;
use lz4_flex::block::compress;
use proptest::prelude::*;
use tombolo_core::update::{Outline, Update};

use super::*;

/// Ten letters of client 7, of which two are deleted.
const UPDATE: &[u8] = b"\x01\x01\x07\x00\x04\x01\x01t\x0aabcdefghij\x01\x07\x01\x03\x02";
/// Written by the first version that had outlines; must be read for ever.
const GOLDEN_1: &[u8] = b"T*M\x18\x0f\0\0\0\x01\0\0\0\x12\xad0\xba\xdd\x01\x07\x01\n\x04\x0f(\xb5/\xfd$\x13\x99\0\0\x01\x01\x07\0\x04\x01\x01t\nabcdefghijt\xf0Lk(\xb5/\xfd$\x05)\0\0\x01\x07\x01\x03\x021\x98\x8bg";
/// Written by the first version that had blocks; must be read for ever.
const GOLDEN_2: &[u8] = b"T*M\x18\x1b\0\0\0\x02\0\0\0\x06\0\0\0\x18n>mq\x14\xfe\xebC\xd7|\xb8\xb0\x01\x07\x01\n\x04\x0f\xf0\x04\x01\x01\x07\0\x04\x01\x01t\nabcdefghijP\x01\x07\x01\x03\x02";
/// Its head and outline; another compressor may write other blocks.
const GOLDEN_HEAD: usize = 35;

fn outline() -> Outline {
    Update::parse(Bytes::from_static(UPDATE)).unwrap().outline().unwrap()
}

#[test]
fn golden_bytes_of_a_packed_snapshot() {
    assert_eq!(pack(UPDATE, Some(&outline())).unwrap()[..GOLDEN_HEAD], GOLDEN_2[..GOLDEN_HEAD]);
    for golden in [GOLDEN_1, GOLDEN_2] {
        assert_eq!(unpack(golden, UPDATE.len()), Ok((Bytes::from_static(UPDATE), Some(outline()))));
        assert_eq!(unpack_unknown(golden), Some(Bytes::from_static(UPDATE)));
        let head = Head::read(&golden[..29]).unwrap().unwrap();
        let tail = &golden[head.tail_at(golden.len()).unwrap()..];
        let deletes = Bytes::from_static(&UPDATE[UPDATE.len() - 5..]);
        assert_eq!(head.survey(&golden[..head.len], tail, UPDATE.len()), Ok((outline(), deletes)));
    }
}

#[test]
fn an_outline_can_belong_to_no_other_update() {
    let mut other = UPDATE.to_vec();
    other[10] = b'z';
    let (one, other) = (pack(UPDATE, Some(&outline())).unwrap(), pack(&other, Some(&outline())).unwrap());
    let len = Head::read(&one).unwrap().unwrap().len;
    let mixed = [&one[..len], &other[len..]].concat();
    assert!(matches!(unpack(&mixed, UPDATE.len()), Err(Unpackable::Damaged(_))));
    let mut mixed = one.clone();
    mixed[17..21].copy_from_slice(&other[17..21]);
    assert_eq!(unpack(&mixed, UPDATE.len()), Err(Unpackable::Damaged("its outline belongs to another one")));
    let mut later = one;
    later[8] = 3;
    assert_eq!(unpack(&later, UPDATE.len()), Err(Unpackable::TooNew(3)));
}

#[test]
fn a_length_that_blocks_cannot_unpack_to_takes_no_memory() {
    let longest = compress(&[b'a'; 100_000]);
    assert!(unpack::room(longest.len(), 100_000).is_some());
    assert!(unpack::room(longest.len(), 256 * (longest.len() + 1)).is_none());
    assert!(unpack::room(usize::MAX, 1024 * 1024 * 1024 + 1).is_none());
    // A head with right checksums that claims a length that is not that of its blocks.
    let packed = pack(UPDATE, Some(&outline())).unwrap();
    for claim in [0, 23, 25, u32::MAX] {
        let mut packed = packed.clone();
        packed[13..17].copy_from_slice(&claim.to_be_bytes());
        let crc = crc32c::crc32c(&[&packed[4..25], &packed[29..GOLDEN_HEAD]].concat());
        packed[25..29].copy_from_slice(&crc.to_be_bytes());
        let damaged = Unpackable::Damaged("the snapshot does not unpack to the size it had");
        assert_eq!(unpack(&packed, claim as usize), Err(damaged));
        assert_eq!(unpack_unknown(&packed), None);
    }
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
        for packed in [&pack(UPDATE, Some(&outline())).unwrap()[..], GOLDEN_1] {
            prop_assert_eq!(unpack_unknown(packed), Some(Bytes::from_static(UPDATE)));
            let mut packed = packed.to_vec();
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
