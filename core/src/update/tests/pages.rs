//! Updates in pages: each has its ground in those before it, and all of them are the whole.

use bytes::Bytes;
use proptest::prelude::*;
use yrs::updates::encoder::Encode as _;
use yrs::{ReadTxn as _, Transact as _};

use super::super::*;
use super::random::{apply, doc, edits, history, state};

fn pages(update: &Update, bytes_max: usize) -> Vec<Bytes> {
    let (mut pager, mut pages) = (Pager::new(update.clone()), Vec::new());
    while let Some(page) = pager.page(bytes_max) {
        pages.push(page);
        assert_eq!(pager.is_done(), pager.clone().page(bytes_max).is_none());
    }
    pages
}

/// What `known` is with an update.
fn with(mut known: Coverage, update: &Update) -> Coverage {
    known.add(update);
    known
}

/// Checks the pages of an update for somebody who has this, and gives them.
fn checked(update: &Update, known: &Coverage, bytes_max: usize) -> Vec<Bytes> {
    let (pages, mut reached) = (pages(update, bytes_max), known.clone());
    for bytes in &pages {
        let page = Update::parse(bytes.clone()).unwrap();
        assert!(reached.admits(&page) || !known.admits(update), "a page has its ground in what is before it");
        reached.add(&page);
        // Whoever has the page has it by its state vector.
        let vector = reached.state_vector();
        if known.admits(update) {
            assert!(page.blocks().all(|(client, _, end)| vector.get(client) >= end));
        }
    }
    let whole = with(known.clone(), update);
    assert_eq!(reached.encode_snapshot(), whole.encode_snapshot());
    assert!(reached.includes(&whole) && whole.includes(&reached));
    pages
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn all_pages_are_the_whole(
        edits in edits(),
        until in any::<usize>(),
        bytes_max in prop_oneof![1usize..30, 30usize..400],
        written in any::<bool>(),
    ) {
        let updates = history(&edits);
        let (peer, turn) = (doc(96), doc(95));
        for bytes in &updates[..until % (updates.len() + 1)] {
            apply(&peer, bytes);
        }
        updates.iter().for_each(|bytes| apply(&turn, bytes));
        let have = StateVector::parse(&peer.transact().state_vector().encode_v1()).unwrap();
        let parsed: Vec<Update> = updates.iter().map(|bytes| Update::parse(bytes.clone()).unwrap()).collect();
        // As it was edited, or as an engine has tidied it.
        let lacking = match written {
            false => diff(&parsed, &have),
            true => turn.transact().encode_diff_v1(&peer.transact().state_vector()).into(),
        };
        let known = parsed[..until % (updates.len() + 1)].iter().fold(Coverage::default(), with);
        for bytes in checked(&Update::parse(lacking).unwrap(), &known, bytes_max) {
            apply(&peer, &bytes);
        }
        prop_assert_eq!(state(&peer), state(&turn));
    }

    /// Structs of three clients that lean on any others, with holes.
    #[test]
    fn whatever_leans_on_whatever_comes_out_whole(
        sections in prop::collection::vec(
            prop::collection::vec((any::<bool>(), prop::option::of((0u8..4, 0u8..12)), 1u8..4), 1..8),
            1..4,
        ),
        deletes in prop::collection::vec((0u8..4, prop::collection::vec((0u8..4, 1u8..4), 1..4)), 0..4),
        bytes_max in 1usize..60,
    ) {
        let mut bytes = vec![u8::try_from(sections.len()).unwrap()];
        for (client, structs) in sections.iter().enumerate() {
            let (mut body, mut count) = (Vec::new(), 0);
            for (hole, origin, len) in structs {
                if *hole {
                    body.extend([10, *len]);
                    count += 1;
                }
                match origin {
                    Some((other, clock)) => body.extend([0x84, *other, *clock]),
                    None => body.extend([4, 1, 1, b't']),
                }
                body.push(*len);
                body.extend(&b"abc"[..usize::from(*len)]);
                count += 1;
            }
            bytes.extend([count, u8::try_from(client).unwrap(), 0]);
            bytes.extend(body);
        }
        let deletes: std::collections::BTreeMap<_, _> = deletes.into_iter().collect();
        bytes.push(u8::try_from(deletes.len()).unwrap());
        for (client, ranges) in deletes {
            bytes.extend([client, u8::try_from(ranges.len()).unwrap()]);
            let mut clock = 0;
            for (gap, len) in ranges {
                bytes.extend([clock + gap, len]);
                clock += gap + len;
            }
        }
        if let Ok(update) = Update::parse(bytes.into()) {
            checked(&update, &Coverage::default(), bytes_max);
        }
    }
}

#[test]
fn long_contents_are_cut_between_characters_and_elements() {
    let text = "añ😀b".repeat(5_000);
    let author = doc(7);
    {
        use yrs::{Any, Array as _, Text as _};
        let (t, a) = (author.get_or_insert_text("t"), author.get_or_insert_array("a"));
        let mut txn = author.transact_mut();
        t.insert(&mut txn, 0, &text);
        a.insert_range(&mut txn, 0, (0..5_000).map(|n| Any::from(format!("{n}"))));
    }
    let whole = Update::parse(author.transact().encode_diff_v1(&yrs::StateVector::default()).into()).unwrap();
    assert_eq!(whole.blocks().count(), 2);
    // Far shorter than the contents, and not much.
    for bytes_max in [1_000, 20_000] {
        let pages = checked(&whole, &Coverage::default(), bytes_max);
        let largest = pages.iter().map(Bytes::len).max().unwrap();
        assert!(largest < bytes_max + 100, "{largest} of {bytes_max}");
        assert!(pages.len() <= 1 + whole.bytes().len() * 11 / 10 / bytes_max);
        let peer = doc(8);
        pages.iter().for_each(|page| apply(&peer, page));
        assert_eq!(state(&peer), state(&author));
        assert_eq!(peer.transact().encode_diff_v1(&yrs::StateVector::default()), *whole.bytes());
    }
}

#[test]
fn what_leans_on_itself_in_a_circle_is_one_page() {
    let one = [1, 0x84, 2, 0, 1, b'a'];
    let mut bytes = vec![2];
    bytes.extend([1, 1, 0, 0x84, 2, 0]);
    bytes.extend(&one[4..]);
    bytes.extend([1, 2, 0, 0x84, 1, 0, 1, b'b', 1, 1, 1, 0, 1]);
    let update = Update::parse(bytes.into()).unwrap();
    assert_eq!(pages(&update, 1).len(), 1);
    assert_eq!(Update::parse(pages(&update, 1)[0].clone()).unwrap().blocks().count(), 2);
}

/// Each client waits for the next one: were sections looked at again and again, this would not end.
#[test]
fn a_hundred_thousand_clients_that_wait_for_each_other_are_paged() {
    use crate::wire::lib0::write_var_u64;
    let clients = 100_000u64;
    let mut bytes = Vec::new();
    write_var_u64(&mut bytes, clients);
    for client in (1..=clients).rev() {
        bytes.push(1);
        write_var_u64(&mut bytes, client);
        bytes.push(0);
        if client == 1 {
            bytes.extend([4, 1, 1, b't', 1, b'x']);
        } else {
            bytes.push(0x84);
            write_var_u64(&mut bytes, client - 1);
            bytes.extend([0, 1, b'x']);
        }
    }
    bytes.push(0);
    let update = Update::parse(bytes.into()).unwrap();
    let (mut pager, mut reached, mut pages) = (Pager::new(update.clone()), Coverage::default(), 0);
    while let Some(page) = pager.page(16 * 1024) {
        assert!(page.len() <= 16 * 1024);
        let page = Update::parse(page).unwrap();
        assert!(reached.admits(&page));
        reached.add(&page);
        pages += 1;
    }
    assert!(pages > 50 && reached.covers(&update));
}
