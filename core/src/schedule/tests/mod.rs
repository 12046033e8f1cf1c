//! What goes out first, over links in virtual time and without any.

mod model;
mod pacing;
mod saving;
mod world;

use proptest::prelude::*;

use super::{Mode, Priority, ScheduleConfig, Scheduler, Sending};
use crate::time::Millis;
use Priority::{Critical, High, Low, Normal};
use world::World;

/// One whose window is never full.
fn open() -> Scheduler<u64> {
    let much = usize::MAX;
    let config = ScheduleConfig { window_first: much, window_max: much, ..ScheduleConfig::default() };
    Scheduler::new(config, Millis(0))
}

fn next(scheduler: &mut Scheduler<u64>) -> Sending<u64> {
    scheduler.next(Millis(0)).unwrap()
}

/// Asserts the part of Low, Normal, High and Critical in percent of the next `bytes`.
fn assert_parts(scheduler: &mut Scheduler<u64>, bytes: usize, expected: [usize; 4]) {
    let mut parts = [0; 4];
    let mut sent = 0;
    while sent < bytes {
        let sending = next(scheduler);
        sent += sending.bytes;
        parts[sending.priority as usize] += sending.bytes;
    }
    let parts = parts.map(|part| part * 100 / sent);
    assert!(
        parts.iter().zip(expected).all(|(part, it)| part.abs_diff(it) <= 1),
        "{parts:?}, not {expected:?}"
    );
}

/// Lane n has items of priority n, of different sizes, and more than any test sends.
fn full(priorities: &[Priority]) -> Scheduler<u64> {
    let mut scheduler = open();
    for n in 0..2_000 {
        for priority in priorities {
            scheduler.push(*priority as u64, *priority, 500 + 3_000 * (n % 3), n as u64, Millis(0));
        }
    }
    scheduler
}

#[test]
fn in_thirty_seconds_at_20_kb_per_second_what_is_critical_arrives_first() {
    let mut world = World::new(20_000, 100);
    // Ten minutes' worth of everything else.
    for n in 0..4_000 {
        let bytes = [200, 1_000, 4_000, 8_000][n % 4];
        world.push(n as u64 % 100, [High, Normal, Low, Normal][n % 4], bytes);
    }
    // 250 kB: 12.5 s of 30. Half of it at once, the rest bit by bit.
    for n in 0..125 {
        world.push(1_000 + n % 25, Critical, 1_000);
    }
    let mut pushed = 125;
    world.run(30_000, |world| {
        if world.now % 200 == 0 && pushed < 250 {
            pushed += 1;
            world.push(1_000 + pushed % 25, Critical, 1_000);
        }
    });
    let critical: Vec<_> = world.arrived.iter().filter(|it| it.sending.priority == Critical).collect();
    assert_eq!(critical.len(), 250);
    assert_eq!(world.arrived[..125].iter().filter(|it| it.sending.priority == Critical).count(), 125);
    let late = critical[125..].iter().filter(|it| it.pushed > 10_000).map(|it| it.at - it.pushed).max();
    assert!(late < Some(1_500), "{late:?} ms");
    let sent = world.arrived_bytes(|_| true);
    assert!(sent > 20_000 * 30 * 9 / 10, "{sent} bytes in 30 s");
}

#[test]
fn what_is_critical_goes_strictly_first() {
    let mut scheduler = full(&[Low, Normal, High, Critical]);
    let critical = 2_000 * 3_500;
    assert_parts(&mut scheduler, critical - 10_000, [0, 0, 0, 100]);
}

#[test]
fn the_others_share_what_is_left_by_bytes() {
    assert_parts(&mut full(&[Low, Normal, High]), 4_000_000, [12, 25, 62, 0]);
    assert_parts(&mut full(&[Low, High]), 4_000_000, [16, 0, 83, 0]);
    assert_parts(&mut full(&[Low, Normal]), 4_000_000, [33, 66, 0, 0]);
}

#[test]
fn who_was_away_has_saved_nothing_up() {
    let mut scheduler = full(&[High]);
    assert_parts(&mut scheduler, 3_000_000, [0, 0, 100, 0]);
    for n in 0..1_000 {
        scheduler.push(Low as u64, Low, 2_000, n, Millis(0));
    }
    assert_parts(&mut scheduler, 1_000_000, [16, 0, 83, 0]);
}

#[test]
fn small_items_one_at_a_time_starve_nobody() {
    let mut scheduler = full(&[Normal]);
    let mut sent = [0, 0];
    for n in 0..3_000 {
        // There is always one of it, and never two.
        if sent[0] == n - sent[1] {
            scheduler.push(77, Normal, 20, 0, Millis(0));
        }
        sent[usize::from(next(&mut scheduler).lane != 77)] += 1;
    }
    assert!((1_400..=1_600).contains(&sent[0]), "{sent:?}");
}

#[test]
fn empty_items_are_not_free() {
    let mut scheduler = full(&[Low]);
    (0..100_000).for_each(|n| scheduler.push(77, High, 0, n, Millis(0)));
    let low = (0..100_000).filter(|_| next(&mut scheduler).priority == Low).count();
    assert!(low > 5, "{low}");
}

#[test]
fn lanes_take_turns_and_a_long_one_holds_nobody_up() {
    let mut scheduler = open();
    for n in 0..1_000 {
        scheduler.push(0, Normal, 60_000, n, Millis(0));
    }
    for lane in 1..50 {
        scheduler.push(lane, Normal, 30, 0, Millis(0));
    }
    let first: Vec<_> = (0..50).map(|_| next(&mut scheduler).lane).collect();
    assert_eq!(first, (0..50).collect::<Vec<_>>());
    assert_eq!(next(&mut scheduler).item, 1);
}

#[test]
fn a_critical_item_lifts_what_is_before_it_in_its_lane_and_nothing_else() {
    let mut scheduler = open();
    for (lane, priority) in [(1, High), (2, Low), (3, Normal)] {
        for item in 0..3 {
            scheduler.push(lane, priority, 1_000, item, Millis(0));
        }
    }
    scheduler.push(2, Critical, 10, 3, Millis(0));
    scheduler.push(2, Low, 10, 4, Millis(0));
    let lifted: Vec<_> = (0..4).map(|_| next(&mut scheduler)).collect();
    assert!(lifted.iter().all(|sending| sending.lane == 2));
    assert_eq!(lifted.iter().map(|sending| sending.item).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!((lifted[0].priority, lifted[3].priority), (Low, Critical));
    // What is behind it has its own priority again.
    let rest: Vec<_> = (0..7).map(|_| next(&mut scheduler).lane).collect();
    assert_eq!(rest[0], 1);
    assert!(rest[1..6].contains(&3) && scheduler.is_empty(), "{rest:?}");
}

#[test]
fn what_was_in_flight_leaves_again_first_and_in_order() {
    let mut scheduler = open();
    for n in 0..20 {
        scheduler.push(n % 3, Normal, 100, n, Millis(0));
    }
    let before: Vec<_> = (0..12).map(|_| next(&mut scheduler).item).collect();
    assert_eq!((scheduler.len(), scheduler.bytes(), scheduler.in_flight_bytes()), (8, 800, 1_200));
    // Three arrived, and half of a fourth.
    scheduler.delivered(Millis(0), 350);
    assert_eq!(scheduler.in_flight_bytes(), 850);
    scheduler.reset(Millis(0));
    assert_eq!((scheduler.len(), scheduler.bytes(), scheduler.in_flight_bytes()), (17, 1_700, 0));
    let mut after: Vec<_> = std::iter::from_fn(|| scheduler.next(Millis(0))).collect();
    assert_eq!(after.len(), 17);
    after.sort_by_key(|sending| sending.lane);
    for lane in 0..3 {
        let items: Vec<_> = after.iter().filter(|it| it.lane == lane).map(|it| it.item).collect();
        let expected: Vec<_> = (0..20).filter(|n| n % 3 == lane && !before[..3].contains(n)).collect();
        assert_eq!(items, expected);
    }
}

#[test]
fn clearing_forgets_everything_but_the_mode() {
    let mut scheduler = open();
    scheduler.set_mode(Mode::Saving, Millis(0));
    (0..9).for_each(|n| scheduler.push(n, High, 100, n, Millis(0)));
    next(&mut scheduler);
    scheduler.clear(Millis(0));
    assert_eq!((scheduler.len(), scheduler.bytes(), scheduler.in_flight_bytes()), (0, 0, 0));
    scheduler.push(1, Low, 100, 1, Millis(0));
    assert_eq!(scheduler.next(Millis(0)), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever else there is to send in whatever lanes, each class gets its share within a few items.
    #[test]
    fn no_class_starves(sizes in prop::collection::vec(1..60_000_usize, 1..30), lanes in 1..20_u64) {
        let mut scheduler = open();
        for (n, size) in sizes.iter().cycle().take(3_000).enumerate() {
            let priority = [High, Normal, Low][n % 3];
            scheduler.push(n as u64 % (3 * lanes), priority, *size, 0, Millis(0));
        }
        let (mut sent, mut parts) = (0_i64, [0_i64; 4]);
        while scheduler.len() > 2_500 {
            let sending = next(&mut scheduler);
            sent += sending.bytes as i64;
            parts[sending.priority as usize] += sending.bytes as i64;
            for (priority, eighths) in [(High, 5), (Normal, 2), (Low, 1)] {
                let due = sent * eighths / 8;
                let short = due - parts[priority as usize];
                prop_assert!(short <= 3 * 60_000, "{priority:?} lacks {short} of {due}");
            }
        }
    }
}
