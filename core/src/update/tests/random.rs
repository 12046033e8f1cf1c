//! Random edits of several clients through yrs: what is merged here equals what yrs applies in turn.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use yrs::updates::decoder::Decode as _;
use yrs::updates::encoder::Encode as _;
use yrs::{
    Any, Array as _, Doc, GetString as _, Map as _, Options, ReadTxn as _, Text as _, Transact as _,
    XmlFragment as _,
};

use super::super::*;

pub(super) type Edit = (u8, u8, u32, String);

pub(super) fn doc(client: u64) -> Doc {
    let doc = Doc::with_options(Options {
        client_id: yrs::block::ClientID::new(client),
        offset_kind: yrs::OffsetKind::Utf16,
        ..Options::default()
    });
    doc.get_or_insert_text("t");
    doc.get_or_insert_array("a");
    doc.get_or_insert_map("m");
    doc.get_or_insert_xml_fragment("x");
    doc
}

pub(super) fn apply(doc: &Doc, bytes: &[u8]) {
    doc.transact_mut().apply_update(yrs::Update::decode_v1(bytes).unwrap()).unwrap();
}

pub(super) fn state(doc: &Doc) -> String {
    let (text, array, map) =
        (doc.get_or_insert_text("t"), doc.get_or_insert_array("a"), doc.get_or_insert_map("m"));
    let xml = doc.get_or_insert_xml_fragment("x");
    let txn = doc.transact();
    let map: std::collections::BTreeMap<_, _> =
        map.iter(&txn).map(|(key, value)| (key.to_string(), value.to_string(&txn))).collect();
    let array: Vec<_> = array.iter(&txn).map(|value| value.to_string(&txn)).collect();
    format!("{}|{array:?}|{map:?}|{}|{:?}", text.get_string(&txn), xml.get_string(&txn), {
        let vector = txn.state_vector().encode_v1();
        StateVector::parse(&vector).unwrap()
    })
}

pub(super) fn edit(doc: &Doc, (_, kind, at, text): &Edit) {
    let t = doc.get_or_insert_text("t");
    let a = doc.get_or_insert_array("a");
    let m = doc.get_or_insert_map("m");
    let x = doc.get_or_insert_xml_fragment("x");
    let mut txn = doc.transact_mut();
    let at = *at;
    let (t_len, a_len, x_len) = (t.len(&txn), a.len(&txn), x.len(&txn));
    let word = if text.is_empty() { "z" } else { text.as_str() };
    match kind % 9 {
        // What is typed in a row becomes one struct, of which somebody has a part.
        0 => t.insert(&mut txn, t_len, word),
        1 => t.insert(&mut txn, at % (t_len + 1), word),
        2 if t_len > 0 => {
            let from = at % t_len;
            let len = (t_len - from).min(3);
            t.remove_range(&mut txn, from, len);
        }
        3 => {
            a.insert_range(
                &mut txn,
                at % (a_len + 1),
                [Any::from(f64::from(at)), Any::from(word), Any::Null],
            );
        }
        4 if a_len > 0 => a.remove_range(&mut txn, at % a_len, 1),
        5 => drop(m.insert(&mut txn, format!("k{}", at % 3), word)),
        6 => drop(m.insert(&mut txn, format!("k{}", at % 3), yrs::MapPrelim::from([("n", word)]))),
        7 => drop(x.insert(&mut txn, at % (x_len + 1), yrs::XmlElementPrelim::empty("p"))),
        8 if x_len > 0 => x.remove_range(&mut txn, at % x_len, 1),
        _ => {
            t.insert_embed(&mut txn, 0, Any::from(word));
        }
    }
}

/// Runs the edits on three clients that sometimes hear of each other; returns the single updates.
pub(super) fn history(edits: &[Edit]) -> Vec<Bytes> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let docs: Vec<Doc> = [1, 7, (1 << 53) - 1].into_iter().map(doc).collect();
    for edit_ in edits {
        let (who, kind, ..) = edit_;
        let from = &docs[usize::from(*who) % 3];
        let before = from.transact().state_vector();
        let deleted = from.transact().encode_diff_v1(&before);
        edit(from, edit_);
        let update = from.transact().encode_diff_v1(&before);
        if update != deleted {
            log.lock().unwrap().push(Bytes::from(update.clone()));
        }
        if kind % 2 == 0 {
            let to = &docs[(usize::from(*who) + 1) % 3];
            let all = from.transact().encode_diff_v1(&to.transact().state_vector());
            apply(to, &all);
            log.lock().unwrap().push(all.into());
        }
    }
    let mut updates = log.lock().unwrap().clone();
    updates.extend(
        docs.iter()
            .map(|doc| Bytes::from(doc.transact().encode_state_as_update_v1(&yrs::StateVector::default()))),
    );
    updates
}

pub(super) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), any::<u32>(), "[a-zé😀]{0,6}"), 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn merge_equals_applying_in_turn(edits in edits(), order in any::<u64>(), split in any::<usize>()) {
        let updates = history(&edits);
        let parsed: Vec<Update> =
            updates.iter().map(|bytes| Update::parse(bytes.clone()).unwrap()).collect();
        let turn = doc(99);
        for bytes in &updates {
            apply(&turn, bytes);
        }
        let mut shuffled: Vec<Update> = parsed.iter().chain(&parsed).cloned().collect();
        let mut seed = order | 1;
        for at in (1..shuffled.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(at, (seed >> 33) as usize % (at + 1));
        }
        let merged = merge(&shuffled);
        let whole = Update::parse(merged.clone()).unwrap();
        let once = doc(98);
        apply(&once, &merged);
        prop_assert_eq!(state(&once), state(&turn));

        // A merge of merges is the same document too.
        let (left, right) = shuffled.split_at(split % (shuffled.len() + 1));
        let tree = [Update::parse(merge(left)).unwrap(), Update::parse(merge(right)).unwrap()];
        let twice = doc(97);
        apply(&twice, &merge(&tree));
        prop_assert_eq!(state(&twice), state(&turn));

        // A peer that knows a prefix converges by the difference alone.
        let peer = doc(96);
        for bytes in &updates[..split % (updates.len() + 1)] {
            apply(&peer, bytes);
        }
        let have = StateVector::parse(&peer.transact().state_vector().encode_v1()).unwrap();
        let missing = diff(&shuffled, &have);
        prop_assert!(Update::parse(missing.clone()).is_ok());
        apply(&peer, &missing);
        prop_assert_eq!(state(&peer), state(&turn));

        // So does one who is served from what an engine wrote, by its outline, with half of it again behind that.
        let written = once.transact().encode_state_as_update_v1(&yrs::StateVector::default());
        let written = Update::parse(written.into()).unwrap();
        if let Some(outline) = written.outline() {
            let outlined = Outlined::new(written.bytes().clone(), outline).unwrap();
            let peer = doc(95);
            for bytes in &updates[..split % (updates.len() + 1)] {
                apply(&peer, bytes);
            }
            let have = StateVector::parse(&peer.transact().state_vector().encode_v1()).unwrap();
            apply(&peer, &outlined.diff(left, &have).unwrap());
            prop_assert_eq!(state(&peer), state(&turn));
        }

        let mut known = Coverage::default();
        prop_assert!(known.admits(&whole));
        for update in &shuffled {
            known.add(update);
        }
        prop_assert!(known.covers(&whole));
        prop_assert_eq!(known.state_vector(), StateVector::parse(&once.transact().state_vector().encode_v1()).unwrap());
    }

    #[test]
    fn mutated_bytes_never_panic(edits in edits(), at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
        let updates = history(&edits);
        let Some(last) = updates.last() else { return Ok(()) };
        let mut bytes = last.to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let cut = cut % (bytes.len() + 1);
        if Update::parse(Bytes::copy_from_slice(&bytes[..cut])).is_ok() {
            prop_assert!(cut == bytes.len() || cut > 1);
        }
        if let Ok(update) = Update::parse(bytes.into()) {
            let first = Update::parse(updates[0].clone()).unwrap();
            for merged in [merge(&[update.clone(), first.clone()]), merge(&[first, update])] {
                // A forged parent may now meet the real item; everything else must still parse.
                let again = Update::parse(merged);
                prop_assert!(matches!(again, Ok(_) | Err(InvalidUpdate::ParentNoType { .. })), "{again:?}");
            }
        }
    }
}
