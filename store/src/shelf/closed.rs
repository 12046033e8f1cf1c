//! Shelves that nobody has open, looked at through a copy: the original is only read.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tombolo_core::id::DocumentId;

use super::engine::Engine;
use super::inspect::{Inspection, Seen, words};
use super::layout::{self, Layout};
use super::made::{self, Told};
use super::open_shelf::OpenShelf;
use super::salvage::{self, Rescued};
use super::{ShelfError, census, open, seal};
use crate::shelf::Fault;

/// The shelves of a folder.
#[derive(Debug)]
pub struct ClosedShelves {
    folder: PathBuf,
    layout: Layout,
    /// What is wrong with the layout file, if it could be told from elsewhere.
    pub layout_fault: Option<&'static str>,
    /// What is wrong with the file that says which shelves were made.
    pub made_fault: Option<&'static str>,
    made: BTreeSet<u16>,
}

impl ClosedShelves {
    /// Uses this folder, which may be damaged. None if there are no shelves yet.
    ///
    /// # Errors
    /// [`ShelfError`] if nothing tells how documents are spread.
    pub fn open(folder: &Path) -> Result<Option<Self>, ShelfError> {
        let path = folder.join("layout");
        let (layout, layout_fault) = match layout::read(folder) {
            Ok(Some(layout)) => match layout::disputed(folder, &layout)? {
                Some(told) => (told, Some("it is not the one that the shelves were made with")),
                None => (layout, None),
            },
            Ok(None) | Err(ShelfError::Layout { .. }) => {
                let told = layout::told(folder)?;
                match (told, path.exists()) {
                    (Some(layout), true) => (layout, Some("it was changed")),
                    (Some(layout), false) => (layout, Some("it is missing")),
                    (None, false) if !folder.is_dir() || !layout::has_shelves(folder)? => return Ok(None),
                    (None, _) => match layout::read_1(folder)? {
                        Some(layout) => (layout, None),
                        None => return Err(ShelfError::Layout { path }),
                    },
                }
            }
            Err(error) => return Err(error),
        };
        let Told { shelves: made, fault: made_fault, .. } = made::read(folder, &layout)?;
        Ok(Some(Self { folder: folder.to_owned(), layout, layout_fault, made_fault, made }))
    }

    /// Number of shelves.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.layout.count
    }

    /// What keeps its rows.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.layout.engine
    }

    /// Whether a shelf was made of which nothing is there.
    #[must_use]
    pub fn is_lost(&self, index: u16) -> bool {
        self.made.contains(&index) && !open::is_made(&self.path(index))
    }

    /// Bytes of a shelf on the disk.
    #[must_use]
    pub fn bytes(&self, index: u16) -> u64 {
        let files = seal::files(&self.path(index)).unwrap_or_default();
        files.iter().filter_map(|(_, path)| Some(fs::metadata(path).ok()?.len())).sum()
    }

    /// Looks at a shelf; `seen` hears of its documents. `scratch` is a folder for a copy, which is removed again.
    ///
    /// # Errors
    /// What the system says to copying; what is wrong with the shelf is in the result.
    pub fn inspect(&self, index: u16, scratch: &Path, seen: &mut Seen<'_>) -> io::Result<Inspection> {
        let folder = self.path(index);
        let mut inspection = Inspection::default();
        let mut fault = |document, found| inspection.faults.push(Fault { document, found });
        if !open::is_made(&folder) {
            if self.is_lost(index) {
                fault(None, made::LOST.to_owned());
            }
            return Ok(inspection);
        }
        for (name, found) in seal::check(&folder)?.into_iter().flatten() {
            fault(None, format!("{name}: {found}"));
        }
        let keys = match census::expected(&folder, &self.layout) {
            Ok(expected) => {
                if let Some(found) = expected.fault {
                    fault(None, found.to_owned());
                }
                expected.keys()
            }
            Err(error) => {
                fault(None, words(&error));
                BTreeSet::new()
            }
        };
        match self.open_copy(index, scratch)? {
            Ok(shelf) => inspection.add(shelf.inspect(&keys, seen)),
            Err(error) => {
                // The copy is not what the operator looks for.
                let (copy, original) = (scratch.display().to_string(), self.folder.display().to_string());
                fault(None, words(&error).replace(&copy, &original));
                let names = keys.iter().filter_map(|key| DocumentId::from_key(key).ok());
                inspection.faults.extend(
                    names.map(|id| Fault { document: Some(id), found: "its shelf does not open".to_owned() }),
                );
            }
        }
        remove(scratch)?;
        Ok(inspection)
    }

    /// Hands over every document of a shelf with everything that is intact of it.
    ///
    /// # Errors
    /// What the system says to reading, or `take`.
    pub fn salvage<E: From<io::Error>>(
        &self,
        index: u16,
        scratch: &Path,
        take: &mut dyn FnMut(Rescued) -> Result<(), E>,
    ) -> Result<(), E> {
        let folder = self.path(index);
        if !open::is_made(&folder) {
            return Ok(());
        }
        let expected =
            census::expected(&folder, &self.layout).map(|expected| expected.keys()).unwrap_or_default();
        let shelf = self.open_copy(index, scratch)?.ok();
        let rest = match &shelf {
            Some(shelf) => shelf.hand_over(expected, take)?,
            None => salvage::Rest::Everything(expected),
        };
        drop(shelf);
        remove(scratch)?;
        if rest.is_some() {
            salvage::carve(&seal::files(&open::present(&folder))?, self.layout.mark, &rest, take)?;
        }
        Ok(())
    }

    fn path(&self, index: u16) -> PathBuf {
        self.folder.join(format!("{index:04}"))
    }

    /// Copies a shelf and opens the copy; the outer error is the system's.
    fn open_copy(&self, index: u16, scratch: &Path) -> io::Result<Result<OpenShelf, ShelfError>> {
        remove(scratch)?;
        fs::create_dir_all(scratch)?;
        let source = open::present(&self.path(index));
        for (name, path) in seal::files(&source)? {
            let to = scratch.join(name);
            to.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::copy(path, to)?;
        }
        if source.join("blobs").is_dir() {
            // sled's, and empty.
            fs::create_dir_all(scratch.join(source.file_name().unwrap_or_default()).join("blobs"))?;
        }
        Ok(OpenShelf::open(&scratch.join(format!("{index:04}")), self.layout))
    }
}

fn remove(scratch: &Path) -> io::Result<()> {
    match fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
