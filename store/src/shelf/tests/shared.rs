//! The model of an engine, for tests that look at it from outside while a shelf has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::memory::MemoryShelf;
use super::super::{Change, Shelf, ShelfError, Tree, Visit};

/// A model that several own; counts the bytes of rows that are looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    model: Arc<MemoryShelf>,
    pub(super) looked_at: Arc<AtomicUsize>,
}

impl Shared {
    pub(super) fn of(model: &Arc<MemoryShelf>) -> Self {
        Self { model: Arc::clone(model), ..Self::default() }
    }
}

impl Shelf for Shared {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        self.model.get(tree, key)
    }
    fn scan(
        &self,
        tree: Tree,
        from: &[u8],
        below: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ShelfError> {
        self.model.scan(tree, from, below, &mut |key, row| {
            self.looked_at.fetch_add(row.len(), Ordering::Relaxed);
            visit(key, row)
        })
    }
    fn batch(&self, tree: Tree, changes: Vec<Change>) -> Result<(), ShelfError> {
        self.model.batch(tree, changes)
    }
    fn write_in_order(&self, tree: Tree, changes: Vec<Change>) -> Result<(), ShelfError> {
        self.model.write_in_order(tree, changes)
    }
    fn sync(&self) -> Result<(), ShelfError> {
        self.model.sync()
    }
}
