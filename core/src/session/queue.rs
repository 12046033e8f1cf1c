//! Documents that wait for a place, and nothing else: the most urgent first, then by their names.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::DocumentId;
use crate::schedule::Priority;

/// There may be very many of them; each change costs the logarithm of that.
#[derive(Debug, Default)]
pub(super) struct Queue {
    line: BTreeSet<(Reverse<Priority>, DocumentId)>,
    places: BTreeMap<DocumentId, Priority>,
}

impl Queue {
    pub(super) fn insert(&mut self, document: DocumentId, priority: Priority) {
        self.remove(&document);
        self.places.insert(document.clone(), priority);
        self.line.insert((Reverse(priority), document));
    }

    /// True if it waited.
    pub(super) fn remove(&mut self, document: &DocumentId) -> bool {
        let Some((document, priority)) = self.places.remove_entry(document) else { return false };
        self.line.remove(&(Reverse(priority), document))
    }

    pub(super) fn pop_first(&mut self) -> Option<DocumentId> {
        let (_, document) = self.line.pop_first()?;
        self.places.remove(&document);
        Some(document)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &DocumentId> {
        self.places.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.line.clear();
        self.places.clear();
    }
}
