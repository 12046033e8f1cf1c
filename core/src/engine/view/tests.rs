//! Views of documents, and documents made of views, held against the engines themselves.

use ::automerge::AutoCommit;
use yrs::types::xml::{XmlElementPrelim, XmlTextPrelim};
use yrs::{Any, Array, Doc, Map, MapPrelim, ReadTxn, StateVector, Text, Transact, Xml, XmlFragment};

use super::*;
use crate::engine::yjs;

const YJS: Format = Format::Yjs;
const AUTOMERGE: Format = Format::Automerge;

fn seen(format: Format, form: Form, root: Option<&str>, parts: &[Bytes]) -> Result<String, EngineError> {
    view(format, form, root, parts).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

fn whole(doc: &Doc) -> Bytes {
    doc.transact().encode_state_as_update_v1(&StateVector::default()).into()
}

fn of_everything() -> Bytes {
    let doc = Doc::new();
    let text = doc.get_or_insert_text("text");
    let (list, map) = (doc.get_or_insert_array("list"), doc.get_or_insert_map("map"));
    let (xml, both) = (doc.get_or_insert_xml_fragment("xml"), doc.get_or_insert_array("both"));
    let (also_both, gone) = (doc.get_or_insert_map("both"), doc.get_or_insert_text("gone"));
    let mut txn = doc.transact_mut();
    text.insert(&mut txn, 0, "a \"b\" \u{1F600}");
    text.format(&mut txn, 0, 1, [("bold".into(), true.into())].into());
    text.insert_embed(&mut txn, 1, Any::from("an embed"));
    list.insert_range(&mut txn, 0, ["x", "y"]);
    list.push_back(&mut txn, MapPrelim::from([("deep", 1)]));
    map.insert(&mut txn, "bytes", vec![0u8, 255]);
    map.insert(&mut txn, "float", 0.5);
    map.insert(&mut txn, "whole", 7);
    map.insert(&mut txn, "null", Any::Null);
    let element = xml.push_back(&mut txn, XmlElementPrelim::empty("P"));
    element.insert_attribute(&mut txn, "id", "1");
    element.push_back(&mut txn, XmlTextPrelim::new("in"));
    both.push_back(&mut txn, 1);
    also_both.insert(&mut txn, "k", 2);
    gone.insert(&mut txn, 0, "z");
    gone.remove_range(&mut txn, 0, 1);
    drop(txn);
    whole(&doc)
}

#[test]
fn yjs_roots_are_shown_as_what_they_look_like() {
    let parts = [of_everything()];
    let json = seen(YJS, Form::Json, None, &parts).unwrap();
    assert_eq!(
        json,
        concat!(
            r#"{"both":{"$map":{"k":2},"$list":[1]},"gone":null,"list":["x","y",{"deep":1}],"#,
            r#""map":{"bytes":"AP8=","float":0.5,"null":null,"whole":7},"#,
            "\"text\":\"a \\\"b\\\" \u{1F600}\",",
            r#""xml":"<p id=\"1\">in</p>"}"#
        )
    );
    assert_eq!(seen(YJS, Form::Json, Some("list"), &parts).unwrap(), r#"["x","y",{"deep":1}]"#);
    assert_eq!(seen(YJS, Form::Text, None, &parts).unwrap(), "a \"b\" \u{1F600}");
    assert_eq!(seen(YJS, Form::Text, Some("xml"), &parts).unwrap(), "<p id=\"1\">in</p>");
    for (form, root) in [(Form::Json, "no"), (Form::Text, "no"), (Form::Text, "map")] {
        assert!(matches!(seen(YJS, form, Some(root), &parts), Err(EngineError::Unfit { .. })), "{root}");
    }
    assert!(matches!(seen(YJS, Form::Heads, None, &parts), Err(EngineError::Unfit { .. })));
    assert_eq!(seen(YJS, Form::Json, None, &[]).unwrap(), "{}");
}

#[test]
fn several_texts_must_be_named() {
    let json = Bytes::from_static(br#"{"a":"one","b":"two"}"#);
    for format in [YJS, AUTOMERGE] {
        let parts = [make(format, Form::Json, None, &json).unwrap()];
        let refused = seen(format, Form::Text, None, &parts).unwrap_err();
        assert!(refused.to_string().contains("a, b"), "{refused}");
        assert_eq!(seen(format, Form::Text, Some("b"), &parts).unwrap(), "two");
    }
}

#[test]
fn what_waits_for_others_is_left_out_of_json_and_goes_along_in_v2() {
    let doc = Doc::new();
    let text = doc.get_or_insert_text("t");
    let typed = |part: &str| {
        let mut txn = doc.transact_mut();
        text.push(&mut txn, part);
        Bytes::from(txn.encode_update_v1())
    };
    let (first, second, third) = (typed("a"), typed("b"), typed("c"));
    let gap = [first, third.clone()];
    assert_eq!(seen(YJS, Form::Json, None, &gap).unwrap(), r#"{"t":"a"}"#);
    let v2 = view(YJS, Form::UpdateV2, None, &gap).unwrap();
    let v1 = make(YJS, Form::UpdateV2, None, &v2).unwrap();
    assert_eq!(yjs::text(&[v1, second], "t").unwrap(), "abc");
    assert!(matches!(make(YJS, Form::UpdateV2, None, &third), Err(EngineError::Malformed { .. })));
}

#[test]
fn the_v2_encoding_is_the_same_document() {
    let parts = [of_everything()];
    let v2 = view(YJS, Form::UpdateV2, None, &parts).unwrap();
    let v1 = make(YJS, Form::UpdateV2, None, &v2).unwrap();
    assert_eq!(yjs::state_hash(&[v1]).unwrap(), yjs::state_hash(&parts).unwrap());
}

/// Client 1 typing "hi" into the text "t", as Yjs 13.6 `encodeStateAsUpdateV2` writes it.
#[test]
fn golden_bytes_of_a_v2_update() {
    let v1 = Bytes::from_static(&[1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0]);
    let v2 = view(YJS, Form::UpdateV2, None, std::slice::from_ref(&v1)).unwrap();
    let golden = [0, 0, 1, 1, 0, 0, 1, 4, 6, 3, b't', b'h', b'i', 1, 2, 1, 1, 0, 0, 1, 1, 0, 0];
    assert_eq!(v2[..], golden[..]);
    assert_eq!(make(YJS, Form::UpdateV2, None, &v2).unwrap(), v1);
}

#[test]
fn json_comes_back_and_twice_is_once() {
    let json = r#"{"list":[1,"two",[3],{"four":[null,true]},5,6.5],"map":{"a":{"b":"c"},"n":-9007199254740991},"text":"hi"}"#;
    let content = Bytes::from_static(json.as_bytes());
    for format in [YJS, AUTOMERGE] {
        let first = make(format, Form::Json, None, &content).unwrap();
        let second = make(format, Form::Json, None, &content).unwrap();
        assert_eq!(first, second, "{format:?}");
        assert_eq!(seen(format, Form::Json, None, &[first, second]).unwrap(), json, "{format:?}");
        let rooted = make(format, Form::Json, Some("r"), &content).unwrap();
        assert_eq!(seen(format, Form::Json, Some("r"), &[rooted]).unwrap(), json, "{format:?}");
    }
}

#[test]
fn text_comes_back() {
    let content = Bytes::from("two\nlines \u{1F600}");
    for format in [YJS, AUTOMERGE] {
        for root in [None, Some("other")] {
            let part = make(format, Form::Text, root, &content).unwrap();
            let json = seen(format, Form::Json, root, std::slice::from_ref(&part)).unwrap();
            assert!(json.contains("two\\nlines"), "{json}");
            assert_eq!(view(format, Form::Text, root, &[part]).unwrap(), content);
        }
        assert!(make(format, Form::Text, None, &Bytes::from_static(&[255])).is_err());
    }
}

#[test]
fn what_no_document_can_be_made_of_is_refused() {
    for format in [YJS, AUTOMERGE] {
        for json in ["", "{", "[1]", "7"] {
            let made = make(format, Form::Json, None, &Bytes::from_static(json.as_bytes()));
            assert!(made.is_err(), "{format:?} {json}");
        }
        let deep = "[".repeat(100_000);
        assert!(make(format, Form::Json, Some("r"), &deep.into()).is_err());
    }
    for json in [r#"{"a":1}"#, "{}", r#"{"a":""}"#, r#"{"a":null}"#] {
        let made = make(YJS, Form::Json, None, &Bytes::from_static(json.as_bytes()));
        assert!(matches!(made, Err(EngineError::Unfit { .. })), "{json}");
    }
}

#[test]
fn deep_documents_are_refused_and_not_followed() {
    let doc = Doc::new();
    let mut map = doc.get_or_insert_map("m");
    for _ in 0..5_000 {
        map = map.insert(&mut doc.transact_mut(), "k", MapPrelim::default());
    }
    let refused = seen(YJS, Form::Json, None, &[whole(&doc)]).unwrap_err();
    assert!(refused.to_string().contains("nested deeper"), "{refused}");

    let doc = Doc::new();
    let mut element =
        doc.get_or_insert_xml_fragment("x").push_back(&mut doc.transact_mut(), XmlElementPrelim::empty("p"));
    for _ in 0..5_000 {
        element = element.push_back(&mut doc.transact_mut(), XmlElementPrelim::empty("p"));
    }
    let refused = seen(YJS, Form::Json, None, &[whole(&doc)]).unwrap_err();
    assert!(refused.to_string().contains("nested deeper"), "{refused}");

    let mut document = AutoCommit::new();
    let mut id = ::automerge::ROOT;
    for _ in 0..500 {
        id = ::automerge::transaction::Transactable::put_object(
            &mut document,
            &id,
            "k",
            ::automerge::ObjType::Map,
        )
        .unwrap();
    }
    let refused = seen(AUTOMERGE, Form::Json, None, &[document.save().into()]).unwrap_err();
    assert!(refused.to_string().contains("nested deeper"), "{refused}");
}

#[test]
fn automerge_scalars_have_a_json_form() {
    use ::automerge::transaction::Transactable;
    use ::automerge::{ROOT, ScalarValue};
    let mut document = AutoCommit::new();
    document.put(ROOT, "bytes", vec![0u8, 255]).unwrap();
    document.put(ROOT, "counter", ScalarValue::counter(3)).unwrap();
    document.put(ROOT, "plain", "text").unwrap();
    document.put(ROOT, "time", ScalarValue::Timestamp(1000)).unwrap();
    document.put(ROOT, "uint", u64::MAX).unwrap();
    let parts = [Bytes::from(document.save())];
    let json = seen(AUTOMERGE, Form::Json, None, &parts).unwrap();
    assert_eq!(
        json,
        r#"{"bytes":"AP8=","counter":3,"plain":"text","time":1000,"uint":18446744073709551615}"#
    );
    let heads = seen(AUTOMERGE, Form::Heads, None, &parts).unwrap();
    assert_eq!(heads, format!("[\"{}\"]", document.get_heads()[0]));
}
