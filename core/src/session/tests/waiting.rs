//! What somebody waits for: what was there when they began, whatever comes behind it.

use super::*;
use crate::dialect::replica::marked;
use crate::operation::Stamp;

/// A session with these documents, the first of which is open and in sync on both sides.
fn session(names: &[DocumentId]) -> Session {
    let mut session = Session::new(SessionConfig::default(), 0);
    session.remember(KEEPER, 0, Bytes::from_static(b"then"));
    names.iter().for_each(|name| session.add(name, 0));
    session.watch(&names[0], true);
    met(&mut session, true, true);
    list(&mut session, b"now", &[]);
    compare(&mut session, Handle(1), &names[0], 0);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    effects(&mut session, NOW);
    assert!(session.is_in_sync());
    session
}

fn list(session: &mut Session, until: &'static [u8], documents: &[DocumentId]) {
    session.receive(NOW, &changes(false, false, until, documents).into()).unwrap();
}

/// The marks that it sends now.
fn marks(session: &mut Session) -> Vec<(u64, Option<Stamp>)> {
    let mark = |frame: Vec<u8>| match parse(&frame.into()) {
        Ok(Message::Mark { token, stamp }) => Some((token, stamp)),
        _ => None,
    };
    frames(session).into_iter().filter_map(mark).collect()
}

fn answer(session: &mut Session, token: u64) {
    session.receive(NOW, &marked(token, None).into()).unwrap();
}

/// An update comes of the document that is open; what it is on its way to the disk under.
fn comes(session: &mut Session) -> Token {
    session.receive(NOW, &y(Handle(1), &y_protocols::update(&update())).into()).unwrap();
    let brought = effects(session, NOW).into_iter().find_map(|effect| match effect {
        Effect::Bring { token, .. } => Some(token),
        _ => None,
    });
    brought.unwrap()
}

fn fulfilled(session: &mut Session) -> u64 {
    effects(session, NOW);
    session.fulfilled()
}

#[test]
fn what_was_there_when_somebody_began_to_wait_is_waited_for_and_nothing_else() {
    let names = [yjs("open"), yjs("shut")];
    let mut session = session(&names);
    session.hurry(NOW, 1, Some(Stamp(7)));
    assert_eq!(marks(&mut session), [(1, Some(Stamp(7)))]);
    assert!(session.is_in_sync(), "as far as it knows");
    assert_eq!(fulfilled(&mut session), 0);
    // What the other end had by then comes before the answer.
    let before = comes(&mut session);
    list(&mut session, b"later", &[names[1].clone()]);
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), names[1].clone())]);
    answer(&mut session, 1);
    assert_eq!(fulfilled(&mut session), 0);
    // And others go on.
    let behind = comes(&mut session);
    session.brought(NOW, before, Ok(()));
    assert_eq!(fulfilled(&mut session), 0, "the other one is not here");
    compare(&mut session, Handle(2), &names[1], 0);
    session.receive(NOW, &stored(Handle(2), Outcome::WELL).into()).unwrap();
    assert_eq!(fulfilled(&mut session), 1);
    assert!(!session.is_in_sync());
    session.brought(NOW, behind, Ok(()));
    assert!(session.is_in_sync());
}

#[test]
fn who_edits_on_in_the_document_that_is_listed_keeps_nobody_waiting() {
    let names = [yjs("open")];
    let mut session = session(&names);
    let mut before = comes(&mut session);
    session.hurry(NOW, 1, None);
    list(&mut session, b"later", &names);
    answer(&mut session, 1);
    for round in 0..3 {
        let behind = comes(&mut session);
        assert_eq!(fulfilled(&mut session), u64::from(round > 0));
        session.brought(NOW, before, Ok(()));
        before = behind;
    }
}

#[test]
fn a_wish_that_comes_behind_a_mark_gets_the_next_one() {
    let names = [yjs("open")];
    let mut session = session(&names);
    session.hurry(NOW, 1, None);
    session.hurry(NOW, 2, Some(Stamp(2)));
    session.hurry(NOW, 3, Some(Stamp(3)));
    assert_eq!(marks(&mut session), [(1, None)]);
    answer(&mut session, 9);
    assert_eq!(fulfilled(&mut session), 0, "that was no answer");
    answer(&mut session, 1);
    assert_eq!((marks(&mut session), session.fulfilled()), (vec![(3, Some(Stamp(3)))], 1));
    // Who began before others did waits for what those wait for.
    session.hurry(NOW, 2, None);
    answer(&mut session, 3);
    assert_eq!((marks(&mut session), session.fulfilled()), (vec![], 3));
}

#[test]
fn a_new_connection_tells_what_is_there_without_a_mark() {
    let names = [yjs("open")];
    let mut session = session(&names);
    session.hurry(NOW, 1, None);
    assert_eq!(marks(&mut session).len(), 1);
    session.end();
    session.hurry(NOW, 2, None);
    assert_eq!(session.fulfilled(), 0);
    met(&mut session, true, true);
    // This one came behind the question.
    session.hurry(NOW, 3, None);
    assert_eq!(marks(&mut session), []);
    list(&mut session, b"later", &[]);
    assert_eq!((marks(&mut session), session.fulfilled()), (vec![(3, None)], 2));
    // Of who lists nothing nothing more can be known.
    met(&mut session, false, false);
    assert_eq!(session.fulfilled(), u64::MAX);
}

#[test]
fn what_is_parked_or_not_wanted_is_not_waited_for() {
    let names = [yjs("open"), yjs("parked"), yjs("strange")];
    let mut session = session(&names[..2]);
    session.hurry(NOW, 1, None);
    list(&mut session, b"later", &names[1..]);
    effects(&mut session, NOW);
    answer(&mut session, 1);
    session.receive(NOW, &shut(Handle(2), Outcome::FORBIDDEN, "no").into()).unwrap();
    assert_eq!(fulfilled(&mut session), 0);
    session.decline(&names[2]);
    assert_eq!(fulfilled(&mut session), 1);
}
