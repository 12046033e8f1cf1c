//! Two clients who see each other, silence, lost ways, old words, and more than there is room for.

use proptest::prelude::*;

use super::*;

const NOW: Millis = Millis(5_000);
const YEARS_MS: u64 = 10 * 365 * 24 * 3_600_000;

fn text(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

fn said(client: u64, clock: u64, state: Option<Bytes>) -> AwarenessUpdate {
    AwarenessUpdate { entries: vec![AwarenessEntry { client, clock, state }] }
}

fn clients(presence: &Presence) -> Vec<u64> {
    presence.others().map(|(client, _)| client).collect()
}

#[test]
fn they_see_each_other_come_move_and_go() {
    let (mut one, mut two) = (Presence::new(1, NOW), Presence::new(2, NOW));
    assert_eq!((one.introduce(NOW), one.set(NOW, None)), (None, Ok(None)));
    let hello = one.set(NOW, text(r#"{"name":"Anna"}"#)).unwrap().unwrap();
    assert_eq!(two.hear(NOW, 7, hello.clone()), News { shown: vec![1], ..News::default() });
    assert_eq!(two.hear(NOW, 7, hello), News::default(), "it was heard");
    assert_eq!(two.state_of(1).unwrap(), r#"{"name":"Anna"}"#);
    let again = one.set(NOW, text(r#"{"name":"Anna"}"#)).unwrap().unwrap();
    assert_eq!(two.hear(NOW, 7, again), News::default(), "it shows the same");
    let moved = one.set(NOW, text("1")).unwrap().unwrap();
    assert_eq!(two.hear(NOW, 7, moved.clone()).shown, [1]);
    let bye = one.set(NOW, None).unwrap().unwrap();
    assert_eq!(two.hear(NOW, 7, bye).gone, [1]);
    // What was said before comes late.
    assert_eq!(two.hear(NOW, 7, moved), News::default());
    assert!(clients(&two).is_empty() && two.bytes == 0);
    let large = Bytes::from(vec![b'1'; AWARENESS_STATE_BYTES_MAX + 1]);
    assert_eq!(one.set(NOW, Some(large)), Err(TooLarge { bytes: AWARENESS_STATE_BYTES_MAX + 1 }));
}

#[test]
fn who_is_here_says_so_and_who_is_silent_is_gone() {
    let (mut one, mut two) = (Presence::new(1, NOW), Presence::new(2, NOW));
    let hello = one.set(NOW, text("1")).unwrap().unwrap();
    two.hear(NOW, 7, hello);
    assert_eq!(one.tick(NOW.plus(RENEW_MS - 1)), News::default());
    let again = one.tick(NOW.plus(RENEW_MS)).say.unwrap();
    assert_eq!(one.tick(NOW.plus(RENEW_MS)).say, None);
    assert_eq!(two.hear(NOW.plus(RENEW_MS), 7, again), News::default());
    assert_eq!(two.tick(NOW.plus(SILENT_MS)), News::default(), "it said so meanwhile");
    assert_eq!(two.tick(NOW.plus(RENEW_MS + SILENT_MS)).gone, [1]);
    // A clock that is set back, and one that is set ahead by years, keep nobody.
    let back = one.set(NOW, text("2")).unwrap().unwrap();
    assert_eq!(two.hear(Millis(0), 7, back).shown, [1]);
    assert_eq!(two.tick(Millis(SILENT_MS)).gone, [1]);
    let back = one.set(NOW.plus(YEARS_MS), text("3")).unwrap().unwrap();
    assert_eq!(two.hear(NOW.plus(YEARS_MS), 7, back).shown, [1]);
    assert_eq!(two.tick(NOW.plus(YEARS_MS + SILENT_MS)).gone, [1]);
}

#[test]
fn a_way_that_is_lost_takes_those_who_came_by_it() {
    let mut one = Presence::new(1, NOW);
    one.hear(NOW, 7, said(2, 1, text("2")));
    one.hear(NOW, 8, said(3, 1, text("3")));
    // Both ways bring it; the first to bring a word counts.
    one.hear(NOW, 8, said(2, 1, text("2")));
    assert_eq!(one.lost(7).gone, [2]);
    assert_eq!((clients(&one), one.lost(7)), (vec![3], News::default()));
    assert_eq!(one.hear(NOW, 7, said(2, 1, text("2"))).shown, [2], "the way is back");
}

#[test]
fn who_comes_back_is_seen_at_once() {
    let (mut one, mut two) = (Presence::new(1, NOW), Presence::new(2, NOW));
    two.hear(NOW, 7, one.set(NOW, text("1")).unwrap().unwrap());
    // The door said a goodbye in its name, with the clock that it had.
    assert_eq!(two.hear(NOW, 7, said(1, 1, None)).gone, [1]);
    assert_eq!(two.hear(NOW, 7, one.introduce(NOW).unwrap()).shown, [1]);
}

#[test]
fn nobody_else_takes_the_own_state_away() {
    let mut one = Presence::new(1, NOW);
    one.set(NOW, text("1")).unwrap();
    assert_eq!(one.hear(NOW, 7, said(1, 0, None)), News::default(), "an old word");
    assert_eq!(one.hear(NOW, 7, said(1, 9, text("9"))), News::default());
    assert_eq!(one.hear(NOW, 7, said(1, 20, None)).say, Some(said(1, 21, text("1"))));
    one.set(NOW, None).unwrap();
    assert_eq!(one.hear(NOW, 7, said(1, 99, None)), News::default());
}

#[test]
fn memory_is_bounded() {
    let mut one = Presence::new(0, NOW);
    let max = AWARENESS_ROOM_MAX as u64;
    for client in 1..=max + 10 {
        one.hear(NOW, 7, said(client, 1, text("1")));
    }
    assert_eq!(clients(&one).len(), AWARENESS_ROOM_MAX);
    // Who is gone makes room for another, the first of them first.
    one.hear(NOW, 7, said(2, 2, None));
    one.hear(NOW.plus(1), 7, said(1, 2, None));
    assert_eq!(one.hear(NOW, 7, said(max + 1, 1, text("1"))).shown, [max + 1]);
    assert!(one.others.contains_key(&1) && !one.others.contains_key(&2));
    let large = Bytes::from(vec![b'1'; AWARENESS_STATE_BYTES_MAX]);
    for client in 3..max {
        one.hear(NOW, 7, said(client, 2, Some(large.clone())));
    }
    assert!(one.bytes <= AWARENESS_ROOM_BYTES_MAX && one.bytes + large.len() > AWARENESS_ROOM_BYTES_MAX);
}

proptest! {
    #[test]
    fn whatever_comes_the_sums_are_right(
        words in prop::collection::vec((0..5_u64, 0..5_u64, prop::option::of(0..5_usize), 0..3_u64, 0..40_000_u64), 0..60)
    ) {
        let mut one = Presence::new(0, NOW);
        let mut now = NOW;
        for (client, clock, length, via, wait) in words {
            now = now.plus(wait);
            one.tick(now);
            one.hear(now, via, said(client, clock, length.map(|length| Bytes::from(vec![b'1'; length]))));
            if clock == 4 {
                one.lost(via);
            }
            prop_assert_eq!(one.bytes, one.others().map(|(_, state)| state.len()).sum::<usize>());
        }
        one.tick(now.plus(SILENT_MS));
        prop_assert_eq!(clients(&one).len(), 0);
    }
}
