//! Links in virtual time: good ones, slow ones, lossy ones, and peers that come, go and refuse.

mod again; // dialing again
mod random;
mod world;

use proptest::prelude::*;

use super::{End, HangUpReason, Link, LinkConfig, LinkEffect, LinkState};
use crate::time::Millis;
use LinkState::{Degraded, Offline, Online, Transitioning};
use world::{Door, World};

const HOUR: u64 = 3_600_000;

#[test]
fn a_good_link_is_online_for_ever_and_pings_every_five_seconds() {
    let mut world = World::new(1);
    world.run(HOUR);
    assert_eq!(world.states_seen(), [Transitioning, Online]);
    assert_eq!(world.dials.len(), 1);
    assert_eq!(world.pings.len(), 720);
    assert_eq!(world.link.round_trip_ms(), Some(50));
    assert_eq!(world.link.loss(), Some(0.0));
    assert_eq!((world.link.attempts(), world.link.last_error()), (0, None));
    assert!(world.now - world.link.last_heard().unwrap().0 <= 5_000);
}

#[test]
fn silence_is_degraded_after_15_seconds_and_offline_after_60() {
    let mut link = Link::new(LinkConfig::default(), 1, Millis(0));
    assert_eq!(link.poll(Millis(0)), Some(LinkEffect::Dial));
    link.connected(Millis(0));
    link.welcomed(Millis(0));
    let mut seen = vec![];
    let mut hung_up = None;
    let mut now = Millis(0);
    while hung_up.is_none() {
        match link.poll(now) {
            Some(LinkEffect::HangUp { reason }) => hung_up = Some(reason),
            Some(_) => continue,
            None => {}
        }
        if seen.last().is_none_or(|(_, state)| *state != link.state()) {
            seen.push((now.0, link.state()));
        }
        let deadline = link.deadline().unwrap();
        assert!(hung_up.is_some() || deadline > now, "polled at {now:?} for {deadline:?}");
        now = deadline;
    }
    assert_eq!(seen, [(0, Online), (15_000, Degraded), (60_000, Offline)]);
    assert_eq!(hung_up, Some(HangUpReason::Silent { ms: 60_000 }));
    assert!(link.last_error().unwrap().to_string().contains("nothing was heard from the peer for 60000 ms"));
    // It stays offline, through dials, until a peer welcomes it.
    while link.poll(now) != Some(LinkEffect::Dial) {
        now = link.deadline().unwrap();
    }
    link.connected(now);
    assert_eq!(link.state(), Offline);
    link.welcomed(now);
    assert_eq!(link.state(), Online);
}

#[test]
fn a_peer_that_vanishes_is_degraded_after_two_heartbeats_and_offline_after_60_seconds() {
    let mut world = World::online(2);
    world.loss = 1_000;
    let from = world.link.last_heard().unwrap().0;
    world.run(2 * 60_000);
    assert_eq!(world.states_seen()[..3], [Online, Degraded, Offline]);
    // Two heartbeats without an answer say it before silence does.
    assert!(world.states[1].0 - from <= 12_000, "{:?}", world.states);
    // Silence makes nobody patient, however much of it is lost.
    assert_eq!(world.states[2].0 - from, 60_000);
}

#[test]
fn a_heartbeat_or_two_that_come_late_are_no_loss() {
    let mut world = World::online(3);
    world.trip = (2_500, 0);
    world.run(5_000);
    world.trip = (50, 0);
    world.run(20_000);
    assert_eq!(world.states_seen(), [Online], "{:?}", world.states);
    assert_eq!(world.link.loss(), Some(0.0));
}

#[test]
fn four_seconds_of_round_trip_are_degraded_and_do_not_flap() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.trip = (4_000, 1_000);
        world.run(60_000);
        world.states = vec![(world.now, world.link.state())];
        world.run(4 * HOUR);
        assert_eq!(world.states_seen(), [Degraded], "seed {seed}");
        assert_eq!(world.dials.len(), 1, "seed {seed}");
        let trip = world.link.round_trip_ms().unwrap();
        assert!((3_500..4_500).contains(&trip), "{trip}");
    }
}

#[test]
fn twenty_seconds_of_round_trip_are_still_a_link() {
    let mut world = World::new(4);
    world.trip = (20_000, 2_000);
    // A dial takes several of them.
    world.link = Link::new(LinkConfig { open_ms: 60_000, ..LinkConfig::default() }, 4, world.millis());
    world.run(10 * 60_000);
    world.states = vec![(world.now, world.link.state())];
    world.pings.clear();
    // Also if it is polled more often than it has to be.
    (0..3_600).for_each(|_| world.run(1_000));
    assert_eq!(world.states_seen(), [Degraded]);
    assert_eq!(world.dials.len(), 1);
    // One ping at a time.
    assert!(world.pings.windows(2).all(|pair| pair[1] - pair[0] >= 18_000), "{:?}", world.pings);
}

#[test]
fn a_round_trip_about_the_limit_does_not_flap() {
    let mut world = World::new(5);
    world.trip = (1_000, 400);
    world.run(5 * 60_000);
    world.states = vec![(world.now, world.link.state())];
    world.run(4 * HOUR);
    assert!(world.states.len() <= 2, "{} changes in four hours", world.states.len() - 1);
}

#[test]
fn a_slow_link_has_the_time_that_it_takes_to_come_back() {
    let mut world = World::new(6);
    world.trip = (4_000, 0);
    world.run(60_000);
    world.states = vec![(world.now, world.link.state())];
    world.cut();
    world.run(60_000);
    assert_eq!(world.states_seen(), [Degraded, Transitioning, Degraded]);
    assert!(world.states[2].0 - world.states[1].0 >= 8_000);
}

#[test]
fn a_link_that_loses_most_is_waited_for() {
    for seed in 0..10 {
        let mut world = World::online(seed);
        world.loss = 700;
        world.run(4 * HOUR);
        assert_eq!(world.dials.len(), 1, "seed {seed}: {:?}", world.hung_up);
    }
}

#[test]
fn a_link_that_loses_a_third_is_degraded_and_never_given_up() {
    for seed in 0..20 {
        let mut world = World::online(seed);
        world.loss = 333;
        world.run(4 * HOUR);
        assert_eq!(world.dials.len(), 1, "seed {seed}: {:?}", world.hung_up);
        assert!(!world.states_seen().contains(&Offline));
        let changes = world.states.len() - 1;
        assert!(changes < 60, "seed {seed}: {changes} changes in four hours");
        let mut degraded = 0;
        for pair in world.states.windows(2).filter(|pair| pair[0].1 == Degraded) {
            degraded += pair[1].0 - pair[0].0;
        }
        degraded +=
            if world.link.state() == Degraded { world.now - world.states.last().unwrap().0 } else { 0 };
        assert!(degraded > 3 * HOUR, "seed {seed}: degraded for {degraded} ms");
    }
}

#[test]
fn a_link_recovers_from_loss_within_two_minutes() {
    let mut world = World::online(5);
    world.loss = 500;
    world.run(5 * 60_000);
    world.loss = 0;
    world.run(2 * 60_000);
    assert_eq!((world.link.state(), world.link.loss()), (Online, Some(0.0)));
}

#[test]
fn frames_without_answers_keep_it_but_do_not_make_it_good() {
    let mut world = World::online(6);
    world.loss = 1_000;
    for _ in 0..600 {
        world.run(1_000);
        world.link.heard(world.millis());
    }
    assert_eq!(world.states_seen(), [Online, Degraded]);
    assert_eq!((world.link.loss(), world.hung_up.len()), (Some(1.0), 0));
}

#[test]
fn being_lost_is_a_transition_for_five_seconds_and_offline_then() {
    let mut world = World::online(7);
    world.door = Door::Silent;
    let from = world.now;
    world.cut();
    world.run(60_000);
    assert_eq!(world.states, [(from, Online), (from, Transitioning), (from + 5_000, Offline)]);

    // Attempts that fail meanwhile make it no longer.
    let mut world = World::online(7);
    world.door = Door::Refuses { after: 100, for_good: false };
    let from = world.now;
    world.cut();
    world.run(60_000);
    assert!(world.dials.len() > 3);
    assert_eq!(world.states, [(from, Online), (from, Transitioning), (from + 5_000, Offline)]);
}

#[test]
fn a_first_dial_is_a_transition_for_five_seconds_too() {
    let mut world = World::new(8);
    world.door = Door::Silent;
    let from = world.now;
    world.run(60_000);
    assert_eq!(world.states, [(from, Transitioning), (from + 5_000, Offline)]);
}

#[test]
fn what_comes_before_a_welcome_is_no_welcome() {
    let mut world = World::new(9);
    world.door = Door::Idles;
    world.run(3_000);
    world.link.heard(world.millis());
    world.link.pong(world.millis(), 1);
    assert_eq!(world.link.state(), Transitioning);
    world.run(20_000);
    assert_eq!(world.hung_up[0].1, HangUpReason::Unwelcomed { ms: 20_000 });
    assert!(world.pings.is_empty());
}

#[test]
fn what_a_link_was_not_asked_for_changes_nothing() {
    let mut link = Link::new(LinkConfig::default(), 1, Millis(0));
    link.connected(Millis(1));
    link.welcomed(Millis(2));
    link.heard(Millis(3));
    link.pong(Millis(4), 1);
    link.ended(Millis(5), world::lost());
    assert_eq!((link.state(), link.last_heard(), link.last_error()), (Transitioning, None, None));
    assert_eq!(link.poll(Millis(6)), Some(LinkEffect::Dial));
}

#[test]
fn an_answer_to_another_connection_measures_nothing() {
    let mut world = World::online(10);
    let before = world.pings.len();
    world.cut();
    world.run(10_000);
    assert_eq!(world.link.state(), Online);
    world.trip = (50, 0);
    world.link.pong(world.millis(), before as u64);
    assert_eq!(world.link.round_trip_ms(), Some(50));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However often it is lost and however long a dial takes: welcomed again within five seconds, it was never offline.
    #[test]
    fn a_blip_is_never_offline(seed: u64, blips in prop::collection::vec((1..60_000_u64, 1..4_900_u64), 1..20)) {
        let mut world = World::online(seed);
        for (good, bad) in blips {
            world.run(good);
            // Nothing answers until a moment before the window ends; then the peer is reached at once.
            world.door = Door::Refuses { after: 1, for_good: false };
            world.cut();
            world.run(bad);
            prop_assert!(world.link.state() == Transitioning);
            world.door = Door::Welcomes;
            world.trip = (10, 0);
            // An attempt that is under way is refused still.
            world.run(1);
            world.link.retry(world.millis());
            world.run(50);
            prop_assert!(world.link.state() == Online, "{:?}", world.states);
        }
        prop_assert!(!world.states_seen().contains(&Offline));
    }
}
