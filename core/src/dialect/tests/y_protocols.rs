//! y-protocols: captured frames come back, everything else is refused.

use proptest::prelude::*;
use yrs::{Doc, ReadTxn, Text, Transact};

use super::*;
use crate::dialect::FrameError;
use crate::dialect::y_protocols::*;
use crate::limits::{SHARED_BYTES_MIN, STATE_VECTOR_BYTES_MAX};
use crate::update::StateVector;
use crate::validate::{AwarenessEntry, AwarenessUpdate};
use crate::wire::lib0::{Lib0Error, write_var_u64};

pub(super) fn golden() -> Frames {
    frames(include_str!("../../../../fixtures/frames/y_protocols.hex"))
}

/// A message as it is sent.
pub(super) fn encode(message: &Message) -> Bytes {
    match message {
        Message::SyncStep1(state_vector) => sync_step1(&state_vector.encode()),
        Message::SyncStep2(inner) => sync_step2(inner.bytes()),
        Message::Update(inner) => update(inner.bytes()),
        Message::Awareness(entries) => awareness(&entries.encode()),
        Message::QueryAwareness => Bytes::from_static(&[3]),
    }
}

#[test]
fn golden_frames_come_back() {
    for (name, frame) in golden() {
        let parsed = parse(&frame);
        if name == "server-permission-denied" {
            assert!(matches!(parsed, Err(FrameError::ServerOnly(2))));
            continue;
        }
        let message = parsed.unwrap();
        let expected = match &message {
            Message::SyncStep1(_) => name.starts_with("sync-step-1"),
            Message::SyncStep2(_) => name.starts_with("sync-step-2"),
            Message::Update(_) => name == "update",
            Message::Awareness(_) => name.starts_with("awareness"),
            Message::QueryAwareness => name == "query-awareness",
        };
        assert!(expected, "{name} is {message:?}");
        assert_eq!(encode(&message), frame, "{name}");
    }
}

#[test]
fn cut_lengthened_and_mutated_frames() {
    for (name, frame) in golden() {
        for cut in truncations(&frame) {
            assert!(parse(&cut).is_err(), "{} bytes of {name}", cut.len());
        }
        assert!(parse(&followed_by(&frame, 0)).is_err(), "{name}");
        mutations(&frame).for_each(|mutated| drop(parse(&mutated)));
    }
}

#[test]
fn what_exists_nowhere_or_on_servers_only_is_refused() {
    let refusal = |bytes: &[u8]| parse(&Bytes::copy_from_slice(bytes)).unwrap_err();
    assert!(matches!(refusal(&[0, 3, 0]), FrameError::UnknownSubtype(3)));
    assert!(matches!(refusal(&[0, 0xff, 0x01, 0]), FrameError::UnknownSubtype(255)));
    assert!(matches!(refusal(&[2]), FrameError::ServerOnly(2)));
    assert!(matches!(refusal(&[4, 0]), FrameError::UnknownType(4)));
    assert!(matches!(refusal(&[3, 0]), FrameError::Malformed(Lib0Error::Trailing)));
    assert!(matches!(refusal(&[]), FrameError::Malformed(Lib0Error::Truncated)));
    assert!(matches!(refusal(&[0xff; 12]), FrameError::Malformed(Lib0Error::TooLarge)));
    assert!(matches!(refusal(&[1, 6, 1, 1, 1, 1, b'{']), FrameError::Malformed(Lib0Error::Truncated)));
    assert!(matches!(refusal(&[1, 5, 1, 1, 1, 1, b'{']), FrameError::InvalidAwareness(_)));
    assert!(matches!(refusal(&[0, 2, 1, 0]), FrameError::InvalidUpdate(_)));
}

#[test]
fn state_vectors_are_bounded() {
    let mut many = Vec::new();
    write_var_u64(&mut many, 1 << 21);
    for client in 0..1u64 << 21 {
        write_var_u64(&mut many, client);
        write_var_u64(&mut many, 1);
    }
    assert!(many.len() > STATE_VECTOR_BYTES_MAX);
    assert!(matches!(parse(&sync_step1(&many)), Err(FrameError::TooLong { .. })));
}

#[test]
fn short_updates_leave_their_frame_and_long_ones_share_it() {
    let doc = Doc::with_client_id(1);
    let text = doc.get_or_insert_text("t");
    for shared in [false, true] {
        if shared {
            text.push(&mut doc.transact_mut(), &"x".repeat(SHARED_BYTES_MIN));
        }
        let frame = update(&doc.transact().encode_state_as_update_v1(&yrs::StateVector::default()));
        let Ok(Message::Update(update)) = parse(&frame) else { panic!("an update") };
        assert_eq!(frame.as_ptr_range().contains(&update.bytes().as_ptr()), shared);
    }
}

/// Any message.
pub(super) fn messages() -> impl Strategy<Value = Message> {
    let clocks = proptest::collection::btree_map(0..1u64 << 53, 1..1u64 << 31, 0..5);
    let step1 = clocks.prop_map(|clocks| Message::SyncStep1(clocks.into_iter().collect::<StateVector>()));
    let updates = (1..1u64 << 32, proptest::collection::vec((any::<bool>(), ".{1,8}"), 1..5), any::<bool>());
    let updates = updates.prop_map(|(client, edits, step2)| {
        let doc = Doc::with_client_id(client);
        let text = doc.get_or_insert_text("t");
        for (in_front, insert) in edits {
            match in_front {
                true => text.insert(&mut doc.transact_mut(), 0, &insert),
                false => text.push(&mut doc.transact_mut(), &insert),
            }
        }
        let bytes = doc.transact().encode_state_as_update_v1(&yrs::StateVector::default());
        let update = crate::update::Update::parse(bytes.into()).unwrap();
        if step2 { Message::SyncStep2(update) } else { Message::Update(update) }
    });
    let state = prop_oneof![Just(None), "[a-z\"\\\\]{0,9}".prop_map(Some)];
    let entry = (0..1u64 << 53, 0..1u64 << 53, state).prop_map(|(client, clock, state)| AwarenessEntry {
        client,
        clock,
        state: state.map(|text| serde_json::to_vec(&serde_json::json!({ "name": text })).unwrap().into()),
    });
    let entries = proptest::collection::vec(entry, 0..4);
    let awareness = entries.prop_map(|entries| Message::Awareness(AwarenessUpdate { entries }));
    prop_oneof![step1, updates, awareness, Just(Message::QueryAwareness)]
}

proptest! {
    #[test]
    fn messages_come_back(message in messages()) {
        let frame = encode(&message);
        let parsed = parse(&frame).unwrap();
        prop_assert_eq!(format!("{parsed:?}"), format!("{message:?}"));
        prop_assert_eq!(encode(&parsed), frame);
    }

    #[test]
    fn garbage_never_panics_and_what_passes_comes_back(frame in garbage(&golden())) {
        if let Ok(message) = parse(&frame) {
            // Not the same bytes: integers may be longer than needed, `null` may have spaces around it.
            let again = parse(&encode(&message)).unwrap();
            prop_assert_eq!(encode(&again), encode(&message));
        }
    }
}
