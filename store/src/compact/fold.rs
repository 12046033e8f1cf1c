//! One attempt to fold: from what is stored of a document to a snapshot, what stays in its tail and what is set aside.
//!
//! Guarantees: nothing is folded on the shelf before a snapshot of it was proved by the worker and, for Yjs, passed
//! the door; every operation is in that snapshot, in the tail or in quarantine. An attempt has a limit of time and of
//! operations that it blames; what it has found until then is set aside, and an attempt that has found nothing yet
//! is taken up again where it stopped: so any number of operations that kill is eaten up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tombolo_core::id::DocumentId;

use super::folding::{Folded, Folding, Limits, Stop, Unfinished};
use super::plan::Plan;
use super::policy::Left;
use crate::document::now_ms;
use crate::shelf::{Fold, SetAside};
use crate::store::Inner;
use crate::worker::Worker;

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

/// How an attempt ended.
pub(super) enum Ended {
    /// That is what there was to fold; this stays in the tail.
    Done(Left),
    /// There is more to find, after other documents; from where it stopped, if nothing was found yet.
    Again(Option<Unfinished>),
}

/// What an attempt may use.
pub(super) struct Attempt<'a> {
    pub(super) worker: &'a dyn Worker,
    pub(super) is_closing: &'a dyn Fn() -> bool,
    /// Longest time, but for the request that it is in.
    pub(super) time: Duration,
    /// The attempt that it goes on with.
    pub(super) before: Option<Unfinished>,
}

/// Folds what of a document can be folded.
pub(super) fn fold(id: &DocumentId, inner: &Inner, attempt: Attempt<'_>) -> Result<Ended, NotFolded> {
    let Attempt { worker, is_closing, time, before } = attempt;
    let Some(mut stored) = inner.shelves.load(id, false)? else { return Ok(Ended::Done(Left::default())) };
    let life = stored.record.life();
    let before = before.filter(|before| before.life == life && before.count <= stored.record.tail_count);
    let count = before.as_ref().map_or(stored.record.tail_count, |before| before.count);
    // What came meanwhile is for the next time.
    stored.tail.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    let (plan, unsound) = Plan::new(id, stored).map_err(NotFolded::Stays)?;
    let limits = Limits { is_closing, end: Instant::now().checked_add(time) };
    let mut folding = Folding::new(plan, worker, limits, before);
    let run = folding.run();
    if is_closing() {
        return Err(NotFolded::Closing);
    }
    let has_found = !unsound.is_empty() || folding.has_found();
    let (folded, is_done) = match run {
        Ok(folded) => (folded, true),
        Err(Stop::Enough) if has_found => (folding.fold_what_passes(), false),
        Err(Stop::Enough) => return Ok(Ended::Again(Some(folding.unfinished(life, count)))),
        Err(_) if has_found => (Folded::default(), false),
        Err(Stop::Not(error)) => return Err(error),
    };
    let mut aside: BTreeMap<usize, String> = unsound.into_iter().collect();
    aside.extend(folding.faults());
    let Folded { snapshot, outline, places } = folded;
    let mut fold = Fold { of: Some(life), count, snapshot, outline, ..Fold::default() };
    for (place, operation) in folding.into_tail().into_iter().enumerate() {
        if let Some(reason) = aside.remove(&place) {
            tracing::error!(document = %id, replica = %operation.replica, seq = operation.seq.0, reason, "an operation was set aside");
            fold.set_aside.push(SetAside::new(operation, reason, now_ms()));
        } else if !places.contains(&place) {
            fold.keep.push(operation);
        }
    }
    let left = Left {
        count: fold.keep.len() as u64,
        bytes: fold.keep.iter().map(|operation| operation.payload.len() as u64).sum(),
    };
    if fold.snapshot.is_some() || !fold.set_aside.is_empty() {
        let folded = inner.shelves.fold(id, &fold);
        // Also if it failed: the record may be written already, and only what is old is still there.
        inner.note_set_aside(id, fold.set_aside.iter().map(|aside| aside.hash));
        folded?;
    }
    Ok(if is_done { Ended::Done(left) } else { Ended::Again(None) })
}
