//! When a link dials again, and when it does not.

use super::world::{Door, World, lost};
use super::*;

const DAY: u64 = 24 * HOUR;

/// The waits between an end and the dial after it, if each attempt takes `took`.
fn waits(world: &World, took: u64) -> Vec<u64> {
    world.dials.windows(2).map(|pair| pair[1] - pair[0] - took).collect()
}

#[test]
fn waits_double_to_five_minutes_with_full_jitter() {
    let mut longest = [0; 12];
    for seed in 0..200 {
        let mut world = World::new(seed);
        world.door = Door::Refuses { after: 10, for_good: false };
        world.run(3 * HOUR);
        for (n, wait) in waits(&world, 10).into_iter().enumerate() {
            let bound = (1_000_u64 << n.min(20)).min(300_000);
            assert!(wait <= bound, "seed {seed}: {wait} ms after attempt {}", n + 1);
            if let Some(longest) = longest.get_mut(n) {
                *longest = wait.max(*longest);
            }
        }
        assert_eq!(world.link.attempts() as usize, world.dials.len());
        assert_eq!(world.link.last_error(), Some(&lost()));
        let next = world.link.next_attempt().unwrap();
        assert!(next > world.millis() && next <= world.millis().plus(300_000));
    }
    for (n, longest) in longest.into_iter().enumerate() {
        let bound = (1_000_u64 << n).min(300_000);
        assert!(longest > bound * 9 / 10, "attempt {}: never more than {longest} of {bound} ms", n + 1);
    }
}

#[test]
fn a_peer_that_welcomes_and_ends_is_no_success() {
    let mut world = World::new(1);
    world.door = Door::Drops { after: 29_000 };
    world.run(2 * HOUR);
    assert!(world.link.attempts() > 5);
    assert!(waits(&world, 29_100).into_iter().max() > Some(60_000));
}

#[test]
fn a_peer_that_stays_ends_the_doubling() {
    let mut world = World::new(2);
    world.door = Door::Refuses { after: 10, for_good: false };
    world.run(HOUR);
    world.door = Door::Welcomes;
    while world.link.state() != Online {
        world.run(1);
    }
    world.run(29_999);
    assert!(world.link.attempts() > 0 && world.link.last_error().is_some());
    assert_eq!(world.link.deadline(), Some(world.millis().plus(1)));
    world.run(1);
    assert_eq!((world.link.attempts(), world.link.last_error()), (0, None));
    world.door = Door::Silent;
    let dials = world.dials.len();
    world.cut();
    world.run(1_000);
    assert_eq!(world.dials.len(), dials + 1);
}

#[test]
fn who_refuses_for_good_is_asked_again_only_by_a_person() {
    let mut world = World::new(3);
    world.door = Door::Refuses { after: 100, for_good: true };
    let from = world.now;
    world.run(DAY);
    assert_eq!(world.states, [(from, Transitioning), (from + 100, Offline)]);
    assert_eq!((world.dials.len(), world.link.next_attempt()), (1, None));
    assert_eq!(world.link.deadline(), None);
    let error = world.link.last_error().unwrap();
    assert!(
        error.is_permanent() && error.to_string().contains("change the settings of the link, or retry it")
    );
    world.link.network_changed(world.millis());
    world.run(DAY);
    assert_eq!(world.dials.len(), 1);
    world.door = Door::Welcomes;
    world.link.retry(world.millis());
    world.turn();
    assert_eq!(world.dials.len(), 2);
    world.run(200);
    assert_eq!(world.link.state(), Online);
}

#[test]
fn an_established_link_can_be_refused_too() {
    let mut world = World::online(4);
    let end = End::Permanent { reason: "the token was withdrawn".into() };
    world.link.ended(world.millis(), end.clone());
    world.run(DAY);
    assert_eq!(world.states_seen(), [Online, Offline]);
    assert_eq!((world.link.last_error(), world.dials.len()), (Some(&end), 1));
}

#[test]
fn a_dial_that_nobody_answers_is_given_up() {
    let mut world = World::new(5);
    world.door = Door::Silent;
    world.run(20_000);
    assert_eq!(world.hung_up, [(world.now, HangUpReason::Unanswered { ms: 20_000 })]);
    world.run(HOUR);
    assert!(world.dials.len() > 5);
}

#[test]
fn a_hint_dials_at_once_and_a_storm_of_them_once_a_second() {
    let mut world = World::new(6);
    world.door = Door::Refuses { after: 10, for_good: false };
    world.run(HOUR);
    let dials = world.dials.len();
    world.link.network_changed(world.millis());
    world.turn();
    assert_eq!(world.dials.len(), dials + 1);
    assert_eq!(world.link.attempts(), 1);
    for _ in 0..10_000 {
        world.run(1);
        world.link.network_changed(world.millis());
        world.turn();
    }
    let more = world.dials.len() - dials;
    // Each of them draws a wait of at most a second or two besides, for it is as if nothing had failed before.
    assert!((10..40).contains(&more), "{more} dials in 10 s");
}

#[test]
fn a_hint_makes_an_open_link_prove_itself() {
    let mut world = World::online(7);
    world.run(1_000);
    let pings = world.pings.len();
    world.link.network_changed(world.millis());
    world.turn();
    assert_eq!(world.pings.len(), pings + 1);
    world.run(60_000);
    assert_eq!((world.states_seen(), world.dials.len()), (vec![Online], 1));
    // And if it cannot, it is dialed again at once, without ever having been offline.
    world.run(1_000);
    world.loss = 1_000;
    let at = world.now;
    world.link.network_changed(world.millis());
    world.run(10);
    world.link.network_changed(world.millis());
    world.run(9_990);
    let [(hung_up, HangUpReason::Silent { .. })] = world.hung_up[..] else { panic!("{:?}", world.hung_up) };
    assert_eq!(hung_up, at + 5_000);
    assert_eq!(world.dials[1..], [hung_up]);
    assert!(!world.states_seen().contains(&Offline), "{:?}", world.states);
    assert_ne!(world.link.state(), Transitioning);
}

#[test]
fn a_hint_shortens_a_dial_into_the_old_network() {
    let mut world = World::new(8);
    world.door = Door::Silent;
    world.run(2_000);
    world.link.network_changed(world.millis());
    world.door = Door::Welcomes;
    world.run(5_000);
    assert_eq!(world.hung_up.len(), 1);
    assert_eq!(world.dials.len(), 2);
    assert_eq!(world.dials[1], world.hung_up[0].0);
}

#[test]
fn a_hint_hurries_one_dial_and_not_the_ones_of_another_day() {
    let mut waited = 0;
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.turn();
        world.link.network_changed(world.millis());
        world.run(HOUR);
        assert_eq!(world.link.state(), Online);
        let from = world.now;
        world.cut();
        world.run(2_000);
        waited += world.dials[1] - from;
    }
    assert!(waited > 20 * 250, "{waited} ms for 20 waits of up to a second");
}

#[test]
fn a_closed_link_hangs_up_once_and_is_over() {
    let mut world = World::online(9);
    world.link.close();
    assert_eq!(world.link.state(), Offline);
    assert_eq!(world.link.deadline(), Some(world.millis()));
    world.turn();
    assert_eq!(world.hung_up, [(world.now, HangUpReason::Closed)]);
    world.link.close();
    world.link.retry(world.millis());
    world.link.network_changed(world.millis());
    world.link.connected(world.millis());
    world.link.welcomed(world.millis());
    world.link.ended(world.millis(), lost());
    world.run(DAY);
    assert_eq!((world.hung_up.len(), world.dials.len(), world.link.deadline()), (1, 1, None));
    assert_eq!(world.states_seen(), [Online, Offline]);

    let mut waiting = Link::new(LinkConfig::default(), 1, Millis(0));
    waiting.close();
    assert_eq!((waiting.poll(Millis(DAY)), waiting.deadline()), (None, None));
}
