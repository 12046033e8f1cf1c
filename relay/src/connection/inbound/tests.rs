//! The same bytes for this reader and for tungstenite's, in whatever pieces.

use std::io::{self, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, WebSocket};

use super::*;

const MESSAGE_BYTES_MAX: usize = 300;

/// All messages, and whether something was wrong behind them.
type Read_ = (Vec<Message>, bool);

/// A socket that brings these bytes and takes everything.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buf) }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn of_tungstenite(bytes: &[u8]) -> Read_ {
    let max = Some(MESSAGE_BYTES_MAX);
    let config = WebSocketConfig::default().max_message_size(max).max_frame_size(max);
    let mut socket = WebSocket::from_raw_socket(Wire(bytes), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        messages.push(match socket.read() {
            Ok(tungstenite::Message::Binary(bytes)) => Message::Binary(bytes),
            Ok(tungstenite::Message::Text(text)) => Message::Text(text.to_string()),
            Ok(tungstenite::Message::Ping(bytes)) => Message::Ping(bytes.to_vec()),
            Ok(tungstenite::Message::Pong(_)) => Message::Pong,
            Ok(tungstenite::Message::Close(close)) => {
                // It says so itself of a code that is for no wire.
                let is_wrong = close.as_ref().is_some_and(|close| close.reason == "Protocol violation");
                if !is_wrong {
                    messages.push(Message::Close(close.map(|close| close.code.into())));
                }
                return (messages, is_wrong);
            }
            Ok(tungstenite::Message::Frame(_)) => unreachable!(),
            Err(tungstenite::Error::Io(_)) => return (messages, false),
            Err(_) => return (messages, true),
        });
    }
}

fn of_ours<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read_ {
    let mut inbound = Inbound::new(MESSAGE_BYTES_MAX);
    let mut messages = Vec::new();
    for mut piece in pieces {
        loop {
            match inbound.next(&mut piece) {
                Ok(Some(close @ Message::Close(_))) => {
                    messages.push(close);
                    return (messages, false);
                }
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
        assert!(piece.is_empty());
    }
    (messages, false)
}

fn frame(first: u8, is_masked: bool, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let flag = if is_masked { MASKED } else { 0 };
    match u8::try_from(payload.len()) {
        Ok(len @ 0..126) => out.push(len | flag),
        _ => {
            out.push(126 | flag);
            out.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    if is_masked {
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        out.extend_from_slice(payload);
    }
    out
}

/// Mostly what a client may send, sometimes with one thing that it may not.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let fine = prop_oneof![
        6 => Just(FIN | BINARY),
        2 => Just(FIN | TEXT),
        2 => Just(BINARY),
        1 => Just(TEXT),
        4 => Just(CONTINUATION),
        3 => Just(FIN | CONTINUATION),
        2 => Just(FIN | PING),
        1 => Just(FIN | PONG),
        1 => Just(FIN | CLOSE),
    ];
    let first = prop_oneof![20 => fine, 1 => any::<u8>()];
    let payload = prop_oneof![
        4 => vec(any::<u8>(), 0..20),
        2 => "[a-zé€😀]{0,20}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 120..130),
        1 => vec(any::<u8>(), 200..310),
        1 => (0u16..6000, "[a-z]{0,4}").prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat()),
    ];
    let one = (first, prop::bool::weighted(0.98), any::<[u8; 4]>(), payload)
        .prop_map(|(first, is_masked, mask, payload)| frame(first, is_masked, mask, &payload));
    vec(one, 0..12).prop_map(|frames| frames.concat())
}

fn pieces<'a>(mut bytes: &'a [u8], lens: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for len in lens.iter().cycle().map(|len| len + 1) {
        let (piece, rest) = bytes.split_at(len.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
        if bytes.is_empty() {
            break;
        }
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn messages_are_those_that_tungstenite_reads(bytes in frames(), lens in vec(0usize..200, 1..8)) {
        let ours = of_ours(pieces(&bytes, &lens));
        prop_assert_eq!(&ours, &of_ours([&bytes[..]]), "in other pieces");
        let theirs = of_tungstenite(&bytes);
        if ours.1 && !theirs.1 {
            // It is ahead: it does not wait for the rest of a frame whose head is wrong.
            prop_assert!(theirs.0.starts_with(&ours.0));
        } else {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn whatever_comes_is_read_or_refused(bytes in vec(any::<u8>(), 0..600), lens in vec(0usize..50, 1..8)) {
        prop_assert_eq!(of_ours(pieces(&bytes, &lens)), of_ours([&bytes[..]]));
    }
}

#[test]
fn nothing_is_held_between_messages_and_no_claim_at_all() {
    let mut inbound = Inbound::new(64 << 20);
    let message = frame(FIN | BINARY, true, [1, 2, 3, 4], b"whole");
    assert_eq!(inbound.next(&mut &message[..]), Ok(Some(Message::Binary(b"whole"[..].into()))));
    assert!(matches!(inbound.frame, Frame::Between) && inbound.fragments.is_none());
    let claim = [&[FIN | BINARY, MASKED | 127][..], &(64u64 << 20).to_be_bytes(), &[0; 4], b"x"].concat();
    assert_eq!(inbound.next(&mut &claim[..]), Ok(None));
    let Frame::Payload(payload) = &inbound.frame else { panic!("a payload has begun") };
    assert!(payload.bytes.capacity() <= EARLY_BYTES);
}

#[test]
fn a_head_that_is_wrong_is_not_waited_for() {
    for (head, broken) in [
        (vec![FIN | BINARY, 1], Broken::Protocol),
        (vec![FIN | PING, MASKED | 126], Broken::Protocol),
        (vec![FIN | CONTINUATION, MASKED, 0, 0, 0, 0], Broken::Protocol),
        ([&[FIN | BINARY, MASKED | 127][..], &(1u64 << 63).to_be_bytes(), &[0; 4]].concat(), Broken::TooBig),
    ] {
        assert_eq!(Inbound::new(MESSAGE_BYTES_MAX).next(&mut &head[..]), Err(broken), "{head:?}");
    }
}

#[test]
fn long_payloads_are_unmasked_wherever_they_are_cut() {
    let payload: Vec<u8> = (0..70_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let mut bytes = vec![FIN | BINARY, MASKED | 127];
    bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    let mask = [9, 8, 7, 6];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    for step in [1, 3, 1000, 65_536, bytes.len()] {
        let mut inbound = Inbound::new(payload.len());
        let got: Vec<_> =
            bytes.chunks(step).filter_map(|mut piece| inbound.next(&mut piece).unwrap()).collect();
        assert_eq!(got, [Message::Binary(payload.clone().into())], "{step}");
    }
}

#[test]
fn a_message_in_small_pieces_is_not_moved_with_each() {
    let payload = 1 << 20;
    let mut inbound = Inbound::new(payload);
    let mut head: &[u8] = &[FIN | BINARY, MASKED | 127, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4];
    assert_eq!(inbound.next(&mut head), Ok(None));
    let mut rooms = std::collections::BTreeSet::new();
    for _ in 0..payload / 512 - 1 {
        assert_eq!(inbound.next(&mut &[0; 512][..]), Ok(None));
        let Frame::Payload(begun) = &inbound.frame else { panic!() };
        rooms.insert(begun.bytes.capacity());
    }
    assert!(rooms.len() <= 12, "{rooms:?}");
}
