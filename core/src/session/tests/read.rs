//! What a hostile reading found, each as a script of its own.

use super::*;

/// Whether a checkpoint is reached now.
fn reached(session: &mut Session) -> Option<Bytes> {
    effects(session, NOW).into_iter().rev().find_map(|effect| match effect {
        Effect::Reached { checkpoint, .. } => Some(checkpoint),
        _ => None,
    })
}

#[test]
fn what_is_refused_for_good_holds_no_checkpoint_back() {
    let (ours, strange) = (yjs("ours"), yjs("strange"));
    let mut session = Session::new(SessionConfig::default(), 1);
    session.add(&ours, 1);
    met(&mut session, true, true);
    let both = [ours.clone(), strange.clone()];
    session.receive(NOW, &changes(false, false, b"now", &both).into()).unwrap();
    session.add(&strange, 0);
    let open = opened(&effects(&mut session, NOW));
    assert_eq!(open.len(), 1, "the other was opened before: {open:?}");
    session.receive(NOW, &shut(Handle(1), Outcome::DELETED, "gone").into()).unwrap();
    assert_eq!(reached(&mut session), None);
    session.receive(NOW, &shut(Handle(2), Outcome::DELETED, "gone").into()).unwrap();
    assert_eq!(reached(&mut session).unwrap(), "now");
    assert!(session.is_in_sync());
    // What somebody wrote here is shown; what never was here is forgotten.
    assert!(matches!(session.standing(&ours).unwrap().lag, Some(Lag::Parked { .. })));
    assert_eq!(session.standing(&strange), None);
}

#[test]
fn checkpoints_that_wait_for_the_same_are_one() {
    let document = yjs("d");
    let mut session = Session::new(SessionConfig::default(), 0);
    session.add(&document, 0);
    met(&mut session, true, true);
    for number in 0..100_u8 {
        let listed = changes(false, false, &[number], std::slice::from_ref(&document));
        session.receive(NOW, &listed.into()).unwrap();
    }
    assert_eq!(session.listing.waiting(), 1);
    effects(&mut session, NOW);
    compare(&mut session, Handle(1), &document, 0);
    assert_eq!(reached(&mut session).unwrap(), [99][..]);
}

#[test]
fn what_is_known_to_be_there_is_not_brought_again() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 3);
    session.remember(KEEPER, 3, Bytes::new());
    session.add(&document, 3);
    met(&mut session, true, false);
    session
        .receive(NOW, &y(Handle(1), &y_protocols::sync_step1(&StateVector::default().encode())).into())
        .unwrap();
    frames(&mut session);
    session.lacking(&document, &update, 3);
    let said = parse(&frames(&mut session).pop().unwrap().into()).unwrap();
    let Message::Y { message: Said::SyncStep2(brought), .. } = said else { panic!("{said:?}") };
    assert!(brought.is_empty());
}

#[test]
fn retrying_a_reader_compares_anew() {
    let document = yjs("d");
    let mut session = Session::new(SessionConfig::default(), 3);
    session.add(&document, 3);
    met(&mut session, true, true);
    session.receive(NOW, &changes(false, false, b"now", &[]).into()).unwrap();
    compare(&mut session, Handle(1), &document, 3);
    session.receive(NOW, &stored(Handle(1), Outcome::READ_ONLY).into()).unwrap();
    effects(&mut session, NOW);
    assert!(session.is_in_sync());
    session.retry(NOW, &document);
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), document.clone())]);
    compare(&mut session, Handle(2), &document, 3);
    session.receive(NOW, &stored(Handle(2), Outcome::WELL).into()).unwrap();
    effects(&mut session, NOW);
    assert!(session.is_in_sync());
    assert_eq!((session.acknowledged(), session.standing(&document).unwrap().lag), (3, None));
}

#[test]
fn what_cannot_be_read_here_stands_with_what_is_not_there() {
    for failed in [Failed::Describe, Failed::Read] {
        let (one, two) = (yjs("one"), yjs("two"));
        let mut session = Session::new(SessionConfig::default(), 2);
        session.add(&one, 1);
        session.add(&two, 2);
        met(&mut session, true, false);
        if failed == Failed::Read {
            let question = y_protocols::sync_step1(&StateVector::default().encode());
            session.receive(NOW, &y(Handle(1), &question).into()).unwrap();
            effects(&mut session, NOW);
        }
        session.failed(NOW, &one, failed, "the disk fails".to_owned());
        compare(&mut session, Handle(2), &two, 2);
        session.receive(NOW, &stored(Handle(2), Outcome::WELL).into()).unwrap();
        effects(&mut session, NOW);
        assert_eq!(session.acknowledged(), 0, "{failed:?}");
        assert!(!session.is_in_sync());
        let later = session.deadline().unwrap();
        assert_eq!(opened(&effects(&mut session, later)), [(Handle(3), one.clone())], "{failed:?}");
        compare(&mut session, Handle(3), &one, 2);
        session.receive(later, &stored(Handle(3), Outcome::WELL).into()).unwrap();
        assert_eq!(session.acknowledged(), 2);
    }
}

#[test]
fn who_edits_on_and_on_there_keeps_nobody_waiting_here() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 3);
    session.add(&document, 3);
    met(&mut session, true, false);
    session.described(&document, &StateVector::default());
    let question = y_protocols::sync_step1(&StateVector::default().encode());
    session.receive(NOW, &y(Handle(1), &question).into()).unwrap();
    session.lacking(&document, Update::empty().bytes(), 3);
    session.receive(NOW, &y(Handle(1), &y_protocols::sync_step2(&update)).into()).unwrap();
    // Each time the disk has one, the next is on its way.
    let bring = |session: &mut Session| {
        session.receive(NOW, &y(Handle(1), &y_protocols::update(&update)).into()).unwrap();
    };
    bring(&mut session);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    let tokens = effects(&mut session, NOW).into_iter().filter_map(|effect| match effect {
        Effect::Bring { token, .. } => Some(token),
        _ => None,
    });
    let tokens: Vec<_> = tokens.collect();
    assert_eq!((tokens.len(), session.settled()), (2, 0), "the answer is not on the disk");
    session.brought(NOW, tokens[0], Ok(()));
    bring(&mut session);
    assert_eq!(session.settled(), 0, "nor is what was heard before ours was there");
    session.brought(NOW, tokens[1], Ok(()));
    assert_eq!(session.standing(&document).unwrap().lag, Some(Lag::Storing));
    assert_eq!(session.settled(), 3);
}
