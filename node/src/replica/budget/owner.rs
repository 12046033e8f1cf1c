//! What the owner of a replica says and asks about the room that it takes.

use tombolo_core::id::DocumentId;
use tombolo_store::Stub;

use super::Budget;
use super::look::{Could, Look};
use super::making_room::{self, Evicted};
use super::space::lock;
use crate::replica::error::ReplicaError;
use crate::replica::handle::Replica;

/// What a replica takes, in bytes of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// All that is stored here.
    pub bytes: u64,
    /// The budget, if there is one.
    pub budget: Option<Budget>,
    /// Whether so much of it is used that room is made.
    pub is_narrow: bool,
    /// What could be evicted now.
    pub evictable: u64,
    /// What is pinned.
    pub pinned: u64,
    /// What nobody who is there now keeps, or some link owes to its other end.
    pub unsynced: u64,
    /// What is open, and would go otherwise.
    pub in_use: u64,
    /// Documents with operations in quarantine.
    pub quarantined: u64,
    /// How many documents were evicted.
    pub evicted: usize,
}

/// What came of making room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeRoom {
    /// Documents that were evicted.
    pub documents: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Replica {
    /// Keeps this replica within so much room, or ends that. From its warning on, what somebody who is there now keeps is
    /// evicted behind edits: the least urgent first ([`Replica::set_priority`]), then what was not opened for longest. An
    /// edit that has no room, and for which none can be made, fails with [`ReplicaError::BudgetFull`]; so does what links
    /// bring, which is asked for again later. For as long as the replica is open. Memory is some hundred bytes for each
    /// document. Blocking.
    ///
    /// ```
    /// use tombolo::replica::{Budget, Replica, ReplicaError};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// replica.set_budget(Some(Budget::of(1_000)))?;
    /// let list = replica.yjs("list")?;
    /// list.edit(|edit| edit.text("text").insert(0, "milk"))?;
    /// // Nobody else has it, so nothing can go.
    /// let full = list.edit(|edit| edit.text("text").insert(0, &"bread ".repeat(200)));
    /// assert!(matches!(full, Err(ReplicaError::BudgetFull { .. })));
    /// assert_eq!(list.text("text")?, "milk");
    /// assert_eq!(replica.usage()?.unsynced, replica.usage()?.bytes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Budget`] if it makes no sense, [`ReplicaError::Ledger`] if what is pinned cannot be read,
    /// [`ReplicaError::Read`] if the folder cannot be, [`ReplicaError::KeepsAll`] if it listens as one that keeps all.
    pub fn set_budget(&self, budget: Option<Budget>) -> Result<(), ReplicaError> {
        budget.as_ref().map_or(Ok(()), Budget::check)?;
        let space = &self.links.shelves().space;
        // Nothing goes by an earlier one any more.
        let _one = lock(&space.making_room);
        lock(&space.ledger).open(self.store().path())?;
        space.set_budget(budget)?;
        if budget.is_some() {
            self.look()?;
            making_room::start(&self.links)?;
            // What nobody uses goes however much room there is.
            space.ring();
        }
        Ok(())
    }

    /// What this replica takes, and what of it could go. Looks at every document. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Read`] if the folder cannot be read, [`ReplicaError::Ledger`] if what is pinned cannot be.
    pub fn usage(&self) -> Result<Usage, ReplicaError> {
        let look = self.look()?;
        let space = &self.links.shelves().space;
        Ok(Usage {
            bytes: look.used,
            budget: space.budget(),
            is_narrow: space.is_narrow(),
            evictable: look.evictable(),
            pinned: look.bytes(|could| *could == Could::Pinned),
            unsynced: look.bytes(|could| *could == Could::Unsynced),
            in_use: look.bytes(|could| *could == Could::InUse),
            quarantined: look.bytes(|could| *could == Could::Quarantined),
            evicted: look.evicted,
        })
    }

    fn look(&self) -> Result<Look, ReplicaError> {
        let space = &self.links.shelves().space;
        lock(&space.ledger).open(self.store().path())?;
        let look = Look::new(&self.links)?;
        let unsynced = look.bytes(|could| *could == Could::Unsynced);
        space.found(look.used, look.added, look.evictable(), unsynced);
        Ok(look)
    }

    /// Evicts until the budget's low mark is reached, or nothing more can go. Nothing without a budget. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Read`] if the folder cannot be read or written.
    pub fn make_room(&self) -> Result<MadeRoom, ReplicaError> {
        let _one = lock(&self.links.shelves().space.making_room);
        let Evicted { documents, bytes } = making_room::make_room(&self.links, true)?;
        Ok(MadeRoom { documents, bytes })
    }

    /// Evicted documents, with when they went and who has them. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Read`] if the folder cannot be read.
    pub fn evicted(&self) -> Result<Vec<(DocumentId, Stub)>, ReplicaError> {
        self.store().stubs().map_err(ReplicaError::read)
    }

    /// This document is not evicted, from now on and after restarts. It need not be here. False if it was pinned; one that is
    /// deleted at the other end of a link is pinned by itself, because it may be nowhere else. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Ledger`] if that cannot be written down.
    pub fn pin(&self, document: &DocumentId) -> Result<bool, ReplicaError> {
        self.set_pin(document, true)
    }

    /// The end of [`Replica::pin`]. False if it was not pinned. Blocking.
    ///
    /// # Errors
    /// As of [`Replica::pin`].
    pub fn unpin(&self, document: &DocumentId) -> Result<bool, ReplicaError> {
        self.set_pin(document, false)
    }

    fn set_pin(&self, document: &DocumentId, pinned: bool) -> Result<bool, ReplicaError> {
        self.links.shelves().space.pin(self.store().path(), document, pinned)
    }

    /// Which documents are pinned. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Ledger`] if that cannot be read.
    pub fn pinned(&self) -> Result<Vec<DocumentId>, ReplicaError> {
        let mut ledger = lock(&self.links.shelves().space.ledger);
        ledger.open(self.store().path())?;
        Ok(ledger.pinned().cloned().collect())
    }
}
