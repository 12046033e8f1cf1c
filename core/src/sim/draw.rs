//! What a seed draws: shapes and steps.

use super::chance::Chance;
use super::plan::{Act, Kind, Shape, Speaks, Step, Trouble};

const YEARS_MS: i64 = 10 * 365 * 24 * 60 * 60 * 1_000;

impl Shape {
    pub(super) fn draw(chance: &mut Chance, trouble: Trouble) -> Self {
        if trouble == Trouble::Wild {
            return Self::wild(chance);
        }
        let kinds = [Kind::Bare, Kind::Keeper, Kind::Keeper, Kind::Lister, Kind::Lister];
        let doors: Vec<_> = (0..chance.between(1, 3))
            .map(|_| kinds.get(chance.index(kinds.len())).copied().unwrap_or(Kind::Keeper))
            .collect();
        let replicas: Vec<_> = (0..chance.between(2, 4))
            .map(|_| {
                let first = chance.index(doors.len());
                let mut links = vec![first];
                // Another way, perhaps to the same door.
                if chance.one_in(3) {
                    links.push(chance.index(doors.len()));
                }
                links
            })
            .collect();
        let (documents, automerge) = (chance.index(5) + 1, 0);
        let documents_max = if chance.one_in(3) { chance.index(3) + 1 } else { 1_000 };
        let has_readers = trouble == Trouble::All && chance.one_in(6);
        let readers_from = if has_readers { 1 + chance.index(replicas.len()) } else { replicas.len() };
        let is_later = chance.one_in(4);
        let (speaks, is_torn) = (Vec::new(), false);
        Self { doors, replicas, documents, automerge, documents_max, readers_from, is_later, speaks, is_torn }
    }

    /// Some replicas listen, and each has links to any doors but its own.
    fn wild(chance: &mut Chance) -> Self {
        let count = 2 + chance.index(4);
        let readers_from = if count > 2 && chance.one_in(6) { count - 1 } else { count };
        let kinds = [Kind::Bare, Kind::Keeper, Kind::Lister];
        let mut doors: Vec<_> = (0..chance.index(3)).filter_map(|_| chance.pick(&kinds).copied()).collect();
        // Who may only read has nothing to hand out.
        doors.extend((0..readers_from).filter(|_| chance.one_in(2)).map(Kind::Replica));
        if doors.is_empty() {
            doors.push(Kind::Replica(0));
        }
        let links = |replica| {
            let mut others: Vec<_> =
                (0..doors.len()).filter(|door| doors.get(*door) != Some(&Kind::Replica(replica))).collect();
            let mut links = Vec::new();
            for _ in 0..[1, 1, 2, 3].get(chance.index(4)).copied().unwrap_or(1).min(others.len()) {
                links.push(others.swap_remove(chance.index(others.len())));
            }
            links
        };
        let replicas = (0..count).map(links).collect();
        let (documents, automerge) = (chance.index(3), chance.index(3));
        let documents = if automerge == 0 { documents + 1 } else { documents };
        let documents_max = if chance.one_in(3) { chance.index(3) + 1 } else { 1_000 };
        let speaks = |_| match chance.below(12) {
            0 => Speaks::Other,
            1 | 2 => Speaks::LaterToo,
            _ => Speaks::This,
        };
        let speaks = (0..count).map(speaks).collect();
        let (is_later, is_torn) = (chance.one_in(4), chance.one_in(2));
        Self { doors, replicas, documents, automerge, documents_max, readers_from, is_later, speaks, is_torn }
    }
}

impl Step {
    pub(super) fn draw(chance: &mut Chance, until: u64, trouble: Trouble) -> Self {
        let (at, replica, which) = (chance.below(until), chance.index(1 << 16), chance.index(1 << 16));
        let act = match (trouble, chance.below(20)) {
            (_, 0..10) | (Trouble::Nothing, 10..17) => {
                Act::Edit { times: 1 + chance.below(6) * chance.below(2) }
            }
            (_, 17..20) => app(chance),
            (Trouble::Network, _) | (Trouble::All | Trouble::Wild, 10..13) => network(chance),
            (Trouble::Wild, 14) if chance.one_in(4) => Act::Strange { up: chance.one_in(2) },
            (Trouble::Wild, 15) if chance.one_in(6) => {
                let code = [1, 2, 33, 64, 99].get(chance.index(5)).copied().unwrap_or(64);
                Act::RefuseDoor { code, ms: duration(chance) }
            }
            (Trouble::Wild, 13) if chance.one_in(4) => Act::Trouble { ms: duration(chance) / 4 },
            (_, 13 | 14) => replica_fault(chance),
            (_, _) => door_fault(chance),
        };
        Self { at, replica, which, act }
    }
}

fn app(chance: &mut Chance) -> Act {
    match chance.below(8) {
        0 | 1 => Act::Presence,
        2 => Act::Watch(chance.one_in(2)),
        3 => Act::Subscribe(chance.one_in(3)),
        4 => Act::Subscribe(true),
        5 => Act::Priority(chance.below(4)),
        6 => Act::Saving(chance.one_in(2)),
        _ => Act::Hint,
    }
}

fn network(chance: &mut Chance) -> Act {
    let ms = duration(chance);
    match chance.below(6) {
        0 | 1 => Act::Cut,
        2 => Act::Stall { up: chance.one_in(2) },
        3 | 4 => {
            let up = chance.one_in(2);
            Act::Partition { up, down: !up || chance.one_in(2), ms }
        }
        _ => Act::Slow { latency_ms: chance.below(4_000), bytes_per_second: chance.between(100, 4_000), ms },
    }
}

fn replica_fault(chance: &mut Chance) -> Act {
    match chance.below(8) {
        0..3 => Act::Crash { power: chance.one_in(2), ms: duration(chance) / 4 },
        3 => Act::Backup,
        4 => Act::Restore,
        5 | 6 => {
            let years = i64::try_from(chance.below(3)).unwrap_or(0) - 1;
            let more = i64::try_from(chance.below(200_000)).unwrap_or(0) - 100_000;
            Act::Jump { ms: years * YEARS_MS + more }
        }
        _ => Act::Full { ms: duration(chance) },
    }
}

fn door_fault(chance: &mut Chance) -> Act {
    let ms = duration(chance);
    match chance.below(9) {
        0..3 => Act::CrashDoor { power: chance.one_in(2), ms: ms / 4 },
        3 => Act::BackupDoor,
        4 => Act::RestoreDoor,
        5 => Act::FullDoor { ms },
        6 | 7 => Act::TroubleDoor { ms: ms / 4 },
        _ => Act::RefuseDoor { code: if chance.one_in(2) { 64 } else { 2 }, ms },
    }
}

/// Mostly short.
fn duration(chance: &mut Chance) -> u64 {
    let most = [300, 3_000, 20_000, 90_000].get(chance.index(4)).copied().unwrap_or(300);
    1 + chance.below(most)
}
