//! The machine without sockets: what stock clients depend on, and random histories.

mod world;

use automerge::sync::{Message, State, SyncDoc};
use automerge::transaction::Transactable;
use automerge::{Automerge, ROOT};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::dialect::automerge_repo::RemoteHeads;
use crate::room::MemberId;
use crate::time::Millis;
use crate::validate::{SyncOutline, validate_sync_message};
use world::World;

const A: MemberId = MemberId(1);
const B: MemberId = MemberId(2);
const C: MemberId = MemberId(3);
const EMPTY: [u8; 10] = [0x42, 0, 0, 1, 0, 0, 0, 2, 2, 0x84];

fn document() -> Automerge {
    let mut doc = Automerge::new();
    doc.transact(|tx| tx.put(ROOT, "text", "x".repeat(1000))).unwrap();
    doc
}

/// The first message of somebody with this document.
fn greeting(doc: &Automerge) -> Bytes {
    doc.generate_sync_message(&mut State::new()).unwrap().encode().into()
}

fn request() -> Bytes {
    Bytes::from_static(&EMPTY)
}

fn effects(pairs: &mut Pairs) -> Vec<Effect> {
    std::iter::from_fn(|| pairs.poll_effect()).collect()
}

fn reset(to: MemberId, slot: usize, asked_for: bool) -> Effect {
    Effect::Sync { to, slot: Slot(slot), data: Bytes::from_static(&RESET), asked_for }
}

fn unavailable(to: MemberId, slot: usize, asked_for: bool) -> Effect {
    Effect::Unavailable { to, slot: Slot(slot), asked_for }
}

/// Somebody comes and says its first words to slot 0.
fn comes(pairs: &mut Pairs, id: MemberId, data: Bytes, is_request: bool) -> Vec<Effect> {
    pairs.enter(id, None);
    pairs.sync(Millis(0), id, Some(Slot(0)), data, is_request);
    effects(pairs)
}

#[test]
fn a_reset_makes_a_client_begin_anew_without_sending_its_document() {
    validate_sync_message(&RESET).unwrap();
    let mut doc = document();
    let (mut state, mut peer, mut copy) = (State::new(), State::new(), Automerge::new());
    while let Some(message) = doc.generate_sync_message(&mut state) {
        copy.receive_sync_message(&mut peer, message).unwrap();
        let Some(answer) = copy.generate_sync_message(&mut peer) else { break };
        doc.receive_sync_message(&mut state, answer).unwrap();
    }
    doc.transact(|tx| tx.put(ROOT, "more", 1)).unwrap();
    doc.generate_sync_message(&mut state).unwrap();
    assert!(!state.sent_hashes.is_empty() && !state.shared_heads.is_empty());
    doc.receive_sync_message(&mut state, Message::decode(&RESET).unwrap()).unwrap();
    let answer = doc.generate_sync_message(&mut state).unwrap();
    assert_eq!(answer.heads, doc.get_heads());
    assert!(answer.changes.is_empty() && answer.need.is_empty());
    assert!(answer.have[0].last_sync.is_empty());
    assert!(state.sent_hashes.is_empty() && state.shared_heads.is_empty());
}

#[test]
fn outlines_are_what_the_engine_reads() {
    let doc = document();
    let greeting = greeting(&doc);
    let outline = SyncOutline::of(&greeting).unwrap();
    assert_eq!((outline.heads, outline.asks, outline.brings), (&doc.get_heads()[0].0[..], false, false));
    let outline = SyncOutline::of(&EMPTY).unwrap();
    assert_eq!((outline.heads, outline.asks, outline.brings), (&[][..], false, false));
    let mut state = State::new();
    doc.clone().receive_sync_message(&mut state, Message::decode(&EMPTY).unwrap()).unwrap();
    let whole = doc.generate_sync_message(&mut state).unwrap().encode();
    assert!(SyncOutline::of(&whole).unwrap().brings);
}

#[test]
fn who_asks_alone_is_told_at_once_and_who_asks_beside_a_holder_is_paired() {
    let mut pairs = Pairs::new(8);
    assert_eq!(comes(&mut pairs, A, request(), true), [unavailable(A, 0, true)]);
    assert_eq!(comes(&mut pairs, B, request(), true), [unavailable(B, 0, true)], "two who have nothing");
    let both = [reset(A, 0, false), reset(C, 0, true), reset(B, 0, false), reset(C, 1, true)];
    assert_eq!(comes(&mut pairs, C, greeting(&document()), false), both);
    pairs.sync(Millis(0), A, Some(Slot(1)), request(), true);
    assert_eq!(effects(&mut pairs), [unavailable(A, 1, true)], "a slot that stands for nobody");
    pairs.sync(Millis(0), A, None, request(), true);
    assert!(effects(&mut pairs).is_empty(), "the driver answers for a peer that is none of them");
}

#[test]
fn another_takes_the_slot_of_who_leaves_and_the_last_one_is_missed() {
    let mut pairs = Pairs::new(8);
    let doc = greeting(&document());
    comes(&mut pairs, A, doc.clone(), false);
    comes(&mut pairs, B, doc.clone(), false);
    pairs.sync(Millis(0), B, Some(Slot(0)), doc, false);
    effects(&mut pairs);
    assert_eq!(comes(&mut pairs, C, request(), true), [reset(C, 0, true), reset(A, 1, false)]);
    pairs.leave(Millis(0), A);
    assert_eq!(effects(&mut pairs), [reset(C, 0, false), reset(B, 0, false)], "B itself needs nobody");
    pairs.leave(Millis(0), B);
    assert_eq!(effects(&mut pairs), [unavailable(C, 0, false)]);
}

#[test]
fn who_has_no_access_or_says_nothing_is_passed_over() {
    let mut pairs = Pairs::new(8);
    let doc = greeting(&document());
    comes(&mut pairs, A, doc.clone(), false);
    comes(&mut pairs, B, doc.clone(), false);
    pairs.sync(Millis(0), B, Some(Slot(0)), doc, false);
    comes(&mut pairs, C, request(), true);
    pairs.handle_timeout(pairs.poll_timeout().unwrap());
    assert_eq!(effects(&mut pairs), [reset(C, 0, false), reset(B, 1, false)]);
    pairs.unavailable(Millis(0), B, Slot(1));
    assert_eq!(effects(&mut pairs), [reset(C, 0, false), reset(A, 1, false)]);
    pairs.unavailable(Millis(0), A, Slot(1));
    assert_eq!(effects(&mut pairs), [unavailable(C, 0, false)]);
}

#[test]
fn who_finds_no_seat_waits_for_one() {
    let mut pairs = Pairs::new(2);
    comes(&mut pairs, A, greeting(&document()), false);
    comes(&mut pairs, B, request(), true);
    assert_eq!(comes(&mut pairs, C, request(), true), [unavailable(C, 0, true)]);
    pairs.leave(Millis(0), B);
    assert_eq!(effects(&mut pairs), [reset(C, 0, false), reset(A, 0, false)]);
}

#[test]
fn a_document_is_an_answer_once_for_each_question() {
    let mut pairs = Pairs::new(8);
    let doc = document();
    let (greeting, mut state) = (greeting(&doc), State::new());
    doc.clone().receive_sync_message(&mut state, Message::decode(&EMPTY).unwrap()).unwrap();
    let whole: Bytes = doc.generate_sync_message(&mut state).unwrap().encode().into();
    pairs.enter(B, None);
    pairs.sync(Millis(0), B, Some(Slot(0)), request(), true);
    for (round, is_answer) in [(0, true), (1, false), (2, false)] {
        let holder = MemberId(10 + round);
        comes(&mut pairs, holder, greeting.clone(), false);
        for is_first in [true, false] {
            pairs.sync(Millis(0), holder, Some(Slot(0)), whole.clone(), false);
            let asked_for = is_answer && is_first;
            let forwarded = Effect::Sync { to: B, slot: Slot(0), data: whole.clone(), asked_for };
            assert_eq!(effects(&mut pairs), [forwarded], "holder {round}");
        }
        pairs.leave(Millis(0), holder);
        effects(&mut pairs);
    }
}

#[test]
fn words_go_to_the_others_once() {
    let mut pairs = Pairs::new(8);
    for id in [A, B, C] {
        pairs.enter(id, None);
    }
    let say = |pairs: &mut Pairs, slot| pairs.say(A, Slot(slot), 7, "session", &Bytes::from_static(b"x"));
    say(&mut pairs, 0);
    say(&mut pairs, 1);
    let heard: Vec<_> = effects(&mut pairs)
        .into_iter()
        .map(|effect| match effect {
            Effect::Say { to, from, count, .. } => (to, from, count),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(heard, [(B, A, 7), (C, A, 7)]);
}

#[test]
fn storages_speak_for_themselves() {
    let mut pairs = Pairs::at_an_archive("home");
    let doc = document();
    for (id, storage) in [(A, Some("a")), (B, Some("home")), (C, None)] {
        pairs.enter(id, storage);
        pairs.subscribed(id, |_| true);
        pairs.sync(Millis(0), id, Some(Slot(0)), greeting(&doc), false);
    }
    let heads: std::sync::Arc<[String]> =
        [bs58::encode(doc.get_heads()[0].0).with_check().into_string()].into();
    let told = |to: MemberId, storage: &str, at: Option<u64>| Effect::Heads {
        to,
        storage: storage.into(),
        heads: heads.clone(),
        at,
    };
    assert_eq!(
        effects(&mut pairs),
        [told(B, "a", None), told(C, "a", None)],
        "who comes hears what is known"
    );
    pairs.sync(Millis(0), A, Some(Slot(0)), greeting(&doc), false);
    assert!(effects(&mut pairs).is_empty(), "no news");
    let about = RemoteHeads { heads: heads.to_vec(), timestamp: 5 };
    let report = ["a", "home", "far"].map(|storage| (storage.to_owned(), about.clone()));
    pairs.reported(4, C, report.clone().into());
    assert_eq!(effects(&mut pairs), [told(A, "far", Some(4)), told(B, "far", Some(4))], "not of the future");
    pairs.reported(4, A, report.into());
    assert!(effects(&mut pairs).is_empty(), "clients report back what they hear");
    let nonsense = RemoteHeads { heads: vec!["no hash".into()], timestamp: 4 };
    pairs.reported(4, A, [("elsewhere".to_owned(), nonsense)].into());
    assert!(effects(&mut pairs).is_empty());
}

#[test]
fn subscriptions_are_bounded() {
    let mut subscriptions = Subscriptions::default();
    let many: Vec<_> = (0..crate::limits::SUBSCRIPTIONS_MAX).map(|number| number.to_string()).collect();
    assert_eq!(subscriptions.change(many.clone(), &[]).unwrap().len(), many.len());
    assert!(subscriptions.change(vec!["one more".into()], &[]).is_none());
    assert!(subscriptions.change(vec!["0".into()], &[]).unwrap().is_empty());
    assert_eq!(
        subscriptions.change(vec!["one more".into()], &["1".into()]),
        Some(["one more".into()].into())
    );
    assert!(subscriptions.contains("0") && !subscriptions.contains("1"));
}

#[test]
fn a_document_comes_once_and_whoever_has_it_may_go() {
    let mut world = World::new(5, 8);
    world.settle();
    assert_eq!([1, 2, 3, 4].map(|repo| world.brought(repo)), [1; 4], "the document came from one");
    assert!((0..5).all(|repo| world.peers(repo) <= 4));
    world.cut(0);
    for repo in 1..5 {
        world.edit(repo);
    }
    world.deliver_all();
    let contents = world.contents();
    assert!(contents[1].len() == 5 && contents[2..].iter().all(|keys| *keys == contents[1]));
}

#[test]
fn repos_that_find_what_nobody_has_are_told_until_somebody_has_it() {
    let mut world = World::new(3, 8);
    for repo in [1, 2] {
        world.connect(repo);
        world.find(repo);
    }
    world.deliver_all();
    assert!(world.is_unavailable(1) && world.is_unavailable(2));
    world.settle();
    assert!(world.contents().iter().all(|keys| *keys == ["made"]));
}

#[test]
fn clients_do_not_collect_peers() {
    let mut world = World::new(4, 8);
    for round in 0..20 {
        world.settle();
        world.edit(round % 4);
        if round % 5 == 0 {
            world.restart();
        } else {
            world.cut(round % 3);
        }
    }
    world.settle();
    assert!((0..4).all(|repo| world.peers(repo) <= 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Edits, searches, cuts, silences, reconnects and new relays in any order: in the end everybody has everything.
    #[test]
    fn members_converge(steps in prop::collection::vec((0usize..4, 0u8..30), 1..80)) {
        let mut world = World::new(4, 8);
        let steps: Vec<_> = steps.into_iter().map(|(repo, die)| (repo, ACTIONS[usize::from(die)])).collect();
        world.play(&steps);
        world.settle();
        let contents = world.contents();
        prop_assert!(contents.windows(2).all(|pair| pair[0] == pair[1]), "{contents:?}");
        prop_assert_eq!(contents[0].len() as u64, 1 + world.edits());
    }
}

/// A new relay is rare.
const ACTIONS: [u8; 30] =
    [0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 3, 4, 5, 6, 6, 6, 7, 7, 8];
