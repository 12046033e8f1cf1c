//! How much is in flight on links of all kinds.

use super::*;

/// Has always something to send: pages that are cut when they are needed.
fn keep_full(world: &mut World) {
    while world.scheduler.len() < 2 {
        world.push(world.now % 7, Normal, world.scheduler.page_bytes().min(64 * 1024));
    }
}

#[test]
fn every_link_is_used_and_no_buffer_filled() {
    for (rate, trip) in [
        (5_000, 1_000),
        (20_000, 20),
        (20_000, 100),
        (20_000, 2_000),
        (250_000, 600),
        (1_000_000, 40),
        (5_000_000, 4),
        (5_000_000, 100),
    ] {
        let mut world = World::new(rate, trip);
        world.run(10_000, keep_full);
        let (from, before) = (world.now, world.arrived_bytes(|_| true));
        world.buffered = 0;
        world.run(60_000, keep_full);
        let sent = world.arrived_bytes(|_| true) - before;
        let used = sent as u64 * 100_000 / (rate * (world.now - from));
        assert!(used >= 85, "{rate} bytes per second, {trip} ms: {used} % of it used");
        // Two round trips' worth, the pages that are under way, and what is answered together.
        let page = (rate / 2).clamp(4 * 1024, 64 * 1024);
        let most = rate * trip.max(50) * 2 / 1_000 + 3 * page + 4 * 1024;
        assert!(world.buffered < most, "{rate}, {trip}: {} bytes buffered", world.buffered);
        let measured = world.scheduler.bytes_per_second().unwrap();
        assert!((rate * 8 / 10..rate * 12 / 10).contains(&measured), "{rate}, {trip}: {measured}");
    }
}

#[test]
fn what_is_critical_waits_a_moment_behind_a_backlog() {
    let mut world = World::new(20_000, 100);
    world.run(60_000, |world| {
        while world.scheduler.bytes() < 1024 * 1024 {
            world.push(world.now % 7, Normal, 1_000);
        }
        if world.now % 3_000 == 0 {
            world.push(99, Critical, 100);
        }
    });
    let waits = world.arrived.iter().filter(|it| it.sending.priority == Critical).map(|it| it.at - it.pushed);
    let waits: Vec<_> = waits.collect();
    assert!(waits.len() >= 19);
    assert!(waits.iter().skip(1).all(|ms| *ms < 700), "{waits:?}");
}

#[test]
fn a_page_is_what_the_link_carries_in_a_quarter_of_a_second() {
    for (rate, page) in [(2_000, 4_096), (20_000, 5_000), (300_000, 75_000), (5_000_000, 1_048_576)] {
        let mut world = World::new(rate, 50);
        assert_eq!(world.scheduler.page_bytes(), 4 * 1024);
        world.run(2_000, keep_full);
        let part = (world.arrived_bytes(|_| true) / 16).max(16 * 1024);
        assert!(world.scheduler.page_bytes() <= part, "what breaks costs little");
        world.run(60_000, keep_full);
        let measured = world.scheduler.page_bytes();
        assert!((page * 8 / 10..=page * 12 / 10).contains(&measured), "{rate}: {measured}");
    }
}

#[test]
fn a_link_that_becomes_slow_or_fast_is_noticed() {
    let mut world = World::new(1_000_000, 50);
    world.run(20_000, keep_full);
    world.rate = 20_000;
    world.run(60_000, keep_full);
    let slow = world.scheduler.bytes_per_second().unwrap();
    assert!((16_000..25_000).contains(&slow), "{slow}");
    assert!(world.scheduler.window_bytes() < 40 * 1024, "{}", world.scheduler.window_bytes());
    world.rate = 1_000_000;
    world.run(30_000, keep_full);
    let fast = world.scheduler.bytes_per_second().unwrap();
    assert!((800_000..1_200_000).contains(&fast), "{fast}");
}

#[test]
fn a_way_that_becomes_longer_is_noticed() {
    for most in [1_000, 64 * 1024] {
        let keep_full = |world: &mut World| {
            while world.scheduler.bytes() < 128 * 1024 {
                world.push(world.now % 7, Normal, world.scheduler.page_bytes().min(most));
            }
        };
        let mut world = World::new(200_000, 50);
        world.run(20_000, keep_full);
        world.trip = 600;
        world.run(30_000, keep_full);
        let before = world.arrived_bytes(|_| true);
        world.run(60_000, keep_full);
        let sent = world.arrived_bytes(|_| true) - before;
        assert!(sent > 200_000 * 60 * 85 / 100, "{most}: {sent} bytes in a minute");
        assert!(world.buffered < 2 * 200_000, "{most}: {} bytes buffered", world.buffered);
    }
}

#[test]
fn answers_of_a_near_peer_may_be_gathered() {
    let mut scheduler = Scheduler::new(ScheduleConfig::default(), Millis(0));
    (0..100).for_each(|n| scheduler.push(n, Normal, 1_000, n, Millis(0)));
    while scheduler.next(Millis(0)).is_some() {}
    scheduler.delivered(Millis(10), 17_000);
    // 1.7 MB in a second, and 50 ms twice.
    assert_eq!(scheduler.window_bytes(), 170_000);
}

#[test]
fn having_little_to_send_says_nothing_of_the_link() {
    let mut world = World::new(200_000, 100);
    world.run(20_000, keep_full);
    let measured = world.scheduler.bytes_per_second().unwrap();
    world.run(600_000, |world| {
        if world.now % 1_000 == 0 && world.scheduler.is_empty() {
            world.push(1, Normal, 50);
        }
    });
    assert!(world.scheduler.is_empty());
    assert_eq!(world.scheduler.bytes_per_second().unwrap().abs_diff(measured) * 10 / measured, 0);
}

#[test]
fn an_item_is_let_through_however_large() {
    let mut scheduler = Scheduler::new(ScheduleConfig::default(), Millis(0));
    scheduler.push(1, Normal, 50_000_000, 1, Millis(0));
    scheduler.push(2, Normal, 10, 2, Millis(0));
    assert_eq!(next(&mut scheduler).item, 1);
    assert_eq!(scheduler.next(Millis(0)), None);
    scheduler.delivered(Millis(1), 49_999_999);
    assert_eq!(scheduler.next(Millis(1)).map(|it| it.item), Some(2));
}

#[test]
fn nothing_goes_out_once_the_window_is_full() {
    let mut scheduler = Scheduler::new(ScheduleConfig::default(), Millis(0));
    // That nothing was pushed for long says nothing of the link.
    (0..1_000).for_each(|n| scheduler.push(n, Critical, 1_000, n, Millis(9_900)));
    let sent = std::iter::from_fn(|| scheduler.next(Millis(9_900))).count();
    assert_eq!((sent, scheduler.in_flight_bytes()), (17, 17_000));
    scheduler.delivered(Millis(10_000), 17_000);
    let sent = std::iter::from_fn(|| scheduler.next(Millis(10_000))).count();
    // It delivered all within a round trip, so it may be able to do twice that.
    assert_eq!((sent, scheduler.window_bytes()), (34, 34_000));
    scheduler.reset(Millis(10_100));
    assert_eq!((scheduler.window_bytes(), scheduler.len()), (16 * 1024, 983));
}
