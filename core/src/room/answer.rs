//! Who answers a `SyncStep1` in a room without an archive.
//!
//! y-protocols replies name nobody, but a client answers in the order it was asked; so each member has a
//! queue of what its next `SyncStep2` is for.

use std::collections::{BTreeSet, VecDeque};

use crate::time::Millis;
use crate::update::StateVector;

use super::effect::MemberId;

/// How long one answerer has, in milliseconds, before a second one is asked.
pub(super) const ANSWER_MS: u64 = 5_000;
/// Rounds through all answerers before an asker is left with what it has.
pub(super) const ROUNDS_MAX: u32 = 3;
/// Most questions of one member that the archive works on; each may answer with the whole document.
pub(super) const READS_MAX: usize = 8;
/// Most open questions to one member.
pub(super) const OPEN_MAX: usize = 256;

/// What a member's next `SyncStep2` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its own content, to be spread and stored.
    OwnContent,
    /// The answer for another member.
    AnswerFor(MemberId),
}

/// A member's open question.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) state_vector: StateVector,
    pub(super) answerer: MemberId,
    /// Whether the answerer had caught up when it was asked.
    pub(super) of_caught_up: bool,
    pub(super) deadline: Millis,
    pub(super) tried: BTreeSet<MemberId>,
    pub(super) rounds: u32,
}

/// What the room knows of one member.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    /// Whether its dialect counts acknowledgements.
    pub(super) counts_acknowledgements: bool,
    /// It was handed everything that the room could reach when it asked.
    pub(super) caught_up: bool,
    /// What its next answers are for, oldest first.
    pub(super) expected: VecDeque<Purpose>,
    /// Its question to another member.
    pub(super) ask: Option<Ask>,
    /// Its questions at the archive.
    pub(super) reads: usize,
}
