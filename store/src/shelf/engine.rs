//! Which engine keeps the rows: the choice, and what engines have in common.
//!
//! Guarantees: a database is made only where a shelf is made; what panics inside an engine comes back as an error.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::error::EngineFault;
use super::redb::RedbShelf;
use super::sled::SledShelf;
use super::{Shelf, ShelfError};

/// What keeps the rows of a store's shelves. Fixed when the store is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// sled 0.34: the default.
    #[default]
    Sled,
    /// redb 4.
    Redb,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Redb];

    /// What it is called, also before the folder in `--data redb:DIR`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }

    /// What stands for it in the layout file.
    pub(super) fn tag(self) -> u8 {
        match self {
            Self::Sled => 1,
            Self::Redb => 2,
        }
    }

    pub(super) fn of_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.tag() == tag)
    }

    /// Makes a database in this folder, which has none.
    pub(super) fn create(self, folder: &Path) -> Result<Box<dyn Shelf>, ShelfError> {
        Ok(match self {
            Self::Sled => Box::new(SledShelf::open(folder)?),
            Self::Redb => Box::new(RedbShelf::create(folder)?),
        })
    }

    /// Opens the database in this folder. May take long or fail on damage: see [`super::open`].
    pub(super) fn open(self, folder: &Path) -> Result<Box<dyn Shelf>, ShelfError> {
        Ok(match self {
            Self::Sled => Box::new(SledShelf::open(folder)?),
            Self::Redb => Box::new(RedbShelf::open(folder)?),
        })
    }

    /// Whether the engine can make this file anew from the others: a copy that is opened with
    /// [`Engine::open_mended`] goes without it.
    pub(super) fn is_derived(self, file: &str) -> bool {
        match self {
            Self::Sled => file.starts_with("snap."),
            Self::Redb => false,
        }
    }

    /// Opens a copy of a database that did not open, by making anew what can be derived.
    pub(super) fn open_mended(self, folder: &Path) -> Result<Box<dyn Shelf>, ShelfError> {
        Ok(match self {
            Self::Sled => Box::new(SledShelf::open(folder)?),
            Self::Redb => Box::new(RedbShelf::open_checked(folder)?),
        })
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A panic inside an engine as an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, ShelfError>) -> Result<T, ShelfError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        Err(ShelfError::Engine(EngineFault {
            words: words.unwrap_or_else(|| "it panicked without words".to_owned()),
        }))
    })
}
