//! How one document stands with the other end of a link.

use std::collections::VecDeque;

use super::dropping::Dropped;
use super::effect::Token;
use super::paging::Pagings;
use crate::dialect::replica::{Handle, Outcome};
use crate::schedule::Priority;
use crate::time::{Millis, Moment, Steady};

/// Why a document is not in sync, the first reason that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lag {
    /// There is no connection.
    Offline,
    /// It is refused there until somebody decides something.
    Parked {
        /// Why.
        outcome: Outcome,
        /// The same for people.
        reason: String,
    },
    /// It was refused there, and that was left at: what has changed here since the last that was taken is not there.
    Dropped {
        /// Why it had been refused.
        outcome: Outcome,
        /// The same for people.
        reason: String,
    },
    /// It was refused there and is tried again.
    Refused {
        /// Why.
        outcome: Outcome,
        /// The same for people.
        reason: String,
        /// When it is tried again.
        again: Millis,
    },
    /// It changed in a long time apart, and waits for a decision ([`Session::release`](super::Session::release)).
    Held,
    /// As many documents as one connection may have are open; it waits for one of them to be done.
    Queued,
    /// What each side lacks is being found out.
    Comparing,
    /// What came is on its way to the disk here.
    Storing,
    /// It was sent and is not known to be stored there.
    Unacknowledged,
    /// It was sent, and nobody there keeps it for sure.
    Unkept,
}

/// How a document stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Why it is not in sync; none if it is.
    pub lag: Option<Lag>,
    /// Position of the latest change here.
    pub last: u64,
    /// Everything of it up to this position is fsynced there.
    pub acknowledged: u64,
}

/// A document of a session.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Its number while it is open.
    pub(super) handle: Option<Handle>,
    /// Which opening that is, of all.
    pub(super) opening: u64,
    pub(super) priority: Priority,
    /// A change up to this position, which waits, is as urgent as this.
    raised: Option<(Priority, u64)>,
    pub(super) last: u64,
    pub(super) acknowledged: u64,
    /// It waits for a decision.
    pub(super) held: bool,
    /// Somebody here looks at it.
    pub(super) watched: bool,
    /// The other end says that it changed.
    pub(super) listed: bool,
    /// What was sent and is not stored, in order; each says how far all is there once it is.
    pub(super) in_flight: VecDeque<u64>,
    /// Changes of this connection may be counted: what was here before was handed over.
    pub(super) compared: bool,
    /// What the other end had when it was opened is durable here.
    pub(super) caught_up: bool,
    /// It was in sync at some time of this connection.
    pub(super) seen: bool,
    /// What came from there may not be durable there yet; when to ask.
    pub(super) confirm: Option<Moment>,
    /// Updates on their way to the disk here.
    pub(super) bringing: usize,
    /// The same of those that came through an earlier opening: the other end may not have kept them.
    pub(super) stale: usize,
    /// What is being handed out of what was read for the other end.
    pub(super) pagings: Pagings,
    /// How often it is being looked at for what is here of it, and was for an earlier opening.
    pub(super) describes: usize,
    pub(super) stale_describes: usize,
    /// What is being read for the other end, and for an earlier opening.
    pub(super) reads: usize,
    pub(super) stale_reads: usize,
    /// Turns of an open Automerge document that are being taken, in order: whether each brings something.
    pub(super) turns: VecDeque<bool>,
    /// It changed since one of them may have looked.
    pub(super) again: bool,
    /// It was listed while it was open, an Automerge document, of which that may be said before what changed is.
    pub(super) late: bool,
    /// What the other end had when it was opened is said.
    pub(super) answered: bool,
    /// It was brought under numbers up to this one, the last.
    pub(super) answer: Token,
    /// Everything up to this position is there, and what was heard before that was known is durable here.
    pub(super) settled: u64,
    /// The same once what was heard up to this token is.
    pub(super) settles: Option<(u64, Token)>,
    pub(super) refusal: Option<Refusal>,
    /// What had been refused is given up.
    pub(super) dropped: Option<Dropped>,
}

/// The other end does not take it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    pub(super) attempts: u32,
    /// None until somebody decides something.
    pub(super) again: Option<Moment>,
    /// What it has may be read meanwhile.
    pub(super) may_read: bool,
}

/// First wait before a refused document is tried again, in ms; it doubles.
const AGAIN_MS: u64 = 1_000;
/// Longest such wait in ms.
const AGAIN_MS_MAX: u64 = 60_000;

impl Document {
    /// How urgent what is said about it is.
    pub(super) fn urgency(&self) -> Priority {
        self.raised.map_or(self.priority, |(raised, _)| raised.max(self.priority))
    }

    /// A change that waits may be more urgent than its document.
    pub(super) fn raise(&mut self, priority: Option<Priority>, position: u64) {
        if let Some(priority) = priority.filter(|priority| *priority > self.priority) {
            let raised = self.raised.map_or(priority, |(raised, _)| raised.max(priority));
            self.raised = Some((raised, position));
        }
    }

    /// Everything up to this position was said.
    pub(super) fn lower(&mut self, position: u64) {
        self.raised.take_if(|(_, last)| *last <= position);
    }

    /// Whether the other end may lack something, or have something that is lacking here.
    pub(super) fn differs(&self) -> bool {
        self.last > self.acknowledged || self.listed
    }

    /// Whether it is to be opened as soon as there is room.
    pub(super) fn wants_open(&self, now: Moment, everything: bool) -> bool {
        let to_read = (everything && !self.seen) || self.watched || self.listed;
        let wants = match &self.refusal {
            None => to_read || self.differs(),
            // Once on each connection: one may be allowed to write by now.
            Some(refusal) if refusal.may_read => to_read || !self.seen,
            // It is compared again, whether or not it is known to differ: it may have missed something.
            Some(refusal) => refusal.again.is_some_and(|again| again <= now),
        };
        self.handle.is_none() && wants
    }

    /// When something is to be done about it that nothing else causes, behind this moment.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        let confirm = self.confirm.filter(|_| self.compared);
        let again = self.refusal.as_ref().and_then(|refusal| refusal.again).filter(|_| self.handle.is_none());
        confirm.into_iter().chain(again).filter(|at| *at > now).min()
    }

    /// Whether there is nothing more to do about it.
    pub(super) fn is_at_rest(&self, everything: bool) -> bool {
        let may_open = self.watched || (everything && !self.seen) || self.refusal.is_some();
        self.handle.is_none() && !may_open && !self.differs()
    }

    /// It was edited, or is to be tried once more: it is compared, and sent, as it is.
    pub(super) fn take_up(&mut self) {
        if self.dropped.take().is_some() {
            self.refusal = None;
        }
    }

    /// The connection is gone, and what was known because of it.
    pub(super) fn closed(&mut self) {
        self.handle = None;
        self.in_flight.clear();
        self.pagings.clear();
        self.settles = None;
        self.stale += std::mem::take(&mut self.bringing);
        self.stale_reads += std::mem::take(&mut self.reads);
        self.stale_describes += std::mem::take(&mut self.describes);
        self.confirm = None;
        self.turns.clear();
        (self.again, self.late) = (false, false);
        (self.compared, self.caught_up, self.answered) = (false, false, false);
    }

    /// One of the looks at what is here is over; whether it was for this opening.
    pub(super) fn described(&mut self) -> bool {
        if self.stale_describes > 0 {
            self.stale_describes -= 1;
            return false;
        }
        self.describes = self.describes.saturating_sub(1);
        true
    }

    /// One of the reads is not made.
    pub(super) fn unread(&mut self) {
        match self.reads {
            0 => self.stale_reads = self.stale_reads.saturating_sub(1),
            _ => self.reads -= 1,
        }
    }

    pub(super) fn refuse(&mut self, now: Moment, outcome: Outcome, reason: String) {
        let attempts = self.refusal.as_ref().map_or(0, |refusal| refusal.attempts);
        let wait = AGAIN_MS.saturating_mul(1 << attempts.min(16)).min(AGAIN_MS_MAX);
        let again = (!outcome.is_permanent()).then(|| now.plus(wait));
        self.refusal =
            Some(Refusal { outcome, reason, attempts: attempts.saturating_add(1), again, may_read: false });
    }

    /// A change is refused, perhaps not the document. What stands behind it counts for nothing: it is missing there.
    pub(super) fn refuse_change(&mut self, now: Moment, outcome: Outcome, reason: String) {
        (self.compared, self.confirm) = (false, None);
        self.pagings.clear();
        self.in_flight.iter_mut().for_each(|position| *position = 0);
        self.refuse(now, outcome, reason);
        if let Some(refusal) = &mut self.refusal {
            refusal.may_read = outcome.is_permanent();
        }
    }

    /// Whether it is refused until somebody decides something.
    pub(super) fn is_parked(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.again.is_none())
    }

    /// Whether changes are refused for good, and it is only read.
    pub(super) fn is_read_only(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.may_read)
    }

    /// All is sent, and stored where somebody keeps it: what was refused is not any more.
    pub(super) fn take_back_refusal(&mut self, keeps: bool) {
        self.refusal.take_if(|refusal| refusal.again.is_some() || (keeps && refusal.may_read));
    }

    pub(super) fn standing(&self, keeps: Option<bool>, clock: &Steady) -> Standing {
        Standing {
            lag: self.lag(keeps, clock),
            last: self.last,
            acknowledged: self.acknowledged.min(self.last),
        }
    }

    /// `keeps` is none without a connection.
    fn lag(&self, keeps: Option<bool>, clock: &Steady) -> Option<Lag> {
        if let Some(Dropped { outcome, reason, .. }) = self.dropped.clone() {
            return Some(Lag::Dropped { outcome, reason });
        }
        if let Some(Refusal { outcome, reason, again, .. }) = &self.refusal {
            let (outcome, reason) = (*outcome, reason.clone());
            return Some(match again {
                None => Lag::Parked { outcome, reason },
                Some(again) => Lag::Refused { outcome, reason, again: clock.at(*again) },
            });
        }
        let Some(keeps) = keeps else { return Some(Lag::Offline) };
        if self.held {
            return Some(Lag::Held);
        }
        if self.handle.is_none() {
            return self.differs().then_some(Lag::Queued);
        }
        if !self.answered || !self.compared {
            return Some(Lag::Comparing);
        }
        if self.bringing > 0 || self.turns.contains(&true) {
            return Some(Lag::Storing);
        }
        if !keeps {
            return Some(Lag::Unkept);
        }
        (self.last > self.acknowledged).then_some(Lag::Unacknowledged)
    }
}
