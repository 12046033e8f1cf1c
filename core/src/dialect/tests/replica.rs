//! Frames of replicas: the golden ones, the only ones of each message, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::dialect::FrameError;
use crate::dialect::replica::*;
use crate::id::{DocumentId, Incarnation, ReplicaId};
use crate::limits::{CHECKPOINT_BYTES_MAX, LISTED_MAX, PATTERNS_MAX};
use crate::operation::Stamp;
use crate::wire::inflate::inflate;

fn golden() -> Frames {
    frames(include_str!("../../../../fixtures/native/replica.hex"))
}

fn yjs(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

/// What is written for each golden frame.
fn written() -> Vec<(&'static str, Vec<u8>)> {
    let keeps = Some((ReplicaId([7; 16]), Incarnation([9; 16])));
    let (short, long, automerge) = (Handle(5), Handle(300), DocumentId::Automerge([7; 16]));
    vec![
        ("replica-identity", identity_frame(&Identity { keeps, lists: false, gives_up: false })),
        ("replica-identity-lists", identity_frame(&Identity { keeps, lists: true, gives_up: false })),
        (
            "replica-identity-stamp",
            identity_frame_at(&Identity { keeps, lists: false, gives_up: false }, Some(Stamp(1 << 16 | 2))),
        ),
        ("replica-identity-gives-up", identity_frame(&Identity { keeps, lists: true, gives_up: true })),
        ("relay-identity", identity_frame(&Identity { keeps: None, lists: false, gives_up: false })),
        ("replica-open", open(short, &yjs("a/ü"))),
        ("replica-open-automerge", open(long, &automerge)),
        ("replica-shut", shut(short, Outcome::WELL, "")),
        ("relay-shut", shut(long, Outcome::DELETED, "deleted")),
        ("replica-y-step1", y(short, &[0, 0, 1, 0])),
        ("replica-y-update", y(long, &[0, 2, 2, 0, 0])),
        ("replica-sync", sync(short, &[0x42, 0, 0, 0, 0])),
        ("relay-sync-heads", sync(long, &[&[0x42, 1][..], &[7; 32], &[0, 1, 0, 0, 0]].concat())),
        ("relay-stored", stored(short, Outcome::WELL)),
        ("relay-stored-not", stored(long, Outcome::QUARANTINED)),
        ("replica-ping", ping(300)),
        ("relay-pong", pong(300)),
        ("replica-watch", watch(b"", &[])),
        ("replica-watch-since", watch(b"then", &["notes/".to_owned(), "a".to_owned()])),
        ("relay-changes", changes(false, false, b"now", &[yjs("a/ü"), automerge])),
        ("relay-changes-anew-more", changes(true, true, b"now", &[])),
        ("replica-mark", mark(300, Some(Stamp(1 << 16 | 2)))),
        ("relay-marked", marked(300, None)),
    ]
}

/// The frame of a message that was read.
fn encode(message: &Message) -> Vec<u8> {
    use crate::dialect::y_protocols::{self, Message as Said};
    match message {
        Message::Identity(identity, stamp) => identity_frame_at(identity, *stamp),
        Message::Open { handle, document } => open(*handle, document),
        Message::Shut { handle, outcome, reason } => shut(*handle, *outcome, reason),
        Message::Y { handle, message } => {
            let body = match message {
                Said::SyncStep1(vector) => y_protocols::sync_step1(&vector.encode()),
                Said::SyncStep2(update) => y_protocols::sync_step2(update.bytes()),
                Said::Update(update) => y_protocols::update(update.bytes()),
                Said::Awareness(awareness) => y_protocols::awareness(&awareness.encode()),
                Said::QueryAwareness => Bytes::from_static(&[3]),
            };
            y(*handle, &body)
        }
        Message::Sync { handle, message } => sync(*handle, message),
        Message::Stored { handle, outcome } => stored(*handle, *outcome),
        Message::Ping(token) => ping(*token),
        Message::Pong(token) => pong(*token),
        Message::Watch { since, prefixes } => watch(since, prefixes),
        Message::Changes { anew, more, until, documents } => changes(*anew, *more, until, documents),
        Message::Mark { token, stamp } => mark(*token, *stamp),
        Message::Marked { token, stamp } => marked(*token, *stamp),
    }
}

#[test]
fn golden_frames_are_written_and_read() {
    let mut golden = golden();
    let packed = golden.remove("replica-ping-packed").unwrap();
    assert!(matches!(parse(&packed).unwrap(), Message::Ping(300)));
    for (name, written) in written() {
        let frame = golden.remove(name).unwrap_or_else(|| panic!("{name}: {written:02x?}"));
        assert_eq!(written, frame, "{name}");
        assert_eq!(encode(&parse(&frame).unwrap()), frame, "{name}");
    }
    assert!(golden.is_empty(), "{golden:?}");
}

#[test]
fn cuts_and_more_are_refused() {
    for (name, frame) in golden() {
        for cut in truncations(&frame) {
            assert!(parse(&cut).is_err(), "{name} cut to {}", cut.len());
        }
        // A later version may say more of who it is, and a later automerge of what it can.
        let takes_more = name.contains("identity") || name.contains("sync");
        assert_eq!(parse(&followed_by(&frame, 0)).is_ok(), takes_more, "{name}");
    }
}

#[test]
fn sync_messages_are_validated() {
    // More heads than there are bytes; a change that is none.
    for message in [&[0x42, 200, 1, 0, 0, 0][..], &[0x42, 0, 0, 0, 1, 2, 7, 7], &[0x41, 0, 0, 0, 0]] {
        assert!(matches!(parse(&sync(Handle(1), message).into()), Err(FrameError::InvalidAutomerge(_))));
    }
}

#[test]
fn lists_are_bounded() {
    let prefixes = |count| Bytes::from(watch(b"", &vec!["p".to_owned(); count]));
    assert!(parse(&prefixes(PATTERNS_MAX)).is_ok());
    let documents = |count| Bytes::from(changes(false, false, b"", &vec![yjs("d"); count]));
    assert!(parse(&documents(LISTED_MAX)).is_ok());
    let checkpoint = Bytes::from(watch(&[7; CHECKPOINT_BYTES_MAX + 1], &[]));
    for frame in [prefixes(PATTERNS_MAX + 1), documents(LISTED_MAX + 1), checkpoint] {
        assert!(matches!(parse(&frame), Err(FrameError::TooLong { .. })));
    }
    // A list that claims more than there is.
    assert!(parse(&Bytes::from_static(&[40, 0, 0, 100])).is_err());
}

#[test]
fn what_is_packed_unpacks_once() {
    let long = watch(b"", &vec!["a prefix ".repeat(20); 50]);
    let frame = packed(long.clone());
    assert!(frame.len() < long.len() / 10 && frame[0] == 41);
    assert_eq!(encode(&parse(&frame.into()).unwrap()), long);
    for count in [200, 1_000, 4_096] {
        let documents: Vec<_> = (0..count).map(|n| yjs(&format!("notes/{n}"))).collect();
        let long = changes(true, false, b"now", &documents);
        let frame = packed(long.clone());
        assert_eq!(inflate(&frame[1..]), Ok(long), "{count} names");
    }
    let short = ping(1);
    assert_eq!(packed(short.clone()), short);
    // Packed twice, and a bomb: neither is taken, and the second costs no more than its bound.
    let inner = [&[41][..], &deflated(&ping(1))].concat();
    assert!(matches!(
        parse(&[&[41][..], &deflated(&inner)].concat().into()),
        Err(FrameError::UnknownType(41))
    ));
    let bomb = deflated(&vec![0; 300 * 1024 * 1024]);
    assert!(matches!(parse(&[&[41][..], &bomb].concat().into()), Err(FrameError::Packed)));
    // However much of the same there is, it can be unpacked.
    for mib in [1, 4, 64] {
        let same = vec![0; mib * 1024 * 1024];
        let frame = packed(same.clone());
        assert!(frame == same || inflate(&frame[1..]).unwrap() == same, "{mib} MiB");
    }
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn outcomes_say_whether_to_come_back() {
    let passing =
        [Outcome::WELL, Outcome::TROUBLE, Outcome::NO_ROOM, Outcome::DAMAGED, Outcome::CROWDED, Outcome(99)];
    assert!(!passing.iter().any(|outcome| outcome.is_permanent()));
    let lasting = [Outcome::DELETED, Outcome::QUARANTINED, Outcome::READ_ONLY, Outcome::FORBIDDEN];
    assert!(lasting.iter().all(|outcome| outcome.is_permanent()));
}

proptest! {
    #[test]
    fn whatever_parses_comes_back(frame in garbage(&golden())) {
        if let Ok(message) = parse(&frame) {
            let again = encode(&message);
            prop_assert_eq!(encode(&parse(&again.clone().into()).unwrap()), again);
        }
    }
}

#[test]
fn what_may_open_a_document_is_seen_in_its_beginning() {
    let document = yjs("a");
    assert!(may_open(&open(Handle(1), &document)) && may_open(&packed(open(Handle(1), &document))));
    // A longer way to write the same kind.
    let mut long = vec![0xa1, 0];
    long.extend_from_slice(&open(Handle(1), &document)[1..]);
    assert!(may_open(&long));
    assert!(!may_open(&y(Handle(1), &[0, 1, 0])) && !may_open(&ping(1)));
}
