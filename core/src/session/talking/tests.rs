//! Talks about an Automerge document, against a scripted store and a scripted other end.

use super::super::tests::{KEEPER, NOW, change, effects, met, opened};
use super::*;
use crate::dialect::replica::{Message, changes, marked, parse, shut, sync, y};
use crate::dialect::y_protocols;
use crate::session::{Lag, SessionConfig};

const DOCUMENT: DocumentId = DocumentId::Automerge([7; 16]);
/// A sync message of an empty document.
const EMPTY: &[u8] = &[0x42, 0, 0, 0, 0];

fn linked(last: u64, lists: bool) -> Session {
    let mut session = Session::new(SessionConfig::default(), last);
    session.add(&DOCUMENT, last);
    met(&mut session, true, lists);
    session
}

/// The turns that are to be taken now, and what ends.
fn turns(session: &mut Session) -> (Vec<(Talk, bool)>, Vec<Talk>) {
    let (mut turns, mut over) = (Vec::new(), Vec::new());
    for effect in effects(session, NOW) {
        match effect {
            Effect::Sync { talk, document, message } => {
                assert_eq!(document, DOCUMENT);
                turns.push((talk, message.is_some()));
            }
            Effect::Over(talk) => over.push(talk),
            Effect::Describe(_) | Effect::Read { .. } | Effect::Bring { .. } => panic!("{effect:?}"),
            _ => {}
        }
    }
    (turns, over)
}

/// What was found when both sides have the same, behind a position.
fn same(acknowledged: u64) -> Result<Synced, String> {
    Ok(Synced { message: None, heard: true, caught_up: true, acknowledged })
}

fn said(message: &'static [u8]) -> Result<Synced, String> {
    Ok(Synced { message: Some(message.into()), ..Synced::default() })
}

fn lag(session: &Session) -> Option<Lag> {
    session.standing(&DOCUMENT).unwrap().lag
}

/// Both sides say where they stand, which is the same.
fn compared(session: &mut Session, handle: Handle, talk: Talk, acknowledged: u64) {
    session.synced(NOW, talk, &DOCUMENT, said(EMPTY));
    session.receive(NOW, &sync(handle, EMPTY).into()).unwrap();
    assert_eq!(turns(session).0, [(talk, true)]);
    session.synced(NOW, talk, &DOCUMENT, same(acknowledged));
}

#[test]
fn a_talk_goes_on_until_both_have_the_same_and_what_is_there_is_acknowledged() {
    let mut session = linked(5, false);
    assert_eq!(lag(&session), Some(Lag::Comparing));
    // The first turn is asked for with the Open, and what it says follows that.
    session.synced(NOW, Talk(1), &DOCUMENT, said(EMPTY));
    let sent = effects(&mut session, NOW);
    let [Effect::Send { frame, .. }] = &sent[..] else { panic!("{sent:?}") };
    assert!(matches!(parse(&frame.clone().into()).unwrap(), Message::Sync { handle: Handle(1), .. }));
    session.receive(NOW, &sync(Handle(1), EMPTY).into()).unwrap();
    assert_eq!(turns(&mut session).0, [(Talk(1), true)]);
    // It has less than is here, and what it has is here.
    let Ok(first) = said(EMPTY) else { panic!() };
    session.synced(NOW, Talk(1), &DOCUMENT, Ok(Synced { heard: true, caught_up: true, ..first }));
    assert_eq!((lag(&session), session.acknowledged()), (Some(Lag::Unacknowledged), 0));
    assert!(!session.is_in_sync());
    session.receive(NOW, &sync(Handle(1), EMPTY).into()).unwrap();
    turns(&mut session);
    assert_eq!(lag(&session), Some(Lag::Storing));
    session.synced(NOW, Talk(1), &DOCUMENT, same(5));
    assert_eq!((lag(&session), session.acknowledged()), (None, 5));
    let told = effects(&mut session, NOW);
    assert!(matches!(told[..], [Effect::Acknowledged { keeper: KEEPER, position: 5 }]), "{told:?}");
    assert!(session.is_in_sync());
}

#[test]
fn changes_ask_for_a_turn_and_those_of_a_burst_share_one() {
    let mut session = linked(0, false);
    compared(&mut session, Handle(1), Talk(1), 0);
    let nothing = Bytes::new();
    session.changed(NOW, &change(&DOCUMENT, 1, &nothing));
    assert_eq!(turns(&mut session).0, [(Talk(1), false)]);
    // Also what came from there: somebody else may have brought it, or an earlier talk.
    for position in 2..5 {
        let change = change(&DOCUMENT, position, &nothing);
        session.changed(NOW, &super::super::Change { is_from_there: position == 4, ..change });
    }
    assert!(turns(&mut session).0.is_empty());
    session.synced(NOW, Talk(1), &DOCUMENT, said(EMPTY));
    assert_eq!(turns(&mut session).0, [(Talk(1), false)], "it had looked before the others were there");
    // Far behind what is here now, which the other end is known to have.
    session.synced(NOW, Talk(1), &DOCUMENT, same(9));
    assert!(turns(&mut session).0.is_empty());
    let standing = session.standing(&DOCUMENT).unwrap();
    assert_eq!((standing.last, standing.acknowledged, standing.lag), (4, 4, None));
    session.changed(NOW, &change(&DOCUMENT, 8, &nothing));
    assert_eq!(session.standing(&DOCUMENT).unwrap().acknowledged, 8, "the other end had it before");
}

#[test]
fn each_opening_is_a_talk_and_ends_once() {
    let mut session = linked(3, false);
    session.synced(NOW, Talk(1), &DOCUMENT, Err("begin anew".to_owned()));
    let (_, over) = turns(&mut session);
    assert_eq!(over, [Talk(1)]);
    assert!(matches!(lag(&session), Some(Lag::Refused { .. })));
    let later = NOW.plus(1_000);
    assert_eq!(opened(&effects(&mut session, later)), [(Handle(2), DOCUMENT)]);
    // What the first one found counts for nothing any more.
    session.synced(later, Talk(1), &DOCUMENT, same(3));
    assert_eq!(session.acknowledged(), 0);
    session.receive(later, &shut(Handle(2), Outcome::TROUBLE, "busy").into()).unwrap();
    assert_eq!(turns(&mut session).1, [Talk(2)]);
    assert_eq!(opened(&effects(&mut session, later.plus(2_000))), [(Handle(3), DOCUMENT)]);
    session.receive(later, &sync(Handle(3), EMPTY).into()).unwrap();
    // A break before anybody took the turn.
    session.end();
    assert_eq!(turns(&mut session), (Vec::new(), vec![Talk(3)]));
    session.synced(later, Talk(3), &DOCUMENT, same(3));
    met(&mut session, true, false);
    assert_eq!(session.acknowledged(), 0);
    compared(&mut session, Handle(1), Talk(4), 3);
    assert_eq!((session.acknowledged(), lag(&session)), (3, None));
    session.remove(&DOCUMENT);
    assert_eq!(turns(&mut session).1, [Talk(4)]);
}

/// Which checkpoint is reached now.
fn reached(session: &mut Session, now: Millis) -> Option<Bytes> {
    effects(session, now).into_iter().find_map(|effect| match effect {
        Effect::Reached { checkpoint, .. } => Some(checkpoint),
        _ => None,
    })
}

#[test]
fn what_is_listed_of_an_open_document_is_reached_by_the_next_talk() {
    let document = std::slice::from_ref(&DOCUMENT);
    let mut session = Session::new(SessionConfig::default(), 0);
    session.add(&DOCUMENT, 0);
    met(&mut session, true, true);
    session.receive(NOW, &changes(false, false, b"one", document).into()).unwrap();
    assert_eq!(turns(&mut session).0, [(Talk(1), false)]);
    compared(&mut session, Handle(1), Talk(1), 0);
    assert_eq!(reached(&mut session, NOW).unwrap(), "one", "it was listed before it was opened");
    // A change that was listed may be behind the message that comes next.
    session.receive(NOW, &changes(false, false, b"two", document).into()).unwrap();
    session.receive(NOW, &sync(Handle(1), EMPTY).into()).unwrap();
    assert_eq!(turns(&mut session).0, [(Talk(1), true)]);
    session.synced(NOW, Talk(1), &DOCUMENT, same(0));
    assert_eq!(reached(&mut session, NOW), None);
    assert!(session.is_in_sync(), "as far as anybody can tell");
    let later = NOW.plus(SessionConfig::default().linger_ms);
    assert_eq!(session.deadline(), Some(later));
    assert_eq!(opened(&effects(&mut session, later)), [(Handle(2), DOCUMENT)]);
    assert!(!session.is_in_sync());
    compared(&mut session, Handle(2), Talk(2), 0);
    assert_eq!(reached(&mut session, later).unwrap(), "two");
    // A break instead of that: it is listed again, or opened because it was.
    session.receive(later, &changes(false, false, b"three", document).into()).unwrap();
    met(&mut session, true, true);
    assert_eq!(session.handles.len(), 1, "it is open");
    session.receive(later, &changes(false, false, b"three", &[]).into()).unwrap();
    compared(&mut session, Handle(1), Talk(3), 0);
}

#[test]
fn who_waits_has_an_open_document_that_was_listed_opened_anew() {
    let document = std::slice::from_ref(&DOCUMENT);
    let mut session = Session::new(SessionConfig::default(), 0);
    session.add(&DOCUMENT, 0);
    session.watch(&DOCUMENT, true);
    met(&mut session, true, true);
    effects(&mut session, NOW);
    // Its talk has just begun.
    session.receive(NOW, &changes(false, false, b"one", document).into()).unwrap();
    compared(&mut session, Handle(1), Talk(1), 0);
    assert!(opened(&effects(&mut session, NOW)).is_empty() && session.settled() == 0);
    session.hurry(NOW, 1, None);
    session.receive(NOW, &changes(false, false, b"two", document).into()).unwrap();
    session.receive(NOW, &marked(1, None).into()).unwrap();
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), DOCUMENT)]);
    // Whoever edits on does not matter.
    session.receive(NOW, &changes(false, false, b"three", document).into()).unwrap();
    effects(&mut session, NOW);
    assert_eq!(session.fulfilled(), 0);
    compared(&mut session, Handle(2), Talk(2), 0);
    effects(&mut session, NOW);
    assert_eq!(session.fulfilled(), 1);
}

#[test]
fn what_is_listed_and_refused_for_good_is_left_out() {
    let mut session = linked(0, true);
    session.receive(NOW, &changes(false, false, b"one", &[DOCUMENT]).into()).unwrap();
    effects(&mut session, NOW);
    assert!(!session.is_in_sync());
    session.receive(NOW, &shut(Handle(1), Outcome::FORBIDDEN, "no").into()).unwrap();
    assert_eq!(reached(&mut session, NOW), None, "it is asked for again the next time");
    assert!(session.is_in_sync());
}

#[test]
fn a_message_of_the_other_format_breaks_a_rule() {
    let mut session = linked(0, false);
    let question = y_protocols::sync_step1(&crate::update::StateVector::default().encode());
    let error = session.receive(NOW, &y(Handle(1), &question).into());
    assert!(matches!(error, Err(FrameError::OtherFormat)));
    let yjs = DocumentId::yjs("d").unwrap();
    session.add(&yjs, 0);
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), yjs)]);
    let error = session.receive(NOW, &sync(Handle(2), EMPTY).into());
    assert!(matches!(error, Err(FrameError::OtherFormat)));
    session.receive(NOW, &sync(Handle(3), EMPTY).into()).unwrap();
}
