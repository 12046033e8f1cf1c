//! The folder of a replica: opened, looked through, closed.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tombolo_core::id::{DocumentId, ReplicaId};
use tombolo_store::worker::{ThreadWorker, Worker};
use tombolo_store::{OpenError, Store, StoreConfig};

use super::document::{Shared, YjsDocument};
use super::error::ReplicaError;

/// Documents asked for at once: memory does not grow with the folder.
const PAGE: usize = 1000;

/// An open replica. A cheap clone; the folder is closed when the last one and the last document of it are dropped.
#[derive(Clone)]
pub struct Replica {
    store: Store,
    open: Arc<Mutex<HashMap<DocumentId, Weak<Shared>>>>,
}

impl Replica {
    /// Opens the replica in a folder, which is made if it is missing. Blocking.
    ///
    /// ```
    /// use tombolo::replica::{Replica, ReplicaError};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// let replica = Replica::open(folder)?;
    /// // One at a time.
    /// assert!(matches!(Replica::open(folder), Err(ReplicaError::InUse { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::InUse`] if somebody has the folder, [`ReplicaError::Open`] if it cannot be written or is damaged.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, ReplicaError> {
        let worker = ThreadWorker::start().map_err(ReplicaError::System)?;
        Self::open_with(StoreConfig::new(folder.as_ref()), worker)
    }

    /// As [`Replica::open`], with settings of the store, and with a merge worker that folds what piles up, such as a
    /// [`ProcessWorker`](tombolo_store::worker::ProcessWorker).
    ///
    /// # Errors
    /// As for [`Replica::open`].
    pub fn open_with(config: StoreConfig, worker: Arc<dyn Worker>) -> Result<Self, ReplicaError> {
        let store = Store::open(config, worker).map_err(|error| match error {
            OpenError::Locked { path } => ReplicaError::InUse { path },
            other => ReplicaError::Open(other),
        })?;
        Ok(Self::over(store))
    }

    /// Over a store that is open already. Not over one that a server or another replica uses: each would not see what
    /// the other has in memory.
    #[must_use]
    pub fn over(store: Store) -> Self {
        Self { store, open: Arc::default() }
    }

    /// What its operations are named after; another one when the folder was copied or restored.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.store.replica()
    }

    /// The store under it: what it counts, and documents from the outside.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Opens the Yjs document of this name. One that nobody has edited is opened, too, and is listed from its first
    /// edit on. All handles of one document share its state. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Name`] if there can be no such document, [`ReplicaError::Deleted`] if it was deleted,
    /// [`ReplicaError::Read`] if what is stored of it cannot be read.
    pub fn yjs(&self, name: &str) -> Result<YjsDocument, ReplicaError> {
        let id =
            DocumentId::yjs(name).map_err(|source| ReplicaError::Name { name: name.to_owned(), source })?;
        let stored = self.store.document(&id).map_err(ReplicaError::read)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = open.get(&id).and_then(Weak::upgrade) {
            return Ok(YjsDocument::of(shared));
        }
        // Those that nobody holds go with the next that is opened, each at most once.
        if open.len() >= 64 && open.len().is_power_of_two() {
            open.retain(|_, shared| shared.strong_count() > 0);
        }
        let shared = Arc::new(Shared::new(self.store.clone(), stored));
        open.insert(id, Arc::downgrade(&shared));
        Ok(YjsDocument::of(shared))
    }

    /// Which documents there are, in the order of their names, Yjs before Automerge. Reads the folder as it goes.
    ///
    /// ```
    /// # use tombolo::replica::Replica;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// for name in ["b", "a"] {
    ///     replica.yjs(name)?.edit(|edit| edit.text("text").insert(0, name))?;
    /// }
    /// let names: Vec<String> = replica.documents().map(|id| Ok(id?.to_string())).collect::<Result<_, tombolo::replica::ReplicaError>>()?;
    /// assert_eq!(names, ["a", "b"]);
    /// assert!(replica.remove("a")?);
    /// assert_eq!(replica.documents().count(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn documents(&self) -> Documents {
        Documents { store: self.store.clone(), page: VecDeque::new(), last: None, ended: false }
    }

    /// Deletes the Yjs document of this name, so that nobody brings it back; durable when it returns. False if there
    /// is none. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Name`] if there can be no such document, [`ReplicaError::Read`] or
    /// [`ReplicaError::NotStored`] if the folder does not take it.
    pub fn remove(&self, name: &str) -> Result<bool, ReplicaError> {
        let id =
            DocumentId::yjs(name).map_err(|source| ReplicaError::Name { name: name.to_owned(), source })?;
        self.store.remove(&id).map_err(ReplicaError::read)
    }

    /// Puts everything away; dropping everything does the same and says nothing. Documents that are still held say
    /// [`ReplicaError::Closed`] from then on, and the folder is free when the last of them is dropped. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Read`] if something could not be put away; what was durable is, and the next open goes on.
    pub fn close(self) -> Result<(), ReplicaError> {
        self.store.close().map_err(ReplicaError::read)
    }
}

/// The documents of a replica, one after the other.
pub struct Documents {
    store: Store,
    page: VecDeque<DocumentId>,
    last: Option<DocumentId>,
    ended: bool,
}

impl Iterator for Documents {
    type Item = Result<DocumentId, ReplicaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.ended {
            match self.store.documents(self.last.as_ref(), PAGE) {
                Ok(page) => {
                    self.ended = page.is_empty();
                    self.last = page.last().cloned();
                    self.page = page.into();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(ReplicaError::read(error)));
                }
            }
        }
        self.page.pop_front().map(Ok)
    }
}
