//! Changes made, refused, given up, brought and synced.

use std::collections::VecDeque;

use automerge::transaction::Transactable;
use automerge::{ObjType, ROOT, ScalarValue};
use autosurgeon::{Hydrate, Reconcile, Text, hydrate, reconcile};
use proptest::prelude::*;

use super::super::{Arrived, compact, heads};
use super::*;

fn open(parts: &[Bytes], actor: u8) -> Live {
    Live::open(parts, [actor; 16]).unwrap()
}

fn edit(live: Live, work: impl FnOnce(&mut Transaction<'_>) -> Result<(), EditError>) -> (Live, Bytes) {
    let (live, (), made) = live.edit(0, work).unwrap();
    (live, made.unwrap_or_default())
}

fn put(live: Live, key: &str, value: i64) -> (Live, Bytes) {
    edit(live, |edit| Ok(edit.put(ROOT, key, value)?))
}

fn get(live: &Live, key: &str) -> Option<i64> {
    live.read(|document| document.get(ROOT, key).unwrap().map(|(value, _)| value.as_i64().unwrap()))
}

fn apply(live: Live, bytes: &Bytes) -> (Live, Option<Bytes>) {
    live.apply(&Brought::read(bytes).unwrap()).unwrap()
}

#[derive(Debug, Default, PartialEq, Hydrate, Reconcile)]
struct Note {
    title: String,
    done: bool,
    body: Text,
}

#[test]
fn an_edit_is_one_change_that_gives_the_same_document() {
    let (live, made) = edit(open(&[], 1), |edit| {
        edit.put(ROOT, "a", 1)?;
        let list = edit.put_object(ROOT, "list", ObjType::List)?;
        Ok(edit.insert(&list, 0, "x")?)
    });
    let again = open(std::slice::from_ref(&made), 2);
    assert_eq!(again.heads(), live.heads());
    assert_eq!((get(&again, "a"), again.heads().len()), (Some(1), 1));
    let (again, nothing) = edit(again, |_| Ok(()));
    assert!(nothing.is_empty());
    // Nothing came of it, so nobody has heard of the actor.
    let (_, next) = put(again, "b", 2);
    assert_eq!(heads(&[made.clone(), next.clone()]).unwrap().len(), 1);
    assert!(compact(&[next, made]).is_ok());
}

#[test]
fn an_edit_that_fails_or_panics_is_given_up() {
    let (_, made) = put(open(&[], 1), "a", 1);
    let live = open(std::slice::from_ref(&made), 2);
    let failed = live.edit(0, |edit| {
        edit.put(ROOT, "a", 2)?;
        Ok(edit.insert(ROOT, 0, 1)?)
    });
    assert!(matches!(failed, Err(EditError::Automerge { .. })));
    let live = open(std::slice::from_ref(&made), 3);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        live.edit(0, |edit| -> Result<(), EditError> {
            edit.put(ROOT, "a", 2)?;
            panic!("the owner's own")
        })
    }));
    assert!(panicked.is_err());
}

/// autosurgeon counts bytes; with another encoding it writes in a wrong place or not at all.
#[test]
fn texts_of_rust_types_are_edited_where_they_say() {
    let start = Note { title: "ä".into(), done: false, body: "äöü😀 end".into() };
    let (live, _) = edit(open(&[], 1), |edit| Ok(reconcile(edit, &start)?));
    let loaded = open(&[live.save()], 2);
    for live in [live, loaded] {
        let (live, _) = edit(live, |edit| {
            let mut note: Note = hydrate(edit)?;
            let at = note.body.as_str().find('😀').unwrap_or_default();
            note.body.splice(at, 4, "é");
            note.body.splice(at + "é ".len(), 0, "the ");
            note.done = true;
            Ok(reconcile(edit, &note)?)
        });
        let note: Note = live.read(hydrate).unwrap();
        assert_eq!(note, Note { title: "ä".into(), done: true, body: "äöüé the end".into() });
        // A position inside a character is that behind it.
        let (live, _) = edit(live, |edit| {
            let (_, body) = edit.get(ROOT, "body")?.ok_or(EditError::Cancelled)?;
            Ok(edit.splice_text(&body, 1, 0, "-")?)
        });
        let note: Note = live.read(hydrate).unwrap();
        assert_eq!(note.body.as_str(), "ä-öüé the end");
    }
}

#[test]
fn what_is_brought_counts_once_and_waits_for_its_ground() {
    let (live, first) = put(open(&[], 1), "a", 1);
    let (live, second) = put(live, "b", 2);
    let whole = live.save();
    let other = open(&[], 2);
    let (other, stored) = apply(other, &second);
    assert_eq!((stored.as_ref(), get(&other, "b"), other.heads().len()), (Some(&second), None, 0));
    let (other, again) = apply(other, &second);
    assert_eq!(again, None);
    // What waits is still there after a restart, and in what is saved.
    for other in [open(std::slice::from_ref(&second), 3), open(&[other.save()], 4)] {
        let (other, stored) = apply(other, &whole);
        assert_eq!((stored, other.heads()), (Some(first.clone()), live.heads()));
        let (other, nothing) = apply(other, &whole);
        assert_eq!((nothing, get(&other, "b")), (None, Some(2)));
    }
    // A whole document for who has nothing of it is stored as it came.
    let (mine, own) = put(open(&[], 5), "c", 3);
    let (mine, stored) = apply(mine, &whole);
    assert_eq!(stored.as_ref(), Some(&whole));
    assert_eq!(heads(&[own, whole]).unwrap(), mine.heads());
}

#[test]
fn wrong_bytes_are_refused_before_the_document_sees_them() {
    let (_, good) = put(open(&[], 1), "a", 1);
    for cut in [1, 8, 12, good.len() - 1] {
        assert!(matches!(Brought::read(&good.slice(..cut)), Err(EngineError::Malformed { .. })));
    }
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(Brought::read(&Bytes::from([good.to_vec(), flipped].concat())).is_err());
    assert!(BroughtMessage::read(&[0x42, 9]).is_err());
    // One actor, one position, two contents (HAZARDS am-9).
    let (live, _) = put(open(&[], 1), "a", 2);
    let twin = live.apply(&Brought::read(&good).unwrap()).map(|_| ());
    assert!(matches!(twin, Err(EngineError::Malformed { .. })), "{twin:?}");
}

#[test]
fn an_edit_that_nobody_would_take_is_not_handed_out() {
    let (live, _) = put(open(&[], 1), "a", 1);
    let limit = crate::limits::UPDATE_BYTES_MAX;
    let failed = live.edit(0, |edit| Ok(edit.put(ROOT, "b", ScalarValue::Bytes(vec![7; limit]))?));
    assert!(matches!(failed, Err(EditError::Engine(EngineError::Unfit { .. }))), "{:?}", failed.map(|_| ()));
}

/// Two who sync, and what each stores on the way.
struct Pair {
    lives: [Option<Live>; 2],
    states: [SyncState; 2],
    stored: [Vec<Bytes>; 2],
    messages: usize,
}

impl Pair {
    fn of(stored: [Vec<Bytes>; 2]) -> Self {
        let lives = [0, 1].map(|side| Some(open(&stored[side], 100 + u8::try_from(side).unwrap())));
        Self { lives, states: <[SyncState; 2]>::default(), stored, messages: 0 }
    }

    /// False if there is nothing to say.
    fn say(&mut self, from: usize) -> bool {
        let message = self.lives[from].as_ref().unwrap().sync_generate(&mut self.states[from]);
        let Some(message) = message else { return false };
        self.messages += 1;
        let (to, message) = (1 - from, BroughtMessage::read(&message).unwrap());
        let live = self.lives[to].take().unwrap();
        let (live, news) = live.sync_receive(&mut self.states[to], message).unwrap();
        self.stored[to].extend(news);
        self.lives[to] = Some(live);
        true
    }

    fn settle(&mut self) {
        while self.say(0) | self.say(1) {
            assert!(self.messages < 100, "the sync never comes to rest");
        }
    }
}

#[test]
fn two_who_sync_store_each_change_once() {
    let (mut one, mut parts) = (open(&[], 1), Vec::new());
    for value in 0..20 {
        let (next, made) = put(one, "a", value);
        parts.push(made);
        one = next;
    }
    let (_, own) = put(open(&[], 2), "b", 1);
    for other in [Vec::new(), vec![own.clone()], vec![own, parts[0].clone(), parts[1].clone()]] {
        let mut pair = Pair::of([parts.clone(), other]);
        pair.settle();
        let [here, there] = &pair.stored;
        assert_eq!(heads(here).unwrap(), heads(there).unwrap());
        assert_eq!(pair.lives[0].as_ref().unwrap().heads(), heads(there).unwrap());
        let count = |parts: &[Bytes]| -> usize {
            parts.iter().map(|part| Brought::read(part).unwrap().changes.len()).sum()
        };
        let all = open(there, 9).read(|document| document.stats().num_changes);
        assert_eq!((count(here) as u64, count(there) as u64), (all, all));
    }
}

/// Two who sync, each with what is on its way to it; a side may take several messages before it says something.
struct Line {
    pair: Pair,
    on_its_way: [VecDeque<Bytes>; 2],
}

impl Line {
    fn say(&mut self, from: usize) {
        let live = self.pair.lives[from].as_ref().unwrap();
        if let Some(message) = live.sync_generate(&mut self.pair.states[from]) {
            self.pair.messages += 1;
            self.on_its_way[1 - from].push_back(message);
        }
    }

    fn hear(&mut self, side: usize) {
        let Some(message) = self.on_its_way[side].pop_front() else { return };
        let live = self.pair.lives[side].take().unwrap();
        let message = BroughtMessage::read(&message).unwrap();
        self.pair.lives[side] = Some(live.sync_receive(&mut self.pair.states[side], message).unwrap().0);
    }

    fn edit(&mut self, side: usize, value: i64) {
        let live = self.pair.lives[side].take().unwrap();
        self.pair.lives[side] = Some(put(live, "a", value).0);
    }

    fn settle(&mut self) {
        loop {
            for side in [0, 1] {
                while !self.on_its_way[side].is_empty() {
                    self.hear(side);
                }
                self.say(side);
            }
            assert!(self.pair.messages < 200, "the sync never comes to rest");
            if self.on_its_way.iter().all(VecDeque::is_empty) {
                return;
            }
        }
    }
}

proptest! {
    /// Who waits for word of what has arrived gets it, however messages cross and gather.
    #[test]
    fn when_nothing_is_left_to_say_each_knows_that_the_other_has_all(
        steps in proptest::collection::vec((0..2_usize, 0..4_u8), 0..60)
    ) {
        let pair = Pair::of([Vec::new(), Vec::new()]);
        let mut line = Line { pair, on_its_way: Default::default() };
        for (number, (side, step)) in (0..).zip(steps) {
            match step {
                0 => {
                    line.edit(side, number);
                    line.say(side);
                }
                1 => line.say(side),
                _ => line.hear(side),
            }
        }
        line.settle();
        let lives = line.pair.lives.each_ref().map(|live| live.as_ref().unwrap());
        prop_assert_eq!(lives[0].heads(), lives[1].heads());
        for (live, peer) in lives.iter().zip(&line.pair.states) {
            prop_assert_eq!(live.compare(peer), Compared { is_heard: true, has_all_of_theirs: true });
            prop_assert!(live.is_there(peer, &live.heads()));
        }
    }
}

/// A message whose ground is missing is stored, since the peer does not send it again.
#[test]
fn a_document_that_is_read_again_in_the_middle_of_a_sync_lacks_nothing() {
    let (one, first) = put(open(&[], 1), "a", 1);
    let (one, second) = put(one, "a", 2);
    let mut pair = Pair::of([vec![first.clone(), second.clone()], vec![]]);
    let message = Message {
        heads: one.read(|document| document.get_heads()),
        need: vec![],
        have: vec![],
        changes: vec![second.to_vec()].into(),
        flags: None,
        version: automerge::sync::MessageVersion::V1,
    };
    let live = pair.lives[1].take().unwrap();
    let message = BroughtMessage::read(&message.encode()).unwrap();
    let (_, news) = live.sync_receive(&mut pair.states[1], message).unwrap();
    assert_eq!(news.as_ref(), Some(&second));
    pair.stored[1].extend(news);
    let (live, news) = apply(open(&pair.stored[1], 7), &first);
    assert_eq!((news, live.heads()), (Some(first), one.heads()));
}

#[derive(Clone, Debug)]
enum Act {
    Put(u8, i64),
    Delete(u8),
    Insert(usize, i64),
    Remove(usize),
    Write(usize, isize, String),
    Fail(String),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0u8..4, any::<i64>()).prop_map(|(key, value)| Act::Put(key, value)),
        (0u8..4).prop_map(Act::Delete),
        (any::<usize>(), any::<i64>()).prop_map(|(at, value)| Act::Insert(at, value)),
        any::<usize>().prop_map(Act::Remove),
        (any::<usize>(), 0isize..4, "[aé😀]{0,3}").prop_map(|(at, del, text)| Act::Write(at, del, text)),
        "[a-c]{1,3}".prop_map(Act::Fail),
    ]
}

fn object(edit: &mut Transaction<'_>, key: &str) -> Result<automerge::ObjId, EditError> {
    Ok(edit.get(ROOT, key)?.ok_or(EditError::Cancelled)?.1)
}

fn perform(edit: &mut Transaction<'_>, act: &Act) -> Result<(), EditError> {
    let (list, text) = (object(edit, "list")?, object(edit, "text")?);
    let (items, units) = (edit.length(&list), edit.length(&text));
    match act {
        Act::Put(key, value) => edit.put(ROOT, format!("k{key}"), *value)?,
        Act::Delete(key) => edit.delete(ROOT, format!("k{key}"))?,
        Act::Insert(at, value) => edit.insert(&list, at % (items + 1), *value)?,
        Act::Remove(at) if items > 0 => edit.delete(&list, at % items)?,
        Act::Remove(_) => {}
        Act::Write(at, del, insert) => edit.splice_text(&text, at % (units + 1), *del, insert)?,
        Act::Fail(insert) => {
            edit.splice_text(&text, 0, 0, insert)?;
            edit.put_object(ROOT, "text", ObjType::Text)?;
            return Err(EditError::Cancelled);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Two who edit apart, some edits failing, end with one document, whatever way they meet; and what they stored
    /// gives it again.
    #[test]
    fn who_edits_apart_meets(acts in proptest::collection::vec((0usize..2, act()), 0..16)) {
        let (base, start) = edit(open(&[], 1), |edit| {
            edit.put_object(ROOT, "list", ObjType::List)?;
            let text = edit.put_object(ROOT, "text", ObjType::Text)?;
            Ok(edit.splice_text(&text, 0, 0, "aé😀")?)
        });
        drop(base);
        let mut stored = [vec![start.clone()], vec![start]];
        let mut lives = [Some(open(&stored[0], 2)), Some(open(&stored[1], 3))];
        for (at, (who, act)) in acts.iter().enumerate() {
            let live = lives[*who].take().unwrap();
            lives[*who] = Some(match live.edit(0, |edit| perform(edit, act)) {
                Ok((live, (), made)) => {
                    stored[*who].extend(made);
                    live
                }
                // Given up, and read again under another actor.
                Err(_) => open(&stored[*who], 10 + u8::try_from(at).unwrap()),
            });
            let live = lives[*who].as_ref().unwrap();
            prop_assert_eq!(heads(&stored[*who]).unwrap(), live.heads());
        }
        let [one, other] = lives.map(Option::unwrap);
        let (saved_one, saved_other) = (one.save(), other.save());
        let (one, _) = apply(one, &saved_other);
        let (other, _) = apply(other, &saved_one);
        prop_assert_eq!(one.heads(), other.heads());
        prop_assert_eq!(one.read(|view| view.hydrate(None)), other.read(|view| view.hydrate(None)));
        let mut synced = Pair::of(stored.clone());
        synced.settle();
        for side in 0..2 {
            prop_assert_eq!(heads(&synced.stored[side]).unwrap(), one.heads());
        }
        stored[0].extend_from_slice(&stored[1].clone());
        stored[0].reverse();
        prop_assert_eq!(heads(&[compact(&stored[0]).unwrap()]).unwrap(), one.heads());
    }
}

#[test]
fn what_waits_for_its_ground_has_arrived_nowhere() {
    let (first, ground) = put(open(&[], 1), "a", 1);
    let (_, waits) = put(first, "b", 2);
    let (mut there, mut here) = (open(&[], 2), apply(open(&[], 3), &waits).0);
    let (mut of_there, mut of_here, mut arrived) = <(SyncState, SyncState, Arrived)>::default();
    let read = |message: Option<Bytes>| message.map(|bytes| BroughtMessage::read(&bytes).unwrap());
    for round in 0..10 {
        if let Some(message) = read(there.sync_generate(&mut of_here)) {
            here = here.sync_receive(&mut of_there, message).unwrap().0;
        }
        // Both say that they have nothing, at first.
        if round < 3 {
            assert_eq!(arrived.look(&here, &of_there, 5), 0);
        } else if round == 3 {
            here = apply(here, &ground).0;
            assert_eq!(arrived.look(&here, &of_there, 6), 0, "it was not sent yet");
        }
        if let Some(message) = read(here.sync_generate(&mut of_there)) {
            there = there.sync_receive(&mut of_here, message).unwrap().0;
        }
    }
    assert_eq!((get(&there, "b"), arrived.look(&here, &of_there, 7)), (Some(2), 7));
}

#[test]
fn what_the_other_end_said_to_have_counts_once_it_came_from_somebody_else() {
    let (of_others, theirs) = put(open(&[], 1), "a", 1);
    drop(of_others);
    let (here, ours) = put(open(&[], 2), "b", 2);
    let there = open(&[theirs.clone(), ours], 3);
    let (mut of_there, mut of_here, mut arrived) = <(SyncState, SyncState, Arrived)>::default();
    let hello = BroughtMessage::read(&there.sync_generate(&mut of_here).unwrap()).unwrap();
    let (here, news) = here.sync_receive(&mut of_there, hello).unwrap();
    assert_eq!((news, here.is_there(&of_there, &here.heads())), (None, true));
    // What is missing is brought by somebody else, and nothing is left to say.
    let (here, _) = apply(here, &theirs);
    assert_eq!(arrived.look(&here, &of_there, 7), 7);
    let (here, _) = put(here, "c", 3);
    assert_eq!(arrived.look(&here, &of_there, 8), 7, "nobody sent that");
    assert!(!here.is_there(&of_there, &here.heads()));
}
