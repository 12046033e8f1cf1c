//! What a seed stands for: the shape of a world, and what people, clocks and faults do in it.
//!
//! A step names what it concerns by numbers that are taken modulo what there is, so that a plan from which steps were
//! dropped is a plan as well: that is how a failure is made small.

use std::fmt;

use super::chance::Chance;

/// What happens at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Somebody writes, so many times.
    Edit {
        /// Edits.
        times: u64,
    },
    /// Somebody shows where they are.
    Presence,
    /// Somebody looks at a document, or no more.
    Watch(bool),
    /// A document is kept from now on, or no more.
    Subscribe(bool),
    /// A document becomes more or less urgent.
    Priority(u64),
    /// The app says that the link is metered, or no more.
    Saving(bool),
    /// The system says that the network changed.
    Hint,
    /// A replica ends; with its machine, nobody is told.
    Crash {
        /// With its machine.
        power: bool,
        /// Until it starts again.
        ms: u64,
    },
    /// A replica's disk is copied.
    Backup,
    /// A replica's disk is what was copied.
    Restore,
    /// A replica's clock is set.
    Jump {
        /// By so much.
        ms: i64,
    },
    /// A replica's disk is full.
    Full {
        /// For so long.
        ms: u64,
    },
    /// A connection breaks, with all that is under way.
    Cut,
    /// Nothing arrives on a connection any more, and nobody is told.
    Stall {
        /// At the door, or at the replica.
        up: bool,
    },
    /// Nothing arrives from a replica at a door, or back, or both.
    Partition {
        /// At the door.
        up: bool,
        /// At the replica.
        down: bool,
        /// For so long.
        ms: u64,
    },
    /// The way between a replica and a door is slow.
    Slow {
        /// The time there.
        latency_ms: u64,
        /// The bandwidth.
        bytes_per_second: u64,
        /// For so long.
        ms: u64,
    },
    /// A relay ends, and what is not synced of its archive is lost.
    CrashDoor {
        /// With its machine.
        power: bool,
        /// Until it starts again.
        ms: u64,
    },
    /// An archive's disk is copied.
    BackupDoor,
    /// An archive's disk is what was copied.
    RestoreDoor,
    /// An archive has no room.
    FullDoor {
        /// For so long.
        ms: u64,
    },
    /// An archive fails.
    TroubleDoor {
        /// For so long.
        ms: u64,
    },
    /// A door lets nobody in.
    RefuseDoor {
        /// With this code.
        code: u64,
        /// For so long.
        ms: u64,
    },
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, in ms.
    pub at: u64,
    /// Which replica, modulo all.
    pub replica: usize,
    /// Which door, connection or document, modulo all.
    pub which: usize,
    /// What.
    pub act: Act,
}

/// What kind of door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A relay that keeps nothing.
    Bare,
    /// With an archive.
    Keeper,
    /// With an archive, and says what changed.
    Lister,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The doors.
    pub doors: Vec<Kind>,
    /// The doors of each replica.
    pub replicas: Vec<Vec<usize>>,
    /// How many documents.
    pub documents: usize,
    /// How many may be open at once, where the doors list.
    pub documents_max: usize,
    /// Replicas may only read from this number on.
    pub readers_from: usize,
    /// Whether doors speak as a later version may.
    pub is_later: bool,
}

/// A run of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides whatever is not in the steps.
    pub seed: u64,
    /// What there is.
    pub shape: Shape,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// How much may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    Nothing,
    /// The network.
    Network,
    /// Everything.
    All,
}

const YEARS_MS: i64 = 10 * 365 * 24 * 60 * 60 * 1_000;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64, trouble: Trouble) -> Self {
        let mut chance = Chance::new(seed);
        let shape = Shape::draw(&mut chance, trouble);
        let until = chance
            .between(1_000, [4_000, 20_000, 120_000].get(chance.clone().index(3)).copied().unwrap_or(4_000));
        let count = chance.between(8, 60);
        let mut steps: Vec<_> = (0..count).map(|_| Step::draw(&mut chance, until, trouble)).collect();
        steps.sort_by_key(|step| step.at);
        Self { seed, shape, steps }
    }

    /// When the last step is taken, in ms.
    pub(super) fn end(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.at)
    }
}

impl fmt::Display for Plan {
    /// The shape, then a step a line: as it is written in code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}\n{:?}", self.seed, self.shape)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step:?}"))
    }
}

impl Shape {
    fn draw(chance: &mut Chance, trouble: Trouble) -> Self {
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
        let documents = chance.index(5) + 1;
        let documents_max = if chance.one_in(3) { chance.index(3) + 1 } else { 1_000 };
        let has_readers = trouble == Trouble::All && chance.one_in(6);
        let readers_from = if has_readers { 1 + chance.index(replicas.len()) } else { replicas.len() };
        Self { doors, replicas, documents, documents_max, readers_from, is_later: chance.one_in(4) }
    }
}

impl Step {
    fn draw(chance: &mut Chance, until: u64, trouble: Trouble) -> Self {
        let (at, replica, which) = (chance.below(until), chance.index(1 << 16), chance.index(1 << 16));
        let act = match (trouble, chance.below(20)) {
            (_, 0..10) | (Trouble::Nothing, 10..17) => {
                Act::Edit { times: 1 + chance.below(6) * chance.below(2) }
            }
            (_, 17..20) => app(chance),
            (Trouble::Network, _) | (Trouble::All, 10..13) => network(chance),
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
