//! What the simulated world found (`crate::sim`), each as a script of its own.

use super::*;

/// Whether a checkpoint is reached now.
fn reached(session: &mut Session) -> bool {
    effects(session, NOW).iter().any(|effect| matches!(effect, Effect::Reached { .. }))
}

#[test]
fn what_is_added_at_work_is_compared_whatever_was_acknowledged_and_reached_before() {
    let (one, two) = (yjs("one"), yjs("two"));
    let mut session = Session::new(SessionConfig::default(), 9);
    session.remember(KEEPER, 9, Bytes::from_static(b"then"));
    session.add(&one, 9);
    met(&mut session, true, true);
    session.add(&two, 5);
    assert_eq!(session.standing(&two).unwrap().acknowledged, 0, "it was never sent");
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(1), two.clone())]);
    session.receive(NOW, &changes(false, false, b"now", &[]).into()).unwrap();
    assert!(!reached(&mut session), "what it lacks changed before that");
    // A break changes nothing about it.
    met(&mut session, true, true);
    session.receive(NOW, &changes(false, false, b"now", &[]).into()).unwrap();
    assert!(!reached(&mut session));
    compare(&mut session, Handle(1), &two, 9);
    assert!(reached(&mut session));
    assert_eq!(session.acknowledged(), 0);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.acknowledged(), 9);
}

#[test]
fn what_was_learned_and_not_told_yet_is_not_about_what_is_added_meanwhile() {
    let (one, two) = (yjs("one"), yjs("two"));
    let learned = |session: &mut Session| {
        let learned = effects(session, NOW).into_iter().filter_map(|effect| match effect {
            Effect::Acknowledged { position, .. } => Some((Some(position), Bytes::new())),
            Effect::Reached { checkpoint, .. } => Some((None, checkpoint)),
            _ => None,
        });
        learned.collect::<Vec<_>>()
    };
    let reached = |checkpoint| (None, Bytes::from_static(checkpoint));
    // The one that is added then has changes here that nobody sent, or none.
    for (last, first) in [(3, vec![]), (0, vec![(Some(4), Bytes::new())])] {
        let mut session = Session::new(SessionConfig::default(), 4);
        session.add(&one, 4);
        met(&mut session, true, true);
        compare(&mut session, Handle(1), &one, 4);
        session.receive(NOW, &changes(false, false, b"now", &[]).into()).unwrap();
        session.receive(NOW, &changes(false, false, b"later", std::slice::from_ref(&two)).into()).unwrap();
        session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
        session.add(&two, last);
        assert_eq!(learned(&mut session), first, "of {last}");
        compare(&mut session, Handle(2), &two, 4);
        assert_eq!(learned(&mut session), [reached(b"later")]);
        session.receive(NOW, &stored(Handle(2), Outcome::WELL).into()).unwrap();
        let second = if last == 0 { vec![] } else { vec![(Some(4), Bytes::new())] };
        assert_eq!(learned(&mut session), second, "of {last}");
    }
}

#[test]
fn what_could_not_be_stored_here_is_fetched_again_from_who_lists() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 0);
    session.add(&document, 0);
    session.watch(&document, true);
    met(&mut session, true, true);
    compare(&mut session, Handle(1), &document, 0);
    session.watch(&document, false);
    effects(&mut session, NOW);
    session.receive(NOW, &y(Handle(1), &y_protocols::update(&update)).into()).unwrap();
    let Some(Effect::Bring { token, .. }) = session.poll(NOW) else { panic!("it is not brought") };
    session.brought(NOW, token, Err("the disk is full".to_owned()));
    assert!(opened(&effects(&mut session, NOW)).is_empty());
    let later = session.deadline().unwrap();
    assert!(later > NOW);
    assert_eq!(opened(&effects(&mut session, later)), [(Handle(2), document)]);
}

#[test]
fn a_clock_that_is_set_makes_nothing_wait_for_years() {
    const YEARS: u64 = 10 * 365 * 24 * 3_600_000;
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 0);
    session.add(&document, 0);
    met(&mut session, true, false);
    compare(&mut session, Handle(1), &document, 0);
    frames(&mut session);
    let ahead = NOW.plus(YEARS);
    session.changed(ahead, &Change { is_from_there: true, ..change(&document, 1, &update) });
    effects(&mut session, ahead);
    // Set back: what was two seconds away still is.
    assert!(effects(&mut session, NOW).is_empty());
    assert_eq!(session.deadline(), Some(NOW.plus(2_000)));
    assert!(matches!(&effects(&mut session, NOW.plus(2_000))[..], [Effect::Send { .. }]));
    session.receive(ahead, &shut(Handle(1), Outcome::TROUBLE, "busy").into()).unwrap();
    assert!(opened(&effects(&mut session, NOW)).is_empty());
    assert_eq!(opened(&effects(&mut session, NOW.plus(1_000))).len(), 1);
}

#[test]
fn what_a_reader_wrote_is_not_acknowledged_with_what_it_read() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 3);
    session.add(&document, 3);
    met(&mut session, true, false);
    compare(&mut session, Handle(1), &document, 3);
    session.changed(NOW, &Change { is_from_there: true, ..change(&document, 4, &update) });
    // It asked whether that is stored before it heard that it may not write.
    effects(&mut session, NOW.plus(2_000));
    session.receive(NOW, &stored(Handle(1), Outcome::READ_ONLY).into()).unwrap();
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.acknowledged(), 0);
    // Nor by a question behind it.
    session.changed(NOW, &Change { is_from_there: true, ..change(&document, 5, &update) });
    effects(&mut session, NOW.plus(6_000));
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.acknowledged(), 0);
}

#[test]
fn a_reader_reads_on_after_a_break_and_writes_once_it_may() {
    let document = yjs("d");
    let mut session = Session::new(SessionConfig::default(), 3);
    session.add(&document, 3);
    for lists in [false, true] {
        met(&mut session, true, lists);
        assert_eq!(session.handles.len(), 1, "it is open");
        compare(&mut session, Handle(1), &document, 3);
        session.receive(NOW, &stored(Handle(1), Outcome::READ_ONLY).into()).unwrap();
        assert!(matches!(session.standing(&document).unwrap().lag, Some(Lag::Parked { .. })));
    }
    // With another token.
    met(&mut session, true, true);
    compare(&mut session, Handle(1), &document, 3);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!((session.standing(&document).unwrap().lag, session.acknowledged()), (None, 3));
    // Also where nobody keeps what it writes.
    met(&mut session, false, false);
    compare(&mut session, Handle(1), &document, 3);
    session.receive(NOW, &stored(Handle(1), Outcome::READ_ONLY).into()).unwrap();
    assert!(matches!(session.standing(&document).unwrap().lag, Some(Lag::Parked { .. })));
}

/// A session that may have one document open, of two.
fn narrow(lists: bool) -> (Session, DocumentId, DocumentId) {
    let (one, two) = (yjs("one"), yjs("two"));
    let mut session =
        Session::new(SessionConfig { documents_max: 1, unlisted_max: 1, ..SessionConfig::default() }, 2);
    session.add(&one, 1);
    session.add(&two, 2);
    session.begin(&Identity { keeps: None, lists: false, gives_up: false });
    session
        .receive(NOW, &identity_frame(&Identity { keeps: Some(KEEPER), lists, gives_up: false }).into())
        .unwrap();
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(1), one.clone())]);
    (session, one, two)
}

#[test]
fn who_waits_for_a_place_after_a_refusal_wakes_nobody_before_there_is_one() {
    let (mut session, one, two) = narrow(true);
    session.receive(NOW, &shut(Handle(1), Outcome::TROUBLE, "busy").into()).unwrap();
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), two.clone())]);
    let later = session.deadline().unwrap();
    assert!(later > NOW && opened(&effects(&mut session, later)).is_empty());
    assert_eq!(session.deadline(), None, "there is no place");
    compare(&mut session, Handle(2), &two, 2);
    session.receive(later, &stored(Handle(2), Outcome::WELL).into()).unwrap();
    assert_eq!(opened(&effects(&mut session, later)), [(Handle(3), one)]);
}

#[test]
fn a_place_that_gets_free_is_given_to_who_waits() {
    let (mut session, one, two) = narrow(true);
    session.remove(&one);
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), two)]);
}

#[test]
fn who_may_only_read_keeps_no_place() {
    for lists in [true, false] {
        let (mut session, one, two) = narrow(lists);
        compare(&mut session, Handle(1), &one, 2);
        session.receive(NOW, &stored(Handle(1), Outcome::READ_ONLY).into()).unwrap();
        assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), two)]);
        assert!(opened(&effects(&mut session, NOW.plus(1 << 40))).is_empty(), "nor does it come back");
    }
}

#[test]
fn what_came_before_a_document_was_shut_counts_for_nothing_that_came_behind() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 0);
    session.add(&document, 0);
    met(&mut session, true, true);
    let bring = |session: &mut Session, handle| {
        session.receive(NOW, &y(handle, &y_protocols::update(&update)).into()).unwrap();
        let mut brought = effects(session, NOW).into_iter().filter_map(|effect| match effect {
            Effect::Bring { token, .. } => Some(token),
            _ => None,
        });
        brought.next().unwrap()
    };
    session.receive(NOW, &changes(false, false, b"one", std::slice::from_ref(&document)).into()).unwrap();
    effects(&mut session, NOW);
    compare(&mut session, Handle(1), &document, 0);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert!(reached(&mut session));
    let first = bring(&mut session, Handle(1));
    effects(&mut session, NOW.plus(SessionConfig::default().linger_ms));
    session.receive(NOW, &changes(false, false, b"two", std::slice::from_ref(&document)).into()).unwrap();
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), document.clone())]);
    compare(&mut session, Handle(2), &document, 0);
    let second = bring(&mut session, Handle(2));
    session.receive(NOW, &changes(false, false, b"three", std::slice::from_ref(&document)).into()).unwrap();
    effects(&mut session, NOW);
    session.brought(NOW, first, Ok(()));
    assert!(!reached(&mut session), "the second is not on the disk yet");
    session.brought(NOW, second, Ok(()));
    assert!(reached(&mut session));
}

#[test]
fn what_came_through_an_earlier_opening_is_compared_before_it_counts() {
    let (document, update, nothing) = (yjs("d"), update(), Update::empty());
    for (is_break, lacking) in
        [(false, nothing.bytes().clone()), (true, nothing.bytes().clone()), (true, large(300))]
    {
        let mut session = Session::new(SessionConfig::default(), 1);
        session.add(&document, 1);
        met(&mut session, true, false);
        compare(&mut session, Handle(1), &document, 1);
        session.receive(NOW, &y(Handle(1), &y_protocols::update(&update)).into()).unwrap();
        let came = effects(&mut session, NOW);
        let Some(Effect::Bring { token, .. }) = came.last() else { panic!("it is not brought: {came:?}") };
        // The other end has lost it, or did not take it.
        let again = if is_break {
            met(&mut session, true, false);
            Handle(1)
        } else {
            session.receive(NOW, &shut(Handle(1), Outcome::TROUBLE, "busy").into()).unwrap();
            effects(&mut session, NOW.plus(1_000));
            Handle(2)
        };
        compare_with(&mut session, again, &document, 1, &lacking);
        // Whatever is left of it.
        session.go_on(again.0, 1024 * 1024);
        for _ in 0..2 {
            session.receive(NOW, &stored(again, Outcome::WELL).into()).unwrap();
        }
        session.changed(NOW, &Change { is_from_there: true, ..change(&document, 2, &update) });
        session.changed(NOW, &change(&document, 3, &update));
        session.receive(NOW, &stored(again, Outcome::WELL).into()).unwrap();
        assert_eq!(session.acknowledged(), 0, "it may not be there");
        session.brought(NOW, *token, Ok(()));
        let asks = effects(&mut session, NOW);
        assert!(asks.iter().any(|effect| matches!(effect, Effect::Describe(_))), "{asks:?}");
        compare(&mut session, again, &document, 3);
        session.receive(NOW, &stored(again, Outcome::WELL).into()).unwrap();
        assert_eq!(session.acknowledged(), 3);
    }
}

#[test]
fn what_was_read_for_an_earlier_opening_is_not_said_to_the_next() {
    let document = yjs("d");
    let mut session = Session::new(SessionConfig::default(), 3);
    session.add(&document, 3);
    let asked = |session: &mut Session| {
        let question = y_protocols::sync_step1(&StateVector::default().encode());
        session.receive(NOW, &y(Handle(1), &question).into()).unwrap();
        let reads = effects(session, NOW);
        assert!(matches!(reads[..], [Effect::Read { .. }]), "{reads:?}");
    };
    met(&mut session, true, false);
    asked(&mut session);
    met(&mut session, true, false);
    asked(&mut session);
    // The other end was another one then, which had more.
    session.lacking(&document, Update::empty().bytes(), 3);
    assert!(frames(&mut session).is_empty());
    session.lacking(&document, &update(), 3);
    assert_eq!(frames(&mut session).len(), 1);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.acknowledged(), 3);
}

#[test]
fn a_place_is_free_again_when_nobody_looks_or_nobody_keeps() {
    let (mut session, one, two) = narrow(true);
    session.watch(&one, true);
    compare(&mut session, Handle(1), &one, 2);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert!(opened(&effects(&mut session, NOW)).is_empty(), "somebody looks at it");
    session.watch(&one, false);
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), two)]);
    // Where nobody keeps what is sent, it is done when it is sent.
    let (document, update) = (yjs("d"), update());
    let mut session =
        Session::new(SessionConfig { documents_max: 1, unlisted_max: 1, ..SessionConfig::default() }, 2);
    session.add(&document, 1);
    met(&mut session, false, false);
    compare(&mut session, Handle(1), &document, 1);
    session.changed(NOW, &change(&document, 2, &update));
    let other = yjs("other");
    session.add(&other, 0);
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), other)]);
}

#[test]
fn what_was_refused_for_a_while_and_is_edited_before_it_is_compared_is_compared_again() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 1);
    session.add(&document, 1);
    met(&mut session, true, false);
    effects(&mut session, NOW);
    session.receive(NOW, &shut(Handle(1), Outcome::CROWDED, "too many").into()).unwrap();
    effects(&mut session, NOW);
    let later = session.deadline().unwrap();
    assert_eq!(opened(&effects(&mut session, later)), [(Handle(2), document.clone())]);
    session.changed(later, &change(&document, 2, &update));
    compare(&mut session, Handle(2), &document, 1);
    for _ in 0..2 {
        session.receive(later, &stored(Handle(2), Outcome::WELL).into()).unwrap();
    }
    assert_eq!(opened(&effects(&mut session, later)), [(Handle(3), document.clone())]);
    compare(&mut session, Handle(3), &document, 2);
    session.receive(later, &stored(Handle(3), Outcome::WELL).into()).unwrap();
    assert_eq!((session.acknowledged(), session.standing(&document).unwrap().lag), (2, None));
}

/// Each question is answered with all that is lacking: after a break, the same once more.
#[test]
fn what_the_other_end_has_is_asked_for_once() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 0);
    session.add(&document, 0);
    met(&mut session, true, false);
    compare(&mut session, Handle(1), &document, 0);
    session.receive(NOW, &y(Handle(1), &y_protocols::update(&update)).into()).unwrap();
    let came = effects(&mut session, NOW);
    let Some(Effect::Bring { token, .. }) = came.last() else { panic!("it is not brought: {came:?}") };
    let asks = |session: &mut Session| {
        let asks = |effect: &Effect| matches!(effect, Effect::Describe(_));
        effects(session, NOW).iter().filter(|effect| asks(effect)).count()
    };
    // It breaks twice, and what is here is told of behind what is still being brought.
    session.begin(&Identity { keeps: None, lists: false, gives_up: false });
    session
        .receive(
            NOW,
            &identity_frame(&Identity { keeps: Some(KEEPER), lists: false, gives_up: false }).into(),
        )
        .unwrap();
    assert_eq!(asks(&mut session), 1);
    session.begin(&Identity { keeps: None, lists: false, gives_up: false });
    session
        .receive(
            NOW,
            &identity_frame(&Identity { keeps: Some(KEEPER), lists: false, gives_up: false }).into(),
        )
        .unwrap();
    assert_eq!(asks(&mut session), 1);
    session.brought(NOW, *token, Ok(()));
    assert_eq!(asks(&mut session), 0, "it is being asked for");
    session.described(&document, &StateVector::default());
    assert!(frames(&mut session).is_empty(), "that was for the connection before");
    session.described(&document, &StateVector::default());
    assert_eq!(frames(&mut session).len(), 1);
}

#[test]
fn what_is_found_before_all_is_listed_is_not_taken_for_known_there() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 9);
    session.set_listing(true);
    session.add(&yjs("other"), 1);
    met(&mut session, true, true);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    session.receive(NOW, &changes(false, false, b"now", std::slice::from_ref(&document)).into()).unwrap();
    // Its driver does not know yet that there are nine changes of it here.
    session.add(&document, 0);
    effects(&mut session, NOW);
    compare_with(&mut session, Handle(2), &document, 9, &update);
    let said = frames(&mut session);
    let is_brought = |frame: &Vec<u8>| {
        let Ok(Message::Y { message: Said::SyncStep2(brought), .. }) = parse(&frame.clone().into()) else {
            return false;
        };
        !brought.is_empty()
    };
    assert!(said.iter().any(is_brought), "the other end may lack it: {said:?}");
    let told = |session: &mut Session| {
        let is_told = |effect: &Effect| matches!(effect, Effect::Acknowledged { .. });
        effects(session, NOW).iter().any(is_told)
    };
    compare(&mut session, Handle(1), &yjs("other"), 9);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    session.receive(NOW, &stored(Handle(2), Outcome::WELL).into()).unwrap();
    assert!(!told(&mut session) && !session.is_in_sync(), "others may be listed yet");
    assert_eq!(session.settled(), 0);
    session.add(&document, 9);
    session.set_listing(false);
    assert_eq!(session.acknowledged(), 0);
    let again = opened(&effects(&mut session, NOW));
    assert_eq!(again, [(Handle(3), document.clone())], "it is compared once more");
    compare(&mut session, Handle(3), &document, 9);
    session.receive(NOW, &stored(Handle(3), Outcome::WELL).into()).unwrap();
    assert!(told(&mut session) && session.is_in_sync());
    assert_eq!((session.acknowledged(), session.settled()), (9, 9));
}
