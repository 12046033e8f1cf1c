//! redb 4.6 behind the trait, with what it needs to lose nothing that was synced.
//!
//! A batch is a commit without durability; a sync is an empty commit with it, which makes all before it durable.
//! That commit is in two phases: with one phase redb takes a damaged newest commit for a torn one after a kill and
//! goes back to the one before without a word (HAZARDS redb-1). After a failed write or sync redb refuses
//! everything until it is opened anew, which whoever writes next does. What panics inside redb on damaged pages
//! (redb-2) comes back as an error.

#[cfg(test)]
mod damage; // flipped bytes, from opening to closing
#[cfg(test)]
mod power; // cuts between any two writes of its file

use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::Path;

use ::redb::{Builder, Database, Durability, ReadableDatabase, TableDefinition};

use super::engine::guarded;
use super::error::EngineFault;
use super::{Change, Shelf, ShelfError, Tree, VALUE_BYTES_MAX, Visit};

/// Pages that redb keeps in memory for one open shelf, in bytes; its default is 1 GiB.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// The one file of a database.
const FILE: &str = "shelf.redb";

/// One redb database.
#[derive(Debug)]
pub(super) struct RedbShelf {
    /// Taken out only by the end of the shelf.
    database: Option<Database>,
}

impl Drop for RedbShelf {
    /// redb writes when it is closed, and panics there, too, on damaged pages. Nothing that was synced hangs on it.
    fn drop(&mut self) {
        let database = self.database.take();
        let closed = guarded(|| {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "a damaged redb database was not closed in order");
        }
    }
}

impl RedbShelf {
    /// Makes the database in this folder.
    pub(super) fn create(folder: &Path) -> Result<Self, ShelfError> {
        guarded(|| {
            std::fs::create_dir_all(folder)?;
            Self::of(builder().create(folder.join(FILE)).map_err(fault)?).with_tables()
        })
    }

    /// Opens the database in this folder; after a kill redb reads all of it.
    pub(super) fn open(folder: &Path) -> Result<Self, ShelfError> {
        // An empty file would be taken for a new database.
        guarded(|| Ok(Self::of(builder().open(folder.join(FILE)).map_err(fault)?)))
    }

    /// Opens the database in this folder, reads all of it, and makes anew what redb can derive from its rows.
    pub(super) fn open_checked(folder: &Path) -> Result<Self, ShelfError> {
        guarded(|| {
            let opened = builder().set_check_integrity_on_open(true).open(folder.join(FILE));
            Ok(Self::of(opened.map_err(fault)?))
        })
    }

    fn of(database: Database) -> Self {
        Self { database: Some(database) }
    }

    fn database(&self) -> Result<&Database, ShelfError> {
        self.database.as_ref().ok_or_else(|| io::Error::other("the database was closed").into())
    }

    fn with_tables(self) -> Result<Self, ShelfError> {
        let transaction = self.database()?.begin_write().map_err(fault)?;
        for tree in Tree::ALL {
            transaction.open_table(table(tree)).map_err(fault)?;
        }
        transaction.commit().map_err(fault)?;
        Ok(self)
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn table(tree: Tree) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(tree.name())
}

impl Shelf for RedbShelf {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        guarded(|| {
            let transaction = self.database()?.begin_read().map_err(fault)?;
            let table = transaction.open_table(table(tree)).map_err(fault)?;
            Ok(table.get(key).map_err(fault)?.map(|value| value.value().to_vec()))
        })
    }

    fn scan(
        &self,
        tree: Tree,
        from: &[u8],
        below: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ShelfError> {
        // redb panics on a range that ends before it begins.
        if below.is_some_and(|below| below <= from) {
            return Ok(());
        }
        guarded(|| {
            let transaction = self.database()?.begin_read().map_err(fault)?;
            let table = transaction.open_table(table(tree)).map_err(fault)?;
            let below = below.map_or(Bound::Unbounded, Bound::Excluded);
            for row in table.range::<&[u8]>((Bound::Included(from), below)).map_err(fault)? {
                let (key, value) = row.map_err(fault)?;
                if visit(key.value(), value.value()) == ControlFlow::Break(()) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn batch(&self, tree: Tree, changes: Vec<Change>) -> Result<(), ShelfError> {
        if changes.is_empty() {
            return Ok(());
        }
        guarded(|| {
            let mut transaction = self.database()?.begin_write().map_err(fault)?;
            transaction.set_durability(Durability::None).map_err(fault)?;
            let mut table = transaction.open_table(table(tree)).map_err(fault)?;
            for (key, value) in &changes {
                match value {
                    Some(value) => {
                        // What is read back from damaged files relies on rows being this short.
                        assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes", value.len());
                        table.insert(key.as_slice(), value.as_slice()).map_err(fault)?;
                    }
                    None => {
                        table.remove(key.as_slice()).map_err(fault)?;
                    }
                }
            }
            drop(table);
            transaction.commit().map_err(fault)
        })
    }

    fn sync(&self) -> Result<(), ShelfError> {
        guarded(|| {
            let mut transaction = self.database()?.begin_write().map_err(fault)?;
            transaction.set_two_phase_commit(true);
            transaction.commit().map_err(fault)
        })
    }
}

/// What redb says, by who must act: files that end too early or begin with something else are damage.
fn fault(error: impl Into<::redb::Error>) -> ShelfError {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    let words = match error.into() {
        ::redb::Error::Io(error)
            if !matches!(error.kind(), InvalidData | InvalidInput | NotFound | UnexpectedEof) =>
        {
            return error.into();
        }
        ::redb::Error::DatabaseAlreadyOpen => {
            return io::Error::new(io::ErrorKind::WouldBlock, "could not acquire lock on the database")
                .into();
        }
        other => other.to_string(),
    };
    ShelfError::Engine(EngineFault { words })
}
