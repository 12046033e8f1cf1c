//! An engine with the store's mark: rows go in sealed and come out opened.

use super::row::{Mark, NoRow};
use super::{Change, Shelf, ShelfError, Tree};

/// An engine whose values are rows.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) engine: Box<dyn Shelf>,
    pub(super) mark: Mark,
}

/// A row with its version.
pub(super) struct Opened {
    pub(super) version: u8,
    pub(super) body: Vec<u8>,
}

impl Rows {
    /// The change that puts this body at the key.
    pub(super) fn put(&self, tree: Tree, key: Vec<u8>, body: &[u8]) -> Change {
        let row = self.mark.seal(tree, &key, body);
        (key, Some(row))
    }

    /// The row of a key, or why what is there is none.
    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Result<Opened, NoRow>>, ShelfError> {
        let found = self.engine.get(tree, key)?;
        let open = |row: Vec<u8>| {
            self.mark
                .open(tree, key, &row)
                .map(|row| Opened { version: row.version, body: row.body.to_vec() })
        };
        Ok(found.map(open))
    }
}
