//! What the room knows of one member, and what its next answers are for.
//!
//! y-protocols replies name nobody, but a client answers in the order it was asked; so each member has a
//! queue of what its next `SyncStep2` is for.

use std::collections::{BTreeSet, VecDeque};

use super::asking::Asker;
use super::peer::AskId;

/// Most questions of one member that are open at once; each may be answered with the whole document.
pub(super) const READS_MAX: usize = 8;
/// Most open questions to one member.
pub(super) const OPEN_MAX: usize = 256;

/// What a member's next `SyncStep2` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its own content, to be spread and stored.
    OwnContent(Content),
    /// The answer to a question, and whose it was.
    AnswerFor(AskId, Asker),
}

/// How a member was asked for its own content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// The member waits for one acknowledgement of it: clients count one for each `SyncStep1` of their own, and none
    /// for other answers. One too many would acknowledge an edit that is still under way.
    pub(super) counted: bool,
    /// It is all that the member has, whoever has it too.
    pub(super) whole: bool,
    /// It is all that the archive of this reign lacked: once it is durable, so is everything that the member sent
    /// before it.
    pub(super) reign: Option<u64>,
}

/// What the room knows of one member.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    /// Whether its dialect counts acknowledgements.
    pub(super) counts_acknowledgements: bool,
    /// What it is acknowledged stands for what it was handed as well.
    pub(super) relies: bool,
    /// It may only read: nobody is answered with what it says, and nothing of it is waited for.
    pub(super) reads_only: bool,
    /// It was handed everything that the room could reach when it asked.
    pub(super) caught_up: bool,
    /// What its next answers are for, oldest first.
    pub(super) expected: VecDeque<Purpose>,
    /// Its questions to other members and to peers.
    pub(super) questions: BTreeSet<AskId>,
    /// Its questions at the archive here.
    pub(super) reads: usize,
    /// Acknowledgements that it waits for and that no archive was there to give: a number, no bytes.
    pub(super) owed: u64,
    /// The reign in which it was last asked for all that the archive lacks.
    pub(super) settled: Option<u64>,
}

impl Member {
    /// It answers: what for. A member that is at rest keeps room for nothing.
    pub(super) fn answers(&mut self) -> Option<Purpose> {
        let purpose = self.expected.pop_front();
        if self.expected.is_empty() {
            self.expected = VecDeque::new();
        }
        purpose
    }

    /// One of its questions is no more.
    pub(super) fn asks_no_more(&mut self, ask: AskId) {
        self.questions.remove(&ask);
        if self.questions.is_empty() {
            self.questions = BTreeSet::new();
        }
    }

    /// Whether all that it has is asked for and has not come yet.
    pub(super) fn is_asked_for_all(&self) -> bool {
        let is_all = |purpose: &Purpose| matches!(purpose, Purpose::OwnContent(Content { whole: true, .. }));
        self.expected.iter().any(is_all)
    }
}
