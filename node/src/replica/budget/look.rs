//! Which documents of a replica could go.

use std::cmp::Reverse;
use std::collections::HashMap;

use tombolo_core::id::DocumentId;
use tombolo_core::schedule::Priority;
use tombolo_store::{Checkpoint, Store, StoreError};

use super::space::{Space, lock};
use crate::replica::error::ReplicaError;
use crate::replica::link::{Holding, Keeper, Links};

/// Documents asked for at once.
const PAGE: usize = 1_000;

/// Whether a document could go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Could {
    /// All of it is fsynced there.
    Go(Keeper),
    Pinned,
    /// Somebody has it open.
    InUse,
    Quarantined,
    /// Nobody who is there now has all of it, or some link owes some of it.
    Unsynced,
}

/// A document that takes room.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub(super) id: DocumentId,
    pub(super) bytes: u64,
    pub(super) could: Could,
    pub(super) priority: Priority,
    /// In hours since 1970.
    pub(super) last_used: u32,
}

/// All that takes room, as it was at a moment.
#[derive(Debug)]
pub(super) struct Look {
    /// In the order in which they go.
    pub(super) documents: Vec<Looked>,
    /// Documents that are stubs.
    pub(super) evicted: usize,
    /// Their bytes, with what of stubs was fetched so far.
    pub(super) used: u64,
    /// What had been added before.
    pub(super) added: u64,
    /// What changed since is not in it.
    pub(super) up_to: Checkpoint,
}

impl Look {
    pub(super) fn new(links: &Links) -> Result<Self, ReplicaError> {
        let shelves = links.shelves();
        let (store, space) = (&shelves.store, &*shelves.space);
        let added = space.added();
        let read = |error| ReplicaError::read(error);
        let (mut documents, mut evicted, mut used) = (Vec::new(), 0, 0_u64);
        let mut after = None;
        loop {
            let page = store.descriptions(after.as_ref(), PAGE).map_err(read)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (id, described) in page {
                let bytes = described.bytes_at_rest;
                used = used.saturating_add(bytes);
                if described.stub.is_some() {
                    evicted += 1;
                    continue;
                }
                let could = if described.quarantined > 0 { Could::Quarantined } else { Could::Unsynced };
                documents.push(Looked { id, bytes, could, priority: Priority::Normal, last_used: 0 });
            }
        }
        let (numbers, up_to) = numbers(store).map_err(read)?;
        let mut look = Self { documents, evicted, used, added, up_to };
        look.ask(links, space, &numbers);
        look.documents.sort_by_cached_key(|looked| {
            // The least urgent first, then what was not used for longest; the larger of two such.
            (looked.priority, looked.last_used, Reverse(looked.bytes), looked.id.to_key())
        });
        Ok(look)
    }

    /// Asks all links who has what, and the ledger what is pinned.
    fn ask(&mut self, links: &Links, space: &Space, numbers: &HashMap<DocumentId, u64>) {
        let number = |looked: &Looked| numbers.get(&looked.id).copied().unwrap_or(u64::MAX);
        let asked: Vec<_> = self.documents.iter().map(|looked| (looked.id.clone(), number(looked))).collect();
        let answers = links.vouch(&asked);
        let mut ledger = lock(&space.ledger);
        for (at, looked) in self.documents.iter_mut().enumerate() {
            looked.priority = links.priority_of(&looked.id);
            looked.last_used = ledger.last_used(&looked.id);
            if looked.could == Could::Quarantined {
                continue;
            }
            let holdings = || answers.iter().filter_map(|answer| Some((answer, answer.holdings.get(at)?)));
            let is_owed = holdings().any(|(_, holding)| *holding == Holding::Owed);
            let held = holdings().find(|(_, holding)| **holding == Holding::Held);
            looked.could = match held.and_then(|(answer, _)| answer.keeper.clone()) {
                _ if ledger.is_pinned(&looked.id) => Could::Pinned,
                Some(keeper) if !is_owed && links.is_in_use(&looked.id) => {
                    drop(keeper);
                    Could::InUse
                }
                Some(keeper) if !is_owed => Could::Go(keeper),
                _ => Could::Unsynced,
            };
        }
        // Stubs are remembered by nobody: they were not used when they went.
        ledger.keep(|document| numbers.contains_key(document));
    }

    pub(super) fn bytes(&self, is_it: impl Fn(&Could) -> bool) -> u64 {
        self.documents.iter().filter(|looked| is_it(&looked.could)).map(|looked| looked.bytes).sum()
    }

    /// Bytes that could go.
    pub(super) fn evictable(&self) -> u64 {
        self.bytes(|could| matches!(could, Could::Go(_)))
    }
}

/// Numbers of the latest changes of all documents, and up to where.
fn numbers(store: &Store) -> Result<(HashMap<DocumentId, u64>, Checkpoint), StoreError> {
    let mut numbers = HashMap::new();
    let mut since = None;
    loop {
        let page = store.changes(since.as_ref(), PAGE)?;
        numbers.extend(page.documents);
        if !page.more {
            return Ok((numbers, page.up_to));
        }
        since = Some(page.up_to);
    }
}
