//! An Automerge document that is held open, edited and synced, for a replica; [`crate::engine::edit`] says for whom
//! that is. Callers edit with automerge's own [`Transaction`], and with autosurgeon.
//!
//! Guarantees: a transaction becomes one change or nothing; a change that other replicas would refuse is not handed
//! out; a document in which work failed or panicked is given up, never used again.
//!
//! Each life of a document in memory takes an actor id of its own from outside: one that is used again after a change
//! was lost makes changes that nobody takes (HAZARDS am-9).

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;

use automerge::sync::Message;
use automerge::transaction::{CommitOptions, Transaction};
use automerge::{ActorId, Automerge, AutomergeError, Change, ChangeHash, ReadDoc};
use autosurgeon::{HydrateError, ReconcileError};
use bytes::Bytes;

use super::chunk::{Chunks, load_document, raw};
use super::sync::{self, SyncMessage, SyncState};
use super::{has_ignored, load};
use crate::engine::EngineError;
use crate::engine::edit::EditError;
use crate::validate::{validate_chunks, validate_sync_message};

/// A document in memory.
#[derive(Debug)]
pub struct Live {
    document: Automerge,
}

impl Live {
    /// Hydrates the parts, in any order and with repetitions; `actor` is what edits are written under, random and
    /// never used before for this document. Changes that wait for others are held until those come.
    ///
    /// # Errors
    /// [`EngineError::Malformed`] if a part does not read to its end.
    pub fn open(parts: &[Bytes], actor: [u8; 16]) -> Result<Self, EngineError> {
        let (mut document, _) = load(parts)?;
        document.set_actor(ActorId::from(actor));
        Ok(Self { document })
    }

    /// Runs `work` in one transaction and gives back the change chunk that it made; none if it changed nothing.
    /// `time_s`, in seconds since 1970, is noted in the change, for history. With an error or a panic the document is
    /// given up, and the edit with it.
    ///
    /// # Errors
    /// Those of `work`, and [`EngineError`] if what it made is more than others take.
    pub fn edit<T>(
        self,
        time_s: i64,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, EditError>,
    ) -> Result<(Self, T, Option<Bytes>), EditError> {
        // Both are leaked by a panic: their destructors would go over what it left half-done.
        let mut document = ManuallyDrop::new(self.document);
        let mut transaction = ManuallyDrop::new(document.transaction());
        let worked = work(&mut transaction);
        let transaction = ManuallyDrop::into_inner(transaction);
        let (value, made) = match worked {
            Ok(value) => (value, transaction.commit_with(CommitOptions::default().with_time(time_s)).0),
            Err(error) => {
                transaction.rollback();
                drop(ManuallyDrop::into_inner(document));
                return Err(error);
            }
        };
        let document = ManuallyDrop::into_inner(document);
        let Some(hash) = made else { return Ok((Self { document }, value, None)) };
        let change = document.get_change_by_hash(&hash);
        let change = change.ok_or_else(|| EngineError::diverged("a change that was made is not there"))?;
        let made = raw(std::slice::from_ref(&change));
        validate_chunks(&made).map_err(|error| {
            EngineError::unfit(format_args!("the edit is more than others take in one: {error}"))
        })?;
        Ok((Self { document }, value, Some(made)))
    }

    /// Takes in what others made; gives back what is to be stored of it: all that is new, what waits for changes that
    /// are not there included. None if nothing is.
    ///
    /// # Errors
    /// [`EngineError::Malformed`] if it reuses a position of an actor (HAZARDS am-9), [`EngineError::Diverged`] if
    /// automerge stopped half-way; the document is given up.
    pub fn apply(mut self, brought: &Brought) -> Result<(Self, Option<Bytes>), EngineError> {
        let news = brought.news_for(&self.document);
        if news.is_some() {
            self.document.apply_changes(brought.changes.iter().cloned()).map_err(|error| match error {
                AutomergeError::DuplicateSeqNumber(..) => EngineError::malformed(error),
                error => EngineError::diverged(error),
            })?;
            if has_ignored(&self.document, &brought.hashes()) {
                return Err(EngineError::diverged("a change was ignored"));
            }
        }
        Ok((self, news))
    }

    /// Takes a sync message in; gives back what is to be stored of it, as [`Live::apply`] does. What waits is stored,
    /// unlike in a [`Session`](super::Session): a document that was given up is read again in the middle of a
    /// connection, and a peer sends nothing twice.
    ///
    /// # Errors
    /// As for [`Live::apply`]. The sync state is as useless as the document then.
    pub fn sync_receive(
        mut self,
        peer: &mut SyncState,
        message: BroughtMessage,
    ) -> Result<(Self, Option<Bytes>), EngineError> {
        let news = message.brought.news_for(&self.document);
        sync::receive(&mut self.document, peer, message.message)?;
        Ok((self, news))
    }

    /// The next message for a peer; none if there is nothing to say. It speaks for everything that is in the
    /// document, so it may leave when that is durable.
    pub fn sync_generate(&self, peer: &mut SyncState) -> Option<Bytes> {
        sync::generate(&self.document, peer)
    }

    /// Where a peer stands, by what it has said so far.
    #[must_use]
    pub fn compare(&self, peer: &SyncState) -> Compared {
        Compared { is_heard: sync::is_heard(peer), has_all_of_theirs: sync::has_all_of(&self.document, peer) }
    }

    /// Whether the peer said that it has all that this document had when these were its heads.
    #[must_use]
    pub fn is_there(&self, peer: &SyncState, heads: &[[u8; 32]]) -> bool {
        let heads: Vec<_> = heads.iter().copied().map(ChangeHash).collect();
        sync::is_there(&self.document, peer, &heads)
    }

    /// Shows the document as it is now.
    pub fn read<T>(&self, work: impl FnOnce(&Automerge) -> T) -> T {
        work(&self.document)
    }

    /// All of it in one document chunk, what waits for others behind it.
    #[must_use]
    pub fn save(&self) -> Bytes {
        self.document.save().into()
    }

    /// Its heads, sorted. Equal heads are equal documents. What waits for others is not in them.
    #[must_use]
    pub fn heads(&self) -> Vec<[u8; 32]> {
        self.document.get_heads().into_iter().map(|head| head.0).collect()
    }

    /// Its heads, if they stand for all that is in it: none while something waits for others.
    #[must_use]
    pub fn heads_of_all(&self) -> Option<Vec<[u8; 32]>> {
        self.document.get_missing_deps(&[]).is_empty().then(|| self.heads())
    }
}

/// Where a document and a peer stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The peer has said where it stands.
    pub is_heard: bool,
    /// All that it said it has is here.
    pub has_all_of_theirs: bool,
}

/// Chunks that others made, read to their end.
#[derive(Clone, Debug)]
pub struct Brought {
    bytes: Bytes,
    changes: Vec<Change>,
}

impl Brought {
    /// Reads change chunks and whole documents, in any order.
    ///
    /// # Errors
    /// [`EngineError::Malformed`] if something in them does not validate or does not read.
    pub fn read(bytes: &Bytes) -> Result<Self, EngineError> {
        validate_chunks(bytes).map_err(EngineError::malformed)?;
        Self::read_validated(bytes.clone())
    }

    fn read_validated(bytes: Bytes) -> Result<Self, EngineError> {
        let mut chunks = Chunks::default();
        chunks.read(&bytes)?;
        let mut changes = Vec::new();
        for document in chunks.documents {
            changes.extend(load_document(document)?.get_changes(&[]));
        }
        changes.append(&mut chunks.changes);
        Ok(Self { bytes, changes })
    }

    /// The hashes of the changes, in their order.
    #[must_use]
    pub fn names(&self) -> Vec<[u8; 32]> {
        self.changes.iter().map(|change| change.hash().0).collect()
    }

    fn hashes(&self) -> Vec<ChangeHash> {
        self.changes.iter().map(Change::hash).collect()
    }

    /// What the document neither has nor holds back; the bytes as they came if that is all of them.
    fn news_for(&self, document: &Automerge) -> Option<Bytes> {
        let unknown: BTreeSet<_> = document.get_missing_deps(&self.hashes()).into_iter().collect();
        let is_new = |change: &&Change| unknown.contains(&change.hash());
        let news: Vec<Change> = self.changes.iter().filter(is_new).cloned().collect();
        match news.len() {
            0 => None,
            all if all == self.changes.len() => Some(self.bytes.clone()),
            _ => Some(raw(&news)),
        }
    }
}

/// A sync message, read to its end.
#[derive(Debug)]
pub struct BroughtMessage {
    message: SyncMessage,
    brought: Brought,
}

impl BroughtMessage {
    /// Reads a message and every chunk in it.
    ///
    /// # Errors
    /// As for [`Brought::read`].
    pub fn read(bytes: &[u8]) -> Result<Self, EngineError> {
        validate_sync_message(bytes).map_err(EngineError::malformed)?;
        let message = Message::decode(bytes).map_err(EngineError::malformed)?;
        let chunks: Vec<u8> = message.changes.iter().flatten().copied().collect();
        let brought = Brought::read_validated(chunks.into())?;
        Ok(Self { message: SyncMessage { expected: brought.hashes(), message }, brought })
    }
}

/// So that `?` works on what automerge and autosurgeon say in a transaction.
macro_rules! edit_error_from {
    ($($error:ty),*) => {$(
        impl From<$error> for EditError {
            fn from(error: $error) -> Self {
                Self::Automerge { reason: error.to_string() }
            }
        }
    )*};
}

edit_error_from!(AutomergeError, ReconcileError, HydrateError);

#[cfg(test)]
mod tests;
