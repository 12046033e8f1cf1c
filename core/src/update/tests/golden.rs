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
    let parts = [Update::parse(head.into()).unwrap(), Update::parse(whole.clone().into()).unwrap()];
    let merged = Update::parse(merge(&parts)).unwrap();
    assert_eq!(merged.blocks().collect::<Vec<_>>(), [(1, 0, 2), (1, 2, 5)]);
    assert!(merged.bytes().ends_with(&[&[0x84, 1, 1, 5][..], "😀b".as_bytes(), &[0]].concat()));
    let torn = diff(&parts[1..], &[(1, 3)].into_iter().collect());
    assert_eq!(Update::parse(torn).unwrap().blocks().collect::<Vec<_>>(), [(1, 3, 5)]);
}
