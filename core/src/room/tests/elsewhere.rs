//! An archive on another relay: who is acknowledged when, and what happens when it comes, goes, or misses something.

use bytes::Bytes;

use super::super::*;
use super::many::*;
use super::{A, B, HI, effects, entry, hi, sent_to, step1};
use crate::dialect::y_protocols::{self, Message};
use crate::time::Millis;
use crate::update::{StateVector, Update};

fn stored(room: &mut Room, ticket: u64) -> usize {
    acknowledged(&hears(room, P, PeerMessage::Stored(vec![(Ticket(ticket), Ok(()))])))
}

/// A has caught up, its own content is durable, and P has the archive.
fn settled() -> Room {
    let mut room = clustered(Acknowledgement::Never, &[(P, ARCHIVE)]);
    let ask = asks(&effects(&mut room))[0].1;
    hears(&mut room, P, answer(ask, NOTHING, Some(&[0])));
    says(&mut room, A, Message::SyncStep2(Update::empty()));
    assert_eq!(stored(&mut room, 1), 1);
    room
}

#[test]
fn an_archive_elsewhere_answers_and_acknowledges() {
    let mut room = clustered(Acknowledgement::Never, &[(Q, HELD), (P, ARCHIVE)]);
    let told = effects(&mut room);
    assert!(sent_to(&told, A).is_empty(), "it is asked for what the archive lacks, not before");
    let asked = asks(&told);
    assert_eq!((asked.len(), asked[0].0), (1, P));
    assert_eq!(room.poll_timeout(), None, "nobody else knows what the archive would have said");
    let told = hears(&mut room, P, answer(asked[0].1, HI, Some(HAS_HI)));
    assert_eq!(sent_to(&told, A), [y_protocols::sync_step1(HAS_HI), y_protocols::sync_step2(HI)]);
    assert_eq!(acknowledged(&says(&mut room, A, Message::SyncStep2(Update::empty()))), 0);
    assert_eq!(stored(&mut room, 1), 1);
    let told = says(&mut room, A, Message::Update(hi()));
    assert_eq!(published(&told), [Some(Ticket(2))]);
    assert_eq!(acknowledged(&told), 0);
    assert!(
        hears(&mut room, Q, PeerMessage::Stored(vec![(Ticket(2), Ok(()))])).is_empty(),
        "not the archive"
    );
    assert_eq!((stored(&mut room, 2), stored(&mut room, 2)), (1, 0));
}

#[test]
fn what_is_still_said_to_an_earlier_room_acknowledges_nothing() {
    let mut earlier = settled();
    assert_eq!(published(&says(&mut earlier, A, Message::Update(hi()))), [Some(Ticket(2))]);
    let mut room = Room::new(Acknowledgement::Never);
    room.number_from(earlier.numbered_to());
    room.clustered(Millis(3_000));
    room.join(B, true);
    comes(&mut room, P, ARCHIVE);
    assert_eq!(published(&says(&mut room, B, Message::Update(hi()))), [Some(Ticket(3))]);
    assert_eq!((stored(&mut room, 2), stored(&mut room, 3)), (0, 1));
}

#[test]
fn what_the_archive_elsewhere_refuses_closes_its_sender() {
    let mut room = settled();
    says(&mut room, A, Message::Update(hi()));
    let refused = PeerMessage::Stored(vec![(Ticket(2), Err(StoreRefused::Quarantined))]);
    let told = hears(&mut room, P, refused);
    let [Effect::Acknowledge { applied: false, .. }, Effect::Close { member: A, .. }] = told[..] else {
        panic!("{told:?}")
    };
}

#[test]
fn without_an_archive_acknowledgements_are_owed_until_one_has_everything() {
    let mut room = caught_up(Acknowledgement::Never);
    assert_eq!(acknowledged(&says(&mut room, A, Message::SyncStep2(Update::empty()))), 0);
    for _ in 0..3 {
        assert_eq!(acknowledged(&says(&mut room, A, Message::Update(hi()))), 0);
    }
    let told = comes(&mut room, P, ARCHIVE);
    let [(P, ask, known)] = &asks(&told)[..] else { panic!("{told:?}") };
    assert_eq!(known.encode(), HAS_HI, "what the archive has that may not be here");
    let told = hears(&mut room, P, answer(*ask, NOTHING, Some(&[0])));
    assert_eq!(sent_to(&told, A), [y_protocols::sync_step1(&[0])], "all that the archive lacks");
    let told = says(&mut room, A, Message::SyncStep2(hi()));
    assert_eq!(acknowledged(&told), 0);
    assert_eq!(
        stored(&mut room, 1),
        4,
        "the handshake and three edits; none for an answer that is not counted"
    );
    assert!(effects(&mut room).is_empty());
}

#[test]
fn what_another_has_says_nothing_of_what_is_owed() {
    let mut room = caught_up(Acknowledgement::Never);
    says(&mut room, A, Message::SyncStep2(Update::empty()));
    says(&mut room, A, Message::Update(hi()));
    room.join(B, true);
    says(&mut room, B, step1()); // B's own content is asked for, and A for what B lacks
    says(&mut room, A, Message::SyncStep2(hi()));
    let ask = asks(&comes(&mut room, P, ARCHIVE))[0].1;
    hears(&mut room, P, answer(ask, NOTHING, Some(&[0])));
    says(&mut room, B, Message::SyncStep2(Update::empty())); // from before the archive came
    says(&mut room, B, Message::SyncStep2(hi()));
    let told = hears(&mut room, P, PeerMessage::Stored(vec![(Ticket(1), Ok(())), (Ticket(2), Ok(()))]));
    assert!(told.iter().all(|effect| matches!(effect, Effect::Acknowledge { to: B, .. })), "{told:?}");
    assert_eq!(acknowledged(&told), 1);
    says(&mut room, A, Message::SyncStep2(hi()));
    assert_eq!(stored(&mut room, 3), 2);
}

#[test]
fn content_from_before_the_archive_came_settles_nothing() {
    let mut room = Room::new(Acknowledgement::Never);
    room.clustered(Millis(1_000));
    room.called(NOW);
    room.join(A, true);
    says(&mut room, A, Message::Update(hi()));
    assert_eq!(sent_to(&says(&mut room, A, step1()), A)[0], y_protocols::sync_step1(HAS_HI));
    let ask = asks(&comes(&mut room, P, ARCHIVE))[0].1;
    hears(&mut room, P, answer(ask, NOTHING, Some(&[0])));
    says(&mut room, A, Message::SyncStep2(Update::empty())); // what the room lacked, not the archive
    assert_eq!(stored(&mut room, 1), 0);
    says(&mut room, A, Message::SyncStep2(hi()));
    assert_eq!(stored(&mut room, 2), 2);
}

#[test]
fn an_archive_that_goes_or_misses_something_leaves_a_debt() {
    let again: [fn(&mut Room); 4] = [
        |room| {
            room.peer_went(NOW, P);
            room.peer_came(NOW, P, ARCHIVE);
        },
        |room| room.peer_lost(NOW, P),
        |room| {
            let state_vector = StateVector::default();
            room.peer_said(NOW, P, PeerMessage::Ask { ask: AskId(1), state_vector });
        },
        |room| {
            room.alone(NOW);
            room.clustered(Millis(2_000));
            room.peer_came(NOW, P, ARCHIVE);
        },
    ];
    for event in again {
        let mut room = settled();
        says(&mut room, A, Message::Update(hi()));
        event(&mut room);
        let told = effects(&mut room);
        let asked = asks(&told);
        assert_eq!(asked.len(), 1, "{asked:?}");
        let is_question = |body: &Bytes| matches!(y_protocols::parse(body), Ok(Message::SyncStep1(_)));
        let mut questions = sent_to(&told, A).iter().filter(|body| is_question(body)).count();
        assert_eq!(stored(&mut room, 2), 0, "it may have been another that said so");
        let told = hears(&mut room, P, answer(asked[0].1, NOTHING, Some(&[0])));
        questions += sent_to(&told, A).iter().filter(|body| is_question(body)).count();
        for _ in 0..questions {
            says(&mut room, A, Message::SyncStep2(hi()));
        }
        assert_eq!(stored(&mut room, 3), 1);
        assert_eq!(room.members[&A].owed, 0);
    }
}

#[test]
fn a_relay_that_acknowledges_what_it_forwarded_does_so_when_the_archive_goes() {
    let mut room = caught_up(Acknowledgement::Forwarded);
    assert_eq!(acknowledged(&says(&mut room, A, Message::SyncStep2(Update::empty()))), 1);
    assert_eq!(acknowledged(&says(&mut room, A, Message::Update(hi()))), 1);
    comes(&mut room, P, ARCHIVE);
    assert_eq!(acknowledged(&says(&mut room, A, Message::Update(hi()))), 0);
    room.peer_went(NOW, P);
    assert_eq!(acknowledged(&effects(&mut room)), 1);
}

#[test]
fn an_archive_here_asks_a_peer_whose_updates_it_may_have_missed() {
    let mut room = Room::new(Acknowledgement::Durable);
    room.clustered(Millis(1_000));
    assert!(asks(&comes(&mut room, P, HELD)).is_empty(), "relays settle by themselves");
    room.peer_lost(NOW, P);
    let asked = asks(&effects(&mut room));
    assert!(asked.len() == 1 && asked[0].1.asks_back(), "{asked:?}");
    let told = hears(&mut room, P, answer(asked[0].1, HI, None));
    assert!(matches!(told[..], [Effect::Store { .. }]), "{told:?}");
}

#[test]
fn an_archive_that_cannot_read_closes_who_asked_and_is_asked_again_by_the_room() {
    let mut room = clustered(Acknowledgement::Never, &[(P, ARCHIVE)]);
    let ask = asks(&effects(&mut room))[0].1;
    let refused = |ask| PeerMessage::Answer { ask, result: Err(StoreRefused::Trouble) };
    let told = hears(&mut room, P, refused(ask));
    assert!(matches!(told[..], [Effect::Close { member: A, reason: StoreRefused::Trouble }]), "{told:?}");
    let mut room = caught_up(Acknowledgement::Never);
    let ask = asks(&comes(&mut room, P, ARCHIVE))[0].1;
    assert!(hears(&mut room, P, refused(ask)).is_empty());
    room.handle_timeout(room.poll_timeout().unwrap());
    assert_eq!(asks(&effects(&mut room)).len(), 1);
    let told = hears(&mut room, P, PeerMessage::Answer { ask, result: Err(StoreRefused::Deleted) });
    assert!(matches!(told[..], [Effect::Close { member: A, reason: StoreRefused::Deleted }]), "{told:?}");
}

#[test]
fn peers_that_were_apart_ask_each_other_and_spread_the_answer() {
    let mut room = caught_up(Acknowledgement::Never);
    says(&mut room, A, Message::SyncStep2(hi()));
    let told = comes(&mut room, P, HELD);
    let [(P, ask, known)] = &asks(&told)[..] else { panic!("{told:?}") };
    assert_eq!(known.encode(), HAS_HI);
    const MORE: &[u8] = &[1, 1, 2, 0, 4, 1, 1, b't', 2, b'y', b'o', 0];
    let told = hears(&mut room, P, answer(*ask, MORE, None));
    assert_eq!(sent_to(&told, A), [y_protocols::update(MORE)]);
    assert!(published(&told).is_empty(), "the others ask for themselves");
    assert!(asks(&comes(&mut room, P, HELD)).is_empty(), "once");
    room.peer_lost(NOW, P);
    assert_eq!(asks(&effects(&mut room)).len(), 1, "until something is lost");
}

#[test]
fn a_joiner_whom_a_peer_answered_too_early_gets_the_rest_from_a_member() {
    let mut room = settled();
    says(&mut room, A, Message::Update(hi()));
    room.join(B, false);
    let ask = asks(&says(&mut room, B, step1()))[0].1;
    let told = hears(&mut room, P, answer(ask, NOTHING, Some(&[0])));
    assert_eq!(sent_to(&told, B), [y_protocols::sync_step1(&[0]), y_protocols::sync_step2(NOTHING)]);
    assert_eq!(sent_to(&told, A), [y_protocols::sync_step1(&[0])], "it passed by here");
    let told = says(&mut room, A, Message::SyncStep2(hi()));
    assert_eq!(sent_to(&told, B), [y_protocols::update(HI)]);
}

#[test]
fn what_a_peer_brings_is_spread_and_not_published_again() {
    let mut room = caught_up(Acknowledgement::Never);
    comes(&mut room, P, EMPTY);
    let told = hears(&mut room, P, update_of(None));
    assert_eq!(sent_to(&told, A), [y_protocols::update(HI)]);
    assert_eq!(told.len(), 1);
    assert!(hears(&mut room, Q, update_of(None)).is_empty(), "it did not come");
    room.leave(NOW, A);
    assert!(room.is_empty(), "whoever else has it open");
}

#[test]
fn presence_goes_where_its_owner_goes() {
    let mut room = caught_up(Acknowledgement::Never);
    says(&mut room, A, entry(7, 1, Some("{}")));
    let of_peer = |client, clock, state| match entry(client, clock, state) {
        Message::Awareness(update) => PeerMessage::Presence(update),
        _ => unreachable!(),
    };
    let presence = |effects: &[Effect]| {
        let one = |effect: &Effect| match effect {
            Effect::Tell { message: PeerMessage::Presence(update), .. }
            | Effect::Publish(PeerMessage::Presence(update)) => Some(update.entries.clone()),
            _ => None,
        };
        effects.iter().filter_map(one).flatten().map(|entry| (entry.client, entry.state.is_some())).collect()
    };
    let shown: Vec<(u64, bool)> = presence(&comes(&mut room, P, EMPTY));
    assert_eq!(shown, [(7, true)], "a peer that comes is told of those who are here");
    let told = hears(&mut room, P, of_peer(8, 1, Some("{}")));
    assert_eq!((sent_to(&told, A).len(), presence(&told).len()), (1, 0));
    assert_eq!(presence(&comes(&mut room, Q, EMPTY)), [(7, true)], "and of nobody else");
    assert!(says(&mut room, A, entry(8, 1, Some("{}"))).is_empty(), "an echo makes nobody its owner");
    room.peer_went(NOW, P);
    assert_eq!(sent_to(&effects(&mut room), A).len(), 1, "it takes its ghosts with it");
    let gone = room.presence_since(0).next().unwrap().entries;
    assert!(gone.iter().any(|entry| entry.client == 8 && entry.state.is_none()));
    room.join(B, false);
    effects(&mut room);
    room.leave(NOW, A);
    assert_eq!(presence(&effects(&mut room)), [(7, false)], "goodbyes are for all");
}

#[test]
fn presence_that_is_not_renewed_after_a_loss_is_ended() {
    let mut room = caught_up(Acknowledgement::Never);
    comes(&mut room, P, EMPTY);
    for client in [7, 8] {
        let Message::Awareness(update) = entry(client, 1, Some("{}")) else { unreachable!() };
        hears(&mut room, P, PeerMessage::Presence(update));
    }
    room.peer_lost(NOW, P);
    let Message::Awareness(update) = entry(7, 2, Some("{}")) else { unreachable!() };
    hears(&mut room, P, PeerMessage::Presence(update));
    room.handle_timeout(room.poll_timeout().unwrap());
    assert_eq!(sent_to(&effects(&mut room), A).len(), 1);
    let known = room.presence_since(0).next().unwrap().entries;
    let there: Vec<_> =
        known.iter().filter(|entry| entry.state.is_some()).map(|entry| entry.client).collect();
    assert_eq!(there, [7]);
}

#[test]
fn what_the_archive_here_serves_again_reaches_peers_too() {
    let mut room = Room::new(Acknowledgement::Durable);
    room.clustered(Millis(1_000));
    comes(&mut room, P, EMPTY);
    room.released(&hi());
    assert_eq!(published(&effects(&mut room)), [None]);
}

#[test]
fn more_updates_than_may_be_under_way_are_owed_and_settled_together() {
    let mut room = settled();
    let most = 16 * 1024;
    for _ in 0..most + 2 {
        says(&mut room, A, Message::Update(hi()));
    }
    let all = (2..2 + most).map(|ticket| (Ticket(ticket), Ok(()))).collect();
    let told = hears(&mut room, P, PeerMessage::Stored(all));
    assert_eq!(acknowledged(&told) as u64, most);
    let asked = asks(&told);
    let told = hears(&mut room, P, answer(asked[0].1, NOTHING, Some(HAS_HI)));
    assert_eq!(sent_to(&told, A), [y_protocols::sync_step1(HAS_HI)]);
    says(&mut room, A, Message::SyncStep2(Update::empty()));
    assert_eq!(stored(&mut room, 2 + most), 2);
}

#[test]
fn an_archive_is_asked_again_a_few_at_a_time() {
    let mut room = clustered(Acknowledgement::Never, &[(P, ARCHIVE)]);
    for id in 0..300 {
        room.join(MemberId(100 + id), false);
        room.handle(NOW, MemberId(100 + id), step1()).unwrap();
    }
    effects(&mut room);
    room.peer_lost(NOW, P);
    let mut open = asks(&effects(&mut room));
    let mut answered = 0;
    while let Some((_, ask, _)) = open.pop() {
        assert!(open.len() < 32, "{} more are asked at once", open.len());
        answered += 1;
        open.extend(asks(&hears(&mut room, P, answer(ask, NOTHING, Some(&[0])))));
    }
    // Those of the members, and the room's own.
    assert!((301..=302).contains(&answered), "{answered}");
}

#[test]
fn who_waits_is_asked_for_when_others_leave() {
    let mut room = clustered(Acknowledgement::Never, &[(P, ARCHIVE)]);
    let mut asked = asks(&effects(&mut room)).len();
    for id in 0..100 {
        room.join(MemberId(100 + id), false);
        asked += asks(&says(&mut room, MemberId(100 + id), step1())).len();
    }
    assert!(asked < 100);
    room.leave(NOW, A);
    for id in 0..100 {
        room.leave(NOW, MemberId(100 + id));
        asked += asks(&effects(&mut room)).len();
    }
    assert_eq!(asked, 101, "nobody waits for the answers of those who left");
}

#[test]
fn what_is_owed_is_settled_although_others_are_always_under_way() {
    let mut room = settled();
    let most = 16 * 1024;
    for _ in 0..=most {
        says(&mut room, A, Message::Update(hi()));
    }
    // One was too many. Whenever one is stored another comes.
    let mut asked = Vec::new();
    for ticket in 2..2 + most {
        assert!(asked.is_empty(), "not before all that came before are stored");
        room.peer_said(NOW, P, PeerMessage::Stored(vec![(Ticket(ticket), Ok(()))]));
        asked = asks(&effects(&mut room));
        says(&mut room, A, Message::Update(hi()));
    }
    assert_eq!(asked.len(), 1, "the archive is asked what it lacks");
    // All that were under way then are owed as well, and settled with one acknowledgement from the archive.
    let told = hears(&mut room, P, answer(asked[0].1, NOTHING, Some(HAS_HI)));
    assert_eq!(sent_to(&told, A), [y_protocols::sync_step1(HAS_HI)]);
    says(&mut room, A, Message::SyncStep2(Update::empty()));
    let last = room.numbered_to();
    assert_eq!(stored(&mut room, last) as u64, most);
}

#[test]
fn a_deletion_is_for_members_everywhere() {
    let mut archive = clustered(Acknowledgement::Durable, &[(Q, HELD)]);
    effects(&mut archive);
    archive.answered(MemberId(u64::MAX), Err(StoreRefused::Deleted));
    let said = effects(&mut archive).into_iter().find_map(|effect| match effect {
        Effect::Publish(message) => Some(message),
        _ => None,
    });
    let told = hears(&mut settled(), P, said.unwrap());
    let [Effect::Close { member: A, reason: StoreRefused::Deleted }] = told[..] else { panic!("{told:?}") };
}

#[test]
fn nobody_is_told_that_there_is_nothing_while_the_backplane_comes_back() {
    // A has asked, and only the archive could answer.
    let mut room = clustered(Acknowledgement::Never, &[(P, ARCHIVE)]);
    assert_eq!(asks(&effects(&mut room)).len(), 1);
    room.rejoining(Millis(10), Millis(3_010));
    let told = effects(&mut room);
    assert!(!told.iter().any(|effect| matches!(effect, Effect::Serve { .. })), "{told:?}");
}
