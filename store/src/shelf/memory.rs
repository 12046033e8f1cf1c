//! A shelf in memory that forgets what was not synced: the model that sled is held against.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Change, Shelf, ShelfError, Tree, VALUE_BYTES_MAX, Visit};

type Rows = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

#[derive(Debug, Default)]
struct Inner {
    durable: Rows,
    /// Batches since the last sync.
    batches: Vec<(Tree, Vec<Change>)>,
    /// Calls that still succeed; none if all do.
    left: Option<u64>,
}

impl Inner {
    fn current(&self) -> Rows {
        let mut rows = self.durable.clone();
        self.batches.iter().for_each(|batch| apply(&mut rows, batch));
        rows
    }

    fn spend(&mut self) -> Result<(), ShelfError> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(std::io::Error::other("the power is gone").into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

fn apply(rows: &mut Rows, (tree, changes): &(Tree, Vec<Change>)) {
    for (key, value) in changes {
        match value {
            Some(value) => rows.insert((*tree, key.clone()), value.clone()),
            None => rows.remove(&(*tree, key.clone())),
        };
    }
}

/// The shelf.
#[derive(Debug, Default)]
pub(super) struct MemoryShelf {
    inner: Mutex<Inner>,
}

impl MemoryShelf {
    /// After so many changing calls the power goes.
    pub(super) fn cut_after(&self, calls: u64) {
        self.lock().left = Some(calls);
    }

    /// What is found after the cut: of the unsynced batches those that `kept` says, whole.
    pub(super) fn image(&self, mut kept: impl FnMut() -> bool) -> Self {
        let inner = self.lock();
        let mut durable = inner.durable.clone();
        inner.batches.iter().filter(|_| kept()).for_each(|batch| apply(&mut durable, batch));
        Self { inner: Mutex::new(Inner { durable, ..Inner::default() }) }
    }

    /// All rows, to damage them.
    pub(super) fn rows(&self) -> Rows {
        self.lock().current()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf for MemoryShelf {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        Ok(self.lock().current().get(&(tree, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        tree: Tree,
        from: &[u8],
        below: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ShelfError> {
        let rows = self.lock().current();
        let below = below.map_or(Bound::Unbounded, |below| Bound::Excluded((tree, below.to_vec())));
        for ((found, key), value) in rows.range((Bound::Included((tree, from.to_vec())), below)) {
            if *found != tree || visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn batch(&self, tree: Tree, changes: Vec<Change>) -> Result<(), ShelfError> {
        assert!(
            changes
                .iter()
                .all(|(_, value)| value.as_ref().is_none_or(|value| value.len() <= VALUE_BYTES_MAX))
        );
        let mut inner = self.lock();
        inner.spend()?;
        inner.batches.push((tree, changes));
        Ok(())
    }

    fn write_in_order(&self, tree: Tree, changes: Vec<Change>) -> Result<(), ShelfError> {
        let mut inner = self.lock();
        inner.spend()?;
        inner.batches.extend(changes.into_iter().map(|change| (tree, vec![change])));
        Ok(())
    }

    fn sync(&self) -> Result<(), ShelfError> {
        let mut inner = self.lock();
        inner.spend()?;
        inner.durable = inner.current();
        inner.batches.clear();
        Ok(())
    }
}
