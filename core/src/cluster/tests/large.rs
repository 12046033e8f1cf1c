//! What is large is written and read apart, and what cannot be read is lost.

use bytes::Bytes;

use super::crafted::{ME, OPENING, OTHER, Talk, document, stored};
use super::net::{Net, document as room};
use crate::cluster::envelope::{Envelope, Part, Stream, ToPeer, ToRoom};
use crate::cluster::{Draft, MESSAGE_BYTES_MAX, Output, Sender, To, TunnelFrame, TunnelId, Unread};
use crate::id::PeerId;
use crate::limits::UPDATE_BYTES_MAX;
use crate::room::{Arrival, AskId, PeerAnswer, PeerMessage};
use crate::time::Millis;
use crate::update::Update;

/// An update that inserts so many bytes of content.
fn update(len: usize) -> Update {
    let mut bytes = vec![1, 1, 1, 0, 3, 1, 1, b't'];
    crate::wire::lib0::write_var_u64(&mut bytes, len as u64);
    bytes.resize(bytes.len() + len, 7);
    bytes.push(0);
    Update::parse(bytes.into()).unwrap()
}

fn change(len: usize) -> PeerMessage {
    PeerMessage::Update { ticket: None, arrival: Arrival::Change, update: update(len) }
}

fn answer(bytes: Bytes) -> PeerMessage {
    let answer = PeerAnswer { update: bytes, archived: None, caught_up: true };
    PeerMessage::Answer { ask: AskId(1), result: Ok(Some(answer)) }
}

#[test]
fn a_draft_says_the_same() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &room(1));
    net.open(1, &room(1));
    net.events();
    for len in [0, 1, MESSAGE_BYTES_MAX - 2_000, MESSAGE_BYTES_MAX - 1_000, MESSAGE_BYTES_MAX, 3 << 20] {
        net.does(0, |relay, _| relay.say(&room(1), Draft::of_message(change(len))).unwrap());
        let Some((1, Output::Said { message: PeerMessage::Update { update: said, .. }, .. })) =
            net.outputs.pop_front()
        else {
            panic!("{len}")
        };
        assert_eq!(said.bytes(), update(len).bytes());
        let to_one = Draft::of_message(answer(update(len).bytes().clone()));
        net.does(0, |relay, _| relay.tell(&room(1), PeerId(2), to_one).unwrap());
        let Some((1, Output::Said { message: PeerMessage::Answer { result: Ok(Some(said)), .. }, .. })) =
            net.outputs.pop_front()
        else {
            panic!("{len}")
        };
        assert_eq!(said.update, update(len).bytes());
        let frame = TunnelFrame::Data { tunnel: TunnelId(3), payload: vec![9; len].into() };
        net.does(0, |relay, _| relay.tunnel(PeerId(2), Draft::of_frame(frame.clone())).unwrap());
        let Some((1, Output::Tunnel { frame: came, .. })) = net.outputs.pop_front() else { panic!("{len}") };
        assert_eq!(came, frame);
    }
    assert!(net.said.iter().all(|(.., message)| message.len() <= MESSAGE_BYTES_MAX));
    assert_eq!(net.events(), Vec::<String>::new());
}

#[test]
fn a_draft_that_is_too_large_is_not_said() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &room(1));
    net.open(1, &room(1));
    let before = net.said.len();
    let draft = Draft::of_message(answer(vec![0; UPDATE_BYTES_MAX + (8 << 20)].into()));
    assert!(net.does(0, |relay, _| relay.tell(&room(1), PeerId(2), draft)).is_err());
    assert_eq!(net.said.len(), before);
}

/// Says a change in two parts; gives what comes out unread.
fn hears_large(talk: &mut Talk) -> Unread {
    let sender = Sender { peer: OTHER, starts: 3 };
    let stream = Stream::Room { number: 1, body: ToRoom::Said(change(100)) };
    let bytes = Envelope { sender, stream }.encode();
    // Behind version and stream, the name, the start and the number.
    let letter = bytes.slice(11..);
    for index in 0..2 {
        let bytes = if index == 0 { letter.slice(..50) } else { letter.slice(50..) };
        talk.tells_room(2 + index, ToRoom::Part(Part { index, count: 2, bytes }));
    }
    let Some(Output::Unread(unread)) = talk.relay.poll() else { panic!("it was read where others wait") };
    unread
}

#[test]
fn what_is_large_comes_out_unread() {
    let mut talk = Talk::new();
    let read = hears_large(&mut talk).read();
    assert_eq!(talk.events(), Vec::<&str>::new());
    talk.relay.take_in(Millis(1), read);
    assert_eq!(talk.events(), ["said"]);
}

#[test]
fn what_was_read_too_late_is_for_nobody() {
    let gone: [fn(&mut Talk); 3] = [
        |talk| talk.tells_room(4, ToRoom::Gone),
        |talk| talk.rolls(4, OPENING + 1, Some(7)),
        |talk| talk.relay.closed(&document()),
    ];
    for goes in gone {
        let mut talk = Talk::new();
        let read = hears_large(&mut talk).read();
        goes(&mut talk);
        talk.events();
        talk.relay.take_in(Millis(1), read);
        assert_eq!(talk.events(), Vec::<&str>::new());
    }
}

/// The last byte is missing.
fn garbled(talk: &mut Talk, now: u64, to: &To, stream: Stream) {
    let bytes = Envelope { sender: Sender { peer: OTHER, starts: 3 }, stream }.encode();
    talk.relay.heard(Millis(now), to, &bytes.slice(..bytes.len() - 1));
}

#[test]
fn what_cannot_be_read_is_lost_and_both_sides_learn_it() {
    let mut talk = Talk::new();
    let body = ToRoom::Said(stored());
    garbled(&mut talk, 1, &To::Room(document()), Stream::Room { number: 2, body });
    assert_eq!(talk.events(), ["lost", "missed", "refused"]);
    let mut talk = Talk::new();
    let body = ToPeer::Said { document: document(), opening: talk.opening, message: stored() };
    garbled(&mut talk, 1, &To::Peer(ME), Stream::Peer { starts: 1, meeting: 7, number: 1, body });
    assert_eq!(talk.events(), ["lost", "missed", "refused"]);
}

#[test]
fn what_cannot_be_read_again_and_again_is_settled_now_and_then() {
    let mut talk = Talk::new();
    for number in 2..100 {
        let body = ToRoom::Said(stored());
        garbled(&mut talk, 1, &To::Room(document()), Stream::Room { number, body });
    }
    let told = |talk: &mut Talk| talk.events().iter().filter(|event| **event == "lost").count();
    assert_eq!(told(&mut talk), 1);
    let mut times = Vec::new();
    for second in 1..40 {
        // It lives, and says it again.
        talk.says(&To::Everybody, Stream::Everybody(crate::cluster::envelope::ToEverybody::Unknown));
        let body = ToRoom::Said(stored());
        garbled(
            &mut talk,
            second * 1_000,
            &To::Room(document()),
            Stream::Room { number: 100 + second, body },
        );
        talk.relay.handle_timeout(Millis(second * 1_000));
        times.extend((told(&mut talk) > 0).then_some(second));
    }
    assert!(times.len() >= 4 && times.windows(2).all(|pair| pair[1] - pair[0] >= 8), "{times:?}");
}
