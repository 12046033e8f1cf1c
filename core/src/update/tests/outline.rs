//! Outlines: what is served, extended and cut by them is what a whole index would have made of it.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::*;
use crate::wire::lib0::{write_var_bytes, write_var_u64};

/// Structs of one client from clock 0 on: of each its length, and whether it is a text.
type Section = Vec<(u8, bool)>;

/// An update with these sections in descending order of clients, and deletes of these.
fn update(sections: &[(u64, u64, Section)], deletes: &[(u64, u64, u64)]) -> Update {
    let mut bytes = Vec::new();
    write_var_u64(&mut bytes, sections.len() as u64);
    for (client, first, structs) in sections.iter().rev() {
        write_var_u64(&mut bytes, structs.len() as u64);
        write_var_u64(&mut bytes, *client);
        write_var_u64(&mut bytes, *first);
        for (len, is_text) in structs {
            if *is_text {
                bytes.extend([4, 1, 1, b't']);
                write_var_bytes(&mut bytes, &[b'a'; 255][..usize::from(*len)]);
            } else {
                bytes.push(0);
                write_var_u64(&mut bytes, (*len).into());
            }
        }
    }
    write_var_u64(&mut bytes, deletes.len() as u64);
    for (client, clock, len) in deletes.iter().rev() {
        write_var_u64(&mut bytes, *client);
        write_var_u64(&mut bytes, 1);
        write_var_u64(&mut bytes, *clock);
        write_var_u64(&mut bytes, *len);
    }
    Update::parse(bytes.into()).unwrap()
}

fn structs(max: usize) -> impl Strategy<Value = Section> {
    prop::collection::vec((1u8.., any::<bool>()), 1..max)
}

fn reach(structs: &Section) -> usize {
    structs.iter().map(|(len, _)| usize::from(*len)).sum()
}

fn outlined(update: &Update) -> Outlined {
    let outline = update.outline().unwrap();
    let stored = outline.encode();
    let read = Outline::parse(&stored).unwrap();
    assert_eq!(read, outline);
    Outlined::new(update.bytes().clone(), read).unwrap()
}

/// What an update inserts and deletes.
fn content(bytes: Bytes) -> (Vec<u8>, Vec<(u64, u64, u64)>) {
    let update = Update::parse(bytes).unwrap();
    let mut coverage = Coverage::default();
    coverage.add(&update);
    let mut ranges: Vec<(u64, u64, u64)> = Vec::new();
    for (client, start, end) in update.blocks() {
        match ranges.last_mut() {
            Some(last) if (last.0, last.2) == (client, start) => last.2 = end,
            _ => ranges.push((client, start, end)),
        }
    }
    (coverage.encode_snapshot(), ranges)
}

#[test]
fn golden_bytes_of_an_outline() {
    let many = vec![(1, false); 300];
    let whole = update(&[(3, 0, vec![(2, true)]), (200, 0, many)], &[(3, 1, 1)]);
    // Client 200: 300 structs, 300 clocks, behind 1 + 5 bytes, 600 bytes, a mark at 256 and 512 bytes. Client 3:
    // 1 struct, 2 clocks, behind 3 bytes, 7 bytes.
    let golden = [2, 200, 1, 172, 2, 172, 2, 6, 216, 4, 128, 2, 128, 4, 3, 1, 2, 3, 7];
    let outline = whole.outline().unwrap();
    assert_eq!(outline.encode(), golden);
    assert_eq!(Outline::parse(&golden).unwrap(), outline);
    assert_eq!(whole.bytes()[outline.deletes_at()..], [1, 3, 1, 1, 1]);
    assert_eq!(outline.state_vector(), StateVector::from_iter([(3, 2), (200, 300)]));
}

#[test]
fn updates_that_are_no_whole_document_have_none() {
    let parse = |bytes: &'static [u8]| Update::parse(Bytes::from_static(bytes)).unwrap();
    assert_eq!(Update::empty().outline(), None);
    assert_eq!(update(&[(3, 1, vec![(2, false)])], &[]).outline(), None);
    assert_eq!(parse(&[1, 3, 3, 0, 0, 1, 10, 1, 0, 1, 0]).outline(), None, "it has a hole");
}

#[test]
fn an_outline_of_another_update_is_refused() {
    let one = update(&[(3, 0, vec![(2, true)]), (4, 0, vec![(9, false)])], &[(3, 1, 1)]);
    let others = [
        update(&[(3, 0, vec![(2, true)])], &[(3, 1, 1)]),
        update(&[(3, 0, vec![(2, true)]), (5, 0, vec![(9, false)])], &[(3, 1, 1)]),
        update(&[(3, 0, vec![(2, true)]), (4, 0, vec![(9, false); 2])], &[(3, 1, 1)]),
        update(&[(3, 0, vec![(3, true)]), (4, 0, vec![(9, false)])], &[(3, 1, 1)]),
    ];
    for other in others {
        let refused = Outlined::new(one.bytes().clone(), other.outline().unwrap());
        assert!(refused.is_err(), "{other:?}");
    }
    assert!(Outlined::new(one.bytes().slice(..9), one.outline().unwrap()).is_err());
}

#[test]
fn a_difference_may_start_anywhere_around_a_mark() {
    let whole = update(&[(1, 0, vec![(3, true); 600])], &[(1, 0, 1)]);
    let outlined = outlined(&whole);
    for mark in [256, 512] {
        for have in mark * 3 - 5..mark * 3 + 5 {
            let have = StateVector::from_iter([(1, have)]);
            let expected = diff(std::slice::from_ref(&whole), &have);
            assert_eq!(outlined.diff(&[], &have).unwrap(), expected, "{have:?}");
        }
    }
}

#[test]
fn who_lacks_no_struct_gets_the_deletes() {
    let whole = update(&[(3, 0, vec![(4, true)]), (4, 0, vec![(9, false)])], &[(3, 1, 2)]);
    let outline = whole.outline().unwrap();
    let (mut known, mut parsed) = (Coverage::default(), Coverage::default());
    known.add_outline(&outline, &whole.bytes()[outline.deletes_at()..]).unwrap();
    parsed.add(&whole);
    assert_eq!(known.encode_snapshot(), parsed.encode_snapshot());
    assert!(known.covers(&whole));
    assert!(known.add_outline(&outline, &[1]).is_err());
    assert_eq!(known.deletes_if_all_is_in(&StateVector::from_iter([(3, 4), (4, 8)])), None);
    let all = StateVector::from_iter([(3, 4), (4, 9), (5, 1)]);
    assert_eq!(known.deletes_if_all_is_in(&all).unwrap(), [0, 1, 3, 1, 1, 2]);
    // What lies behind a hole is lacked, too.
    known.add(&update(&[(4, 12, vec![(1, false)])], &[]));
    assert_eq!(known.deletes_if_all_is_in(&all), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Tails that go on where the document ends, or behind a hole, byte for byte.
    #[test]
    fn a_difference_is_that_of_the_whole_index(
        one in structs(700),
        two in structs(20),
        more in prop::collection::vec((0u8..3, 0u8..3, structs(4), any::<bool>()), 0..5),
        have in prop::collection::btree_map(1usize..4, any::<prop::sample::Index>(), 0..4),
    ) {
        let mut ends = [0, reach(&one), reach(&two), 0];
        let whole = update(&[(1, 0, one), (2, 0, two)], &[(1, 0, 1), (2, 0, 1)]);
        let tail: Vec<_> = more.into_iter().map(|(client, hole, structs, deletes)| {
            let client = usize::from(client) + 1;
            let first = ends[client] + usize::from(hole);
            ends[client] = first + reach(&structs);
            let deletes: &[_] = if deletes { &[(3, first as u64, 1)] } else { &[] };
            update(&[(client as u64, first as u64, structs)], deletes)
        }).collect();
        let have = have.into_iter().map(|(client, at)| (client as u64, at.index(3 + ends[client]) as u64));
        let have = StateVector::from_iter(have);
        let all: Vec<_> = std::iter::once(whole.clone()).chain(tail.clone()).collect();
        prop_assert_eq!(outlined(&whole).diff(&tail, &have).unwrap(), diff(&all, &have));
    }

    /// Tails that overlap the document anyhow.
    #[test]
    fn a_difference_lacks_nothing(
        one in structs(300),
        more in prop::collection::vec((any::<prop::sample::Index>(), structs(4)), 0..5),
        have in any::<prop::sample::Index>(),
    ) {
        let end = reach(&one);
        let whole = update(&[(1, 0, one)], &[]);
        let tail: Vec<_> = more.into_iter()
            .map(|(first, structs)| update(&[(1, first.index(end + 9) as u64, structs)], &[])).collect();
        let have = StateVector::from_iter([(1, have.index(end + 9) as u64)]);
        let all: Vec<_> = std::iter::once(whole.clone()).chain(tail.clone()).collect();
        prop_assert_eq!(content(outlined(&whole).diff(&tail, &have).unwrap()), content(diff(&all, &have)));
    }

    /// Whatever bytes there are: no panic, and what is read is written again as something that reads the same.
    #[test]
    fn any_bytes_are_an_outline_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80), flip in any::<prop::sample::Index>(), bit in 0u8..8) {
        if let Ok(outline) = Outline::parse(&bytes) {
            prop_assert_eq!(Outline::parse(&outline.encode()).unwrap(), outline);
        }
        let whole = update(&[(1, 0, vec![(3, true); 600]), (2, 0, vec![(1, false); 2])], &[(1, 0, 1)]);
        let mut stored = whole.outline().unwrap().encode();
        let at = flip.index(stored.len());
        stored[at] ^= 1 << bit;
        if let Ok(outlined) = Outline::parse(&stored).and_then(|outline| Outlined::new(whole.bytes().clone(), outline)) {
            for have in [0, 1, 700, 900, 1100, 1799] {
                let _ = outlined.diff(&[], &StateVector::from_iter([(1, have)]));
            }
        }
    }
}
