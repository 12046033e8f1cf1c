//! Compaction: when a tail has grown, the merge worker folds it into a new snapshot.
//!
//! The policy is what balanced reads and writes when it was measured (HAZARDS yrs-8, am-5): a tail
//! as large as the snapshot and at least 64 KiB, or many small ones, or a document that its last user left
//! with more than a few. A fold that the worker refuses leaves everything as it is and is tried again only
//! when the tail has doubled.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::operation::Kind;
use tombolo_core::update::Update;

use crate::shelf::{DocumentRecord, Fold, Shelves};
use crate::space::Space;
use crate::worker::{Reply, Request, Worker};

const TAIL_BYTES_MIN: u64 = 64 * 1024;
const TAIL_UPDATES_YJS: u64 = 10_000;
const TAIL_UPDATES_AUTOMERGE: u64 = 1_000;
const TAIL_UPDATES_LEFT: u64 = 100;
/// Most documents whose refusal is remembered.
const REFUSED_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct Waiting {
    due: BTreeSet<DocumentId>,
    /// Left by their last user: due with fewer updates.
    left: BTreeSet<DocumentId>,
    closing: bool,
}

/// What waits for compaction.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Compactor {
    /// The tail of a document has grown.
    pub(crate) fn consider(&self, id: &DocumentId) {
        if self.lock().due.insert(id.clone()) {
            self.changed.notify_all();
        }
    }

    /// The last user of a document has left it.
    pub(crate) fn left(&self, id: &DocumentId) {
        if self.lock().left.insert(id.clone()) {
            self.changed.notify_all();
        }
    }

    /// Ends the thread after the fold that it is in.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// The compaction thread.
    pub(crate) fn run(&self, shelves: &Shelves, worker: &dyn Worker, space: &Space) {
        let mut refused: HashMap<DocumentId, u64> = HashMap::new();
        while let Some((id, left)) = self.next() {
            let record = match shelves.record(&id, true) {
                Ok(Some(record)) if is_due(&id, &record, left) => record,
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(document = %id, %error, "cannot look at a document for compaction");
                    continue;
                }
            };
            if refused.get(&id).is_some_and(|tail| record.tail_count < tail.saturating_mul(2)) {
                continue;
            }
            if space.admits(record.snapshot_bytes + record.tail_bytes).is_err() {
                // It is looked at again when its tail grows or it is left the next time.
                continue;
            }
            match fold(&id, shelves, worker) {
                Ok(()) => {
                    refused.remove(&id);
                }
                Err(reason) => {
                    tracing::warn!(document = %id, reason, "a tail was not folded; it stays as it is");
                    if refused.len() >= REFUSED_MAX {
                        // Then some are tried once more than they need be.
                        refused.clear();
                    }
                    refused.insert(id, record.tail_count);
                }
            }
        }
    }

    fn next(&self) -> Option<(DocumentId, bool)> {
        let mut waiting = self.lock();
        loop {
            if waiting.closing {
                return None;
            }
            if let Some(id) = waiting.left.pop_first() {
                waiting.due.remove(&id);
                return Some((id, true));
            }
            if let Some(id) = waiting.due.pop_first() {
                return Some((id, false));
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_due(id: &DocumentId, record: &DocumentRecord, left: bool) -> bool {
    let many = match id.format() {
        Format::Yjs => TAIL_UPDATES_YJS,
        Format::Automerge => TAIL_UPDATES_AUTOMERGE,
    };
    record.tail_bytes >= TAIL_BYTES_MIN.max(record.snapshot_bytes)
        || record.tail_count >= many
        || (left && record.tail_count > TAIL_UPDATES_LEFT)
}

fn fold(id: &DocumentId, shelves: &Shelves, worker: &dyn Worker) -> Result<(), String> {
    let Some(stored) = shelves.load(id, false).map_err(|error| error.to_string())? else {
        return Ok(());
    };
    let count = stored.record.tail_count;
    let contents = stored.into_contents();
    let kind = match id.format() {
        Format::Yjs => Kind::YjsUpdate,
        Format::Automerge => Kind::AutomergeChanges,
    };
    let parts: Vec<Bytes> = contents.snapshot.into_iter().chain(contents.tail).collect();
    if kind == Kind::YjsUpdate {
        check_updates(&parts)?;
    }
    let reply = worker.call(Request::Compact { kind, parts }).map_err(|error| error.to_string())?;
    let Reply::Snapshot(snapshot) = reply else { return Err("the worker answered something else".into()) };
    if kind == Kind::YjsUpdate {
        // Joins are served from these bytes, so they must pass the door that every update passes.
        Update::parse(snapshot.clone()).map_err(|error| format!("the fold does not validate: {error}"))?;
    }
    let fold = Fold { count, snapshot: Some(snapshot), ..Fold::default() };
    shelves.fold(id, &fold).map_err(|error| error.to_string())
}

/// Nothing goes to an engine that does not pass the door that every update passes.
fn check_updates(parts: &[Bytes]) -> Result<(), String> {
    for part in parts {
        let update = Update::parse(part.clone())
            .map_err(|error| format!("a stored update does not validate: {error}"))?;
        if update.has_legacy_json() {
            return Err("it has legacy JSON items, which yrs 0.28.1 reads differently from Yjs".into());
        }
    }
    Ok(())
}
