//! One fold: from what is stored of a document to a snapshot, what stays in its tail and what is set aside.
//!
//! Guarantees: nothing changes on the shelf before a snapshot of what is folded was proved by the worker and, for Yjs,
//! passed the door; every operation is in that snapshot, in the tail or in quarantine; an operation is set aside only
//! if it killed the engine or was refused twice, while all before it and all that is folded now pass, and did not
//! strain it: the last straw is not to blame. What the engine
//! does not refuse but cannot prove stays in the tail.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_core::update::{Outline, Update};

use super::blame::{self, BLAMES_MAX, Verdict};
use super::plan::Plan;
use super::policy::Left;
use crate::document::now_ms;
use crate::shelf::{Fold, SetAside};
use crate::store::Inner;
use crate::worker::{Reply, Request, Worker, WorkerError};

/// Why a document was not folded; it is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotFolded {
    #[error("the store is being closed")]
    Closing,
    /// Nothing that is stored is the reason.
    #[error("{0}")]
    NotNow(String),
    /// It is not to be tried again before its tail has grown.
    #[error("{0}")]
    Stays(String),
}

impl From<crate::shelf::ShelfError> for NotFolded {
    fn from(error: crate::shelf::ShelfError) -> Self {
        Self::Stays(error.to_string())
    }
}

/// Folds what of a document can be folded; gives back what stays in its tail.
pub(super) fn fold(
    id: &DocumentId,
    inner: &Inner,
    worker: &dyn Worker,
    is_closing: &dyn Fn() -> bool,
) -> Result<Left, NotFolded> {
    let Some(stored) = inner.shelves.load(id, false)? else { return Ok(Left::default()) };
    let (count, life) = (stored.record.tail_count, stored.record.life());
    let (plan, unsound) = Plan::new(id, stored).map_err(NotFolded::Stays)?;
    let mut folding = Folding {
        plan,
        worker,
        is_closing,
        out: BTreeMap::new(),
        from: 0,
        strained: RefCell::default(),
        waiting: RefCell::default(),
        reordered: 0,
    };
    let folded = folding.run()?;
    if is_closing() {
        return Err(NotFolded::Closing);
    }
    let Folding { plan, out, .. } = folding;
    let mut aside: BTreeMap<usize, String> = unsound.into_iter().collect();
    aside.extend(out.into_iter().filter_map(|(place, out)| Some((place, out.reason(&folded)?))));
    let Folded { snapshot, outline, .. } = folded;
    let mut fold = Fold { of: Some(life), count, snapshot, outline, ..Fold::default() };
    for (place, operation) in plan.tail.into_iter().enumerate() {
        if let Some(reason) = aside.remove(&place) {
            tracing::error!(document = %id, replica = %operation.replica, seq = operation.seq.0, reason, "an operation was set aside");
            fold.set_aside.push(SetAside::new(operation, reason, now_ms()));
        } else if !folded.places.contains(&place) {
            fold.keep.push(operation);
        }
    }
    let left = Left {
        count: fold.keep.len() as u64,
        bytes: fold.keep.iter().map(|operation| operation.payload.len() as u64).sum(),
    };
    if fold.snapshot.is_some() || !fold.set_aside.is_empty() {
        inner.shelves.fold(id, &fold)?;
        inner.note_set_aside(id, fold.set_aside.iter().map(|aside| aside.hash));
    }
    Ok(left)
}

/// What an engine made of a part of the tail.
#[derive(Default)]
struct Folded {
    /// None if there was nothing to fold.
    snapshot: Option<Bytes>,
    /// Where its structs lie.
    outline: Option<Outline>,
    /// What is in it, by place in the tail.
    places: BTreeSet<usize>,
    /// How much an engine took without harm, in operations and bytes; none if it took all that there was.
    most: Option<(usize, u64)>,
}

/// An operation that is left out of a fold.
struct Out {
    error: WorkerError,
    /// With how much it killed, itself included, in operations and bytes.
    with: (usize, u64),
}

impl Out {
    /// Why it is set aside, if it is. If the engine did not take all that is left, the sum may be too much for it and
    /// not this one; that is ruled out only by more that it did take.
    fn reason(&self, folded: &Folded) -> Option<String> {
        let is_proved = folded.most.is_none_or(|(count, bytes)| count > self.with.0 && bytes > self.with.1);
        let is_fault = matches!(self.error, WorkerError::Died { .. } | WorkerError::Refused { .. });
        (is_proved && is_fault).then(|| self.error.to_string())
    }
}

struct Folding<'a> {
    plan: Plan,
    worker: &'a dyn Worker,
    is_closing: &'a dyn Fn() -> bool,
    out: BTreeMap<usize, Out>,
    /// So many at the beginning of the order are known to pass.
    from: usize,
    /// How many at the beginning of the order pass only just.
    strained: RefCell<BTreeSet<usize>>,
    /// What waits among so many at the beginning of the order, by place.
    waiting: RefCell<BTreeMap<usize, BTreeSet<usize>>>,
    /// How often the order was changed.
    reordered: usize,
}

impl Folding<'_> {
    fn run(&mut self) -> Result<Folded, NotFolded> {
        loop {
            let order = self.plan.order();
            if order.is_empty() {
                return Ok(Folded::default());
            }
            let reply = match self.ask(&order) {
                Ok(reply) => reply,
                Err(error @ (WorkerError::Unavailable { .. } | WorkerError::NoSession)) => {
                    return Err(NotFolded::NotNow(error.to_string()));
                }
                Err(error) => match self.find(&order, &error)? {
                    Found::Passes(reply) => reply,
                    Found::Sound(sound) => return self.fold_sound(order.get(..sound).unwrap_or_default()),
                    Found::Again => continue,
                },
            };
            return self.folded(&order, reply);
        }
    }

    fn find(&mut self, order: &[usize], died: &WorkerError) -> Result<Found, NotFolded> {
        let found = blame::find(order.len(), self.from, &mut |count| match (self.is_closing)() {
            true => Err(WorkerError::NoSession),
            false => self.ask(order.get(..count).unwrap_or_default()),
        });
        if (self.is_closing)() {
            return Err(NotFolded::Closing);
        }
        match found.map_err(|error| NotFolded::NotNow(error.to_string()))? {
            Verdict::Passes(reply) => Ok(Found::Passes(reply)),
            Verdict::Snapshot(error) => {
                Err(NotFolded::Stays(format!("its snapshot alone cannot be folded: {error}")))
            }
            Verdict::Unclear => Err(NotFolded::NotNow(format!("{died}; asked again, it passes"))),
            Verdict::Operation(sound, _) if self.out.len() >= BLAMES_MAX => Ok(Found::Sound(sound)),
            Verdict::Operation(sound, WorkerError::Died { reason })
                if self.strained.borrow().contains(&sound) =>
            {
                tracing::warn!(
                    reason,
                    "a document is nearly too much for the merge worker; nobody is blamed"
                );
                Ok(Found::Sound(sound))
            }
            Verdict::Operation(sound, _) if self.is_in_question(order, sound) => Ok(Found::Again),
            Verdict::Operation(sound, error) => {
                let killed = order.get(..=sound).unwrap_or_default();
                let Some(place) = killed.last() else { return Ok(Found::Sound(sound)) };
                let with = (killed.len(), self.plan.bytes(killed));
                self.out.insert(*place, Out { error, with });
                self.plan.leave_out(*place);
                self.from = sound;
                Ok(Found::Again)
            }
        }
    }

    /// Whether an operation may only have brought the ground of a deadly one that waited in front of it; then those
    /// that wait there are put behind it.
    fn is_in_question(&mut self, order: &[usize], sound: usize) -> bool {
        let waiting = self.waiting.take().remove(&sound).unwrap_or_default();
        let Some(suspect) = order.get(sound).filter(|_| !waiting.is_empty() && self.reordered < BLAMES_MAX)
        else {
            return false;
        };
        self.plan.put_behind(*suspect, &waiting);
        self.strained.take();
        (self.from, self.reordered) = (0, self.reordered + 1);
        true
    }

    /// Too many are to blame: what passes is folded, the rest is kept for the next time.
    fn fold_sound(&self, order: &[usize]) -> Result<Folded, NotFolded> {
        let most = Some((order.len(), self.plan.bytes(order)));
        if order.is_empty() {
            return Ok(Folded { most, ..Folded::default() });
        }
        let reply = self.ask(order).map_err(|error| NotFolded::Stays(error.to_string()))?;
        Ok(Folded { most, ..self.folded(order, reply)? })
    }

    fn ask(&self, places: &[usize]) -> Result<Reply, WorkerError> {
        let request = Request::Compact { kind: self.plan.kind, parts: self.plan.parts(places) };
        let reply = self.worker.call(request)?;
        if self.worker.is_strained() {
            self.strained.borrow_mut().insert(places.len());
        }
        if let Reply::Partly { waiting, .. } = &reply {
            let before = usize::from(self.plan.snapshot.is_some());
            let place = |part: &u64| places.get(usize::try_from(*part).ok()?.checked_sub(before)?).copied();
            self.waiting.borrow_mut().insert(places.len(), waiting.iter().filter_map(place).collect());
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
        Ok(Folded { snapshot: Some(snapshot), outline, places, most: None })
    }
}

enum Found {
    Passes(Reply),
    /// The first so many of the order pass, and no more are looked for.
    Sound(usize),
    /// One is left out now, or the order is another.
    Again,
}
