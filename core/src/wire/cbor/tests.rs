//! CBOR within bounds: what is read, what is written, what is refused.

use super::*;
use crate::limits::NESTING_MAX;
use proptest::prelude::*;

/// Vectors of RFC 8949, appendix A, and a few that are wrong; each with what `skip` says.
#[test]
fn values_are_skipped_whole() {
    for whole in [
        &[0x00][..],
        &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xf9, 0x3c, 0x00],
        &[0xfa, 0x47, 0xc3, 0x50, 0x00],
        &[0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a],
        &[0xf0],
        &[0xf8, 0xff],
        &[0xc1, 0x1a, 0x51, 0x4b, 0x67, 0xb0],
        &[0x5f, 0x42, 1, 2, 0x43, 3, 4, 5, 0xff],
        &[0x7f, 0x61, b'a', 0x60, 0xff],
        &[0x82, 0x01, 0x9f, 0x02, 0x80, 0xff],
        &[0xbf, 0x61, b'a', 0xa1, 1, 2, 0x61, b'b', 0x9f, 0xff, 0xff],
    ] {
        let mut reader = Reader::new(whole);
        assert_eq!(reader.skip(), Ok(whole));
        assert_eq!(reader.end(), Ok(()));
        for len in 0..whole.len() {
            assert_eq!(Reader::new(&whole[..len]).skip(), Err(CborError::Truncated), "{len} of {whole:02x?}");
        }
    }
    for (wrong, error) in [
        (&[0xff][..], CborError::Malformed),
        (&[0x81, 0xff], CborError::Malformed),
        (&[0xbf, 0x01, 0xff], CborError::Malformed),
        (&[0xc1, 0xff], CborError::Malformed),
        (&[0x1c], CborError::Malformed),
        (&[0x61, 0xff], CborError::Malformed),
        (&[0x7f, 0x41, b'a', 0xff], CborError::WrongKind),
        (&[0x7f, 0x7f, 0xff, 0xff], CborError::WrongKind),
        (&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], CborError::Truncated),
        (&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], CborError::Truncated),
        (&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], CborError::Truncated),
    ] {
        assert_eq!(Reader::new(wrong).skip(), Err(error), "{wrong:02x?}");
    }
}

#[test]
fn nesting_is_bounded_for_every_kind_of_container() {
    for (head, end) in [(&[0x81][..], None), (&[0x9f], Some(0xff)), (&[0xa1, 0x01], None), (&[0xc1], None)] {
        for (depth, accepted) in [(NESTING_MAX, true), (NESTING_MAX + 1, false), (1_000_000, false)] {
            let mut bytes = head.repeat(depth);
            bytes.push(0x01);
            bytes.extend(end.into_iter().flat_map(|end| vec![end; depth]));
            let expected = if accepted { Ok(&bytes[..]) } else { Err(CborError::Nesting) };
            assert_eq!(Reader::new(&bytes).skip(), expected);
        }
    }
}

#[test]
fn integers_of_every_width_and_integral_floats() {
    for (bytes, value) in [
        (&[0x17][..], Ok(23)),
        (&[0x18, 0x01], Ok(1)),
        (&[0x19, 0x01, 0x00], Ok(256)),
        (&[0x1b, 0, 0, 0, 0, 0, 0, 0, 5], Ok(5)),
        (&[0xfb, 0x42, 0x78, 0xbc, 0xfe, 0x56, 0x80, 0, 0], Ok(1_700_000_000_000)),
        (&[0xfa, 0x3f, 0x80, 0, 0], Ok(1)),
        (&[0xfb, 0x80, 0, 0, 0, 0, 0, 0, 0], Ok(0)),
        (&[0x1b, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Ok(INTEGER_MAX)),
        (&[0x1b, 0, 0x20, 0, 0, 0, 0, 0, 0], Err(CborError::NotInteger)),
        (&[0xfb, 0x43, 0x40, 0, 0, 0, 0, 0, 0], Err(CborError::NotInteger)),
        (&[0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], Err(CborError::NotInteger)),
        (&[0xfb, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0], Err(CborError::NotInteger)),
        (&[0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], Err(CborError::NotInteger)),
        (&[0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], Err(CborError::NotInteger)),
        (&[0x20], Err(CborError::WrongKind)),
        (&[0x61, b'1'], Err(CborError::WrongKind)),
    ] {
        assert_eq!(Reader::new(bytes).u64(), value, "{bytes:02x?}");
    }
}

#[test]
fn byte_strings_with_and_without_their_tag() {
    assert_eq!(Reader::new(&[0x42, 1, 2]).bytes(), Ok(&[1, 2][..]));
    assert_eq!(Reader::new(&[0xd8, 0x40, 0x42, 1, 2]).bytes(), Ok(&[1, 2][..]));
    assert_eq!(Reader::new(&[0xd8, 0x41, 0x42, 1, 2]).bytes(), Err(CborError::WrongKind));
    assert_eq!(Reader::new(&[0xd8, 0x40, 0x62, b'a', b'b']).bytes(), Err(CborError::WrongKind));
    assert_eq!(Reader::new(&[0x5f, 0x41, 1, 0xff]).bytes(), Err(CborError::WrongKind));
}

#[test]
fn fields_appear_once_and_absent_ones_are_not_there() {
    let bytes = [0xbf, 0x61, b'b', 0xf7, 0x61, b'a', 0x01, 0x61, b'c', 0xf6, 0xff];
    let fields = Fields::parse(&bytes, 3).unwrap();
    assert_eq!(fields.get("a").map(|mut value| value.u64()), Some(Ok(1)));
    assert!(["b", "c", "d"].iter().all(|name| fields.get(name).is_none()));
    assert_eq!(Fields::parse(&bytes, 2).unwrap_err(), CborError::TooMany { max: 2 });
    let twice = [0xa2, 0x61, b'a', 0x01, 0x61, b'a', 0xf7];
    assert_eq!(Fields::parse(&twice, 9).unwrap_err(), CborError::DuplicateField);
    assert_eq!(Fields::parse(&[0xa0, 0], 9).unwrap_err(), CborError::Trailing);
    assert_eq!(Fields::parse(&[0xa1, 0x01, 0x01], 9).unwrap_err(), CborError::WrongKind);
    assert_eq!(Fields::parse(&[0xf6], 9).unwrap_err(), CborError::WrongKind);
    assert_eq!(Fields::parse(&[0xbf, 0x61, b'a', 0xff], 9).unwrap_err(), CborError::Malformed);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Reader::new(&bytes).skip();
        let _ = Fields::parse(&bytes, 64);
    }

    #[test]
    fn what_is_written_is_read(value in 0..=INTEGER_MAX, text in ".*", bytes: Vec<u8>, truth: bool) {
        let mut writer = Writer::default();
        writer.map(2).text(&text).array(4).u64(value).bytes(&bytes).bool(truth).undefined();
        writer.text(&format!("{text}!")).u64(value >> 30);
        let out = writer.finish();
        let fields = Fields::parse(&out, 2).unwrap();
        let mut list = fields.get(&text).unwrap();
        let mut items = list.array().unwrap();
        prop_assert!(list.more(&mut items).unwrap());
        prop_assert_eq!(list.u64(), Ok(value));
        prop_assert_eq!(list.bytes(), Ok(&bytes[..]));
        prop_assert_eq!(list.bool(), Ok(truth));
        prop_assert!(list.is_absent());
        prop_assert_eq!(fields.get(&format!("{text}!")).unwrap().u64(), Ok(value >> 30));
    }
}
