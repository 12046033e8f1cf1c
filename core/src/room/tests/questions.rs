//! How often a member is asked: once for each `SyncStep1` of its own where an archive is in reach, and not for others.

use super::super::*;
use super::many::*;
use super::{A, HI, effects, hi, sent_to, step1};
use crate::dialect::y_protocols::{self, Message};
use crate::id::PeerId;
use crate::time::Millis;
use crate::update::{StateVector, Update};

/// A room that calls its roll, with a member that has asked.
fn calling() -> Room {
    let mut room = Room::new(Acknowledgement::Never);
    room.clustered(Millis(1_000));
    room.join(A, true);
    room.handle(NOW, A, step1()).unwrap();
    room
}

/// `SyncStep1` to the member, `SyncStep2` to it.
fn sent(effects: &[Effect]) -> (usize, usize) {
    let bodies = sent_to(effects, A);
    let asked = |body: &&bytes::Bytes| matches!(y_protocols::parse(body), Ok(Message::SyncStep1(_)));
    let served = |body: &&bytes::Bytes| matches!(y_protocols::parse(body), Ok(Message::SyncStep2(_)));
    (bodies.iter().filter(asked).count(), bodies.iter().filter(served).count())
}

fn tickets(effects: &[Effect]) -> Vec<Ticket> {
    let ticket = |effect: &Effect| match effect {
        Effect::Publish(PeerMessage::Update { ticket, .. })
        | Effect::Tell { message: PeerMessage::Update { ticket, .. }, .. } => *ticket,
        _ => None,
    };
    effects.iter().filter_map(ticket).collect()
}

fn answers(effects: &[Effect]) -> Vec<PeerAnswer> {
    let answer = |effect: &Effect| match effect {
        Effect::Tell { message: PeerMessage::Answer { result: Ok(answer), .. }, .. } => answer.clone(),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

/// The archive of P has answered the member, who answers nothing.
fn served_by_the_archive() -> Room {
    let mut room = calling();
    let told = comes(&mut room, P, ARCHIVE);
    assert_eq!(sent(&told), (0, 0));
    let told = hears(&mut room, P, answer(asks(&told)[0].1, HI, Some(HAS_HI)));
    assert_eq!(sent(&told), (1, 1));
    room.called(NOW);
    assert!(effects(&mut room).is_empty());
    room
}

#[test]
fn a_member_is_asked_once_when_the_archive_comes_before_the_roll_call_ends() {
    served_by_the_archive();
}

#[test]
fn a_member_is_asked_once_when_the_archive_comes_before_it_is_served() {
    let mut room = calling();
    room.peer_came(NOW, Q, EMPTY);
    room.called(NOW);
    let told = effects(&mut room);
    assert_eq!((sent(&told), asks(&told)[0].0), ((1, 0), Q));
    let told = comes(&mut room, P, ARCHIVE);
    let ask = asks(&told).into_iter().find(|(peer, ..)| *peer == P).expect("it is asked at once").1;
    let told = [told, hears(&mut room, P, answer(ask, HI, Some(HAS_HI)))].concat();
    assert_eq!(sent(&told), (0, 1));
    says(&mut room, A, Message::Update(hi()));
    let told = says(&mut room, A, Message::SyncStep2(hi()));
    let stored = tickets(&told).into_iter().map(|ticket| (ticket, Ok(()))).collect();
    assert_eq!(acknowledged(&hears(&mut room, P, PeerMessage::Stored(stored))), 1);
}

#[test]
fn a_member_that_was_served_without_the_archive_is_asked_once_more() {
    let mut room = calling();
    room.called(NOW);
    assert_eq!(sent(&effects(&mut room)), (1, 1));
    says(&mut room, A, Message::SyncStep2(Update::empty()));
    let ask = asks(&comes(&mut room, P, ARCHIVE))[0].1;
    assert_eq!(sent(&hears(&mut room, P, answer(ask, HI, Some(HAS_HI)))), (1, 0));
}

#[test]
fn an_update_during_the_roll_call_is_acknowledged_by_the_archive_that_comes() {
    let mut room = calling();
    assert!(tickets(&says(&mut room, A, Message::Update(hi()))).is_empty());
    let told = comes(&mut room, P, ARCHIVE);
    let [ticket] = tickets(&told)[..] else { panic!("{told:?}") };
    assert_eq!(acknowledged(&hears(&mut room, P, PeerMessage::Stored(vec![(ticket, Ok(()))]))), 1);
    let told = hears(&mut room, P, answer(asks(&told)[0].1, HI, Some(HAS_HI)));
    assert_eq!(sent(&told), (1, 1));
    let [ticket] = tickets(&says(&mut room, A, Message::SyncStep2(hi())))[..] else { panic!("its content") };
    assert_eq!(acknowledged(&hears(&mut room, P, PeerMessage::Stored(vec![(ticket, Ok(()))]))), 1);
}

#[test]
fn what_is_kept_for_an_archive_is_bounded_and_owed_without_one() {
    let mut room = calling();
    for _ in 0..1_000 {
        says(&mut room, A, Message::Update(hi()));
    }
    let mut other = calling();
    for room in [&mut room, &mut other] {
        says(room, A, Message::Update(hi()));
    }
    let kept = tickets(&comes(&mut room, P, ARCHIVE)).len();
    assert!(kept < 500, "{kept}");
    assert_eq!(room.members[&A].owed, 1_001 - kept as u64);
    other.called(NOW);
    assert_eq!(other.members[&A].owed, 1);
    assert!(tickets(&comes(&mut other, P, ARCHIVE)).is_empty());
}

fn ask(number: u64, reaches_archive: bool) -> PeerMessage {
    let ask = AskId::new(number, reaches_archive, false);
    PeerMessage::Ask { ask, state_vector: StateVector::default() }
}

#[test]
fn a_peer_that_reaches_the_archive_is_referred_to_it() {
    let mut room = served_by_the_archive();
    comes(&mut room, Q, EMPTY);
    let told = hears(&mut room, Q, ask(1, true));
    assert_eq!(sent(&told), (0, 0), "no member is asked");
    assert!(matches!(&answers(&told)[..], [PeerAnswer { update, .. }] if update == NOTHING));
    assert_eq!(sent(&hears(&mut room, Q, ask(2, false))), (1, 0), "who does not reach it needs a member");
}

#[test]
fn nobody_is_referred_to_an_archive_that_may_lack_something() {
    let events: [fn(&mut Room); 4] = [
        |room| drop(says(room, A, Message::Update(hi()))), // It is under way.
        |room| {
            // Its sender went, and may have said it here and not there.
            comes(room, PeerId(7), EMPTY);
            hears(room, PeerId(7), update_of(None));
            room.peer_went(NOW, PeerId(7));
        },
        |room| room.peer_lost(NOW, P),
        |room| {
            room.peer_went(NOW, P);
            room.peer_came(NOW, P, ARCHIVE);
        },
    ];
    for event in events {
        let mut room = served_by_the_archive();
        comes(&mut room, Q, EMPTY);
        event(&mut room);
        effects(&mut room);
        assert_eq!(sent(&hears(&mut room, Q, ask(1, true))), (1, 0));
    }
}

#[test]
fn who_is_referred_asks_the_archive_once_more() {
    let mut room = served_by_the_archive();
    let asked = asks(&comes(&mut room, Q, HELD));
    assert!(matches!(asked[..], [(Q, ask, _)] if ask.reaches_archive()), "{asked:?}");
    let told = hears(&mut room, Q, answer(asked[0].1, NOTHING, None));
    let [(P, again, _)] = asks(&told)[..] else { panic!("{told:?}") };
    const MORE: &[u8] = &[1, 1, 2, 0, 4, 1, 1, b't', 2, b'y', b'o', 0];
    let told = hears(&mut room, P, answer(again, MORE, Some(HAS_HI)));
    assert_eq!(sent_to(&told, A), [y_protocols::update(MORE)]);
    assert!(asks(&told).is_empty());
}

#[test]
fn nobody_is_referred_after_a_time_without_the_backplane() {
    let mut room = calling();
    comes(&mut room, Q, EMPTY);
    hears(&mut room, Q, update_of(None));
    room.rejoining(NOW, Millis(3_000));
    let told = comes(&mut room, P, ARCHIVE);
    hears(&mut room, P, answer(asks(&told)[0].1, HI, Some(HAS_HI)));
    comes(&mut room, Q, EMPTY);
    assert_eq!(sent(&hears(&mut room, Q, ask(1, true))), (1, 0));
}
