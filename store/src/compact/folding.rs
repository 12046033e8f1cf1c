//! What an engine can fold of a document, and what it dies of: the part of a fold that changes nothing on the shelf.
//!
//! Guarantee: an operation is found at fault only if it killed the engine or was refused twice, while all before it
//! pass, passed again right after that and did not strain it: neither the last straw nor a machine in trouble is
//! held against it. What the engine does not refuse but cannot prove is left out and stays in the tail.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use tombolo_core::operation::{Kind, Operation};
use tombolo_core::update::{Outline, Update};

use super::blame::{self, BLAMES_MAX, Search, Verdict};
use super::fold::NotFolded;
use super::plan::Plan;
use crate::shelf::Life;
use crate::worker::{Reply, Request, Worker, WorkerError};

/// When to stop.
pub(super) struct Limits<'a> {
    pub(super) is_closing: &'a dyn Fn() -> bool,
    /// Never, if the clock does not reach so far.
    pub(super) end: Option<Instant>,
}

/// Why it stopped before all was folded.
pub(super) enum Stop {
    /// It took its time, or blamed as many as it may.
    Enough,
    Not(NotFolded),
}

/// What an engine made of a part of the tail.
#[derive(Default)]
pub(super) struct Folded {
    /// None if there was nothing to fold.
    pub(super) snapshot: Option<Bytes>,
    /// Where its structs lie.
    pub(super) outline: Option<Outline>,
    /// What is in it, by place in the tail.
    pub(super) places: BTreeSet<usize>,
}

/// What is known of an order of operations, until one of them is left out.
#[derive(Default)]
struct Known {
    search: Search,
    /// How many at the beginning of the order pass only just.
    strained: RefCell<BTreeSet<usize>>,
    /// What waits among so many at the beginning of the order, by place.
    waiting: RefCell<BTreeMap<usize, BTreeSet<usize>>>,
}

/// What an attempt knew when it stopped, of the state of the document that it looked at.
pub(super) struct Unfinished {
    pub(super) life: Life,
    /// How many operations of the tail it is about.
    pub(super) count: u64,
    /// Those that are not left out, by place, in the order in which they are taken.
    order: Vec<usize>,
    left_out: BTreeMap<usize, WorkerError>,
    known: Known,
    reordered: usize,
}

pub(super) struct Folding<'a> {
    plan: Plan,
    worker: &'a dyn Worker,
    limits: Limits<'a>,
    /// By place, with what the engine said.
    left_out: BTreeMap<usize, WorkerError>,
    known: Known,
    /// How often the order was changed.
    reordered: usize,
    /// How many were left out by this attempt.
    blamed: usize,
    /// Whether this attempt has asked anything: each gets at least one answer, so that all together come to an end.
    has_asked: Cell<bool>,
}

impl<'a> Folding<'a> {
    pub(super) fn new(
        mut plan: Plan,
        worker: &'a dyn Worker,
        limits: Limits<'a>,
        before: Option<Unfinished>,
    ) -> Self {
        let (mut left_out, mut known, mut reordered) = (BTreeMap::new(), Known::default(), 0);
        if let Some(before) = before {
            plan.arrange(&before.order);
            (left_out, known, reordered) = (before.left_out, before.known, before.reordered);
        }
        Self { plan, worker, limits, left_out, known, reordered, blamed: 0, has_asked: Cell::new(false) }
    }

    /// Folds all that can be folded.
    pub(super) fn run(&mut self) -> Result<Folded, Stop> {
        loop {
            let order = self.plan.order();
            if order.is_empty() {
                return Ok(Folded::default());
            }
            match self.find(&order)? {
                Found::Passes(reply) => return self.folded(&order, reply).map_err(Stop::Not),
                Found::Sound(sound) => {
                    return self.fold_sound(order.get(..sound).unwrap_or_default()).map_err(Stop::Not);
                }
                Found::Again if self.blamed >= BLAMES_MAX => return Err(Stop::Enough),
                Found::Again => {}
            }
        }
    }

    /// Whether there is something to set aside.
    pub(super) fn has_found(&self) -> bool {
        self.faults().next().is_some()
    }

    /// What is to be set aside, by place, and why.
    pub(super) fn faults(&self) -> impl Iterator<Item = (usize, String)> {
        let is_fault =
            |error: &WorkerError| matches!(error, WorkerError::Died { .. } | WorkerError::Refused { .. });
        let faults = self.left_out.iter().filter(move |(_, error)| is_fault(error));
        faults.map(|(place, error)| (*place, error.to_string()))
    }

    /// Folds what is known to pass; nothing, if that does not go now.
    pub(super) fn fold_what_passes(&self) -> Folded {
        let order = self.plan.order();
        let passes = order.get(..self.known.search.passes.unwrap_or_default()).unwrap_or_default();
        self.fold_sound(passes).unwrap_or_else(|error| {
            tracing::warn!(reason = %error, "what passes was not folded; what does not is set aside");
            Folded::default()
        })
    }

    pub(super) fn unfinished(self, life: Life, count: u64) -> Unfinished {
        let Self { plan, left_out, known, reordered, .. } = self;
        Unfinished { life, count, order: plan.arranged(), left_out, known, reordered }
    }

    /// The tail that it is about.
    pub(super) fn into_tail(self) -> Vec<Operation> {
        self.plan.tail
    }

    fn find(&mut self, order: &[usize]) -> Result<Found, Stop> {
        let mut search = std::mem::take(&mut self.known.search);
        let found = blame::find(order.len(), &mut search, &mut |count| self.probe(order, count));
        self.known.search = search;
        match found? {
            Verdict::Passes(reply) => Ok(Found::Passes(reply)),
            Verdict::Snapshot(error) => {
                Err(Stop::Not(NotFolded::Stays(format!("its snapshot alone cannot be folded: {error}"))))
            }
            Verdict::Unclear => {
                Err(Stop::Not(NotFolded::NotNow("the engine died; asked again, it does not agree".into())))
            }
            Verdict::Operation(sound, WorkerError::Died { reason })
                if self.known.strained.borrow().contains(&sound) =>
            {
                tracing::warn!(
                    reason,
                    "a document is nearly too much for the merge worker; nobody is blamed"
                );
                Ok(Found::Sound(sound))
            }
            Verdict::Operation(sound, _) if self.is_in_question(order, sound) => Ok(Found::Again),
            Verdict::Operation(sound, error) => {
                let Some(place) = order.get(sound) else { return Ok(Found::Sound(sound)) };
                self.left_out.insert(*place, error);
                self.plan.leave_out(*place);
                self.known.search = Search::from(sound);
                self.blamed += 1;
                Ok(Found::Again)
            }
        }
    }

    /// Whether an operation may only have brought the ground of a deadly one that waited in front of it; then those
    /// that wait there are put behind it.
    fn is_in_question(&mut self, order: &[usize], sound: usize) -> bool {
        let waiting = self.known.waiting.borrow_mut().remove(&sound).unwrap_or_default();
        let Some(suspect) = order.get(sound).filter(|_| !waiting.is_empty() && self.reordered < BLAMES_MAX)
        else {
            return false;
        };
        self.plan.put_behind(*suspect, &waiting);
        self.known = Known::default();
        self.reordered += 1;
        true
    }

    fn fold_sound(&self, order: &[usize]) -> Result<Folded, NotFolded> {
        if order.is_empty() {
            return Ok(Folded::default());
        }
        let reply = self.ask(order).map_err(|error| NotFolded::Stays(error.to_string()))?;
        self.folded(order, reply)
    }

    /// Asks for so many at the beginning of the order, unless it is time to stop.
    fn probe(&self, order: &[usize], count: usize) -> Result<Result<Reply, WorkerError>, Stop> {
        let is_closing = self.limits.is_closing;
        if is_closing() {
            return Err(Stop::Not(NotFolded::Closing));
        }
        if self.has_asked.replace(true) && self.limits.end.is_some_and(|end| Instant::now() >= end) {
            return Err(Stop::Enough);
        }
        match self.ask(order.get(..count).unwrap_or_default()) {
            Err(error @ (WorkerError::Unavailable { .. } | WorkerError::NoSession)) => {
                Err(Stop::Not(NotFolded::NotNow(error.to_string())))
            }
            answer => Ok(answer),
        }
    }

    fn ask(&self, places: &[usize]) -> Result<Reply, WorkerError> {
        let request = Request::Compact { kind: self.plan.kind, parts: self.plan.parts(places) };
        let reply = self.worker.call(request)?;
        if self.worker.is_strained() {
            self.known.strained.borrow_mut().insert(places.len());
        } else {
            self.known.strained.borrow_mut().remove(&places.len());
        }
        if let Reply::Partly { waiting, .. } = &reply {
            let before = usize::from(self.plan.snapshot.is_some());
            let place = |part: &u64| places.get(usize::try_from(*part).ok()?.checked_sub(before)?).copied();
            let waiting = waiting.iter().filter_map(place).collect();
            self.known.waiting.borrow_mut().insert(places.len(), waiting);
        }
        Ok(reply)
    }

    fn folded(&self, order: &[usize], reply: Reply) -> Result<Folded, NotFolded> {
        let (snapshot, waiting) = match reply {
            Reply::Snapshot(snapshot) => (snapshot, Vec::new()),
            Reply::Partly { snapshot, waiting } => (snapshot, waiting),
            _ => return Err(NotFolded::Stays("the worker answered something else".into())),
        };
        let before = usize::from(self.plan.snapshot.is_some());
        let mut places: BTreeSet<usize> = order.iter().copied().collect();
        for part in waiting {
            let place = usize::try_from(part).ok().and_then(|part| order.get(part.checked_sub(before)?));
            // The snapshot itself never waits.
            let place = place.ok_or_else(|| NotFolded::Stays("the snapshot waits for something".into()))?;
            places.remove(place);
        }
        if places.is_empty() {
            return Ok(Folded::default());
        }
        let mut outline = None;
        if self.plan.kind == Kind::YjsUpdate {
            // Joins are served from these bytes, without another look, so they must pass the door that every update
            // passes.
            let update = Update::parse(snapshot.clone())
                .map_err(|error| NotFolded::Stays(format!("the fold does not validate: {error}")))?;
            outline = update.outline();
        }
        Ok(Folded { snapshot: Some(snapshot), outline, places })
    }
}

enum Found {
    Passes(Reply),
    /// The first so many of the order pass, and no more are looked for.
    Sound(usize),
    /// One is left out now, or the order is another.
    Again,
}
