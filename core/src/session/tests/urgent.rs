//! Changes that are more urgent than their documents.

use super::*;
use crate::session::{Synced, Talk};

fn urgent<'a>(document: &'a DocumentId, position: u64, update: &'a Bytes) -> Change<'a> {
    Change { priority: Some(Priority::Critical), ..change(document, position, update) }
}

/// How urgent each frame is that it sends about a document now.
fn sent(session: &mut Session) -> Vec<(u64, Priority)> {
    let sent = |effect| match effect {
        Effect::Send { lane, priority, .. } if lane > 0 => Some((lane, priority)),
        _ => None,
    };
    effects(session, NOW).into_iter().filter_map(sent).collect()
}

#[test]
fn an_urgent_change_of_an_open_document_goes_alone() {
    let (document, update) = (yjs("d"), update());
    let mut session = Session::new(SessionConfig::default(), 0);
    session.add(&document, 0);
    met(&mut session, true, false);
    compare(&mut session, Handle(1), &document, 0);
    effects(&mut session, NOW);
    session.changed(NOW, &change(&document, 1, &update));
    session.changed(NOW, &urgent(&document, 2, &update));
    session.changed(NOW, &change(&document, 3, &update));
    let priorities = [Priority::Normal, Priority::Critical, Priority::Normal];
    assert_eq!(sent(&mut session), priorities.map(|priority| (1, priority)));
}

#[test]
fn what_waits_for_a_place_is_opened_by_its_urgency_until_it_was_said() {
    let config = SessionConfig { documents_max: 1, unlisted_max: 1, ..SessionConfig::default() };
    let mut session = Session::new(config, 3);
    let (all, update) = (["a", "b", "c", "d"].map(yjs), update());
    for (name, position) in all.iter().zip(1..) {
        session.add(name, position);
    }
    met(&mut session, true, false);
    // All others wait in line already.
    session.changed(NOW, &urgent(&all[2], 5, &update));
    session.set_priority(&all[3], Priority::High);
    let mut order = vec![all[0].clone()];
    compare(&mut session, Handle(1), &all[0], 5);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    for (handle, priority) in (2..).zip([Priority::Critical, Priority::High, Priority::Normal]) {
        let next = effects(&mut session, NOW);
        let [(given, document)] = &opened(&next)[..] else { panic!("{next:?}") };
        assert_eq!(*given, Handle(handle));
        let is_so = |effect: &&Effect| matches!(effect, Effect::Send { lane, .. } if *lane == handle);
        let first = next.iter().find(is_so);
        assert!(matches!(first, Some(Effect::Send { priority: sent, .. }) if *sent == priority), "{first:?}");
        compare(&mut session, *given, document, 5);
        assert!(sent(&mut session).iter().all(|(_, sent)| *sent == priority), "{document}");
        session.changed(NOW, &change(document, 4 + handle, &update));
        let normal = if *document == all[3] { Priority::High } else { Priority::Normal };
        assert_eq!(sent(&mut session), [(handle, normal)], "what comes behind it is as its document");
        for _ in 0..2 {
            session.receive(NOW, &stored(*given, Outcome::WELL).into()).unwrap();
        }
        order.push(document.clone());
    }
    assert_eq!(order, ["a", "c", "d", "b"].map(yjs));
}

#[test]
fn an_urgent_change_lifts_the_talk_about_an_automerge_document_until_it_is_there() {
    let (document, chunk) = (DocumentId::Automerge([1; 16]), Bytes::from_static(b"chunk"));
    let mut session = Session::new(SessionConfig::default(), 0);
    session.add(&document, 0);
    met(&mut session, true, false);
    let turn = |session: &mut Session, acknowledged| {
        let message = Some(Bytes::from_static(&[0x42, 0, 0, 0, 0]));
        let synced = Synced { message, heard: true, caught_up: true, acknowledged };
        session.synced(NOW, Talk(1), &document, Ok(synced));
        sent(session)
    };
    assert_eq!(turn(&mut session, 0), [(1, Priority::Normal)]);
    session.changed(NOW, &urgent(&document, 1, &chunk));
    assert_eq!(turn(&mut session, 0), [(1, Priority::Critical)]);
    session.changed(NOW, &change(&document, 2, &chunk));
    assert_eq!(turn(&mut session, 0), [(1, Priority::Critical)], "the first may not be there");
    assert_eq!(turn(&mut session, 2), [(1, Priority::Normal)]);
}
