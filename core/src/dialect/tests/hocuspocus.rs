//! Hocuspocus: captured frames come back, everything else is refused.

use proptest::prelude::*;

use super::*;
use crate::dialect::hocuspocus::*;
use crate::dialect::{FrameError, y_protocols};
use crate::id::{DocumentId, InvalidName};
use crate::limits::{EPHEMERAL_BYTES_MAX, TEXT_BYTES_MAX};
use crate::wire::lib0::{Lib0Error, write_var_bytes};

fn golden() -> Frames {
    frames(include_str!("../../../../fixtures/frames/hocuspocus.hex"))
}

fn vs(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_var_bytes(&mut out, text.as_bytes());
    out
}

fn client_frame(address: &str, body: &[u8]) -> Bytes {
    [&vs(address), body].concat().into()
}

fn addressed_message(frame: &Bytes) -> (Address, Message) {
    match parse(frame).unwrap() {
        Incoming::Addressed { address, message } => (address, message),
        Incoming::Pong => panic!("a pong"),
    }
}

fn refusal(frame: &Bytes) -> FrameError {
    parse(frame).unwrap_err()
}

#[test]
fn golden_frames_of_clients_are_understood() {
    for (name, frame) in golden() {
        if name.starts_with("server-") {
            continue;
        }
        if name == "client-pong" {
            assert!(matches!(parse(&frame), Ok(Incoming::Pong)));
            continue;
        }
        let (address, message) = addressed_message(&frame);
        assert_eq!(address.document(), "d", "{name}");
        assert!(frame.starts_with(&address.prefix()), "{name}");
        assert_eq!(address.prefix().contains(&0), name.ends_with("-session"), "{name}");
        let understood = match &message {
            Message::Auth { token, version } => {
                assert_eq!(token, if name == "client-auth-denied" { "no" } else { "tok" });
                assert_eq!(version.as_deref(), (name != "client-auth-before-4").then_some("4.8.0"));
                name.starts_with("client-auth")
            }
            Message::Stateless(text) => name == "client-stateless" && text == "s",
            Message::Close => name.starts_with("client-close"),
            Message::Y(y_protocols::Message::SyncStep1(_)) => name.starts_with("client-sync-step-1"),
            Message::Y(y_protocols::Message::SyncStep2(_)) => name.starts_with("client-sync-step-2"),
            Message::Y(y_protocols::Message::Update(_)) => name == "client-update",
            Message::Y(y_protocols::Message::Awareness(_)) => name.starts_with("client-awareness"),
            Message::Y(y_protocols::Message::QueryAwareness) => false,
        };
        assert!(understood, "{name} is {message:?}");
    }
}

#[test]
fn what_the_server_writes_is_what_the_reference_writes() {
    let golden = golden();
    let (plain, _) = addressed_message(&golden["client-auth"]);
    let (session, _) = addressed_message(&golden["client-auth-session"]);
    let update = &golden["client-update"][5..];
    for (name, written) in [
        ("server-authenticated", authenticated(&plain, "read-write")),
        ("server-authenticated-session", authenticated(&session, "read-write")),
        ("server-permission-denied", permission_denied(&plain, "no entry")),
        ("server-sync-step-1", addressed(&plain, &y_protocols::sync_step1(&[0]))),
        ("server-sync-step-1-session", addressed(&session, &y_protocols::sync_step1(&[1, 1, 2]))),
        ("server-sync-step-2", addressed(&plain, &y_protocols::sync_step2(&[0, 0]))),
        ("server-sync-step-2-session", addressed(&session, &y_protocols::sync_step2(update))),
        ("server-sync-status", sync_status(&plain, true)),
        ("server-sync-status-session", sync_status(&session, true)),
        ("server-close", close(&plain, "provider_initiated")),
        ("server-close-session", close(&session, "provider_initiated")),
        ("server-ping", Bytes::from_static(&PING)),
    ] {
        assert_eq!(written, golden[name], "{name}");
    }
    let server = golden.keys().filter(|name| name.starts_with("server-")).count();
    assert_eq!(server, 12, "each one is above");
    assert_eq!(sync_status(&plain, false)[..], [1, b'd', 8, 0]);
    assert_eq!(stateless(&plain, "s"), golden["client-stateless"], "the same both ways");
}

#[test]
fn cut_lengthened_and_mutated_frames() {
    for (name, frame) in golden() {
        for cut in truncations(&frame) {
            // A token without the version behind it is what older providers send.
            let older = name.starts_with("client-auth") && frame[cut.len()..] == vs("4.8.0");
            // Cut behind its type, a Close of a server is one of a client.
            let bare = name.starts_with("server-close") && frame[cut.len()..] == vs("provider_initiated");
            assert_eq!(parse(&cut).is_ok(), older || bare, "{} bytes of {name}", cut.len());
        }
        // An empty text more is a version or a reason where there was none.
        let optional = ["client-auth-before-4", "client-close", "client-close-session"].contains(&name);
        assert_eq!(parse(&followed_by(&frame, 0)).is_ok(), optional, "{name}");
        mutations(&frame).for_each(|mutated| drop(parse(&mutated)));
    }
}

#[test]
fn one_byte_frames() {
    for byte in 0..=u8::MAX {
        let frame = Bytes::from(vec![byte]);
        match byte {
            10 => assert!(matches!(parse(&frame), Ok(Incoming::Pong))),
            _ => assert!(matches!(refusal(&frame), FrameError::Malformed(Lib0Error::Truncated)), "{byte}"),
        }
    }
    assert!(parse(&Bytes::new()).is_err());
}

#[test]
fn types_of_servers_and_of_nobody_are_refused() {
    for kind in [4, 6, 8, 9] {
        for rest in [&[][..], &[1], &[0, 1, 0]] {
            let frame = client_frame("d", &[&[kind], rest].concat());
            assert!(matches!(refusal(&frame), FrameError::ServerOnly(found) if found == u64::from(kind)));
        }
    }
    for subtype in [1, 2] {
        assert!(matches!(refusal(&client_frame("d", &[2, subtype, 1, b'x'])), FrameError::ServerOnly(2)));
    }
    assert!(matches!(refusal(&client_frame("d", &[2, 3])), FrameError::UnknownSubtype(3)));
    for kind in 10..128 {
        assert!(matches!(refusal(&client_frame("d", &[kind])), FrameError::UnknownType(_)), "{kind}");
    }
    assert!(matches!(refusal(&client_frame("d", &[0, 3, 0])), FrameError::UnknownSubtype(3)));
}

#[test]
fn a_close_may_say_why() {
    for body in [&[7][..], &[7, 0], &[7, 3, b'w', b'h', b'y']] {
        assert!(matches!(addressed_message(&client_frame("d", body)).1, Message::Close));
    }
    assert!(parse(&client_frame("d", &[7, 1, b'x', 0])).is_err());
    assert!(parse(&client_frame("d", &[7, 1, 0xff])).is_err());
}

#[test]
fn names_are_judged_behind_the_address() {
    for (address, document) in [
        ("", Err(InvalidName::Empty)),
        (" \t\u{a0}", Err(InvalidName::Empty)),
        ("\0session", Err(InvalidName::Empty)),
        (" \0session", Err(InvalidName::Empty)),
        ("d\0session", DocumentId::yjs("d")),
        ("d\0session\0more", DocumentId::yjs("d")),
        ("a/b 😀", DocumentId::yjs("a/b 😀")),
        (&"x".repeat(513), Err(InvalidName::TooLong { bytes: 513 })),
    ] {
        let (parsed, _) = addressed_message(&client_frame(address, &[3]));
        assert_eq!(DocumentId::yjs(parsed.document()), document, "{address:?}");
        assert_eq!(parsed.prefix(), vs(address));
    }
    assert!(matches!(refusal(&Bytes::from_static(&[1, 0xff, 3])), FrameError::Malformed(Lib0Error::NotUtf8)));
}

#[test]
fn one_address_however_its_length_is_written() {
    let (short, _) = addressed_message(&Bytes::from_static(&[1, b'd', 3]));
    let (long, _) = addressed_message(&Bytes::from_static(&[0x81, 0x80, 0, b'd', 3]));
    assert_eq!(short, long);
}

#[test]
fn texts_are_bounded() {
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let fits = &long[1..];
    let stateless = |len| client_frame("d", &[&[5][..], &vs(&"x".repeat(len))].concat());
    for (frame, accepted) in [
        (client_frame(fits, &[3]), true),
        (client_frame(&long, &[3]), false),
        (client_frame("d", &[&[2, 0][..], &vs(fits), &vs(fits)].concat()), true),
        (client_frame("d", &[&[2, 0][..], &vs(&long)].concat()), false),
        (client_frame("d", &[&[2, 0][..], &vs("t"), &vs(&long)].concat()), false),
        (client_frame("d", &[&[7][..], &vs(&long)].concat()), false),
        (stateless(EPHEMERAL_BYTES_MAX), true),
        (stateless(EPHEMERAL_BYTES_MAX + 1), false),
    ] {
        match parse(&frame) {
            Ok(_) => assert!(accepted),
            Err(error) => assert!(!accepted && matches!(error, FrameError::TooLong { .. })),
        }
    }
}

proptest! {
    #[test]
    fn messages_come_back(address in ".*", message in super::y_protocols::messages()) {
        let body = super::y_protocols::encode(&message);
        let frame = client_frame(&address, &body);
        let (parsed, Message::Y(inner)) = addressed_message(&frame) else { panic!("a y-protocols message") };
        prop_assert_eq!(addressed(&parsed, &super::y_protocols::encode(&inner)), frame);
    }

    #[test]
    fn tokens_and_application_messages_come_back(token in ".*", version in proptest::option::of(".*")) {
        let body = [&[2, 0][..], &vs(&token), &version.as_deref().map(vs).unwrap_or_default()].concat();
        let (_, Message::Auth { token: parsed, version: found }) = addressed_message(&client_frame("d", &body)) else {
            panic!("a token")
        };
        prop_assert_eq!((&parsed, &found), (&token, &version));
        let frame = client_frame("d", &[&[5][..], &vs(&token)].concat());
        prop_assert!(matches!(addressed_message(&frame).1, Message::Stateless(parsed) if parsed == token));
    }

    #[test]
    fn garbage_never_panics(frame in garbage(&golden())) {
        if let Ok(Incoming::Addressed { address, .. }) = parse(&frame) {
            let _ = DocumentId::yjs(address.document());
        }
    }
}
