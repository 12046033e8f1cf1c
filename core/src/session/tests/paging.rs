//! Large answers in pages.

use super::*;
use crate::update::Coverage;

/// A session with a document of which the other end has nothing, and what it was told to be lacking.
fn asked(keeps: bool, position: u64, lacking: &Bytes) -> (Session, DocumentId) {
    asked_of(keeps, position, lacking, position)
}

/// As [`asked`], of what was read when all up to this position was in it.
fn asked_of(keeps: bool, position: u64, lacking: &Bytes, read: u64) -> (Session, DocumentId) {
    let document = yjs("d");
    let mut session = Session::new(SessionConfig::default(), position);
    session.add(&document, position);
    met(&mut session, keeps, false);
    session.described(&document, &StateVector::default());
    let question = y_protocols::sync_step1(&StateVector::default().encode());
    session.receive(NOW, &y(Handle(1), &question).into()).unwrap();
    frames(&mut session);
    session.lacking(&document, lacking, read);
    (session, document)
}

/// What is said about the document now, whether as the end of an answer.
fn said(session: &mut Session) -> Vec<(Update, bool)> {
    let said = frames(session).into_iter().filter_map(|frame| match parse(&frame.into()).unwrap() {
        Message::Y { message: Said::Update(update), .. } => Some((update, false)),
        Message::Y { message: Said::SyncStep2(update), .. } => Some((update, true)),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_large_answer_goes_out_page_by_page_and_counts_when_all_of_it_is_stored() {
    let whole = large(1_000);
    let (mut session, document) = asked(true, 5, &whole);
    let (mut known, mut sizes) =
        (Coverage::default(), [16, 32, 8, 64].into_iter().map(|kib| kib * 1024).cycle());
    let mut size = sizes.next().unwrap();
    loop {
        let said = said(&mut session);
        let [(page, is_last)] = said.as_slice() else { panic!("{said:?}") };
        let bytes = page.bytes().len();
        assert!(bytes <= size + 100 && (*is_last || bytes > size - 200), "{bytes} of {size}");
        assert!(known.admits(page));
        known.add(page);
        assert_eq!(session.standing(&document).unwrap().acknowledged, 0);
        if *is_last {
            break;
        }
        assert_eq!(session.standing(&document).unwrap().lag, Some(Lag::Comparing));
        session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
        assert!(frames(&mut session).is_empty(), "it waits for its turn");
        session.go_on(7, size);
        assert!(frames(&mut session).is_empty(), "that is another document's lane");
        size = sizes.next().unwrap();
        session.go_on(1, size);
    }
    assert!(known.covers(&Update::parse(whole).unwrap()));
    session.go_on(1, 16 * 1024);
    assert!(said(&mut session).is_empty());
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.standing(&document).unwrap().acknowledged, 5);
}

#[test]
fn what_is_edited_between_pages_goes_out_at_once_and_is_compared_again() {
    let (mut session, document) = asked(true, 5, &large(300));
    assert!(!said(&mut session)[0].1);
    session.changed(NOW, &change(&document, 6, &update()));
    assert_eq!(said(&mut session)[0].0.bytes(), &update());
    session.go_on(1, 1024 * 1024);
    assert!(said(&mut session)[0].1);
    for _ in 0..3 {
        assert!(session.acknowledged() < 6);
        session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    }
    // It may have been before its ground there, so that is asked after; and the document is opened anew.
    assert_eq!(session.acknowledged(), 5);
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), document)]);
}

#[test]
fn answers_are_finished_one_after_the_other() {
    let (mut session, document) = asked(true, 5, &large(300));
    let question = y_protocols::sync_step1(&StateVector::default().encode());
    session.receive(NOW, &y(Handle(1), &question).into()).unwrap();
    assert!(!said(&mut session)[0].1);
    session.lacking(&document, &update(), 5);
    assert!(said(&mut session).is_empty());
    for bytes in [large(300), update()] {
        session.go_on(1, 1024 * 1024);
        let said = said(&mut session);
        assert!(said[0].1 && said[0].0.bytes().len() <= bytes.len(), "{said:?}");
    }
}

#[test]
fn an_older_answer_that_is_stored_does_not_end_a_newer_one() {
    let (mut session, document) = asked_of(true, 5, &update(), 4);
    assert!(said(&mut session)[0].1);
    let question = y_protocols::sync_step1(&StateVector::default().encode());
    session.receive(NOW, &y(Handle(1), &question).into()).unwrap();
    session.lacking(&document, &large(300), 5);
    assert!(!said(&mut session)[0].1);
    for _ in 0..2 {
        session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    }
    // The older one was behind what is here, and the rest of this one brings that.
    assert!(frames(&mut session).is_empty());
    session.go_on(1, 1024 * 1024);
    assert!(said(&mut session)[0].1);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.acknowledged(), 5);
}

#[test]
fn what_is_left_of_an_answer_when_the_connection_breaks_is_not_said_on_the_next() {
    let (mut session, document) = asked(true, 5, &large(300));
    assert!(!said(&mut session)[0].1);
    session.begin(&Identity { keeps: None, lists: false, gives_up: false });
    let identity = Identity { keeps: Some(KEEPER), lists: false, gives_up: false };
    session.receive(NOW, &identity_frame(&identity).into()).unwrap();
    let [(handle, _)] = opened(&effects(&mut session, NOW))[..] else { panic!("it is not opened anew") };
    session.described(&document, &StateVector::default());
    let question = y_protocols::sync_step1(&StateVector::default().encode());
    session.receive(NOW, &y(handle, &question).into()).unwrap();
    frames(&mut session);
    session.lacking(&document, &update(), 5);
    let said = said(&mut session);
    assert!(said.len() == 1 && said[0].1 && said[0].0.bytes() == &update());
}

#[test]
fn no_page_follows_when_one_was_refused_or_the_document_is_shut() {
    for frame in [stored(Handle(1), Outcome::READ_ONLY), shut(Handle(1), Outcome::TROUBLE, "")] {
        let (mut session, _) = asked(true, 5, &large(300));
        assert!(!said(&mut session)[0].1);
        session.receive(NOW, &frame.into()).unwrap();
        session.go_on(1, 1024);
        assert!(said(&mut session).is_empty());
    }
}

#[test]
fn who_keeps_nothing_gets_one_answer() {
    let whole = large(1_000);
    let (mut session, _) = asked(false, 5, &whole);
    let said = said(&mut session);
    assert!(said.len() == 1 && said[0].1 && said[0].0.bytes() == &whole);
}
