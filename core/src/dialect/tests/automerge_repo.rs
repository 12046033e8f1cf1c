//! automerge-repo: captured frames come back, everything else is refused.

use automerge::sync::{Message as SyncMessage, State, SyncDoc};
use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ROOT};
use proptest::prelude::*;

use super::*;
use crate::dialect::FrameError;
use crate::dialect::automerge_repo::*;
use crate::id::DocumentId;
use crate::limits::{
    EPHEMERAL_BYTES_MAX, LIST_ENTRIES_MAX, MESSAGE_FIELDS_MAX, NESTING_MAX, SHARED_BYTES_MIN, TEXT_BYTES_MAX,
};
use crate::validate::{InvalidAutomerge, validate_sync_message};
use crate::wire::cbor::{CborError, Writer};

const DOCUMENT: &str = "2VFHHZVSoDmSi3BTk7dy8dx9Hnyz";
const NOWHERE: &str = "1Bhh3pU9gLXZiNDL6PEa1Gs9fh";
const STORAGE_OF_B: &str = "f5379b99-5763-4216-ac32-fd099c627475";
const STORAGE_OF_S: &str = "fe4ccb63-b74f-4126-a58a-18b401264632";

fn golden() -> Frames {
    frames(include_str!("../../../../fixtures/frames/automerge_repo.hex"))
}

fn known(frame: &Bytes) -> Message {
    parse(frame).unwrap().expect("a known type")
}

fn refusal(frame: &Bytes) -> FrameError {
    parse(frame).unwrap_err()
}

fn metadata(storage_id: Option<&str>, is_ephemeral: bool) -> PeerMetadata {
    PeerMetadata { storage_id: storage_id.map(str::to_owned), is_ephemeral }
}

/// What a golden frame says; sync payloads are taken from the frame itself.
fn expected(name: &str, data: Bytes) -> Message {
    let document = |text| DocumentId::automerge_from_text(text).unwrap();
    let (server, a, b) = ("S".to_owned(), "A".to_owned(), "B".to_owned());
    let versions = vec!["1".to_owned()];
    let unsupported = "unsupported protocol version".to_owned();
    match name {
        "client-join" => Message::Join { sender: a, metadata: metadata(None, true), versions },
        "client-join-storage" => {
            Message::Join { sender: b, metadata: metadata(Some(STORAGE_OF_B), false), versions }
        }
        "client-join-version-2" => {
            Message::Join { sender: "X".into(), metadata: metadata(None, false), versions: vec!["2".into()] }
        }
        "server-peer" => Message::Peer {
            sender: server,
            target: a,
            metadata: metadata(Some(STORAGE_OF_S), false),
            version: "1".into(),
        },
        "server-error" => {
            Message::Error { sender: Some(server), target: Some("X".into()), message: unsupported }
        }
        "client-leave" => Message::Leave { sender: a },
        "client-sync-heads" | "client-sync-document" => {
            Message::Sync { sender: a, target: server, document: document(DOCUMENT), data }
        }
        "server-sync-need" | "server-sync-have" => {
            Message::Sync { sender: server, target: a, document: document(DOCUMENT), data }
        }
        "server-sync-document" => {
            Message::Sync { sender: server, target: b, document: document(DOCUMENT), data }
        }
        "server-sync-unknown" => {
            Message::Sync { sender: server, target: b, document: document(NOWHERE), data }
        }
        "client-request" => {
            Message::Request { sender: b, target: server, document: document(DOCUMENT), data }
        }
        "client-request-unknown" => {
            Message::Request { sender: b, target: server, document: document(NOWHERE), data }
        }
        "server-doc-unavailable" => {
            Message::DocUnavailable { sender: server, target: b, document: document(NOWHERE) }
        }
        "client-ephemeral" => Message::Ephemeral {
            sender: a,
            target: server,
            document: document(DOCUMENT),
            count: 1,
            session: "edkz0we9k9p".into(),
            data: Bytes::from_static(&[0x61, b'x']),
        },
        "client-remote-subscription-change" => Message::RemoteSubscriptionChange {
            sender: a,
            target: server,
            add: vec![STORAGE_OF_B.into(), STORAGE_OF_S.into()],
            remove: vec![],
        },
        "server-remote-heads-changed" => {
            let heads = vec!["2Rp1DDoi94nyPkhTEMuZ9coNtreKaNDJkzn5QPSrY3gGetVQJi".into()];
            let about = RemoteHeads { heads, timestamp: 1_795_590_585_161 };
            let new_heads = [(STORAGE_OF_B.to_owned(), about)].into();
            Message::RemoteHeadsChanged { sender: server, target: a, document: document(DOCUMENT), new_heads }
        }
        other => panic!("nothing is expected of {other}"),
    }
}

fn sync_data(message: &Message) -> Bytes {
    match message {
        Message::Sync { data, .. } | Message::Request { data, .. } => data.clone(),
        _ => Bytes::new(),
    }
}

#[test]
fn golden_frames_say_what_is_expected_and_come_back() {
    for (name, frame) in golden() {
        let message = known(&frame);
        let data = sync_data(&message);
        assert!(data.is_empty() || SyncMessage::decode(&data).is_ok(), "{name}");
        assert_eq!(message, expected(name, data), "{name}");
        // The fields of this one's metadata are left out instead of being `undefined`.
        if name == "client-join-version-2" {
            assert_eq!(known(&message.encode()), message);
        } else {
            assert_eq!(message.encode(), frame, "{name}");
        }
    }
}

#[test]
fn cut_lengthened_and_mutated_frames() {
    for (name, frame) in golden() {
        for cut in truncations(&frame) {
            let error = refusal(&cut);
            assert!(
                matches!(error, FrameError::Cbor(CborError::Truncated)),
                "{} bytes of {name}: {error:?}",
                cut.len()
            );
        }
        assert!(matches!(refusal(&followed_by(&frame, 0)), FrameError::Cbor(CborError::Trailing)));
        mutations(&frame).for_each(|mutated| drop(parse(&mutated)));
    }
}

#[test]
fn what_is_no_map_is_refused() {
    for bytes in [&[][..], &[0xf6], &[0xf7], &[0x80], &[0xa0], &[0xb9], &[0xff], &[0xa1, 0xa0, 0xa0], b"{}"] {
        let error = refusal(&Bytes::from_static(bytes));
        assert_eq!(error.reason(), "malformed_cbor", "{bytes:02x?}: {error}");
    }
}

/// One map out of names and raw values.
fn map(fields: &[(&str, &[u8])]) -> Bytes {
    let mut out = vec![0xbf];
    for (name, value) in fields {
        out.extend(text(name));
        out.extend_from_slice(value);
    }
    out.push(0xff);
    out.into()
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Writer::default();
    out.text(text);
    out.finish()
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(bytes);
    out.finish()
}

/// An ephemeral message with some fields replaced or, where the replacement is empty, left out.
fn ephemeral(replaced: &[(&str, &[u8])]) -> Bytes {
    let (kind, a, s, id, session) = (text("ephemeral"), text("A"), text("S"), text(DOCUMENT), text("x"));
    let plain: [(&str, &[u8]); 7] = [
        ("senderId", &a),
        ("data", &[0x41, 0]),
        ("count", &[1]),
        ("documentId", &id),
        ("type", &kind),
        ("sessionId", &session),
        ("targetId", &s),
    ];
    let known = |name: &str| plain.iter().any(|(known, _)| *known == name);
    let value =
        |name, value| replaced.iter().find(|(other, _)| *other == name).map_or(value, |(_, value)| *value);
    let fields = plain.iter().map(|(name, plain)| (*name, value(*name, *plain)));
    let more = replaced.iter().filter(|(name, _)| !known(name)).copied();
    map(&fields.chain(more).filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>())
}

#[test]
fn fields_stand_in_any_order_and_unknown_ones_are_passed_over() {
    let deep = [vec![0x81; NESTING_MAX], vec![0x80; 1]].concat();
    let plain = known(&ephemeral(&[]));
    assert_eq!(known(&plain.encode()), plain);
    let list = [0x9f, 0x01, 0xa1, 0x61, b'a', 0xf9, 0, 0, 0xff];
    for unknown in [&[0xf7][..], &list, &[0xc1, 0x01], &[0x5f, 0x41, 1, 0xff], &deep[1..]] {
        assert_eq!(known(&ephemeral(&[("newField", unknown)])), plain, "{unknown:02x?}");
    }
    assert!(matches!(refusal(&ephemeral(&[("newField", &deep)])), FrameError::Cbor(CborError::Nesting)));
    let deeper = [vec![0xc1; 1 << 20], vec![0]].concat();
    assert!(matches!(refusal(&ephemeral(&[("newField", &deeper)])), FrameError::Cbor(CborError::Nesting)));
    assert!(matches!(refusal(&ephemeral(&[("newField", &[0xff])])), FrameError::Cbor(_)));
}

#[test]
fn a_field_stands_once() {
    let (kind, a) = (text("leave"), text("A"));
    let leave: [(&str, &[u8]); 2] = [("type", &kind), ("senderId", &a)];
    assert!(parse(&map(&leave)).is_ok());
    for twice in [("senderId", &a[..]), ("senderId", &[0xf7]), ("type", &kind)] {
        let frame = map(&[&leave[..], &[twice]].concat());
        assert!(matches!(refusal(&frame), FrameError::Cbor(CborError::DuplicateField)));
    }
    let unknown: [(&str, &[u8]); 2] = [("x", &[1]), ("x", &[1])];
    assert!(parse(&map(&[&leave[..], &unknown].concat())).is_err());
}

#[test]
fn fields_are_counted() {
    let names: Vec<String> = (0..MESSAGE_FIELDS_MAX).map(|n| format!("field{n}")).collect();
    let (kind, a) = (text("leave"), text("A"));
    let leave: [(&str, &[u8]); 2] = [("type", &kind), ("senderId", &a)];
    let with = |more| {
        let more = names.iter().take(more).map(|name| (name.as_str(), &[0u8][..]));
        map(&leave.into_iter().chain(more).collect::<Vec<_>>())
    };
    assert!(parse(&with(MESSAGE_FIELDS_MAX - 2)).is_ok());
    assert!(matches!(refusal(&with(MESSAGE_FIELDS_MAX - 1)), FrameError::Cbor(CborError::TooMany { .. })));
}

#[test]
fn every_field_is_needed_and_judged() {
    for name in ["senderId", "data", "count", "documentId", "type", "sessionId", "targetId"] {
        for absent in [&[][..], &[0xf6], &[0xf7]] {
            let frame = ephemeral(&[(name, absent)]);
            assert!(matches!(refusal(&frame), FrameError::MissingField(missing) if missing == name));
        }
        let frame = ephemeral(&[(name, &[0xa0])]);
        assert!(
            matches!(refusal(&frame), FrameError::Field { field, source: CborError::WrongKind } if field == name)
        );
    }
    let long = text(&"x".repeat(TEXT_BYTES_MAX + 1));
    for name in ["senderId", "documentId", "type", "sessionId", "targetId"] {
        assert!(
            matches!(refusal(&ephemeral(&[(name, &long)])), FrameError::TooLong { what, .. } if what == name)
        );
    }
    let indefinite = [0x7f, 0x61, b'A', 0xff];
    assert!(matches!(refusal(&ephemeral(&[("senderId", &indefinite)])), FrameError::Field { .. }));
    assert!(matches!(
        refusal(&ephemeral(&[("senderId", &[0x61, 0xff])])),
        FrameError::Cbor(CborError::Malformed)
    ));
}

#[test]
fn counts_are_integers_in_any_clothes() {
    let count = |value: &[u8]| match parse(&ephemeral(&[("count", value)])) {
        Ok(Some(Message::Ephemeral { count, .. })) => Some(count),
        _ => None,
    };
    assert_eq!(count(&[0]), Some(0));
    assert_eq!(count(&[0x1b, 0, 0, 0, 0, 0, 0, 0, 7]), Some(7));
    assert_eq!(count(&[0xfb, 0x42, 0x78, 0xbc, 0xfe, 0x56, 0x80, 0, 0]), Some(1_700_000_000_000));
    for wrong in
        [&[0x20][..], &[0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], &[0x1b, 0xff, 0, 0, 0, 0, 0, 0, 0], &[0x60]]
    {
        assert_eq!(count(wrong), None, "{wrong:02x?}");
    }
}

#[test]
fn document_ids_are_texts_or_bytes() {
    let DocumentId::Automerge(id) = DocumentId::automerge_from_text(DOCUMENT).unwrap() else {
        panic!("Automerge")
    };
    let plain = known(&ephemeral(&[]));
    let raw = bytes(&id);
    for form in [&raw[..], &[&[0xd8, 0x40], &raw[..]].concat()] {
        assert_eq!(known(&ephemeral(&[("documentId", form)])), plain);
    }
    let prefixed = format!("automerge:{DOCUMENT}");
    let wrong =
        [text(&prefixed), text(""), text("2VFHHZVSoDmSi3BTk7dy8dx9Hnyy"), bytes(&id[1..]), bytes(&[0; 17])];
    for form in wrong {
        assert!(
            matches!(refusal(&ephemeral(&[("documentId", &form)])), FrameError::InvalidName(_)),
            "{form:02x?}"
        );
    }
}

#[test]
fn sync_messages_are_validated_and_ephemeral_ones_are_bounded() {
    for kind in ["sync", "request"] {
        let kind = text(kind);
        let with = |data: &[u8]| parse(&ephemeral(&[("type", &kind), ("data", &bytes(data))]));
        assert!(with(&[0x42, 0, 0, 1, 0, 0, 0, 2, 2, 0x84]).is_ok());
        for wrong in [&[][..], &[0x42], &[0x41, 0, 0, 0, 0], &[0x42, 0, 0, 0xff, 0xff, 0xff, 0x7f]] {
            assert!(matches!(with(wrong), Err(FrameError::InvalidAutomerge(_))), "{wrong:02x?}");
        }
        let tagged = [&[0xd8, 0x40, 0x4a][..], &[0x42, 0, 0, 1, 0, 0, 0, 2, 2, 0x84]].concat();
        assert!(parse(&ephemeral(&[("type", &kind), ("data", &tagged)])).is_ok());
    }
    assert!(matches!(validate_sync_message(&[]), Err(InvalidAutomerge::Truncated)));
    let with = |len| parse(&ephemeral(&[("data", &bytes(&vec![7; len]))]));
    assert!([0, EPHEMERAL_BYTES_MAX].iter().all(|len| with(*len).is_ok()));
    assert!(matches!(with(EPHEMERAL_BYTES_MAX + 1), Err(FrameError::TooLong { .. })));
}

#[test]
fn short_payloads_leave_their_frame_and_long_ones_share_it() {
    for (len, shared) in [(SHARED_BYTES_MIN - 1, false), (SHARED_BYTES_MIN, true)] {
        let frame = ephemeral(&[("data", &bytes(&vec![7; len]))]);
        let Message::Ephemeral { data, .. } = known(&frame) else { panic!("an ephemeral message") };
        assert_eq!(frame.as_ptr_range().contains(&data.as_ptr()), shared);
    }
}

#[test]
fn optional_fields_may_be_missing_or_undefined() {
    let (join, a) = (text("join"), text("A"));
    let plain: [(&str, &[u8]); 2] = [("type", &join), ("senderId", &a)];
    let expected =
        Message::Join { sender: "A".into(), metadata: metadata(None, false), versions: vec!["1".into()] };
    assert_eq!(known(&map(&plain)), expected);
    for more in
        [("peerMetadata", &[0xa0][..]), ("supportedProtocolVersions", &[0xf7]), ("peerMetadata", &[0xf6])]
    {
        assert_eq!(known(&map(&[&plain[..], &[more]].concat())), expected);
    }
    let none: (&str, &[u8]) = ("supportedProtocolVersions", &[0x80]);
    assert!(
        matches!(known(&map(&[&plain[..], &[none]].concat())), Message::Join { versions, .. } if versions.is_empty())
    );
    let storage = map(&[("storageId", &text("s")), ("isEphemeral", &[0xf5])]);
    for name in ["peerMetadata", "metadata"] {
        let Message::Join { metadata: found, .. } = known(&map(&[&plain[..], &[(name, &storage)]].concat()))
        else {
            panic!("a join")
        };
        assert_eq!(found, metadata(Some("s"), true));
    }
    let (error, message) = (text("error"), text("no"));
    let bare = map(&[("type", &error), ("message", &message)]);
    assert_eq!(known(&bare), Message::Error { sender: None, target: None, message: "no".into() });
}

#[test]
fn lists_are_bounded_together() {
    let list = |len: usize| {
        let mut out = Writer::default();
        out.array(len);
        for _ in 0..len {
            out.text("");
        }
        out.finish()
    };
    let (kind, a, s, id) = (text("remote-subscription-change"), text("A"), text("S"), text(DOCUMENT));
    let change = |add, remove| {
        let peers: [(&str, &[u8]); 3] = [("type", &kind), ("senderId", &a), ("targetId", &s)];
        parse(&map(&[&peers[..], &[("add", &list(add)), ("remove", &list(remove))]].concat()))
    };
    assert!(change(LIST_ENTRIES_MAX - 1, 1).is_ok());
    assert!(matches!(change(LIST_ENTRIES_MAX, 1), Err(FrameError::Field { field: "remove", .. })));
    let kind = text("remote-heads-changed");
    let changed = |storages: usize, heads| {
        let about = map(&[("heads", &list(heads)), ("timestamp", &[0])]);
        let names: Vec<String> = (0..storages).map(|n| n.to_string()).collect();
        let storages: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &about[..])).collect();
        let peers: [(&str, &[u8]); 4] =
            [("type", &kind), ("senderId", &a), ("targetId", &s), ("documentId", &id)];
        parse(&map(&[&peers[..], &[("newHeads", &map(&storages))]].concat()))
    };
    assert!(changed(LIST_ENTRIES_MAX, 1).is_ok());
    assert!(matches!(changed(2, LIST_ENTRIES_MAX / 2 + 1), Err(FrameError::Field { field: "heads", .. })));
    assert!(matches!(changed(LIST_ENTRIES_MAX + 1, 0), Err(FrameError::Field { field: "newHeads", .. })));
    let claimed = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let peers: [(&str, &[u8]); 3] = [("senderId", &a), ("targetId", &s), ("add", &claimed)];
    assert!(matches!(refusal(&map(&peers)), FrameError::Cbor(_)));
}

#[test]
fn unknown_types_are_no_error_but_garbage_is() {
    assert_eq!(parse(&ephemeral(&[("type", &text("presence"))])).unwrap(), None);
    assert_eq!(parse(&map(&[("type", &text("JOIN"))])).unwrap(), None);
    assert!(parse(&map(&[("type", &[1])])).is_err());
    assert!(parse(&map(&[("kind", &text("join"))])).is_err());
}

fn sync_messages() -> impl Strategy<Value = Bytes> {
    (proptest::collection::vec((0..3u8, any::<i64>()), 0..6), any::<bool>()).prop_map(|(edits, known)| {
        let mut document = AutoCommit::new().with_actor(ActorId::from([1; 16]));
        for (key, value) in edits {
            document.put(ROOT, key.to_string(), value).unwrap();
            document.commit();
        }
        let mut state = State::new();
        let mut message = document.sync().generate_sync_message(&mut state).unwrap();
        if known {
            let asked = AutoCommit::new().sync().generate_sync_message(&mut State::new()).unwrap();
            document.sync().receive_sync_message(&mut state, asked).unwrap();
            message = document.sync().generate_sync_message(&mut state).unwrap_or(message);
        }
        message.encode().into()
    })
}

fn messages() -> impl Strategy<Value = Message> {
    let id = any::<[u8; 16]>().prop_map(DocumentId::Automerge);
    let peers = (".{0,40}", ".{0,40}", id);
    let list = || proptest::collection::vec(".{0,30}", 0..4);
    let metadata = (proptest::option::of(".{0,40}"), any::<bool>())
        .prop_map(|(storage_id, is_ephemeral)| PeerMetadata { storage_id, is_ephemeral });
    let about = (list(), 0..1u64 << 53).prop_map(|(heads, timestamp)| RemoteHeads { heads, timestamp });
    let new_heads = proptest::collection::btree_map(".{0,40}", about, 0..4);
    let texts = (list(), list(), metadata, new_heads);
    let opaque = proptest::collection::vec(any::<u8>(), 0..40);
    let number = prop_oneof![0..300u64, 0..1u64 << 53];
    (0..10, peers, texts, sync_messages(), opaque, number).prop_map(
        |(kind, peers, texts, data, opaque, count)| {
            let ((sender, target, document), (add, remove, metadata, new_heads)) = (peers, texts);
            match kind {
                0 => Message::Join { sender, metadata, versions: add },
                1 => Message::Peer { sender, target, metadata, version: "1".into() },
                2 => Message::Error {
                    sender: add.first().cloned(),
                    target: remove.first().cloned(),
                    message: target,
                },
                3 => Message::Leave { sender },
                4 => Message::Request { sender, target, document, data },
                5 => Message::Sync { sender, target, document, data },
                6 => Message::DocUnavailable { sender, target, document },
                7 => Message::Ephemeral {
                    session: target.clone(),
                    sender,
                    target,
                    document,
                    count,
                    data: opaque.into(),
                },
                8 => Message::RemoteSubscriptionChange { sender, target, add, remove },
                _ => Message::RemoteHeadsChanged { sender, target, document, new_heads },
            }
        },
    )
}

proptest! {
    #[test]
    fn messages_come_back(message in messages()) {
        prop_assert_eq!(parse(&message.encode()).unwrap(), Some(message));
    }

    #[test]
    fn cut_messages_are_refused(message in messages(), at: prop::sample::Index) {
        let frame = message.encode();
        prop_assert!(parse(&frame.slice(..at.index(frame.len()))).is_err());
    }

    #[test]
    fn garbage_never_panics_and_what_passes_comes_back(frame in garbage(&golden())) {
        if let Ok(Some(message)) = parse(&frame) {
            prop_assert_eq!(parse(&message.encode()).unwrap(), Some(message));
        }
    }
}
