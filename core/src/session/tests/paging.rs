//! Large answers in pages.

use super::*;
use crate::update::Coverage;

/// An update of so many structs of 100 bytes.
fn large(structs: u32) -> Bytes {
    let mut bytes = vec![1];
    crate::wire::lib0::write_var_u64(&mut bytes, structs.into());
    bytes.extend([5, 0]);
    for _ in 0..structs {
        bytes.extend([4, 1, 1, b't', 95]);
        bytes.extend([b'a'; 95]);
    }
    bytes.push(0);
    bytes.into()
}

/// A session with a document of which the other end has nothing, and what it was told to be lacking.
fn asked(keeps: bool, position: u64, lacking: &Bytes) -> (Session, DocumentId) {
    let document = yjs("d");
    let mut session = Session::new(SessionConfig::default(), position);
    session.add(&document, position);
    met(&mut session, keeps, false);
    session.described(&document, &StateVector::default());
    let question = y_protocols::sync_step1(&StateVector::default().encode());
    session.receive(NOW, &y(Handle(1), &question).into()).unwrap();
    frames(&mut session);
    session.lacking(&document, lacking, position);
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
    let (mut known, mut pages) = (Coverage::default(), 0);
    loop {
        let said = said(&mut session);
        let [(page, is_last)] = said.as_slice() else { panic!("{said:?}") };
        assert!(page.bytes().len() <= 17 * 1024 && known.admits(page));
        known.add(page);
        pages += 1;
        assert_eq!(session.standing(&document).unwrap().acknowledged, 0);
        if *is_last {
            break;
        }
        assert_eq!(session.standing(&document).unwrap().lag, Some(Lag::Comparing));
        session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
        assert!(frames(&mut session).is_empty(), "it waits for its turn");
        session.go_on(7, 16 * 1024);
        assert!(frames(&mut session).is_empty(), "that is another document's lane");
        session.go_on(1, 16 * 1024);
    }
    assert!(pages > 5 && known.covers(&Update::parse(whole).unwrap()));
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
