//! The folder of a replica: opened, looked through, closed.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use tombolo_core::engine;
use tombolo_core::id::{DocumentId, ReplicaId};
use tombolo_store::worker::{ThreadWorker, Worker};
use tombolo_store::{OpenError, Store, StoreConfig};

use super::automerge::AutomergeDocument;
use super::budget::Space;
use super::document::YjsDocument;
use super::error::ReplicaError;
use super::link::{Links, Shelves};
use super::open::{Opened, random};

/// Documents asked for at once: memory does not grow with the folder.
const PAGE: usize = 1000;

/// An open replica. A cheap clone; the folder is closed when the last one and the last document of it are dropped.
#[derive(Clone)]
pub struct Replica {
    store: Store,
    yjs: Arc<Opened<engine::edit::Live>>,
    automerge: Arc<Opened<engine::automerge::Live>>,
    pub(super) links: Arc<Links>,
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
        let (yjs, automerge) = (Arc::default(), Arc::default());
        let shelves = Shelves {
            store: store.clone(),
            yjs: Arc::clone(&yjs),
            automerge: Arc::clone(&automerge),
            hub: Arc::default(),
            space: Space::of(&store),
        };
        Self { store, yjs, automerge, links: Arc::new(Links::new(shelves)) }
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
    /// [`ReplicaError::Evicted`] if it is to be fetched first, [`ReplicaError::Read`] if what is stored of it cannot be read.
    pub fn yjs(&self, name: &str) -> Result<YjsDocument, ReplicaError> {
        let id =
            DocumentId::yjs(name).map_err(|source| ReplicaError::Name { name: name.to_owned(), source })?;
        let document = self.yjs.open(self.links.shelves(), &id, false).map(YjsDocument::of)?;
        self.links.opened(&id);
        Ok(document)
    }

    /// Opens the Automerge document of this name: the base58check form of 16 bytes, or its `automerge:` URL, as
    /// clients of automerge-repo and [`DocumentId`] write it. One that nobody has edited is opened, too, and is listed
    /// from its first edit on. All handles of one document share its state. Blocking.
    ///
    /// ```
    /// # use tombolo::replica::Replica;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let list = replica.automerge("automerge:1Bhh3pU9gLXZiNDL6PEa1Gs9fh")?;
    /// assert_eq!(list.id().to_string(), "1Bhh3pU9gLXZiNDL6PEa1Gs9fh");
    /// assert_eq!(list.id(), replica.automerge("1Bhh3pU9gLXZiNDL6PEa1Gs9fh")?.id());
    /// assert!(replica.automerge("my list").is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Replica::yjs`].
    pub fn automerge(&self, name: &str) -> Result<AutomergeDocument, ReplicaError> {
        let id = DocumentId::automerge_from_url(name)
            .map_err(|source| ReplicaError::Name { name: name.to_owned(), source })?;
        let document = self.automerge.open(self.links.shelves(), &id, false).map(AutomergeDocument::of)?;
        self.links.opened(&id);
        Ok(document)
    }

    /// A new Automerge document, under a random name. It is listed from its first edit on.
    ///
    /// ```
    /// # use tombolo::replica::Replica;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let list = replica.create_automerge()?;
    /// // What is given to others, so that they open it, too.
    /// assert!(list.url().starts_with("automerge:"));
    /// assert_eq!(replica.automerge(&list.url())?.id(), list.id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::System`] if there are no random numbers, else as for [`Replica::yjs`].
    pub fn create_automerge(&self) -> Result<AutomergeDocument, ReplicaError> {
        self.automerge
            .open(self.links.shelves(), &DocumentId::Automerge(random()?), false)
            .map(AutomergeDocument::of)
    }

    /// Which documents there are, evicted ones included, in the order of their names, Yjs before Automerge. Reads the folder as it goes.
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

    /// As [`Replica::remove_document`], for the Yjs document of this name.
    ///
    /// # Errors
    /// [`ReplicaError::Name`] if there can be no such document, else as for [`Replica::remove_document`].
    pub fn remove(&self, name: &str) -> Result<bool, ReplicaError> {
        let id =
            DocumentId::yjs(name).map_err(|source| ReplicaError::Name { name: name.to_owned(), source })?;
        self.remove_document(&id)
    }

    /// Deletes a document, so that nobody brings it back; durable when it returns. False if there is none. Blocking.
    ///
    /// ```
    /// # use tombolo::replica::Replica;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let replica = Replica::open(folder.path())?;
    /// replica.yjs("a")?.edit(|edit| edit.text("text").insert(0, "a"))?;
    /// for id in replica.documents() {
    ///     assert!(replica.remove_document(&id?)?);
    /// }
    /// assert_eq!(replica.documents().count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Read`] or [`ReplicaError::NotStored`] if the folder does not take it.
    pub fn remove_document(&self, document: &DocumentId) -> Result<bool, ReplicaError> {
        self.store.remove(document).map_err(ReplicaError::read)
    }

    /// Puts everything away; dropping everything does the same and says nothing. Documents that are still held say
    /// [`ReplicaError::Closed`] from then on, and the folder is free when the last of them is dropped. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Read`] if something could not be put away; what was durable is, and the next open goes on.
    pub fn close(self) -> Result<(), ReplicaError> {
        self.links.close();
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
