//! What a host has on its disk, in order: it survives a crash as far as it was synced, and perhaps farther.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::engine::automerge::Brought;
use crate::id::DocumentId;
use crate::update::{Coverage, StateVector, Update, diff};

/// What changed, as it is stored.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Yjs(Update),
    /// Change chunks, and the hashes of the changes.
    Automerge(Bytes, Vec<[u8; 32]>),
}

impl Content {
    /// Change chunks of an Automerge document.
    ///
    /// # Errors
    /// If they are none.
    pub(super) fn automerge(chunks: Bytes) -> Result<Self, String> {
        let brought = Brought::read(&chunks).map_err(|error| error.to_string())?;
        Ok(Self::Automerge(chunks, brought.names()))
    }

    pub(super) fn bytes(&self) -> &Bytes {
        match self {
            Self::Yjs(update) => update.bytes(),
            Self::Automerge(chunks, _) => chunks,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Yjs(update) => update.is_empty(),
            Self::Automerge(_, names) => names.is_empty(),
        }
    }
}

/// One change.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) document: DocumentId,
    pub(super) content: Content,
}

/// What is known of one document.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) updates: Vec<Update>,
    pub(super) known: Coverage,
    /// Of an Automerge document, what is stored and which changes those are.
    pub(super) chunks: Vec<Bytes>,
    names: BTreeSet<[u8; 32]>,
    /// The position of its last change.
    pub(super) last: u64,
}

impl Kept {
    fn add(&mut self, position: u64, content: &Content) {
        match content {
            Content::Yjs(update) => {
                self.known.add(update);
                self.updates.push(update.clone());
            }
            Content::Automerge(chunks, names) => {
                self.chunks.push(chunks.clone());
                self.names.extend(names);
            }
        }
        self.last = position;
    }

    /// Whether a change is in it.
    pub(super) fn covers(&self, content: &Content) -> bool {
        match content {
            Content::Yjs(update) => self.known.covers(update),
            Content::Automerge(_, names) => names.iter().all(|name| self.names.contains(name)),
        }
    }

    /// Whether all that is in the other one is in it.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.known.includes(&other.known) && self.names.is_superset(&other.names)
    }

    /// Adds all of another one.
    pub(super) fn merge(&mut self, other: &Self) {
        for update in &other.updates {
            self.known.add(update);
        }
        self.names.extend(&other.names);
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
    pub(super) fn append(&mut self, document: &DocumentId, content: Content) -> u64 {
        let position = self.end() + 1;
        self.taken.entry(document.clone()).or_default().add(position, &content);
        self.rows.push(Row { document: document.clone(), content });
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
            let Some(Row { document, content }) = self.row(self.durable).cloned() else { return };
            self.synced.entry(document).or_default().add(self.durable, &content);
        }
    }

    /// The power went. So many changes that were not synced had reached the disk; of the next a part may have, which
    /// whoever reads the log cuts off.
    pub(super) fn crash(&mut self, more: u64) {
        self.sync(self.durable.saturating_add(more));
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
