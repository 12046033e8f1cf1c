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
    /// A replica cannot read its documents, nor store what others made.
    Trouble {
        /// For so long.
        ms: u64,
    },
    /// A connection breaks, with all that is under way.
    Cut,
    /// Something is said on a connection that this version cannot read.
    Strange {
        /// To the door, or to the replica.
        up: bool,
    },
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
    /// A replica that listens.
    Replica(usize),
}

/// Which versions a replica speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// This one.
    #[default]
    This,
    /// This one and a later one.
    LaterToo,
    /// Another one only, until all is made well.
    Other,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The doors.
    pub doors: Vec<Kind>,
    /// The doors of each replica.
    pub replicas: Vec<Vec<usize>>,
    /// How many Yjs documents.
    pub documents: usize,
    /// How many Automerge documents.
    pub automerge: usize,
    /// How many may be open at once, where the doors list.
    pub documents_max: usize,
    /// Replicas may only read from this number on.
    pub readers_from: usize,
    /// Whether doors speak as a later version may.
    pub is_later: bool,
    /// What the replicas speak, if not this version alone.
    pub speaks: Vec<Speaks>,
    /// Whether a crash may leave some of what was not synced, and less of what links had learned.
    pub is_torn: bool,
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
    /// The same among replicas that listen, in circles, too, and with documents of both formats.
    Wild,
}

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
