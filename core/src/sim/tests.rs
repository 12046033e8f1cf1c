//! Many seeds of each kind of trouble, and those that once broke a promise. `TOMBOLO_SIM_SEEDS` makes it more,
//! `TOMBOLO_SIM_SEED` plays one.

use super::*;

/// These once broke a promise; what each of them taught has a test of its own in [`crate::session`],
/// [`crate::room`] or [`crate::engine`].
const KEPT: [(u64, Trouble); 23] = [
    (62, Trouble::All),
    (115, Trouble::Nothing),
    (303, Trouble::Nothing),
    (470, Trouble::All),
    (639, Trouble::All),
    (7_270, Trouble::All),
    (8_376, Trouble::All),
    (10_632, Trouble::All),
    (12_157, Trouble::All),
    (19_529, Trouble::All),
    (22_132, Trouble::All),
    (28_886, Trouble::All),
    (43_997, Trouble::All),
    (46_113, Trouble::All),
    (946, Trouble::All),
    (2_135, Trouble::All),
    (254, Trouble::Wild),
    (1_385, Trouble::Wild),
    (1_619, Trouble::Wild),
    (2_141, Trouble::Wild),
    (3_113, Trouble::Wild),
    (10_011_972, Trouble::Wild),
    (20_037_137, Trouble::Wild),
];

fn play(seed: u64, trouble: Trouble) -> Report {
    let plan = Plan::of(seed, trouble);
    let report = run(&plan, false);
    if let Some((_, words)) = &report.broken {
        let small = shrink(&plan);
        let again = run(&small, true);
        let (at, less) = again.broken.unwrap_or_default();
        println!("{small}{}", again.lines.join("\n"));
        panic!("{trouble:?} with seed {seed}: {words}\nand of what is left above, at {at} ms: {less}");
    }
    report
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays a share of the seeds.
fn play_many(trouble: Trouble, first: u64, count: u64) {
    if let Some(seed) = number("TOMBOLO_SIM_SEED") {
        play(seed, trouble);
        return;
    }
    let tasks: u64 = (first..first + number("TOMBOLO_SIM_SEEDS").unwrap_or(count))
        .map(|seed| play(seed, trouble).tasks)
        .sum();
    assert!(tasks > 100 * count, "too little happens: {tasks} tasks");
}

#[test]
fn worlds_without_trouble_converge() {
    play_many(Trouble::Nothing, 0, 100);
}

#[test]
fn worlds_with_bad_networks_converge() {
    play_many(Trouble::Network, 1_000, 160);
}

#[test]
fn worlds_in_all_kinds_of_trouble_keep_their_promises() {
    play_many(Trouble::All, 2_000, 180);
}

#[test]
fn other_worlds_in_all_kinds_of_trouble_keep_their_promises() {
    play_many(Trouble::All, 3_000, 180);
}

#[test]
fn worlds_of_replicas_that_link_to_each_other_keep_their_promises() {
    play_many(Trouble::Wild, 4_000, 250);
}

#[test]
fn other_worlds_of_replicas_that_link_to_each_other_keep_their_promises() {
    play_many(Trouble::Wild, 5_000, 250);
}

#[test]
fn worlds_that_once_broke_a_promise_keep_it() {
    KEPT.iter().for_each(|(seed, trouble)| drop(play(*seed, *trouble)));
}

#[test]
fn the_same_plan_is_the_same_run_and_another_is_another() {
    let hash = |seed| run(&Plan::of(seed, Trouble::All), false).trace;
    let shown = run(&Plan::of(7, Trouble::All), true);
    assert!(shown.lines.len() > 20);
    assert_eq!((hash(7), hash(8)), (shown.trace, hash(8)));
    assert_ne!(hash(7), hash(8));
    let wild = |seed| run(&Plan::of(seed, Trouble::Wild), false).trace;
    (1..6).for_each(|seed| assert_eq!(wild(seed), wild(seed), "{seed}"));
}

#[test]
fn a_plan_that_fails_is_made_small() {
    let fails = |plan: &Plan| plan.steps.iter().filter(|step| matches!(step.act, Act::Hint)).count() >= 2;
    let large =
        (0..).map(|seed| Plan::of(seed, Trouble::All)).find(|plan| plan.steps.len() > 30 && fails(plan));
    let large = large.unwrap();
    let small = super::shrink::smallest(&large, fails);
    assert!(small.steps.len() == 2 && fails(&small), "{small}");
    assert!(small.shape.replicas.iter().all(|links| links.len() == 1));
}
