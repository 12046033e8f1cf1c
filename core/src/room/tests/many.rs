//! Rooms of one document on several relays: each rule by itself, and random histories.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::*;
use super::cluster::Cluster;
use super::{A, B, HI, effects, entry, hi, sent_to, step1};
use crate::dialect::y_protocols::{self, Message};
use crate::id::PeerId;
use crate::time::Millis;
use crate::update::{StateVector, Update};

/// How many histories are tried; more with `TOMBOLO_ROOM_CASES=20000`.
fn cases() -> u32 {
    std::env::var("TOMBOLO_ROOM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
}

fn steps() -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
    prop::collection::vec((0u8..31, 0usize..8, 0usize..8), 1..150)
}

fn run(people: u64, policy: Acknowledgement, with_archive: bool, steps: &[(u8, usize, usize)]) {
    let mut cluster = Cluster::new(people, policy, with_archive);
    cluster.play(steps);
    cluster.rest(usize::try_from(people).unwrap() - 1);
    cluster.check_at_rest();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Relays die, lose messages, and lose each other, in any order: whoever stays converges, nobody is shown ghosts.
    #[test]
    fn relays_converge_without_archive(steps in steps()) {
        run(5, Acknowledgement::Forwarded, false, &steps);
    }

    /// The same with an archive on one of them, which has everything in the end; at no moment is anybody told that
    /// it has what it has not.
    #[test]
    fn relays_and_archive_converge(steps in steps()) {
        run(5, Acknowledgement::Never, true, &steps);
    }
}

pub(super) const P: PeerId = PeerId(1);
pub(super) const Q: PeerId = PeerId(2);
pub(super) const NOW: Millis = Millis(0);
pub(super) const ARCHIVE: Roll = Roll { archive: true, caught_up: false };
pub(super) const HELD: Roll = Roll { archive: false, caught_up: true };
pub(super) const EMPTY: Roll = Roll { archive: false, caught_up: false };

/// A room whose roll call has ended, with a member that counts acknowledgements and has asked.
pub(super) fn clustered(policy: Acknowledgement, peers: &[(PeerId, Roll)]) -> Room {
    let mut room = Room::new(policy);
    room.clustered(Millis(1_000));
    for (peer, roll) in peers {
        room.peer_came(NOW, *peer, *roll);
    }
    room.called(NOW);
    room.join(A, true);
    room.handle(NOW, A, step1()).unwrap();
    room
}

/// The same, alone until A has caught up.
pub(super) fn caught_up(policy: Acknowledgement) -> Room {
    let mut room = clustered(policy, &[]);
    effects(&mut room);
    room
}

pub(super) fn says(room: &mut Room, id: MemberId, message: Message) -> Vec<Effect> {
    room.handle(NOW, id, message).unwrap();
    effects(room)
}

pub(super) fn comes(room: &mut Room, peer: PeerId, roll: Roll) -> Vec<Effect> {
    room.peer_came(NOW, peer, roll);
    effects(room)
}

pub(super) fn hears(room: &mut Room, peer: PeerId, message: PeerMessage) -> Vec<Effect> {
    room.peer_said(NOW, peer, message);
    effects(room)
}

/// Questions to peers.
pub(super) fn asks(effects: &[Effect]) -> Vec<(PeerId, AskId, StateVector)> {
    let ask = |effect: &Effect| match effect {
        Effect::Tell { peer, message: PeerMessage::Ask { ask, state_vector } } => {
            Some((*peer, *ask, state_vector.clone()))
        }
        _ => None,
    };
    effects.iter().filter_map(ask).collect()
}

pub(super) fn published(effects: &[Effect]) -> Vec<Option<Ticket>> {
    let update = |effect: &Effect| match effect {
        Effect::Publish(PeerMessage::Update { ticket, .. }) => Some(*ticket),
        _ => None,
    };
    effects.iter().filter_map(update).collect()
}

pub(super) fn acknowledged(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Acknowledge { applied: true, .. })).count()
}

pub(super) fn answer(ask: AskId, update: &'static [u8], archived: Option<&[u8]>) -> PeerMessage {
    let archived = archived.map(|bytes| StateVector::parse(bytes).unwrap());
    let answer = PeerAnswer { update: Bytes::from_static(update), archived, caught_up: true };
    PeerMessage::Answer { ask, result: Ok(Some(answer)) }
}

pub(super) fn update_of(ticket: Option<Ticket>) -> PeerMessage {
    PeerMessage::Update { ticket, arrival: Arrival::Change, update: hi() }
}

/// Two structs of client 1 as HI writes them: state vector `{1: 2}`.
pub(super) const HAS_HI: &[u8] = &[1, 1, 2];
pub(super) const NOTHING: &[u8] = &[0, 0];

#[test]
fn nobody_is_told_that_there_is_nothing_before_the_roll_call_ends() {
    let mut room = Room::new(Acknowledgement::Never);
    room.clustered(Millis(1_000));
    room.join(A, true);
    assert!(says(&mut room, A, step1()).is_empty());
    assert_eq!(room.poll_timeout(), Some(Millis(1_000)));
    room.handle_timeout(Millis(1_000));
    assert_eq!(
        sent_to(&effects(&mut room), A),
        [y_protocols::sync_step1(&[0]), y_protocols::sync_step2(NOTHING)]
    );
}

#[test]
fn a_joiner_gets_the_document_once_and_from_one() {
    let mut room = clustered(Acknowledgement::Never, &[(P, EMPTY), (Q, HELD)]);
    let told = effects(&mut room);
    let asked = asks(&told);
    assert_eq!(asked.iter().map(|(peer, ..)| *peer).collect::<Vec<_>>(), [Q], "who has caught up first");
    assert_eq!(sent_to(&told, A), [y_protocols::sync_step1(&[0])]);
    let told = hears(&mut room, Q, answer(asked[0].1, HI, None));
    assert_eq!(sent_to(&told, A), [y_protocols::sync_step2(HI)]);
    assert!(asks(&told).is_empty(), "there is nobody else who has caught up");
    assert!(hears(&mut room, Q, answer(asked[0].1, HI, None)).is_empty(), "once");
    assert!(room.roll().caught_up);
}

#[test]
fn a_member_that_caught_up_answers_before_any_peer() {
    let mut room = caught_up(Acknowledgement::Never);
    comes(&mut room, P, HELD);
    room.join(B, false);
    let told = says(&mut room, B, step1());
    assert!(asks(&told).is_empty());
    assert_eq!(sent_to(&told, A), [y_protocols::sync_step1(&[0])]);
}

#[test]
fn a_peer_that_has_nobody_or_goes_or_is_silent_has_a_second_choice() {
    let next = |event: fn(&mut Room, AskId)| {
        let mut room = clustered(Acknowledgement::Never, &[(P, EMPTY), (Q, EMPTY)]);
        let asked = asks(&effects(&mut room));
        assert_eq!(asked[0].0, P);
        event(&mut room, asked[0].1);
        let again = asks(&effects(&mut room));
        assert_eq!((again.len(), again[0].0), (1, Q));
    };
    next(|room, ask| room.peer_said(NOW, P, PeerMessage::Answer { ask, result: Ok(None) }));
    next(|room, _| room.peer_went(NOW, P));
    next(|room, _| room.handle_timeout(room.poll_timeout().unwrap()));
}

#[test]
fn a_peer_is_answered_by_members_only() {
    let mut room = caught_up(Acknowledgement::Never);
    comes(&mut room, P, EMPTY);
    comes(&mut room, Q, ARCHIVE);
    let question = PeerMessage::Ask { ask: AskId(77), state_vector: StateVector::default() };
    let told = hears(&mut room, P, question.clone());
    assert!(asks(&told).is_empty());
    says(&mut room, A, Message::SyncStep2(Update::empty())); // its own content
    let told = says(&mut room, A, Message::SyncStep2(hi()));
    let is_answer = |effect: &Effect| {
        matches!(effect, Effect::Tell { peer: P, message: PeerMessage::Answer { ask: AskId(77), result: Ok(Some(answer)) } }
            if answer.archived.is_none() && answer.caught_up && answer.update == HI)
    };
    assert!(told.iter().any(is_answer), "{told:?}");
    room.leave(NOW, A);
    effects(&mut room);
    let told = hears(&mut room, P, question);
    let [Effect::Tell { peer: P, message: PeerMessage::Answer { result: Ok(None), .. } }] = told[..] else {
        panic!("{told:?}")
    };
}

#[test]
fn an_archive_here_stores_and_reads_for_peers() {
    let mut room = Room::new(Acknowledgement::Durable);
    room.clustered(Millis(1_000));
    room.peer_came(NOW, P, EMPTY);
    assert!(!room.is_empty(), "it is kept for its peers");
    let told = hears(&mut room, P, update_of(Some(Ticket(9))));
    let [Effect::Store { ticket, .. }] = told[..] else { panic!("{told:?}") };
    room.stored(ticket, Ok(()));
    let told = effects(&mut room);
    let [Effect::Tell { peer: P, message: PeerMessage::Stored(results) }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(results[..], [(Ticket(9), Ok(()))]);
    let told = hears(&mut room, P, PeerMessage::Ask { ask: AskId(5), state_vector: StateVector::default() });
    let [Effect::Read { asker, .. }] = told[..] else { panic!("{told:?}") };
    assert!(asker.is_of_peer() && !A.is_of_peer());
    room.answered(
        asker,
        Ok(Answer { update: Bytes::from_static(HI), state_vector: StateVector::parse(HAS_HI).unwrap() }),
    );
    let told = effects(&mut room);
    let [Effect::Tell { peer: P, message: PeerMessage::Answer { ask: AskId(5), result: Ok(Some(answer)) } }] =
        &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(answer.archived, Some(StateVector::parse(HAS_HI).unwrap()));
    room.peer_went(NOW, P);
    assert!(room.is_empty());
}

#[test]
fn a_peer_cannot_ask_without_bound() {
    for policy in [Acknowledgement::Durable, Acknowledgement::Never] {
        let mut room = Room::new(policy);
        room.clustered(Millis(1_000));
        room.join(A, false);
        room.peer_came(NOW, P, EMPTY);
        let mut refused = 0;
        for ask in 0..1_000 {
            let state_vector = StateVector::default();
            let told = hears(&mut room, P, PeerMessage::Ask { ask: AskId(ask), state_vector });
            refused += told
                .iter()
                .filter(|effect| {
                    matches!(
                        effect,
                        Effect::Tell {
                            message: PeerMessage::Answer {
                                result: Err(StoreRefused::Trouble) | Ok(None),
                                ..
                            },
                            ..
                        }
                    )
                })
                .count();
        }
        assert_eq!(refused, 1_000 - 256);
    }
}

#[test]
fn who_asks_two_peers_hears_what_the_slower_one_has() {
    let mut room = clustered(Acknowledgement::Never, &[(P, HELD), (Q, HELD)]);
    let first = asks(&effects(&mut room))[0].1;
    room.handle_timeout(room.poll_timeout().unwrap());
    let second = asks(&effects(&mut room))[0].1;
    let told = hears(&mut room, Q, answer(second, NOTHING, None));
    assert_eq!(sent_to(&told, A), [y_protocols::sync_step2(NOTHING)]);
    let told = hears(&mut room, P, answer(first, HI, None));
    assert_eq!(sent_to(&told, A), [y_protocols::update(HI)], "it is answered already");
}

#[test]
fn a_peer_that_asks_hears_what_the_slower_member_has() {
    let mut room = caught_up(Acknowledgement::Never);
    says(&mut room, A, Message::SyncStep2(Update::empty()));
    comes(&mut room, P, EMPTY);
    room.join(B, false);
    hears(&mut room, P, PeerMessage::Ask { ask: AskId(2), state_vector: StateVector::default() });
    room.handle_timeout(room.poll_timeout().unwrap());
    effects(&mut room);
    let told = says(&mut room, B, Message::SyncStep2(Update::empty()));
    assert!(matches!(told[..], [Effect::Tell { message: PeerMessage::Answer { .. }, .. }]), "{told:?}");
    let told = says(&mut room, A, Message::SyncStep2(hi()));
    assert!(matches!(told[..], [Effect::Tell { message: PeerMessage::Update { .. }, .. }]), "{told:?}");
}

#[test]
fn the_last_archive_to_come_is_the_one() {
    let mut room = clustered(Acknowledgement::Never, &[(Q, ARCHIVE)]);
    assert_eq!(asks(&effects(&mut room))[0].0, Q);
    let asked = asks(&comes(&mut room, P, ARCHIVE));
    assert_eq!((asked.len(), asked[0].0), (1, P), "another may have crashed without a word");
}

#[test]
fn who_caught_up_exchanges_unless_it_is_alone_with_the_answer() {
    let mut room = clustered(Acknowledgement::Never, &[(P, HELD)]);
    room.join(B, false);
    room.handle(NOW, B, step1()).unwrap();
    let ask = asks(&effects(&mut room))[0].1;
    let asked = asks(&hears(&mut room, P, answer(ask, HI, None)));
    assert_eq!(asked.len(), 1, "B may be answered by another");
}

#[test]
fn who_catches_up_after_the_last_holder_left_exchanges_anew() {
    let mut room = caught_up(Acknowledgement::Never);
    for peer in [P, Q] {
        let ask = asks(&comes(&mut room, peer, HELD))[0].1;
        hears(&mut room, peer, answer(ask, NOTHING, None));
    }
    room.join(B, false);
    says(&mut room, B, step1());
    room.leave(NOW, A);
    let asked = asks(&effects(&mut room));
    assert_eq!((asked.len(), asked[0].0), (1, P), "B's question");
    let asked = asks(&hears(&mut room, P, answer(asked[0].1, NOTHING, None)));
    assert_eq!((asked.len(), asked[0].0), (1, Q));
}

#[test]
fn own_content_is_asked_in_full_unless_all_others_hold_what_passed_by() {
    let mut room = Room::new(Acknowledgement::Never);
    room.join(A, false);
    says(&mut room, A, Message::Update(hi()));
    room.join(B, false);
    assert_eq!(sent_to(&says(&mut room, B, step1()), B), [y_protocols::sync_step1(&[0])]);
}

#[test]
fn who_may_only_read_is_never_asked_for_others() {
    let mut room = Room::new(Acknowledgement::Never);
    for (id, reads) in [(A, true), (B, false)] {
        if reads {
            room.join_to_read(id, false);
        } else {
            room.join(id, false);
        }
        room.handle(Millis(0), id, Message::SyncStep1(StateVector::default())).unwrap();
    }
    let asked: Vec<_> = std::iter::from_fn(|| room.poll_effect()).collect();
    let served = |id: MemberId| {
        asked.iter().filter(|effect| matches!(effect, Effect::Serve { to, .. } if *to == id)).count()
    };
    assert_eq!((served(A), served(B)), (1, 1), "nobody waits for a reader: {asked:?}");
    assert_eq!(room.poll_timeout(), None);
}

#[test]
fn a_goodbye_that_overtakes_who_it_is_for_is_remembered() {
    let mut room = caught_up(Acknowledgement::Never);
    comes(&mut room, P, EMPTY);
    for state in [None, Some("{}")] {
        let Message::Awareness(update) = entry(7, 1, state) else { unreachable!() };
        assert!(hears(&mut room, P, PeerMessage::Presence(update)).is_empty());
    }
    let known = room.presence_since(0).next().unwrap().entries;
    assert!(known.iter().all(|entry| entry.state.is_none()), "a ghost: {known:?}");
}

#[test]
fn an_answer_from_before_a_peer_went_is_not_of_the_one_that_came_back() {
    let mut room = clustered(Acknowledgement::Never, &[(P, EMPTY), (Q, EMPTY)]);
    let before = asks(&effects(&mut room))[0].1;
    room.peer_went(NOW, P);
    let second = asks(&effects(&mut room))[0].1;
    comes(&mut room, P, EMPTY);
    let again = asks(&hears(&mut room, Q, PeerMessage::Answer { ask: second, result: Ok(None) }));
    assert_eq!((again.len(), again[0].0), (1, P));
    assert!(hears(&mut room, P, answer(before, HI, None)).is_empty(), "of who is no more");
    assert_eq!(sent_to(&hears(&mut room, P, answer(again[0].1, HI, None)), A), [y_protocols::sync_step2(HI)]);
}
