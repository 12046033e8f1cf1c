//! One session against a scripted other end.

mod found;
mod held;
mod paging;
mod read;
mod urgent;
mod waiting;

use bytes::Bytes;

use super::*;
use crate::dialect::replica::{
    Handle, Identity, Message, Outcome, changes, identity_frame, parse, shut, stored, y,
};
use crate::dialect::y_protocols::{self, Message as Said};
use crate::id::{DocumentId, Incarnation, ReplicaId};
use crate::schedule::Priority;
use crate::time::Millis;
use crate::update::{StateVector, Update};

pub(super) const KEEPER: (ReplicaId, Incarnation) = (ReplicaId([7; 16]), Incarnation([8; 16]));
pub(super) const NOW: Millis = Millis(1_000);

fn yjs(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

/// An update of one struct.
fn update() -> Bytes {
    Bytes::from_static(&[1, 1, 5, 0, 4, 1, 1, b't', 1, b'a', 0])
}

/// A session that met somebody.
pub(super) fn met(session: &mut Session, keeps: bool, lists: bool) {
    let own = Identity { keeps: None, lists: false, gives_up: false };
    session.begin(&own);
    let identity = Identity { keeps: keeps.then_some(KEEPER), lists, gives_up: false };
    session.receive(NOW, &identity_frame(&identity).into()).unwrap();
    let said = frames(session);
    assert!(matches!(parse(&said[0].clone().into()).unwrap(), Message::Identity(..)));
}

/// All that it wants now.
pub(super) fn effects(session: &mut Session, now: Millis) -> Vec<Effect> {
    std::iter::from_fn(|| session.poll(now)).collect()
}

/// What it sends now.
fn frames(session: &mut Session) -> Vec<Vec<u8>> {
    let sent = |effect| if let Effect::Send { frame, .. } = effect { Some(frame) } else { None };
    effects(session, NOW).into_iter().filter_map(sent).collect()
}

pub(super) fn opened(effects: &[Effect]) -> Vec<(Handle, DocumentId)> {
    let opening = |effect: &Effect| {
        let Effect::Send { frame, .. } = effect else { return None };
        let Ok(Message::Open { handle, document }) = parse(&frame.clone().into()) else { return None };
        Some((handle, document))
    };
    effects.iter().filter_map(opening).collect()
}

pub(super) fn change<'a>(document: &'a DocumentId, position: u64, update: &'a Bytes) -> Change<'a> {
    Change { document, position, update, priority: None, is_from_there: false }
}

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

/// Answers for a document that is the same on both sides.
fn compare(session: &mut Session, handle: Handle, document: &DocumentId, position: u64) {
    compare_with(session, handle, document, position, Update::empty().bytes());
}

/// Answers for a document of which the other end lacks this, and this end nothing.
fn compare_with(
    session: &mut Session,
    handle: Handle,
    document: &DocumentId,
    position: u64,
    lacking: &Bytes,
) {
    session.described(document, &StateVector::default());
    session
        .receive(NOW, &y(handle, &y_protocols::sync_step1(&StateVector::default().encode())).into())
        .unwrap();
    session.lacking(document, lacking, position);
    session.receive(NOW, &y(handle, &y_protocols::sync_step2(Update::empty().bytes())).into()).unwrap();
}

#[test]
fn a_document_is_compared_and_acknowledged_as_far_as_it_was_stored() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 5);
    session.add(&document, 5);
    assert_eq!(session.standing(&document).unwrap().lag, Some(Lag::Offline));
    met(&mut session, true, false);
    let handle = Handle(1);
    compare(&mut session, handle, &document, 5);
    assert_eq!(session.standing(&document).unwrap().lag, Some(Lag::Unacknowledged));
    // One more, while the first is on its way.
    session.changed(NOW, &change(&document, 6, &update));
    assert!(matches!(
        parse(&frames(&mut session).pop().unwrap().into()).unwrap(),
        Message::Y { message: Said::Update(_), .. }
    ));
    session.receive(NOW, &stored(handle, Outcome::WELL).into()).unwrap();
    assert_eq!(session.acknowledged(), 5);
    session.receive(NOW, &stored(handle, Outcome::WELL).into()).unwrap();
    assert_eq!((session.acknowledged(), session.standing(&document).unwrap().lag), (6, None));
    let told = effects(&mut session, NOW).into_iter().filter_map(|effect| match effect {
        Effect::Acknowledged { keeper: KEEPER, position } => Some(position),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [5, 6]);
    // Of another incarnation nothing is known.
    let other = Identity { keeps: Some((KEEPER.0, Incarnation([9; 16]))), lists: false, gives_up: false };
    session.begin(&other);
    session.receive(NOW, &identity_frame(&other).into()).unwrap();
    assert_eq!(session.acknowledged(), 0);
}

#[test]
fn a_change_before_the_comparison_counts_for_nothing_by_itself() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 5);
    session.add(&document, 5);
    met(&mut session, true, false);
    session.changed(NOW, &change(&document, 6, &update));
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.acknowledged(), 0, "the first five were never sent");
}

#[test]
fn what_came_from_there_is_acknowledged_when_that_was_asked() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 0);
    session.add(&document, 0);
    met(&mut session, true, false);
    compare(&mut session, Handle(1), &document, 0);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    frames(&mut session);
    session.receive(NOW, &y(Handle(1), &y_protocols::update(&update)).into()).unwrap();
    let Some(Effect::Bring { token, .. }) = session.poll(NOW) else { panic!("it is not brought") };
    session.changed(NOW, &Change { is_from_there: true, ..change(&document, 1, &update) });
    session.brought(NOW, token, Ok(()));
    assert!(frames(&mut session).is_empty(), "it is not sent back");
    assert_eq!((session.acknowledged(), session.deadline()), (0, Some(NOW.plus(2_000))));
    let later = effects(&mut session, NOW.plus(2_000));
    assert!(matches!(&later[..], [Effect::Send { .. }]), "{later:?}");
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.acknowledged(), 1);
}

#[test]
fn of_who_lists_only_what_differs_is_opened() {
    let names: Vec<_> = (0..100).map(|n| yjs(&format!("d{n:02}"))).collect();
    let mut session = Session::new(SessionConfig::default(), 100);
    session.remember(KEEPER, 99, Bytes::from_static(b"then"));
    for (name, position) in names.iter().zip(1..) {
        session.add(name, position);
    }
    session.begin(&Identity { keeps: None, lists: false, gives_up: false });
    let identity = identity_frame(&Identity { keeps: Some(KEEPER), lists: true, gives_up: false });
    session.receive(NOW, &identity.into()).unwrap();
    let first = effects(&mut session, NOW);
    assert_eq!(opened(&first), [(Handle(1), names[99].clone())], "the one that is not acknowledged");
    let asks = |effect: &Effect| match effect {
        Effect::Send { frame, .. } => match parse(&frame.clone().into()) {
            Ok(Message::Watch { since, .. }) => Some(since),
            _ => None,
        },
        _ => None,
    };
    assert_eq!(first.iter().find_map(asks).unwrap(), "then");
    let stranger = yjs("stranger");
    let listed = changes(false, false, b"now", &[names[7].clone(), stranger.clone()]);
    session.receive(NOW, &listed.into()).unwrap();
    let next = effects(&mut session, NOW);
    assert_eq!(opened(&next), [(Handle(2), names[7].clone())]);
    assert!(next.iter().any(|effect| matches!(effect, Effect::Found(found) if *found == stranger)));
    let reached = |session: &mut Session| {
        effects(session, NOW)
            .iter()
            .any(|effect| matches!(effect, Effect::Reached { checkpoint, .. } if *checkpoint == "now"))
    };
    compare(&mut session, Handle(2), &names[7], 100);
    assert!(!reached(&mut session), "the stranger is not looked at yet");
    session.decline(&stranger);
    assert!(reached(&mut session));
    // What is in sync is shut after a while, and opened again when it changes.
    session.receive(NOW, &stored(Handle(2), Outcome::WELL).into()).unwrap();
    let later = NOW.plus(SessionConfig::default().linger_ms);
    effects(&mut session, NOW);
    assert_eq!(session.deadline(), Some(later));
    effects(&mut session, later);
    session.receive(later, &changes(false, false, b"later", &[names[7].clone()]).into()).unwrap();
    assert_eq!(opened(&effects(&mut session, later)).len(), 1);
}

#[test]
fn documents_take_turns_where_not_all_may_be_open() {
    let config = SessionConfig { documents_max: 2, unlisted_max: 2, ..SessionConfig::default() };
    let mut session = Session::new(config, 0);
    let names: Vec<_> = (0..5).map(|n| yjs(&format!("d{n}"))).collect();
    names.iter().for_each(|name| session.add(name, 0));
    session.begin(&Identity { keeps: None, lists: false, gives_up: false });
    let identity = identity_frame(&Identity { keeps: Some(KEEPER), lists: false, gives_up: false });
    session.receive(NOW, &identity.into()).unwrap();
    let mut seen = Vec::new();
    for _ in 0..10 {
        for (handle, name) in opened(&effects(&mut session, NOW)) {
            compare(&mut session, handle, &name, 0);
            session.receive(NOW, &stored(handle, Outcome::WELL).into()).unwrap();
            seen.push(name);
        }
    }
    seen.sort();
    assert_eq!(seen, names, "each once");
}

#[test]
fn what_is_refused_for_good_is_parked_and_the_rest_goes_on() {
    let (one, two, update) = (yjs("one"), yjs("two"), update());
    let mut session = Session::new(SessionConfig::default(), 1);
    session.add(&one, 1);
    session.add(&two, 1);
    met(&mut session, true, false);
    compare(&mut session, Handle(1), &one, 1);
    session.receive(NOW, &shut(Handle(2), Outcome::DELETED, "gone").into()).unwrap();
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    session.changed(NOW, &change(&one, 2, &update));
    session.changed(NOW, &change(&two, 3, &update));
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.standing(&one).unwrap().lag, None);
    let parked = Lag::Parked { outcome: Outcome::DELETED, reason: "gone".to_owned() };
    assert_eq!(session.standing(&two).unwrap().lag, Some(parked));
    assert_eq!(session.lagging().count(), 1);
    // Only by decision.
    assert!(opened(&effects(&mut session, NOW.plus(1 << 40))).is_empty());
    session.retry(NOW, &two);
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(3), two.clone())]);
    // What passes is tried again by itself, later each time.
    for wait in [1_000, 2_000, 4_000] {
        let handle = session.handles.iter().find(|(_, id)| **id == two).map(|(handle, _)| *handle).unwrap();
        session.receive(NOW, &shut(handle, Outcome::TROUBLE, "busy").into()).unwrap();
        assert!(opened(&effects(&mut session, NOW.plus(wait / 2))).is_empty());
        assert_eq!(opened(&effects(&mut session, NOW.plus(wait))).len(), 1, "after {wait} ms");
    }
}

#[test]
fn a_reader_reads_on_when_its_writing_is_parked() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 3);
    session.add(&document, 3);
    met(&mut session, true, false);
    compare(&mut session, Handle(1), &document, 3);
    session.receive(NOW, &stored(Handle(1), Outcome::READ_ONLY).into()).unwrap();
    assert!(matches!(session.standing(&document).unwrap().lag, Some(Lag::Parked { .. })));
    frames(&mut session);
    session.receive(NOW, &y(Handle(1), &y_protocols::update(&update)).into()).unwrap();
    assert!(matches!(session.poll(NOW), Some(Effect::Bring { .. })));
    assert_eq!(session.acknowledged(), 0);
}

#[test]
fn a_break_loses_nothing_that_was_learned_and_keeps_nothing_that_was_not() {
    let document = yjs("d");
    let mut session = Session::new(SessionConfig::default(), 3);
    session.add(&document, 3);
    session.set_priority(&document, Priority::High);
    met(&mut session, true, false);
    compare(&mut session, Handle(1), &document, 3);
    session.end();
    // It crossed with the break.
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.acknowledged(), 0);
    assert!(effects(&mut session, NOW).is_empty() && session.deadline().is_none());
    met(&mut session, true, false);
    compare(&mut session, Handle(1), &document, 3);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    session.end();
    let kept = effects(&mut session, NOW);
    assert!(matches!(&kept[..], [Effect::Acknowledged { position: 3, .. }]), "{kept:?}");
}

#[test]
fn what_is_dropped_counts_as_acknowledged_until_it_is_edited() {
    let (one, two, update) = (yjs("one"), yjs("two"), update());
    let mut session = Session::new(SessionConfig::default(), 2);
    session.add(&one, 1);
    session.add(&two, 2);
    met(&mut session, true, false);
    compare(&mut session, Handle(1), &one, 1);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!(session.drop_parked(&two), None, "nothing is parked");
    session.receive(NOW, &shut(Handle(2), Outcome::DELETED, "gone").into()).unwrap();
    assert_eq!(session.acknowledged(), 0);
    let dropped = session.drop_parked(&two).unwrap();
    assert_eq!(session.drop_parked(&two), None, "once");
    assert_eq!(session.acknowledged(), 2);
    let lag = |session: &Session| session.standing(&two).unwrap().lag;
    assert!(matches!(lag(&session), Some(Lag::Dropped { outcome: Outcome::DELETED, .. })));
    assert!(opened(&effects(&mut session, NOW.plus(1 << 40))).is_empty() && session.is_in_sync());
    // So it is in the next life.
    let mut next = Session::new(SessionConfig::default(), 2);
    next.remember(KEEPER, 2, Bytes::new());
    next.remember_dropped(&two, dropped.clone());
    met(&mut next, true, false);
    assert!(matches!(lag(&next), Some(Lag::Dropped { .. })));
    assert_eq!(next.acknowledged(), 2);
    // An edit takes it up, and so does one that was made while nobody remembered.
    for session in [&mut session, &mut next] {
        session.changed(NOW, &change(&two, 3, &update));
        assert_eq!(session.acknowledged(), 2);
        assert_eq!(opened(&effects(session, NOW)).len(), 1);
        assert_eq!(lag(session), Some(Lag::Comparing));
    }
    let mut edited = Session::new(SessionConfig::default(), 3);
    edited.remember(KEEPER, 2, Bytes::new());
    edited.remember_dropped(&two, dropped.clone());
    edited.add(&two, 3);
    assert_eq!((lag(&edited), edited.acknowledged()), (Some(Lag::Offline), 2));
    // Another try compares all of it, and for another keeper nothing was ever dropped.
    let mut retried = Session::new(SessionConfig::default(), 2);
    retried.remember(KEEPER, 2, Bytes::new());
    retried.remember_dropped(&two, dropped.clone());
    met(&mut retried, true, false);
    retried.retry(NOW, &two);
    assert_eq!((opened(&effects(&mut retried, NOW)).len(), retried.acknowledged()), (1, 0));
    let mut other = Session::new(SessionConfig::default(), 2);
    other.remember((KEEPER.0, Incarnation([9; 16])), 2, Bytes::new());
    other.remember_dropped(&two, dropped);
    met(&mut other, true, false);
    assert_eq!((lag(&other), other.acknowledged()), (Some(Lag::Comparing), 0));
}

#[test]
fn what_is_done_with_is_let_go_where_that_costs_nothing() {
    for lists in [true, false] {
        let document = yjs("d");
        let mut session = Session::new(SessionConfig::default(), 1);
        session.add(&document, 1);
        met(&mut session, true, lists);
        session.shut_done();
        assert_eq!(session.handles.len(), 1, "it is not done with");
        compare(&mut session, Handle(1), &document, 1);
        session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
        session.shut_done();
        let is_shut = frames(&mut session)
            .into_iter()
            .any(|frame| matches!(parse(&frame.into()), Ok(Message::Shut { outcome: Outcome::WELL, .. })));
        assert_eq!(is_shut, lists, "what nobody lists has to stay open to be heard of");
        assert_eq!(session.standing(&document).unwrap().lag, None);
    }
}
