//! What a host has on its disk, in order: it survives a crash as far as it was synced.

use bytes::Bytes;

use crate::id::DocumentId;
use crate::update::{Coverage, StateVector, Update, diff};
use std::collections::BTreeMap;

/// One change.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) document: DocumentId,
    pub(super) update: Update,
}

/// What is known of one document.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) updates: Vec<Update>,
    pub(super) known: Coverage,
    /// The position of its last change.
    pub(super) last: u64,
}

impl Kept {
    fn add(&mut self, position: u64, update: &Update) {
        self.known.add(update);
        self.updates.push(update.clone());
        self.last = position;
    }

    /// All that somebody lacks who has so much.
    pub(super) fn lacking(&self, have: &StateVector) -> Bytes {
        diff(&self.updates, have)
    }
}

/// An append-only log. Positions count from 1.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    rows: Vec<Row>,
    durable: u64,
    /// With what is not durable yet.
    taken: BTreeMap<DocumentId, Kept>,
    synced: BTreeMap<DocumentId, Kept>,
}

impl Log {
    pub(super) fn append(&mut self, document: &DocumentId, update: &Update) -> u64 {
        self.rows.push(Row { document: document.clone(), update: update.clone() });
        let position = self.end();
        self.taken.entry(document.clone()).or_default().add(position, update);
        position
    }

    /// The last position that was given.
    pub(super) fn end(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The last position that survives a crash.
    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// The change at a position.
    pub(super) fn row(&self, position: u64) -> Option<&Row> {
        self.rows.get(usize::try_from(position.checked_sub(1)?).ok()?)
    }

    /// All up to a position survives from now on.
    pub(super) fn sync(&mut self, until: u64) {
        while self.durable < until.min(self.end()) {
            self.durable += 1;
            let Some(Row { document, update }) = self.row(self.durable).cloned() else { return };
            self.synced.entry(document).or_default().add(self.durable, &update);
        }
    }

    /// The power went.
    pub(super) fn crash(&mut self) {
        self.rows.truncate(usize::try_from(self.durable).unwrap_or(usize::MAX));
        self.taken = self.synced.clone();
    }

    /// A document with what is not durable yet.
    pub(super) fn taken(&self, document: &DocumentId) -> Option<&Kept> {
        self.taken.get(document)
    }

    /// A document as it would be after a crash.
    pub(super) fn synced(&self, document: &DocumentId) -> Option<&Kept> {
        self.synced.get(document)
    }

    /// All documents as they would be after a crash.
    pub(super) fn all_synced(&self) -> impl Iterator<Item = (&DocumentId, &Kept)> {
        self.synced.iter()
    }
}
