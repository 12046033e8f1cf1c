//! Rooms of one document on several relays: each rule by itself, and random histories.

use proptest::prelude::*;

use super::super::*;
use super::cluster::Cluster;

/// How many histories are tried; more with `TOMBOLO_ROOM_CASES=20000`.
fn cases() -> u32 {
    std::env::var("TOMBOLO_ROOM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
}

fn steps() -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
    prop::collection::vec((0u8..30, 0usize..8, 0usize..8), 1..150)
}

fn run(people: u64, policy: Acknowledgement, with_archive: bool, steps: &[(u8, usize, usize)]) {
    let mut cluster = Cluster::new(people, policy, with_archive);
    cluster.play(steps);
    cluster.rest(usize::try_from(people).unwrap() - 1);
    cluster.check_at_rest();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Relays die, lose messages, and lose each other, in any order: whoever stays converges, nobody is shown ghosts.
    #[test]
    fn relays_converge_without_archive(steps in steps()) {
        run(5, Acknowledgement::Forwarded, false, &steps);
    }

    /// The same with an archive on one of them, which has everything in the end; at no moment is anybody told that
    /// it has what it has not.
    #[test]
    fn relays_and_archive_converge(steps in steps()) {
        run(5, Acknowledgement::Never, true, &steps);
    }
}
