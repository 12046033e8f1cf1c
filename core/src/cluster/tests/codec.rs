//! Bytes: those of version 1 for ever, whatever comes back, whatever is refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::letters::{any_envelope, golden};
use crate::cluster::codec::Letter;
use crate::cluster::envelope::{Envelope, Stream, ToEverybody, ToPeer, ToRoom};
use crate::cluster::{InvalidEnvelope, MESSAGE_BYTES_MAX, Sender, bye, sender_of};
use crate::id::PeerId;
use crate::limits::EPHEMERAL_BYTES_MAX;
use crate::room::PeerMessage;
use crate::update::InvalidUpdate;
use crate::wire::lib0::Lib0Error;

/// The golden bytes by name.
fn fixture() -> BTreeMap<&'static str, Vec<u8>> {
    let byte = |hex: &str| u8::from_str_radix(hex, 16).unwrap();
    let lines = include_str!("../../../../fixtures/cluster/v1.hex").lines();
    let lines = lines.filter(|line| !line.starts_with('#')).map(|line| line.split_once(": ").unwrap());
    lines
        .map(|(name, hex)| (name, (0..hex.len()).step_by(2).map(|at| byte(&hex[at..at + 2])).collect()))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes_are_written_and_read() {
    let (mut fixture, golden) = (fixture(), golden());
    for (name, envelope) in golden {
        let written = envelope.encode();
        println!("{name}: {}", hex(&written));
        let expected = fixture.remove(name).unwrap_or_else(|| panic!("{name} is not in the fixture"));
        assert_eq!(hex(&written), hex(&expected), "{name}");
        let read = Envelope::parse(&expected.into()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{envelope:?}"), "{name}");
        assert_eq!(read.encode(), written, "{name}");
    }
    assert_eq!(fixture.keys().count(), 0, "lines that nothing writes");
}

#[test]
fn what_is_cut_off_or_too_long_is_refused() {
    for (name, bytes) in fixture() {
        // What ends in an update, presence, a payload or a text may be shorter, not longer than it says.
        let is_open =
            ["part", "tunnel-open", "tunnel-data", "tunnel-close"].iter().any(|open| name.starts_with(open));
        for len in 0..bytes.len() {
            let cut = Envelope::parse(&Bytes::copy_from_slice(&bytes[..len]));
            assert!(is_open || cut.is_err(), "{name} of {len} bytes: {cut:?}");
        }
        let longer = [&bytes[..], &[0]].concat().into();
        assert!(is_open || Envelope::parse(&longer).is_err(), "{name} and a byte");
    }
}

#[test]
fn another_version_is_refused_and_another_kind_is_not() {
    let here = bye(Sender { peer: PeerId(7), starts: 1 });
    let mut later = here.to_vec();
    later[0] = 2 << 2;
    assert_eq!(sender_of(&later), Err(InvalidEnvelope::Version { found: 2 }));
    assert!(InvalidEnvelope::Version { found: 2 }.to_string().contains("version 2"));
    let mut unknown_stream = here.to_vec();
    unknown_stream[0] |= 3;
    assert!(matches!(sender_of(&unknown_stream), Err(InvalidEnvelope::Code { found: 3, .. })));
    let letter = Letter::whole(Bytes::from_static(&[200, 1, 2, 3]));
    assert!(matches!(letter.to_everybody(), Ok(ToEverybody::Unknown)));
    assert!(matches!(letter.to_room(), Ok(ToRoom::Unknown)));
    assert!(matches!(letter.to_peer(), Ok(ToPeer::Unknown)));
    assert_eq!(sender_of(&here), Ok(Sender { peer: PeerId(7), starts: 1 }));
}

#[test]
fn what_is_inside_is_validated() {
    let fixture = fixture();
    let with = |name: &str, at_end: &[u8]| {
        let mut bytes = fixture[name].clone();
        let start = bytes.len() - at_end.len();
        bytes[start..].copy_from_slice(at_end);
        Envelope::parse(&bytes.into()).map(|_| ())
    };
    assert!(matches!(
        with("room-update", &[0xff, 0xff]),
        Err(InvalidEnvelope::Update(InvalidUpdate::Lib0(_)))
    ));
    assert!(matches!(with("room-presence", b"x"), Err(InvalidEnvelope::Awareness(_))));
    assert!(matches!(with("peer-ask", &[0xff]), Err(InvalidEnvelope::Update(_))));
    assert!(matches!(with("peer-stored", &[9]), Err(InvalidEnvelope::Code { found: 9, .. })));
    assert!(matches!(with("roll", &[0xff]), Err(InvalidEnvelope::Lib0(Lib0Error::Truncated))));
}

#[test]
fn a_small_update_costs_few_bytes() {
    let golden = golden();
    let len = |name| golden.iter().find(|(other, _)| *other == name).unwrap().1.encode().len();
    let update = b"\x01\x01\x01\x00\x04\x01\x01t\x02hi\x00".len();
    assert_eq!(len("room-update") - update, 13);
    assert_eq!(len("room-update-ticket") - update, 16);
}

#[test]
fn claimed_lengths_are_not_believed() {
    let head = [&[1 << 2 | 2][..], &[0; 8], &[1, 1, 1, 1]].concat();
    // More tickets, and a longer name, than there is memory for.
    for body in [
        &[7, 2, 1, b'a', 1, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f][..],
        &[3, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f],
    ] {
        let message = [&head[..], body].concat().into();
        assert_eq!(Envelope::parse(&message).map(|_| ()), Err(InvalidEnvelope::Lib0(Lib0Error::Truncated)));
    }
}

#[test]
fn what_applications_say_is_bounded() {
    let said = |len| {
        let body = ToRoom::Said(PeerMessage::Stateless("x".repeat(len)));
        let stream = Stream::Room { number: 1, body };
        let envelope = Envelope { sender: Sender { peer: PeerId(7), starts: 1 }, stream };
        Envelope::parse(&envelope.encode()).map(|_| ())
    };
    assert_eq!(said(EPHEMERAL_BYTES_MAX), Ok(()));
    assert_eq!(said(EPHEMERAL_BYTES_MAX + 1), Err(InvalidEnvelope::TooLarge));
}

proptest! {
    #[test]
    fn whatever_is_said_comes_back(envelope in any_envelope()) {
        let bytes = envelope.encode();
        let read = Envelope::parse(&bytes).unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{envelope:?}"));
        prop_assert_eq!(sender_of(&bytes).unwrap(), envelope.sender);
        prop_assert!(bytes.len() < MESSAGE_BYTES_MAX);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), first in 4u8..8, kind in 0u8..16) {
        let _ = Envelope::parse(&Bytes::from(bytes.clone()));
        let mut bytes = bytes;
        bytes.insert(0, first);
        let _ = Envelope::parse(&Bytes::from(bytes.clone()));
        bytes.insert(0, kind);
        let letter = Letter::whole(bytes.into());
        let _ = (letter.to_everybody(), letter.to_room(), letter.to_peer());
    }

    #[test]
    fn changed_bytes_panic_nowhere_and_stay_themselves(
        envelope in any_envelope(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = envelope.encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Envelope::parse(&bytes.into())
            && read.is_known()
        {
            let again = Envelope::parse(&read.encode()).unwrap();
            prop_assert_eq!(format!("{again:?}"), format!("{read:?}"));
        }
    }
}
