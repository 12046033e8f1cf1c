//! What waits for a decision after a long time apart.

use super::*;
use crate::pattern::{Pattern, Rules};

/// Everything under this is held.
fn stale(pattern: &str) -> Rules<bool> {
    let mut stale = Rules::default();
    stale.add(pattern.parse().unwrap(), true);
    stale
}

/// A session that knows of `names`, each changed at its place, the first `acknowledged` of them acknowledged.
fn session(names: &[DocumentId], acknowledged: u64) -> Session {
    let mut session = Session::new(SessionConfig::default(), names.len() as u64);
    session.remember(KEEPER, acknowledged, Bytes::from_static(b"then"));
    for (name, position) in names.iter().zip(1..) {
        session.add(name, position);
    }
    session
}

fn names(names: &[&str]) -> Vec<DocumentId> {
    names.iter().map(|name| yjs(name)).collect()
}

fn list(session: &mut Session, until: &'static [u8], documents: &[DocumentId]) {
    session.receive(NOW, &changes(false, false, until, documents).into()).unwrap();
    for effect in effects(session, NOW) {
        match effect {
            Effect::Found(document) => session.add(&document, 0),
            Effect::Send { frame, .. } => {
                assert!(!matches!(parse(&frame.into()), Ok(Message::Open { .. })), "nothing is opened");
            }
            effect => {
                assert!(
                    !matches!(effect, Effect::Reached { .. } | Effect::Acknowledged { .. }),
                    "{effect:?}"
                );
            }
        }
    }
}

fn lag(session: &Session, document: &DocumentId) -> Option<Lag> {
    session.standing(document).unwrap().lag
}

#[test]
fn what_both_did_apart_is_told_before_any_of_it_is_merged() {
    let all = names(&["same", "there", "here", "both"]);
    let mut session = session(&all, 2);
    session.hold(stale("**"));
    met(&mut session, true, true);
    assert!(opened(&effects(&mut session, NOW)).is_empty());
    assert_eq!(session.backlog(), None, "it is not known what changed there");
    assert!(!session.waits_for_decision());
    list(&mut session, b"now", &[all[1].clone(), all[3].clone(), yjs("strange")]);
    let apart = Apart {
        here: names(&["here"]),
        there: names(&["strange", "there"]),
        both: names(&["both"]),
        knows_there: true,
    };
    assert_eq!(session.backlog(), Some(apart));
    assert_eq!((session.backlog(), session.held()), (None, 4));
    assert!(opened(&effects(&mut session, NOW.plus(1 << 40))).is_empty());
    assert_eq!((lag(&session, &all[2]), lag(&session, &all[0])), (Some(Lag::Held), None));
    assert_eq!((session.lagging().count(), session.lagging_count()), (4, 4));
    assert!(session.waits_for_decision() && !session.is_in_sync() && session.settled() == 0);
    assert_eq!((session.acknowledged(), session.deadline()), (2, None));
    session.release(None);
    let next = effects(&mut session, NOW);
    let open: Vec<_> = opened(&next).into_iter().map(|(_, document)| document).collect();
    assert_eq!(open.len(), 4);
    assert!(session.held() == 0 && !session.waits_for_decision());
    for (handle, document) in opened(&next) {
        compare(&mut session, handle, &document, 4);
        session.receive(NOW, &stored(handle, Outcome::WELL).into()).unwrap();
    }
    let ends = effects(&mut session, NOW);
    assert!(
        ends.iter().any(|effect| matches!(effect, Effect::Reached { checkpoint, .. } if checkpoint == "now"))
    );
    assert!(ends.iter().any(|effect| matches!(effect, Effect::Acknowledged { position: 4, .. })));
    assert!(session.is_in_sync());
}

#[test]
fn only_what_is_stale_waits_and_a_pattern_lets_some_of_it_go() {
    let all = names(&["notes/a", "notes/b", "todo"]);
    let mut session = session(&all, 0);
    session.hold(stale("notes/**"));
    met(&mut session, true, true);
    session.receive(NOW, &changes(false, false, b"now", &[]).into()).unwrap();
    assert_eq!(session.backlog().unwrap().here, all[..2]);
    assert_eq!(opened(&effects(&mut session, NOW)), [] as [(Handle, DocumentId); 0]);
    assert_eq!(lag(&session, &all[2]), Some(Lag::Comparing), "it was opened at once");
    let pattern: Pattern = "*/a".parse().unwrap();
    session.release(Some(&pattern));
    assert_eq!(opened(&effects(&mut session, NOW)), [(Handle(2), all[0].clone())]);
    // The next connection knows what was let go of.
    session.hold(stale("notes/**"));
    met(&mut session, true, true);
    session.receive(NOW, &changes(false, false, b"now", &[]).into()).unwrap();
    assert_eq!(session.backlog().unwrap().here, all[1..2]);
    session.release(Some(&Pattern::under("notes/")));
    assert_eq!(session.held(), 0);
}

#[test]
fn what_changes_later_waits_only_in_what_is_held() {
    let all = names(&["same", "here"]);
    let update = update();
    let mut session = session(&all, 1);
    session.hold(stale("**"));
    met(&mut session, true, true);
    session.receive(NOW, &changes(false, false, b"now", &[]).into()).unwrap();
    assert_eq!(session.backlog().unwrap().here, all[1..]);
    effects(&mut session, NOW);
    session.changed(NOW, &change(&all[1], 3, &update));
    assert!(opened(&effects(&mut session, NOW)).is_empty());
    session.changed(NOW, &change(&all[0], 4, &update));
    let next = opened(&effects(&mut session, NOW));
    assert_eq!(next, [(Handle(1), all[0].clone())]);
    compare(&mut session, Handle(1), &all[0], 4);
    session.receive(NOW, &stored(Handle(1), Outcome::WELL).into()).unwrap();
    assert_eq!((lag(&session, &all[0]), session.acknowledged()), (None, 1), "the held one is not there");
    // What is listed there meanwhile is reached when the held one is merged.
    let reached = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Reached { .. }));
    assert!(!reached(&effects(&mut session, NOW)));
    session.receive(NOW, &changes(false, false, b"later", &[all[1].clone()]).into()).unwrap();
    assert!(!reached(&effects(&mut session, NOW)));
    assert!(session.waits_for_decision());
    session.remove(&all[1]);
    assert_eq!(session.held(), 0);
    assert!(reached(&effects(&mut session, NOW)));
}

#[test]
fn a_break_tells_it_anew_and_a_link_that_is_not_stale_holds_nothing() {
    let all = names(&["a", "b"]);
    let mut session = session(&all, 0);
    session.hold(stale("**"));
    for _ in 0..2 {
        met(&mut session, true, true);
        list(&mut session, b"now", &[all[0].clone()]);
        let apart = session.backlog().unwrap();
        assert_eq!((apart.both, apart.here), (names(&["a"]), names(&["b"])));
        session.end();
        assert_eq!((session.held(), lag(&session, &all[0])), (0, Some(Lag::Offline)));
    }
    session.hold(Rules::default());
    met(&mut session, true, true);
    assert_eq!(session.backlog(), None);
    assert!(session.standing(&all[0]).unwrap().lag == Some(Lag::Comparing));
}

#[test]
fn with_a_relay_that_keeps_nothing_all_of_it_waits() {
    let all = names(&["a", "b"]);
    let mut session = Session::new(SessionConfig::default(), 1);
    session.add(&all[0], 1);
    session.add(&all[1], 0);
    session.hold(stale("**"));
    met(&mut session, false, false);
    assert!(opened(&effects(&mut session, NOW)).is_empty());
    let apart = session.backlog().unwrap();
    assert_eq!((apart.here, apart.knows_there), (all.clone(), false));
    session.release(None);
    assert_eq!(opened(&effects(&mut session, NOW)).len(), 2);
}
