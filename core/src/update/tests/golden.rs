//! Captured bytes and single refusals.

use bytes::Bytes;

use super::super::*;
use crate::wire::lib0::Lib0Error;

fn hex(text: &str) -> Bytes {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn parse(text: &str) -> Result<Update, InvalidUpdate> {
    Update::parse(hex(text))
}

#[test]
fn captured_update_is_read() {
    let update = parse("010101000401017402686900").unwrap();
    assert_eq!(update.blocks().collect::<Vec<_>>(), [(1, 0, 2)]);
    assert_eq!(update.deletes().count(), 0);
    assert!(!update.is_empty());
    assert!(parse("0000").unwrap().is_empty() && Update::empty().is_empty());
    let mut known = Coverage::default();
    assert!(known.add(&update) && !known.add(&update) && known.covers(&update));
    assert_eq!(known.state_vector().encode(), [1, 1, 2]);
    known.add(&parse("000101010001").unwrap());
    assert_eq!(
        known.encode_snapshot(),
        [1, 1, 1, 0, 1, 1, 1, 2],
        "client 1 lost its first clock and reaches 2"
    );
    assert_eq!(StateVector::parse(&[1, 1, 2]).unwrap().get(1), 2);
    assert!(StateVector::parse(&[0]).unwrap().is_empty());
}

#[test]
fn what_is_malformed_is_refused() {
    let own = |clock| InvalidUpdate::SelfReference { client: 1, clock };
    for (text, fault) in [
        ("01010100040101740268690000", InvalidUpdate::Lib0(Lib0Error::Trailing)),
        ("ffffff7f00", InvalidUpdate::Count { claimed: 0x0fff_ffff }),
        ("010101008401000268690", InvalidUpdate::Lib0(Lib0Error::Truncated)),
        ("01010100840100026869000", own(0)),
        ("0101010104000102016100", own(1)),
        ("01010100000000", InvalidUpdate::Empty { client: 1, clock: 0 }),
        ("01010100040101740000", InvalidUpdate::Empty { client: 1, clock: 0 }),
        ("02010100000101010100010000", InvalidUpdate::DuplicateClient { client: 1 }),
        ("01010100070101740500", InvalidUpdate::UnknownType { type_ref: 5 }),
        ("0101010005010174017b00", InvalidUpdate::Json),
        ("0001010200020101", InvalidUpdate::DeleteOrder { client: 1 }),
        ("0101010000ffffffff0f00", InvalidUpdate::ClockTooHigh { client: 1 }),
        ("010201000401017401610400010001016200", InvalidUpdate::ParentNoType { client: 1, clock: 0 }),
    ] {
        let found = parse(&text[..text.len() & !1]).err();
        if text.len() % 2 == 0 {
            assert_eq!(found, Some(fault), "{text}");
        } else {
            assert!(found.is_some(), "{text}");
        }
    }
}

#[test]
fn deep_values_are_refused_without_a_stack() {
    let mut bytes = hex("010101000801017401").to_vec();
    for _ in 0..100_000 {
        bytes.extend([117, 1]);
    }
    bytes.extend([126, 0]);
    assert_eq!(Update::parse(bytes.into()).err(), Some(InvalidUpdate::Nesting));
}

#[test]
fn overlaps_are_cut_at_code_units() {
    // "aé😀b" counts 5 units; the second update repeats its first two as one struct.
    let text = "aé😀b";
    let whole = [&[1u8, 1, 1, 0, 4, 1, 1, b't', 8][..], text.as_bytes(), &[0]].concat();
    let head = [&[1u8, 1, 1, 0, 4, 1, 1, b't', 3][..], "aé".as_bytes(), &[0]].concat();
    let parts = [Update::parse(head.into()).unwrap(), Update::parse(whole.into()).unwrap()];
    let merged = Update::parse(merge(&parts)).unwrap();
    assert_eq!(merged.blocks().collect::<Vec<_>>(), [(1, 0, 2), (1, 2, 5)]);
    assert!(merged.bytes().ends_with(&[&[0x84, 1, 1, 5][..], "😀b".as_bytes(), &[0]].concat()));
    let torn = diff(&parts[1..], &[(1, 3)].into_iter().collect());
    assert_eq!(Update::parse(torn).unwrap().blocks().collect::<Vec<_>>(), [(1, 3, 5)]);
}

/// The sample of HAZARDS yrs-2 is well-formed: a struct at clock 1 and a delete of clock 0, as Yjs sends
/// them for "replace what I wrote". It poisons yrs only while clock 0 is missing, so it has to wait.
#[test]
fn poison_waits_until_its_hole_is_filled() {
    use yrs::updates::decoder::Decode as _;
    use yrs::{Doc, ReadTxn as _, StateVector as Vector, Transact as _};

    let poison = parse("0101010100010101010001").unwrap();
    let replace = parse("010101010401017401610101010001").unwrap();
    let first = parse("0101010004010174016200").unwrap();
    let mut known = Coverage::default();
    assert!(!known.admits(&poison) && !known.admits(&replace) && known.admits(&first));
    known.add(&first);
    for late in [poison, replace] {
        assert!(known.admits(&late));
        let doc = Doc::new();
        for update in [&first, &late] {
            let update = yrs::Update::decode_v1(update.bytes()).unwrap();
            doc.transact_mut().apply_update(update).unwrap();
        }
        assert!(!doc.transact().encode_state_as_update_v2(&Vector::default()).is_empty());
        assert!(Coverage::default().admits(&Update::parse(merge(&[late, first.clone()])).unwrap()));
    }
    let foreign = parse("01010200840100016100").unwrap();
    assert!(known.admits(&foreign) && !Coverage::default().admits(&foreign));
}

#[test]
fn holes_without_end_are_refused() {
    let mut bytes = vec![1];
    let pairs = crate::limits::UPDATE_HOLES_MAX as u64 + 1;
    crate::wire::lib0::write_var_u64(&mut bytes, pairs * 2);
    bytes.extend([1, 0]);
    for _ in 0..pairs {
        bytes.extend([0, 1, 10, 1]); // One clock that is collected, one that is missing.
    }
    bytes.push(0);
    let found = Update::parse(bytes.into()).unwrap_err();
    assert_eq!(found, InvalidUpdate::TooMany { what: "holes", max: crate::limits::UPDATE_HOLES_MAX });
}
