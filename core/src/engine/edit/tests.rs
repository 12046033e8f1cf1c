//! Edits made, refused, given up and merged.

use proptest::prelude::*;

use super::*;
use crate::engine::yjs;

fn open(parts: &[Bytes], client: u64) -> Live {
    Live::open(parts, client).unwrap()
}

fn text(live: &Live) -> String {
    live.read(|view| view.text("t")).unwrap_or_default()
}

fn edit(live: Live, work: impl FnOnce(&mut Edit<'_, '_>) -> Result<(), EditError>) -> (Live, Bytes) {
    let (live, (), update) = live.edit(work).unwrap();
    (live, update.map(|update| update.bytes().clone()).unwrap_or_default())
}

#[test]
fn an_edit_is_one_update_that_gives_the_same_document() {
    let (live, update) = edit(open(&[], 7), |edit| {
        edit.text("t").insert(0, "a😀b")?;
        edit.text("t").splice(&[
            Splice { at: 0, remove: 1, insert: "x".into() },
            Splice { at: 3, remove: 1, insert: "yz".into() },
        ])?;
        edit.map("m").insert("k", 5);
        Ok(())
    });
    assert_eq!(text(&live), "x😀yz");
    let again = open(std::slice::from_ref(&update), 8);
    assert_eq!(text(&again), "x😀yz");
    assert_eq!(again.read(|view| view.map("m")).unwrap()["k"], Any::from(5));
    assert_eq!(again.read(|view| view.roots()), ["m", "t"]);
    let (_, nothing) = edit(again, |edit| {
        edit.text("t").push("");
        Ok(())
    });
    assert!(nothing.is_empty());
}

#[test]
fn what_cannot_be_edited_is_refused_before_the_engine_panics() {
    let (_, made) = edit(open(&[], 7), |edit| edit.text("t").insert(0, "a😀b"));
    let refused = |work: fn(&mut Text<'_, '_>) -> Result<(), EditError>| {
        let live = open(std::slice::from_ref(&made), 9);
        live.edit(|edit| work(&mut edit.text("t"))).map(|_| ()).unwrap_err()
    };
    for at in [5, u32::MAX] {
        let live = open(std::slice::from_ref(&made), 9);
        let error = live.edit(|edit| edit.text("t").insert(at, "x")).map(|_| ()).unwrap_err();
        assert!(matches!(error, EditError::OutOfRange { len: 4, .. }), "{error}");
    }
    assert!(matches!(refused(|text| text.remove(1, u32::MAX)), EditError::OutOfRange { .. }));
    assert!(matches!(refused(|text| text.insert(2, "x")), EditError::InsideCharacter { at: 2, .. }));
    assert!(matches!(refused(|text| text.remove(0, 2)), EditError::InsideCharacter { at: 2, .. }));
    assert!(matches!(refused(|text| text.remove(2, 2)), EditError::InsideCharacter { at: 2, .. }));
    let twice = [3, 1].map(|at| Splice { at, remove: 1, insert: String::new() });
    let live = open(std::slice::from_ref(&made), 9);
    let error = live.edit(|edit| edit.text("t").splice(&twice)).map(|_| ()).unwrap_err();
    assert!(matches!(error, EditError::OutOfOrder { at: 1, .. }), "{error}");
    assert!(matches!(refused(|_| Err(EditError::Cancelled)), EditError::Cancelled));
}

#[test]
fn an_array_takes_values_where_there_is_a_place() {
    let (live, made) = edit(open(&[], 7), |edit| {
        let mut array = edit.array("a");
        array.push("two");
        array.insert(0, 1)?;
        array.insert(2, true)?;
        array.remove(1, 1)?;
        array.remove(2, 0)?;
        assert_eq!((array.len(), array.get(1), array.get(2)), (2, Some(Any::from(true)), None));
        Ok(())
    });
    let values = |live: &Live| live.read(|view| view.array("a"));
    assert_eq!(values(&live), Some(vec![Any::from(1), Any::from(true)]));
    for (at, count) in [(0, 3), (2, 1), (3, 0), (1, u32::MAX)] {
        let live = open(std::slice::from_ref(&made), 9);
        let error = live.edit(|edit| edit.array("a").remove(at, count)).map(|_| ()).unwrap_err();
        assert!(matches!(error, EditError::NoElement { len: 2, .. }), "{error}");
    }
    let refused = open(std::slice::from_ref(&made), 9).edit(|edit| edit.array("a").insert(3, 1)).map(|_| ());
    assert!(matches!(refused, Err(EditError::NoElement { at: 3, end: 3, .. })));
    // Two who push at once keep both, in one order.
    let push = |client, value| {
        let live = open(std::slice::from_ref(&made), client);
        edit(live, |edit| {
            edit.array("a").push(value);
            Ok(())
        })
        .1
    };
    let (one, other) = (push(10, "x"), push(11, "y"));
    let there = values(&open(&[made.clone(), other.clone(), one.clone()], 12)).unwrap();
    assert_eq!(values(&open(&[one, made, other], 13)).unwrap(), there);
    assert_eq!(there.len(), 4);
}

#[test]
fn shared_types_lie_in_others_and_merge_there() {
    let (live, made) = edit(open(&[], 7), |edit| {
        let mut list = edit.array("list");
        list.push("plain");
        let mut card = list.insert_map(1)?;
        card.insert("done", false);
        card.insert_text("title").insert(0, "milk")?;
        card.insert_array("tags").push("shop");
        card.insert_map("more").insert_map("deep").insert("k", 1);
        list.insert_text(2)?.push("note");
        list.insert_array(0)?.insert_array(0)?.push(7);
        // What is of another kind, or is not there, is none.
        assert!(list.map(1).is_none() && list.text(9).is_none() && list.array(2).is_none());
        let mut card = list.map(2).unwrap();
        assert!(card.text("done").is_none() && card.map("title").is_none() && card.array("no").is_none());
        assert_eq!(card.array("tags").unwrap().get(0), Some(Any::from("shop")));
        assert_eq!(card.map("more").unwrap().map("deep").unwrap().get("k"), Some(Any::from(1)));
        assert_eq!(list.array(0).unwrap().array(0).unwrap().get(0), Some(Any::from(7)));
        Ok(())
    });
    let json = |live: &Live| serde_json::to_value(live.read(|view| view.array("list")).unwrap()).unwrap();
    let card = serde_json::json!({
        "done": false, "title": "milk", "tags": ["shop"], "more": { "deep": { "k": 1 } }
    });
    assert_eq!(json(&live), serde_json::json!([[[7]], "plain", card, "note"]));
    // Two who edit inside at once keep both; who makes it anew keeps one of them.
    let at_once = |client, work: fn(&mut Map<'_, '_>) -> Result<(), EditError>| {
        edit(open(std::slice::from_ref(&made), client), |edit| work(&mut edit.array("list").map(2).unwrap()))
            .1
    };
    let parts = [
        made.clone(),
        at_once(10, |card| card.text("title").unwrap().insert(0, "oat ")),
        at_once(11, |card| {
            card.text("title").unwrap().push(", fresh");
            card.insert("done", true);
            Ok(())
        }),
    ];
    let merged = json(&open(&parts, 12));
    assert_eq!(merged[2]["title"], "oat milk, fresh");
    assert_eq!(merged[2]["done"], true);
    let reversed: Vec<_> = parts.into_iter().rev().collect();
    assert_eq!(json(&open(&reversed, 13)), merged);
    // Positions inside are checked, and errors say where.
    let refused = open(std::slice::from_ref(&made), 14)
        .edit(|edit| edit.array("list").map(2).unwrap().text("title").unwrap().remove(3, 2))
        .map(|_| ())
        .unwrap_err();
    assert!(refused.to_string().contains("list[2].title"), "{refused}");
}

#[test]
fn an_update_waits_for_its_ground_and_counts_once() {
    let (live, first) = edit(open(&[], 7), |edit| edit.text("t").insert(0, "one"));
    let (_, second) = edit(live, |edit| edit.text("t").insert(3, " two"));
    let update = |bytes: &Bytes| Update::parse(bytes.clone()).unwrap();
    let mut live = open(&[], 9);
    for (bytes, new, shows) in
        [(&second, true, ""), (&second, false, ""), (&first, true, "one two"), (&second, false, "one two")]
    {
        let taken;
        (live, taken) = live.apply(&update(bytes)).unwrap();
        assert_eq!((taken, text(&live).as_str()), (new, shows));
    }
    // It can be edited while something waits, and what waits comes in later.
    let (live, _) = open(&[second], 9).apply(&Update::empty()).unwrap();
    let (live, _) = edit(live, |edit| edit.text("t").insert(0, "x"));
    assert_eq!(text(&live), "x");
    let (live, _) = live.apply(&update(&first)).unwrap();
    assert!(text(&live).contains("one two") && text(&live).contains('x'));
}

#[test]
fn a_document_with_subdocuments_is_not_edited() {
    let doc = Doc::with_client_id(7);
    let map = doc.get_or_insert_map("m");
    map.insert(&mut doc.transact_mut(), "sub", Doc::new());
    let made = Bytes::from(doc.transact().encode_state_as_update_v1(&yrs::StateVector::default()));
    let error = Live::open(std::slice::from_ref(&made), 9).unwrap_err();
    assert!(error.to_string().contains("subdocuments"), "{error}");
    let update = Update::parse(made).unwrap();
    assert!(open(&[], 9).apply(&update).is_err());
}

#[test]
fn a_panic_leaks_the_document_and_nothing_else() {
    let live = open(&[], 7);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        live.edit(|edit| -> Result<(), EditError> {
            edit.text("t").push("half");
            panic!("the owner's own")
        })
    }));
    assert!(panicked.is_err());
}

proptest! {
    /// Two who edit apart, by any splices that there can be, end with one document, whatever way round they meet; and
    /// the engine that folds sees the same.
    #[test]
    fn who_edits_apart_meets(
        start in "[a-c😀\n]{0,12}",
        one in proptest::collection::vec((0u32..16, 0u32..4, "[x😀]{0,3}"), 0..6),
        other in proptest::collection::vec((0u32..16, 0u32..4, "[y\n]{0,3}"), 0..6),
    ) {
        let (_, base) = edit(open(&[], 2), |edit| edit.text("t").insert(0, &start));
        let mut parts: Vec<Bytes> = (!base.is_empty()).then_some(base).into_iter().collect();
        let mut news = Vec::new();
        for (client, edits) in [(3, one), (4, other)] {
            let mut own = parts.clone();
            for (at, remove, insert) in edits {
                let splice = Splice { at, remove, insert };
                if let Ok((_, (), Some(update))) =
                    open(&own, client * 100 + own.len() as u64).edit(|edit| edit.text("t").splice(&[splice]))
                {
                    own.push(update.bytes().clone());
                }
            }
            news.push(own.split_off(parts.len()));
        }
        let both = [parts.clone(), news[0].clone(), news[1].clone()].concat();
        let there = [news[1].clone(), parts.clone(), news[0].clone()].concat();
        let whole = text(&open(&both, 5));
        prop_assert_eq!(&text(&open(&there, 6)), &whole);
        prop_assert_eq!(yjs::text(&both, "t").unwrap(), whole.as_str());
        // One by one gives what all at once gives.
        let mut live = open(&[], 7);
        for part in news.concat().iter().chain(&parts) {
            live = live.apply(&Update::parse(part.clone()).unwrap()).unwrap().0;
        }
        prop_assert_eq!(text(&live), whole);
        parts.clear();
    }
}
