//! The native dialect: its golden frames, the only ones of each message, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::cluster::To;
use crate::dialect::FrameError;
use crate::dialect::native::*;
use crate::id::{DocumentId, PeerId};
use crate::limits::{PEER_PAYLOAD_BYTES_MAX, PEER_TEXT_BYTES_MAX, PEER_VERSIONS_MAX};

fn golden() -> Frames {
    frames(include_str!("../../../../fixtures/native/frames.hex"))
}

fn yjs(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

fn messages() -> Vec<(&'static str, Message)> {
    let hello = |role, token: &str| {
        Message::Hello(Hello { role, peer: PeerId(0x0123_4567_89ab_cdef), token: token.to_owned() })
    };
    let payload = Bytes::from_static(b"any");
    vec![
        ("peer-hello", hello(Role::Peer, "")),
        ("peer-hello-token", hello(Role::Peer, "secret")),
        ("peer-hello-replica", hello(Role::Replica, "secret")),
        ("relay-welcome", Message::Welcome { version: 1, relay: PeerId(0xfedc_ba98_7654_3210) }),
        ("relay-refused", Message::Refused { refusal: Refusal::TOKEN, reason: "wrong token".to_owned() }),
        ("peer-listen", Message::Listen(yjs("a/ü"))),
        ("peer-listen-automerge", Message::Listen(DocumentId::Automerge([7; 16]))),
        ("peer-unlisten", Message::Unlisten(yjs("a/ü"))),
        ("peer-say-everybody", Message::Say { to: To::Everybody, payload: payload.clone() }),
        ("peer-say-room", Message::Say { to: To::Room(yjs("a/ü")), payload: payload.clone() }),
        ("peer-say-peer", Message::Say { to: To::Peer(PeerId(1)), payload: payload.clone() }),
        ("peer-say-nothing", Message::Say { to: To::Everybody, payload: Bytes::new() }),
        ("relay-heard-everybody", Message::Heard { to: To::Everybody, payload: payload.clone() }),
        ("relay-heard-room", Message::Heard { to: To::Room(yjs("a/ü")), payload: payload.clone() }),
        ("relay-heard-peer", Message::Heard { to: To::Peer(PeerId(0x0123_4567_89ab_cdef)), payload }),
    ]
}

#[test]
fn golden_frames_are_written_and_read() {
    let mut golden = golden();
    for (name, message) in messages() {
        let frame = golden.remove(name).unwrap_or_else(|| panic!("{name}: {:02x?}", message.encode()));
        assert_eq!(message.encode(), frame, "{name}");
        assert_eq!(parse(&frame).unwrap(), message, "{name}");
    }
    let expected = messages().swap_remove(1).1;
    for name in ["peer-hello-versions", "peer-hello-with-more"] {
        assert_eq!(parse(&golden.remove(name).unwrap()).unwrap(), expected, "{name}");
    }
    for name in ["peer-hello-of-others", "peer-hello-no-version"] {
        assert_eq!(parse(&golden.remove(name).unwrap()).unwrap(), Message::HelloOfOthers, "{name}");
    }
    for name in ["replica-first", "replica-last"] {
        assert!(matches!(parse(&golden.remove(name).unwrap()), Err(FrameError::Reserved(32 | 63))), "{name}");
    }
    assert!(golden.is_empty(), "{golden:?}");
}

#[test]
fn cuts_and_more_are_refused() {
    for (name, message) in messages() {
        let frame = Bytes::from(message.encode());
        for cut in truncations(&frame) {
            if !matches!(message, Message::Say { .. } | Message::Heard { .. }) {
                assert!(parse(&cut).is_err(), "{name} cut to {}", cut.len());
            }
        }
        let takes_more = matches!(message, Message::Hello(_) | Message::Say { .. } | Message::Heard { .. });
        assert_eq!(parse(&followed_by(&frame, 0)).is_ok(), takes_more, "{name}");
    }
}

#[test]
fn everything_is_bounded() {
    let say = |len| Message::Say { to: To::Room(yjs(&"x".repeat(512))), payload: vec![7; len].into() };
    let largest = say(PEER_PAYLOAD_BYTES_MAX);
    assert_eq!(parse(&largest.encode().into()).unwrap(), largest);
    let hello = |token: usize| {
        Message::Hello(Hello { role: Role::Peer, peer: PeerId(1), token: "x".repeat(token) }).encode()
    };
    assert!(parse(&hello(PEER_TEXT_BYTES_MAX).into()).is_ok());
    let mut versions = vec![0, u8::try_from(PEER_VERSIONS_MAX).unwrap() + 1];
    versions.extend([2; PEER_VERSIONS_MAX + 1]);
    let too_long = [
        say(PEER_PAYLOAD_BYTES_MAX + 1).encode(),
        hello(PEER_TEXT_BYTES_MAX + 1),
        versions,
        vec![0; FRAME_BYTES_MAX + 1],
    ];
    for frame in too_long {
        let bytes = frame.len();
        assert!(matches!(parse(&frame.into()), Err(FrameError::TooLong { .. })), "{bytes}");
    }
}

#[test]
fn what_does_not_exist_is_refused() {
    for frame in [&[7][..], &[31], &[64], &[5, 3], &[3, 0], &[3, 1, 1], &[3, 2, 9, 9], &[]] {
        assert!(parse(&Bytes::copy_from_slice(frame)).is_err(), "{frame:?}");
    }
    assert!(Refusal(63).is_permanent() && !Refusal::NAME.is_permanent());
}

proptest! {
    #[test]
    fn whatever_parses_comes_back(frame in garbage(&golden())) {
        if let Ok(message) = parse(&frame) {
            prop_assert_eq!(parse(&message.encode().into()).unwrap(), message);
        }
    }
}
