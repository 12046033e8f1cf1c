//! The room machine without sockets: the situations in which naive forwarders fail, and random histories.

mod client;
mod cluster;
mod elsewhere;
mod ghosts;
mod many;
mod questions;
mod world;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::dialect::y_protocols::{self, Message};
use crate::time::Millis;
use crate::update::{StateVector, Update};
use crate::validate::{AwarenessEntry, AwarenessUpdate};
use world::World;

const A: MemberId = MemberId(1);
const B: MemberId = MemberId(2);
const C: MemberId = MemberId(3);

/// Client 1 inserting "hi" into the text "t", as captured.
const HI: &[u8] = &[1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0];

fn hi() -> Update {
    Update::parse(Bytes::from_static(HI)).unwrap()
}

fn effects(room: &mut Room) -> Vec<Effect> {
    std::iter::from_fn(|| room.poll_effect()).collect()
}

fn sent_to(effects: &[Effect], id: MemberId) -> Vec<Bytes> {
    let body = |effect: &Effect| match effect {
        Effect::Send { to, body, .. } if *to == id => Some(body.clone()),
        Effect::Serve { to, update } if *to == id => Some(y_protocols::sync_step2(update)),
        Effect::Spread { except, body, .. } if *except != Some(id) => Some(body.clone()),
        _ => None,
    };
    effects.iter().filter_map(body).collect()
}

fn step1() -> Message {
    Message::SyncStep1(StateVector::default())
}

fn entry(client: u64, clock: u64, state: Option<&'static str>) -> Message {
    let state = state.map(|state| Bytes::from_static(state.as_bytes()));
    Message::Awareness(AwarenessUpdate { entries: vec![AwarenessEntry { client, clock, state }] })
}

#[test]
fn a_lone_first_client_is_synced_at_once_without_archive() {
    let mut room = Room::new(Acknowledgement::Never);
    room.join(A, false);
    room.handle(Millis(0), A, step1()).unwrap();
    let sent = sent_to(&effects(&mut room), A);
    assert_eq!(sent, [y_protocols::sync_step1(&[0]), y_protocols::sync_step2(&[0, 0])]);
}

#[test]
fn nobody_is_synced_before_the_archive_has_read() {
    let mut room = Room::new(Acknowledgement::Durable);
    room.join(A, true);
    room.handle(Millis(0), A, step1()).unwrap();
    let first = effects(&mut room);
    assert!(matches!(first[..], [Effect::Read { asker: A, .. }]), "{first:?}");
    room.answered(
        A,
        Ok(Answer { update: Bytes::from_static(HI), state_vector: StateVector::parse(&[1, 1, 2]).unwrap() }),
    );
    let sent = sent_to(&effects(&mut room), A);
    assert_eq!(sent, [y_protocols::sync_step1(&[1, 1, 2]), y_protocols::sync_step2(HI)]);
}

#[test]
fn updates_are_forwarded_at_once_and_acknowledged_when_durable() {
    let mut room = Room::new(Acknowledgement::Durable);
    room.join(A, true);
    room.join(B, true);
    room.handle(Millis(0), A, Message::Update(hi())).unwrap();
    let first = effects(&mut room);
    assert_eq!(sent_to(&first, B), [y_protocols::update(HI)]);
    assert!(sent_to(&first, A).is_empty(), "no echo");
    assert!(!first.iter().any(|effect| matches!(effect, Effect::Acknowledge { .. })));
    let ticket = first.iter().find_map(|effect| match effect {
        Effect::Store { ticket, .. } => Some(*ticket),
        _ => None,
    });
    room.stored(ticket.unwrap(), Ok(()));
    room.stored(ticket.unwrap(), Ok(()));
    let second = effects(&mut room);
    assert!(matches!(second[..], [Effect::Acknowledge { to: A, applied: true }]), "exactly one: {second:?}");
}

#[test]
fn a_refused_update_is_told_or_its_sender_closed() {
    let mut room = Room::new(Acknowledgement::Durable);
    room.join(A, true);
    room.join(B, false);
    room.handle(Millis(0), A, Message::Update(hi())).unwrap();
    room.handle(Millis(0), B, Message::Update(hi())).unwrap();
    effects(&mut room);
    room.stored(Ticket(1), Err(StoreRefused::NoRoom));
    room.stored(Ticket(2), Err(StoreRefused::Quarantined));
    let told = effects(&mut room);
    assert!(matches!(told[0], Effect::Acknowledge { to: A, applied: false }));
    assert_eq!(closed(&told), [(A, StoreRefused::NoRoom), (B, StoreRefused::Quarantined)]);
    assert_eq!(told.len(), 3);
}

#[test]
fn what_the_archive_serves_again_reaches_everybody_who_is_there() {
    let mut room = Room::new(Acknowledgement::Durable);
    room.released(&hi());
    assert!(effects(&mut room).is_empty());
    room.join(A, true);
    room.join(B, false);
    room.released(&hi());
    let told = effects(&mut room);
    for member in [A, B] {
        assert_eq!(sent_to(&told, member), [y_protocols::update(HI)]);
    }
    assert!(matches!(told[..], [Effect::Spread { except: None, .. }]), "it is stored already: {told:?}");
}

fn closed(effects: &[Effect]) -> Vec<(MemberId, StoreRefused)> {
    let closed = effects.iter().filter_map(|effect| match effect {
        Effect::Close { member, reason } => Some((*member, *reason)),
        _ => None,
    });
    closed.collect()
}

const REFUSALS: [StoreRefused; 5] = [
    StoreRefused::Trouble,
    StoreRefused::NoRoom,
    StoreRefused::Damaged,
    StoreRefused::Deleted,
    StoreRefused::Quarantined,
];

#[test]
fn a_deleted_document_is_gone_for_everybody_and_other_reasons_for_one() {
    for reason in REFUSALS {
        let everybody = reason == StoreRefused::Deleted;
        let mut room = Room::new(Acknowledgement::Durable);
        room.join(A, true);
        room.join(B, false);
        room.handle(Millis(0), A, step1()).unwrap();
        room.handle(Millis(0), A, Message::Update(hi())).unwrap();
        effects(&mut room);
        let told = if everybody { vec![(A, reason), (B, reason)] } else { vec![(A, reason)] };
        room.answered(A, Err(reason));
        assert_eq!(closed(&effects(&mut room)), told);
        room.stored(Ticket(1), Err(reason));
        assert_eq!(closed(&effects(&mut room)), told);
        room.leave(Millis(0), A);
        room.answered(A, Err(reason));
        assert_eq!(closed(&effects(&mut room)), if everybody { vec![(B, reason)] } else { vec![] });
    }
}

#[test]
fn who_relies_on_all_that_it_was_handed_goes_with_what_was_not_stored() {
    for (reason, others) in [
        (StoreRefused::NoRoom, StoreRefused::NoRoom),
        (StoreRefused::Trouble, StoreRefused::Trouble),
        (StoreRefused::Quarantined, StoreRefused::Trouble),
    ] {
        let mut room = Room::new(Acknowledgement::Durable);
        [A, B, C].into_iter().for_each(|id| room.join(id, true));
        [A, B].into_iter().for_each(|id| room.rely(id));
        room.handle(Millis(0), A, Message::Update(hi())).unwrap();
        // It asks whether what it was handed is stored.
        room.handle(Millis(0), B, Message::SyncStep2(Update::empty())).unwrap();
        let stores: Vec<_> = effects(&mut room)
            .into_iter()
            .filter_map(|effect| if let Effect::Store { ticket, .. } = effect { Some(ticket) } else { None })
            .collect();
        room.stored(stores[0], Err(reason));
        assert_eq!(closed(&effects(&mut room)), [(A, reason), (B, others)]);
        room.leave(Millis(0), A);
        room.leave(Millis(0), B);
        room.stored(stores[1], Ok(()));
        assert!(effects(&mut room).is_empty(), "nobody is told that it is");
    }
}

#[test]
fn words_of_a_refusal_fit_a_close_frame() {
    for reason in REFUSALS {
        assert!(reason.to_string().len() <= 123, "{reason}");
    }
}

#[test]
fn one_peer_answers_and_only_the_asker_hears() {
    let mut room = Room::new(Acknowledgement::Never);
    for id in [A, B] {
        room.join(id, false);
        room.handle(Millis(0), id, step1()).unwrap();
    }
    effects(&mut room);
    room.handle(Millis(0), A, Message::SyncStep2(hi())).unwrap(); // A's own content, asked when it joined
    assert_eq!(
        sent_to(&effects(&mut room), B),
        [y_protocols::update(HI)],
        "spread as Update, never as SyncStep2"
    );
    room.handle(Millis(0), A, Message::SyncStep2(hi())).unwrap(); // the answer for B
    let answered = effects(&mut room);
    assert_eq!(sent_to(&answered, B), [y_protocols::sync_step2(HI)]);
    room.join(C, false);
    room.handle(Millis(0), C, step1()).unwrap();
    let asked = effects(&mut room);
    assert_eq!(sent_to(&asked, A).len(), 1);
    assert!(sent_to(&asked, B).is_empty(), "one answerer, the oldest");
}

#[test]
fn what_a_member_did_not_ask_for_is_told_apart() {
    let mut room = Room::new(Acknowledgement::Never);
    for id in [A, B] {
        room.join(id, false);
        room.handle(Millis(0), id, step1()).unwrap();
    }
    room.handle(Millis(0), A, Message::SyncStep2(Update::empty())).unwrap();
    room.handle(Millis(0), A, Message::SyncStep2(hi())).unwrap();
    let asked_for = |effect: &Effect| match effect {
        Effect::Send { to, asked_for, .. } => Some((*to, *asked_for)),
        Effect::Serve { to, .. } => Some((*to, true)),
        _ => None,
    };
    let sent: Vec<_> = effects(&mut room).iter().filter_map(asked_for).collect();
    // A's own content and answer, B's own content, the question for A, its answer for B.
    assert_eq!(sent, [(A, true), (A, true), (B, true), (A, false), (B, true)]);
}

#[test]
fn a_silent_answerer_has_a_second_choice_and_a_lost_one_too() {
    let mut room = Room::new(Acknowledgement::Never);
    for id in [A, B, C] {
        room.join(id, false);
    }
    room.handle(Millis(0), C, step1()).unwrap();
    assert_eq!(sent_to(&effects(&mut room), A).len(), 1);
    let deadline = room.poll_timeout().unwrap();
    room.handle_timeout(deadline);
    assert_eq!(sent_to(&effects(&mut room), B).len(), 1);
    room.leave(deadline, B);
    assert_eq!(sent_to(&effects(&mut room), A).len(), 1, "back to the first");
    room.leave(deadline, A);
    let sent = sent_to(&effects(&mut room), C);
    assert_eq!(sent.last(), Some(&y_protocols::sync_step2(&[0, 0])), "now it is certain that nobody has it");
}

#[test]
fn only_news_is_forwarded_and_ghosts_are_said_goodbye() {
    let mut room = Room::new(Acknowledgement::Never);
    room.join(A, false);
    room.join(B, false);
    room.handle(Millis(0), A, entry(7, 1, Some("{}"))).unwrap();
    let first = effects(&mut room);
    assert_eq!(
        (sent_to(&first, A).len(), sent_to(&first, B).len()),
        (1, 1),
        "the echo keeps a lone client alive"
    );
    room.handle(Millis(0), B, entry(7, 1, Some("{}"))).unwrap();
    assert!(effects(&mut room).is_empty(), "what a peer repeats is no news and no ownership");
    room.leave(Millis(0), B);
    assert!(effects(&mut room).is_empty());
    room.join(C, false);
    assert_eq!(sent_to(&effects(&mut room), C).len(), 1, "a joiner sees who is there");
    room.leave(Millis(0), A);
    let goodbye = AwarenessUpdate { entries: vec![AwarenessEntry { client: 7, clock: 1, state: None }] };
    assert_eq!(sent_to(&effects(&mut room), C), [y_protocols::awareness(&goodbye.encode())]);
}

#[test]
fn a_null_state_is_forwarded() {
    let mut room = Room::new(Acknowledgement::Never);
    room.join(A, false);
    room.join(B, false);
    room.handle(Millis(0), A, entry(7, 1, Some("{}"))).unwrap();
    effects(&mut room);
    room.handle(Millis(0), A, entry(7, 1, None)).unwrap();
    assert_eq!(sent_to(&effects(&mut room), B).len(), 1);
}

#[test]
fn floods_of_questions_and_identities_are_refused() {
    let mut room = Room::new(Acknowledgement::Durable);
    room.join(A, false);
    assert!((0..10_000).any(|_| room.handle(Millis(0), A, step1()).is_err()));
    assert!((0..10_000).any(|client| room.handle(Millis(0), A, entry(client, 1, Some("1"))).is_err()));
}

#[test]
fn presence_is_bounded_in_bytes_and_forgets_who_is_gone_first() {
    let limits = PresenceLimits { clients_max: 3, bytes_max: 10 };
    let mut room = Room::with_presence(Acknowledgement::Never, limits);
    room.join(A, false);
    room.join(B, false);
    let mut says = |id, client, clock, state| room.handle(Millis(0), id, entry(client, clock, state));
    says(A, 1, 1, Some("\"12345\"")).unwrap();
    says(A, 1, 2, Some("\"54321\"")).unwrap();
    says(A, 2, 1, Some("\"1\"")).unwrap();
    assert_eq!(says(A, 3, 1, Some("1")), Err(Violation::TooMuchAwareness { max: 10 }));
    says(B, 2, 2, Some("\"2\"")).unwrap();
    says(A, 3, 1, Some("1")).unwrap();
    says(A, 1, 3, None).unwrap();
    says(A, 4, 1, Some("\"12345\"")).unwrap();
    says(A, 5, 1, Some("1")).unwrap();
    assert_eq!(says(A, 6, 1, Some("1")), Err(Violation::TooManyAwarenessClients { max: 3 }));
    room.leave(Millis(0), A);
    room.join(A, false);
    room.handle(Millis(0), A, entry(7, 1, Some("\"12345678\""))).unwrap();
}

#[test]
fn a_room_shows_so_many_clients_and_no_more() {
    let mut room = Room::new(Acknowledgement::Never);
    for member in 1..=5 {
        room.join(MemberId(member), false);
    }
    for client in 0..5000 {
        let id = MemberId(1 + client / 1000);
        room.handle(Millis(0), id, entry(client, 1, Some("{}"))).unwrap();
    }
    let shown = |room: &Room| {
        let all = room.presence_since(0).flat_map(|update| update.entries);
        all.filter(|entry| entry.state.is_some()).count()
    };
    assert_eq!(shown(&room), crate::limits::AWARENESS_ROOM_MAX);
    room.leave(Millis(0), A);
    room.handle(Millis(0), MemberId(5), entry(5001, 1, Some("{}"))).unwrap();
    assert_eq!(shown(&room), crate::limits::AWARENESS_ROOM_MAX - 1000 + 1, "who is gone makes room");
}

#[test]
fn a_room_shows_so_many_bytes_and_no_more() {
    let mut room = Room::new(Acknowledgement::Never);
    let large: &'static str = Box::leak(format!("\"{}\"", "x".repeat(60_000)).into_boxed_str());
    for client in 0..400 {
        let id = MemberId(1 + client / 4);
        if client % 4 == 0 {
            room.join(id, false);
        }
        room.handle(Millis(0), id, entry(client, 1, Some(large))).unwrap();
        effects(&mut room);
    }
    let shown = |room: &Room| room.presence_since(0).map(|update| update.encode().len()).sum::<usize>();
    let most = shown(&room);
    assert!((15 << 20..17 << 20).contains(&most), "{most} bytes are shown");
    room.leave(Millis(0), A);
    room.handle(Millis(0), MemberId(100), entry(399, 2, Some(large))).unwrap();
    assert!(shown(&room) < most, "goodbyes are said");
    assert!(room.presence_since(0).any(|update| update.entries.iter().any(|entry| entry.client == 399)));
}

#[test]
fn whoever_missed_presence_is_shown_the_newest_of_what_changed() {
    let mut room = Room::new(Acknowledgement::Never);
    room.join(A, false);
    room.join(B, false);
    room.handle(Millis(0), A, entry(1, 1, Some("{}"))).unwrap();
    room.handle(Millis(0), A, entry(2, 1, Some("{}"))).unwrap();
    effects(&mut room);
    room.handle(Millis(0), A, entry(2, 2, Some("1"))).unwrap();
    let missed = effects(&mut room);
    let [Effect::Spread { presence: Some(before), .. }] = missed[..] else { panic!("{missed:?}") };
    room.handle(Millis(0), A, entry(2, 3, Some("2"))).unwrap();
    room.handle(Millis(0), B, entry(3, 7, Some("{}"))).unwrap();
    room.leave(Millis(0), B);
    let newest = room.presence_since(before).next().unwrap().entries;
    let newest: Vec<_> =
        newest.iter().map(|entry| (entry.client, entry.clock, entry.state.is_some())).collect();
    assert_eq!(newest, [(2, 3, true), (3, 7, false)]);
}

#[test]
fn what_went_with_those_who_held_it_is_asked_for_again() {
    // 0 pushes everything to 2 and 3, who leave before they can pass it on; 3 comes back between its edits.
    let steps = [
        (2, 0),
        (3, 2),
        (0, 0),
        (2, 2),
        (0, 2),
        (3, 3),
        (0, 0),
        (0, 0),
        (0, 2),
        (3, 2),
        (0, 0),
        (2, 3),
        (0, 3),
    ];
    let mut world = World::new(4, Acknowledgement::Forwarded);
    world.play(&steps);
    world.settle();
    let texts = world.texts();
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Joins, edits, cuts, silences and reconnects in any order: members who stay converge, without an archive.
    #[test]
    fn members_converge_without_archive(steps in prop::collection::vec((0usize..4, 0u8..5), 1..60)) {
        let mut world = World::new(4, Acknowledgement::Forwarded);
        world.play(&steps);
        world.settle();
        prop_assert!(world.texts().windows(2).all(|pair| pair[0] == pair[1]), "{:?}", world.texts());
    }

    /// The same with an archive, which has everything in the end; each update is acknowledged once.
    #[test]
    fn members_and_archive_converge(steps in prop::collection::vec((0usize..4, 0u8..5), 1..60)) {
        let mut world = World::new(4, Acknowledgement::Durable);
        world.play(&steps);
        world.settle();
        let texts = world.texts();
        prop_assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
        prop_assert_eq!(world.archived_text(), texts[0].clone());
        prop_assert_eq!(world.unsynced(), vec![0; 4]);
    }
}
