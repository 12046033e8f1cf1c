//! One rule each, on a bus without delay.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::net::{NOTHING, Net, document, stored};
use crate::cluster::envelope::{Envelope, Stream, ToPeer};
use crate::cluster::{
    Cluster, InvalidEnvelope, MESSAGE_BYTES_MAX, Output, Sender, Timing, To, TunnelFrame, TunnelId, bye,
};
use crate::id::PeerId;
use crate::limits::UPDATE_BYTES_MAX;
use crate::room::{AskId, PeerAnswer, PeerMessage, Roll, Ticket};
use crate::time::Millis;

#[test]
fn nobody_is_called_before_it_is_known_who_lives() {
    let mut net = Net::default();
    net.join(false);
    net.open(0, &document(1));
    net.pass(299);
    assert_eq!(net.events(), Vec::<String>::new());
    net.pass(1);
    assert_eq!(net.events(), ["0 home 0", "0 called"]);
    net.open(0, &document(2));
    assert_eq!(net.events(), ["0 called"]);
}

#[test]
fn without_a_backplane_a_call_ends_late() {
    let mut relay = Cluster::new(PeerId(1), false, Timing::default());
    relay.opened(Millis(5), &document(1), NOTHING);
    assert!(relay.poll().is_none() && !relay.is_shared(&document(1)));
    assert_eq!(relay.poll_timeout(), Some(Millis(2_005)));
    relay.handle_timeout(Millis(2_005));
    assert!(matches!(relay.poll(), Some(Output::Called(_))));
    assert!(!relay.is_shared(&document(1)));
    assert_eq!(relay.poll_timeout(), None);
}

#[test]
fn a_room_on_two_relays() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &document(1));
    assert_eq!(net.events(), ["0 called"]);
    let before = net.said.len();
    net.does(0, |relay, _| relay.say(&document(1), stored(1)).unwrap());
    assert_eq!(net.said.len(), before, "said to nobody");
    net.open(1, &document(1));
    assert_eq!(net.events(), ["1 came 0", "1 called", "0 came 1"]);
    net.does(0, |relay, _| relay.say(&document(1), stored(2)).unwrap());
    net.does(1, |relay, _| relay.tell(&document(1), PeerId(1), stored(3)).unwrap());
    net.does(0, |relay, _| relay.roll_changed(&document(1), Roll { archive: false, caught_up: true }));
    assert_eq!(net.events(), ["1 said 0", "0 said 1", "1 changed 0"]);
    net.does(1, |relay, _| relay.closed(&document(1)));
    assert_eq!(net.events(), ["0 went 1"]);
    net.does(0, |relay, now| relay.down(now));
    net.does(0, |relay, now| relay.up(now));
    assert_eq!(net.events(), Vec::<String>::new());
    net.pass(300);
    assert_eq!(net.events(), ["0 called"]);
}

#[test]
fn who_does_not_answer_is_not_waited_for_long() {
    let mut net = Net::new(&[false, false]);
    net.deaf.insert(1);
    net.open(0, &document(1));
    net.pass(1_999);
    assert_eq!(net.events(), Vec::<String>::new());
    net.pass(1);
    assert_eq!(net.events(), ["0 called"]);
}

#[test]
fn who_is_silent_has_vanished_and_comes_again() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &document(1));
    net.open(1, &document(1));
    net.events();
    net.deaf.insert(1);
    net.pass(4_900);
    assert_eq!(net.events(), Vec::<String>::new());
    net.pass(1_100);
    assert_eq!(net.events(), ["0 went 1", "1 went 0", "1 home 1"]);
    net.deaf.clear();
    net.pass(2_000);
    let events: BTreeSet<_> = net.events().into_iter().collect();
    assert!(["0 came 1", "1 came 0", "1 home 0"].iter().all(|event| events.contains(*event)), "{events:?}");
}

#[test]
fn who_could_not_listen_misses_nobody() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &document(1));
    net.open(1, &document(1));
    net.events();
    net.unlistening = Some(0);
    for _ in 0..20 {
        net.pass(1_000);
        net.act(0, |relay, now| relay.was_deaf(now));
    }
    assert_eq!(
        net.events(),
        Vec::<String>::new(),
        "the other one hears it, and it knows that it does not listen"
    );
    net.pass(6_000);
    assert!(net.events().contains(&"0 went 1".to_owned()));
}

#[test]
fn a_bye_is_for_one_start() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &document(1));
    net.open(1, &document(1));
    net.events();
    let me = net.relays[1].me();
    let early = Sender { starts: me.starts - 1, ..me };
    net.act(0, |relay, now| relay.heard(now, &To::Everybody, &bye(early)));
    assert_eq!(net.events(), Vec::<String>::new());
    net.act(0, |relay, now| relay.heard(now, &To::Everybody, &bye(me)));
    assert_eq!(net.events(), ["0 went 1"]);
    // It is dead, whatever it says.
    net.pass(3_000);
    assert!(!net.events().iter().any(|event| event.starts_with("0 came")));
    net.does(1, |relay, now| relay.up(now));
    net.pass(1_000);
    assert!(net.events().contains(&"0 came 1".to_owned()));
    net.does(1, |relay, now| relay.stop(now));
    assert!(net.events().contains(&"0 went 1".to_owned()));
}

#[test]
fn a_bye_is_said_for_who_cannot() {
    let mut net = Net::new(&[false, false, false]);
    for index in 0..3 {
        net.open(index, &document(1));
    }
    net.events();
    let gone = net.relays[2].me();
    net.deaf.insert(2);
    net.does(0, |relay, now| relay.bye_for(now, gone));
    assert_eq!(net.events(), ["0 went 2", "1 went 2"]);
    net.does(0, |relay, now| relay.bye_for(now, gone));
    assert_eq!(net.events(), Vec::<String>::new());
}

#[test]
fn a_bye_that_comes_late_is_not_for_who_came_back() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &document(1));
    net.open(1, &document(1));
    let before = net.relays[1].me();
    net.does(1, |relay, now| relay.up(now));
    net.pass(1_000);
    net.events();
    net.does(0, |relay, now| relay.bye_for(now, before));
    assert_eq!(net.events(), Vec::<String>::new());
    assert_eq!(net.relays[0].peers().count(), 1);
}

#[test]
fn the_archive_is_wanted_and_then_home() {
    let mut net = Net::new(&[false, false]);
    let rooms = 1_000;
    for number in 0..rooms {
        net.open(0, &document(number));
    }
    net.events();
    let archive = net.join(true);
    let asked = |net: &Net| {
        let is_who = |(_, to, message): &&(usize, To, Bytes)| {
            *to == To::Peer(PeerId(3))
                && matches!(
                    Envelope::parse(message).unwrap().stream,
                    Stream::Peer { body: ToPeer::Who(_), .. }
                )
        };
        net.said.iter().filter(is_who).count()
    };
    net.carry();
    assert_eq!(asked(&net), 256, "more questions at once than are answered");
    for _ in 0..4 {
        let wanted: Vec<_> = net.outputs.drain(..).collect();
        for (_, output) in wanted {
            if let Output::Wanted(document) = output {
                net.open(archive, &document);
            }
        }
    }
    net.pass(300);
    for number in 0..rooms {
        assert!(net.relays[archive].is_shared(&document(number)));
    }
    let events = net.events();
    assert_eq!(events.iter().filter(|event| **event == "2 called").count(), rooms as usize);
    assert!(events.contains(&"2 home 2".to_owned()));
    assert_eq!(net.relays[0].home(), Some(PeerId(3)));
    assert_eq!(net.relays[1].home(), Some(PeerId(3)));
    let elsewhere = |net: &Net| [0, 1, archive].map(|relay| net.relays[relay].archive_elsewhere());
    assert_eq!(elsewhere(&net), [Some(PeerId(3)), Some(PeerId(3)), None]);
    net.does(archive, |relay, now| relay.stop(now));
    assert_eq!(net.relays[1].home(), Some(PeerId(1)));
    assert_eq!(elsewhere(&net), [None; 3]);
}

#[test]
fn an_archive_that_closes_too_early_is_wanted_again() {
    let mut net = Net::new(&[true, false]);
    net.open(1, &document(1));
    net.open(0, &document(1));
    assert_eq!(net.events(), ["0 wanted", "0 came 1", "0 called", "1 came 0", "1 called"]);
    net.does(0, |relay, _| relay.closed(&document(1)));
    assert_eq!(net.events(), ["1 went 0"]);
    net.pass(500);
    assert_eq!(net.events(), ["0 wanted"]);
}

#[test]
fn what_is_large_goes_in_parts() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &document(1));
    net.open(1, &document(1));
    net.events();
    let many = PeerMessage::Stored(vec![(Ticket(1 << 40), Ok(())); 300_000]);
    let before = net.said.len();
    net.does(0, |relay, _| relay.say(&document(1), many.clone()).unwrap());
    net.does(0, |relay, _| relay.tell(&document(1), PeerId(2), many.clone()).unwrap());
    assert!(net.said.len() - before >= 8);
    assert!(net.said.iter().all(|(_, _, message)| message.len() <= MESSAGE_BYTES_MAX));
    for _ in 0..2 {
        let (_, output) = net.outputs.pop_front().unwrap();
        let Output::Said { message: PeerMessage::Stored(tickets), .. } = output else { panic!("{output:?}") };
        assert_eq!(tickets, vec![(Ticket(1 << 40), Ok(())); 300_000]);
    }
    net.loses = 1;
    net.does(0, |relay, _| relay.say(&document(1), many).unwrap());
    assert_eq!(net.events(), ["1 lost 0", "0 lost 1"]);
    net.does(0, |relay, _| relay.say(&document(1), stored(2)).unwrap());
    assert_eq!(net.events(), ["1 said 0"]);
}

#[test]
fn what_is_too_large_is_not_said() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &document(1));
    net.open(1, &document(1));
    net.events();
    let update = vec![0; UPDATE_BYTES_MAX + (8 << 20)].into();
    let answer = PeerAnswer { update, archived: None, caught_up: true };
    let message = PeerMessage::Answer { ask: AskId(1), result: Ok(Some(answer)) };
    let before = net.said.len();
    let said = net.does(0, |relay, _| relay.tell(&document(1), PeerId(2), message));
    assert!(said.unwrap_err().to_string().contains("not sent"));
    assert_eq!(net.said.len(), before);
    net.does(0, |relay, _| relay.tell(&document(1), PeerId(2), stored(1)).unwrap());
    assert_eq!(net.events(), ["1 said 0"]);
}

#[test]
fn the_end_of_a_stream_is_not_lost_in_silence() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &document(1));
    net.open(1, &document(1));
    net.pass(1_000);
    net.events();
    net.loses = 1;
    net.does(0, |relay, _| relay.say(&document(1), stored(1)).unwrap());
    assert_eq!(net.events(), Vec::<String>::new());
    net.pass(1_000);
    assert_eq!(net.events(), ["1 lost 0", "0 lost 1"]);
    net.loses = 1;
    net.does(0, |relay, _| relay.tell(&document(1), PeerId(2), stored(1)).unwrap());
    net.pass(1_000);
    assert_eq!(net.events(), ["1 lost 0", "0 lost 1"]);
}

#[test]
fn among_many_rooms_nothing_is_lost_in_silence() {
    let mut net = Net::new(&[false, false]);
    for number in 0..500 {
        net.open(0, &document(number));
        net.open(1, &document(number));
    }
    net.pass(1_000);
    net.events();
    net.loses = 1;
    net.does(0, |relay, _| relay.say(&document(99), stored(1)).unwrap());
    net.loses = 1;
    net.does(0, |relay, _| relay.closed(&document(98)));
    net.pass(1_000);
    assert_eq!(net.events(), ["1 lost 0", "1 lost 0", "1 went 0", "0 lost 1"]);
}

#[test]
fn who_was_not_heard_is_asked_back() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &document(1));
    net.events();
    net.unheard = Some(1);
    net.open(1, &document(1));
    net.pass(500);
    assert_eq!(net.events(), Vec::<String>::new());
    net.unheard = None;
    net.pass(500);
    assert_eq!(net.events(), ["0 came 1", "1 came 0", "1 called"]);
}

#[test]
fn tunnels_break_with_what_is_lost() {
    let mut net = Net::new(&[false, false]);
    let frame = |number| TunnelFrame::Data { tunnel: TunnelId(number), payload: Bytes::from_static(b"data") };
    net.does(0, |relay, _| relay.tunnel(PeerId(2), frame(1)).unwrap());
    assert_eq!(net.events(), ["1 tunnel 0"]);
    net.loses = 1;
    net.does(0, |relay, _| relay.tunnel(PeerId(2), frame(2)).unwrap());
    net.does(0, |relay, _| relay.tunnel(PeerId(2), frame(3)).unwrap());
    assert_eq!(net.events(), ["1 broken 0", "1 tunnel 0", "0 broken 1"]);
    net.does(0, |relay, now| relay.stop(now));
    assert!(net.events().contains(&"1 broken 0".to_owned()));
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    let mut net = Net::new(&[false, false]);
    net.open(0, &document(1));
    net.open(1, &document(1));
    net.events();
    let me = net.relays[1].me();
    let misplaced = bye(me);
    net.act(0, |relay, now| relay.heard(now, &To::Peer(PeerId(1)), &misplaced));
    net.act(0, |relay, now| relay.heard(now, &To::Everybody, &Bytes::from_static(b"hello")));
    net.act(0, |relay, now| relay.heard(now, &To::Peer(PeerId(9)), &misplaced));
    let version = InvalidEnvelope::Version { found: b'h' >> 2 };
    assert_eq!(net.events(), ["0 refused Misplaced".to_owned(), format!("0 refused {version:?}")]);
}

#[test]
fn peers_are_bounded() {
    let mut relay = Cluster::new(PeerId(0), false, Timing::default());
    relay.up(Millis(0));
    for peer in 1..3_000 {
        let mut here = Cluster::new(PeerId(peer), false, Timing::default());
        here.up(Millis(0));
        let Some(Output::Transmit { to, message }) = here.poll() else { panic!() };
        relay.heard(Millis(1), &to, &message);
    }
    assert_eq!(relay.peers().count(), 1_000);
}
