//! Metered links and low power.

use super::*;

fn saving() -> Scheduler<u64> {
    let mut scheduler = open();
    scheduler.set_mode(Mode::Saving, Millis(0));
    scheduler
}

fn drain(scheduler: &mut Scheduler<u64>, now: u64) -> usize {
    std::iter::from_fn(|| scheduler.next(Millis(now))).count()
}

#[test]
fn high_and_critical_items_do_not_wait() {
    let mut scheduler = saving();
    for (lane, priority) in [(1, Low), (2, Normal), (3, High), (4, Critical)] {
        scheduler.push(lane, priority, 100, 0, Millis(0));
    }
    assert_eq!(next(&mut scheduler).lane, 4);
    assert_eq!(next(&mut scheduler).lane, 3);
    assert_eq!(scheduler.next(Millis(0)), None);
    assert_eq!(scheduler.len(), 2);
}

#[test]
fn normal_is_gathered_for_thirty_seconds_and_low_for_as_long_as_it_lasts() {
    let mut scheduler = saving();
    scheduler.push(1_000, Low, 100, 0, Millis(0));
    assert_eq!(scheduler.deadline(), None);
    for second in 5..34 {
        scheduler.push(second, Normal, 100, second, Millis(second * 1_000));
        assert_eq!(scheduler.next(Millis(second * 1_000)), None);
        assert_eq!(scheduler.deadline(), Some(Millis(35_000)));
    }
    assert_eq!(drain(&mut scheduler, 34_999), 0);
    assert_eq!(drain(&mut scheduler, 35_000), 29);
    assert_eq!((scheduler.deadline(), scheduler.len()), (None, 1));
    // The next is gathered anew.
    scheduler.push(1, Normal, 100, 0, Millis(40_000));
    assert_eq!((drain(&mut scheduler, 41_000), scheduler.deadline()), (0, Some(Millis(70_000))));
    assert_eq!(drain(&mut scheduler, 86_400_000), 1);
    scheduler.set_mode(Mode::Normal, Millis(86_400_000));
    assert_eq!(drain(&mut scheduler, 86_400_000), 1);
}

#[test]
fn sixty_four_kilobytes_need_not_wait() {
    let mut scheduler = saving();
    for n in 0..63 {
        scheduler.push(n, Normal, 1_024, n, Millis(n));
        assert_eq!(scheduler.next(Millis(n)), None);
    }
    scheduler.push(99, Normal, 1_024, 0, Millis(100));
    assert_eq!(scheduler.deadline(), None);
    next(&mut scheduler);
    // What comes while that is being sent goes with it.
    scheduler.push(1, Normal, 10, 0, Millis(101));
    assert_eq!(drain(&mut scheduler, 101), 64);
}

#[test]
fn a_batch_that_was_cut_off_is_sent_again_without_waiting() {
    let mut scheduler = saving();
    (0..5).for_each(|n| scheduler.push(n, Normal, 100, n, Millis(0)));
    assert_eq!(drain(&mut scheduler, 30_000), 5);
    scheduler.reset(Millis(31_000));
    assert_eq!(drain(&mut scheduler, 31_000), 5);
}

#[test]
fn what_is_behind_a_gathered_item_lifts_it_out() {
    let mut scheduler = saving();
    scheduler.push(1, Low, 100, 1, Millis(0));
    scheduler.push(1, Normal, 100, 2, Millis(0));
    scheduler.push(2, Normal, 100, 3, Millis(0));
    assert_eq!(scheduler.next(Millis(0)), None);
    scheduler.push(1, High, 100, 4, Millis(0));
    let items: Vec<_> = std::iter::from_fn(|| scheduler.next(Millis(0))).map(|it| it.item).collect();
    assert_eq!(items, [1, 2, 4]);
}

#[test]
fn what_waited_through_it_owes_nobody_anything() {
    let mut scheduler = full(&[High, Low]);
    scheduler.set_mode(Mode::Saving, Millis(0));
    assert_parts(&mut scheduler, 3_000_000, [0, 0, 100, 0]);
    scheduler.set_mode(Mode::Normal, Millis(0));
    assert_parts(&mut scheduler, 1_000_000, [17, 0, 83, 0]);
}

/// Normal that was gathered beside much of High, and how both go on when it is let through.
fn after_gathering(let_through: impl Fn(&mut Scheduler<u64>)) {
    let mut scheduler = full(&[High]);
    scheduler.set_mode(Mode::Saving, Millis(0));
    (0..60).for_each(|n| scheduler.push(n, Normal, 1_000, n, Millis(0)));
    assert_parts(&mut scheduler, 3_000_000, [0, 0, 100, 0]);
    let_through(&mut scheduler);
    assert_parts(&mut scheduler, 140_000, [0, 28, 71, 0]);
}

#[test]
fn what_was_gathered_has_its_share_and_no_more() {
    after_gathering(|scheduler| scheduler.set_mode(Mode::Normal, Millis(0)));
    after_gathering(|scheduler| scheduler.push(77, Normal, 10_000, 0, Millis(0)));
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_wait_for_years() {
    let mut scheduler = saving();
    scheduler.push(1, Normal, 100, 1, Millis(400_000_000_000));
    assert_eq!(scheduler.next(Millis(5_000)), None);
    assert_eq!(scheduler.deadline(), Some(Millis(35_000)));
    assert_eq!(drain(&mut scheduler, 35_000), 1);
}
