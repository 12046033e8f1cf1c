//! One open Automerge document: edited, read, watched, synced.

mod fetched; // whether it has come
mod talk; // on a link

pub(super) use talk::Talk;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use automerge::Automerge;
use automerge::transaction::Transaction;
use autosurgeon::{Hydrate, Reconcile};
use bytes::Bytes;
use tombolo_core::engine::EngineError;
use tombolo_core::engine::automerge::{self as engine, Brought, BroughtMessage};
use tombolo_core::engine::edit::EditError;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;

use super::changes::{Change, Observation, Origin};
use super::error::ReplicaError;
use super::open::{Live, Open, on_a_large_stack, random};
use super::urgency::EditOptions;

/// An open Automerge document of a replica. A cheap clone; all handles share one state.
///
/// Clients of automerge-repo open the same document by its [`url`](Self::url). Positions in a text are bytes, as in a
/// `str`.
#[derive(Clone)]
pub struct AutomergeDocument {
    open: Arc<Open<engine::Live>>,
}

/// What one connection knows of its peer. It starts fresh with each, on both sides.
#[derive(Debug, Default)]
pub struct SyncState {
    peer: engine::SyncState,
    told: Told,
}

/// What the peer was told of.
#[derive(Debug, Default)]
enum Told {
    #[default]
    Nothing,
    /// The document in this edition.
    Edition(u64),
    /// More than is true now: something failed on the way.
    TooMuch,
}

/// What a sync message brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncReceived {
    /// Whether something of it was new; it is fsynced.
    pub changed: bool,
}

impl AutomergeDocument {
    pub(super) fn of(open: Arc<Open<engine::Live>>) -> Self {
        Self { open }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &DocumentId {
        self.open.id()
    }

    /// Its name as clients of automerge-repo write it, `automerge:` and the base58check form of 16 bytes.
    ///
    /// ```
    /// # use tombolo::replica::Replica;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let list = replica.automerge("1Bhh3pU9gLXZiNDL6PEa1Gs9fh")?;
    /// assert_eq!(list.url(), "automerge:1Bhh3pU9gLXZiNDL6PEa1Gs9fh");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn url(&self) -> String {
        format!("automerge:{}", self.id())
    }

    /// Edits in one transaction of automerge; when this returns, the edit is fsynced and everybody sees it. If the
    /// closure fails, nothing is changed, and the document is read again from the disk. An edit is one change, however
    /// much is in it, and each has its price: gather what belongs together. Blocking, for the disk only.
    ///
    /// ```
    /// use automerge::transaction::Transactable;
    /// use automerge::{ObjType, ROOT, ReadDoc};
    /// use tombolo::replica::Replica;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let list = replica.create_automerge()?;
    /// let items = list.edit(|edit| {
    ///     let items = edit.put_object(ROOT, "items", ObjType::List)?;
    ///     edit.insert(&items, 0, "milk")?;
    ///     Ok(items)
    /// })?;
    /// // All or nothing.
    /// let failed = list.edit(|edit| {
    ///     edit.insert(&items, 1, "bread")?;
    ///     Ok(edit.insert(&items, 9, "salt")?)
    /// });
    /// assert!(failed.is_err());
    /// assert_eq!(list.read(|view| view.length(&items))?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Edit`] if the closure fails, [`ReplicaError::NotStored`] if the disk does not take it,
    /// [`ReplicaError::Deleted`] if the document was deleted.
    pub fn edit<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, EditError>,
    ) -> Result<T, ReplicaError> {
        self.edit_with(EditOptions::default(), work)
    }

    /// As [`AutomergeDocument::edit`], as urgent as the options say.
    ///
    /// # Errors
    /// As for [`AutomergeDocument::edit`].
    pub fn edit_with<T>(
        &self,
        options: EditOptions,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, EditError>,
    ) -> Result<T, ReplicaError> {
        // Before 1970 there is no history.
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let now_s = i64::try_from(now_s).unwrap_or_default();
        let failed = |source| ReplicaError::Edit { document: self.id().clone(), source };
        let (value, _) =
            self.open.change_with(Origin::Local, options, |live| live.edit(now_s, work).map_err(failed))?;
        Ok(value)
    }

    /// Makes the document say what `value` says, in one edit, by the changes that autosurgeon finds. What others changed
    /// since the value was hydrated is changed back, so change a part of a document in one transaction:
    ///
    /// ```
    /// use autosurgeon::{Hydrate, Reconcile, Text, hydrate, reconcile};
    /// use tombolo::replica::Replica;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// // What JavaScript calls a string is a `Text`; a `String` is a value that is replaced as a whole.
    /// #[derive(Hydrate, Reconcile)]
    /// struct Recipe {
    ///     title: Text,
    ///     servings: u64,
    /// }
    ///
    /// let recipe = replica.create_automerge()?;
    /// recipe.reconcile(&Recipe { title: "Bed".into(), servings: 4 })?;
    /// recipe.edit(|edit| {
    ///     let mut recipe: Recipe = hydrate(edit)?;
    ///     recipe.title.splice(1, 0, "r");
    ///     recipe.title.splice(3, 0, "a");
    ///     Ok(reconcile(edit, &recipe)?)
    /// })?;
    /// assert_eq!(recipe.hydrate::<Recipe>()?.title.as_str(), "Bread");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`AutomergeDocument::edit`].
    pub fn reconcile(&self, value: &impl Reconcile) -> Result<(), ReplicaError> {
        self.edit(|edit| Ok(autosurgeon::reconcile(edit, value)?))
    }

    /// Reads it as it is now, edits of other threads that are on their way to the disk included. Blocking.
    ///
    /// ```
    /// use automerge::transaction::Transactable;
    /// use automerge::{ROOT, ReadDoc};
    /// use tombolo::replica::Replica;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let list = replica.create_automerge()?;
    /// list.edit(|edit| Ok(edit.put(ROOT, "colour", "blue")?))?;
    /// let colour = list.read(|view| view.get(ROOT, "colour").map(|found| found.map(|(value, _)| value.to_string())))??;
    /// assert_eq!(colour.as_deref(), Some("\"blue\""));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Read`] or [`ReplicaError::Unreadable`] if it cannot be read, [`ReplicaError::Deleted`] if it
    /// was deleted.
    pub fn read<T>(&self, work: impl FnOnce(&Automerge) -> T) -> Result<T, ReplicaError> {
        self.open.look(|live| live.read(work))
    }

    /// The whole document as a Rust value, by autosurgeon. A type that contains itself is read as deep as the document
    /// goes, on the stack of the caller.
    ///
    /// ```
    /// use autosurgeon::{Hydrate, Reconcile};
    /// use tombolo::replica::ReplicaError;
    /// use tombolo::replica::Replica;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// #[derive(Debug, PartialEq, Hydrate, Reconcile)]
    /// struct Settings {
    ///     dark: bool,
    /// }
    ///
    /// let settings = replica.create_automerge()?;
    /// // Nobody has written in it.
    /// assert!(matches!(settings.hydrate::<Settings>(), Err(ReplicaError::Shape { .. })));
    /// settings.reconcile(&Settings { dark: true })?;
    /// assert_eq!(settings.hydrate::<Settings>()?, Settings { dark: true });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Shape`] if it is no such value, else as for [`AutomergeDocument::read`].
    pub fn hydrate<T: Hydrate>(&self) -> Result<T, ReplicaError> {
        let hydrated = self.read(|view| autosurgeon::hydrate(view))?;
        hydrated.map_err(|error| ReplicaError::Shape { document: self.id().clone(), source: Box::new(error) })
    }

    /// Takes in what others did: change chunks or a saved document. True if anything of it was new; then it is
    /// fsynced. What lacks its ground is stored and shown when that has come. Blocking, for the disk only.
    ///
    /// ```
    /// use automerge::transaction::Transactable;
    /// use automerge::ROOT;
    /// use tombolo::replica::Replica;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let phone = replica.create_automerge()?;
    /// let laptop = Replica::open(folder.path().join("laptop"))?.automerge(&phone.url())?;
    /// phone.edit(|edit| Ok(edit.put(ROOT, "milk", 1)?))?;
    /// laptop.edit(|edit| Ok(edit.put(ROOT, "bread", 2)?))?;
    /// assert!(phone.apply(&laptop.state()?)?);
    /// assert!(laptop.apply(&phone.state()?)?);
    /// assert_eq!(phone.heads()?, laptop.heads()?);
    /// assert!(!phone.apply(&laptop.state()?)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Changes`] if it is none, else as for [`AutomergeDocument::edit`].
    pub fn apply(&self, changes: &Bytes) -> Result<bool, ReplicaError> {
        let brought = on_a_large_stack(|| Brought::read(changes), |error| self.refused(error))?;
        let ((), is_new) = self.open.change(Origin::Remote, |live| {
            let (live, news) = on_a_large_stack(|| live.apply(&brought), |error| self.refused(error))?;
            Ok((live, (), news))
        })?;
        Ok(is_new)
    }

    /// All of it as one saved document, what waits for others behind it.
    /// [`AutomergeDocument::apply`] takes it, and so does any Automerge.
    ///
    /// ```
    /// # use automerge::transaction::Transactable;
    /// # use automerge::ROOT;
    /// # use tombolo::replica::Replica;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let list = replica.create_automerge()?;
    /// list.edit(|edit| Ok(edit.put(ROOT, "milk", 1)?))?;
    /// let stock = automerge::Automerge::load(&list.state()?)?;
    /// let heads: Vec<_> = stock.get_heads().iter().map(|head| head.0).collect();
    /// assert_eq!(heads, list.heads()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`AutomergeDocument::read`].
    pub fn state(&self) -> Result<Bytes, ReplicaError> {
        self.open.look(engine::Live::save)
    }

    /// Its heads, sorted: documents with equal heads are equal. Edits of other threads that are on their way to the
    /// disk are in them; only [`AutomergeDocument::sync_generate`] says what is durable.
    ///
    /// ```
    /// # use automerge::transaction::Transactable;
    /// # use automerge::ROOT;
    /// # use tombolo::replica::Replica;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let (list, copy) = (replica.create_automerge()?, replica.create_automerge()?);
    /// assert!(list.heads()?.is_empty());
    /// list.edit(|edit| Ok(edit.put(ROOT, "milk", 1)?))?;
    /// copy.apply(&list.state()?)?;
    /// assert_eq!(copy.heads()?, list.heads()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`AutomergeDocument::read`].
    pub fn heads(&self) -> Result<Vec<[u8; 32]>, ReplicaError> {
        self.open.look(engine::Live::heads)
    }

    /// Calls `observer` for each change from now on, until what this gives back is dropped: once each, in order, when
    /// it is durable, on a thread that edits this document. It may read and edit; what it edits it hears of after it
    /// has returned.
    ///
    /// ```
    /// # use automerge::transaction::Transactable;
    /// # use automerge::ROOT;
    /// # use tombolo::replica::Replica;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let (list, copy) = (replica.create_automerge()?, replica.create_automerge()?);
    /// let into = copy.clone();
    /// let _watch = list.observe(move |change| drop(into.apply(&change.update)));
    /// list.edit(|edit| Ok(edit.put(ROOT, "milk", 1)?))?;
    /// assert_eq!(copy.heads()?, list.heads()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn observe(&self, observer: impl FnMut(&Change) + Send + 'static) -> Observation {
        self.open.observe(observer)
    }

    /// The next message of automerge's sync protocol for a peer; none if there is nothing to say. All that it says is
    /// there is fsynced. Ask again after each message that came, and after each change. After an error the connection
    /// is to be closed. Blocking.
    ///
    /// ```
    /// use automerge::transaction::Transactable;
    /// use automerge::ROOT;
    /// use tombolo::replica::SyncState;
    /// use tombolo::replica::Replica;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let phone = replica.create_automerge()?;
    /// let laptop = Replica::open(folder.path().join("laptop"))?.automerge(&phone.url())?;
    /// phone.edit(|edit| Ok(edit.put(ROOT, "milk", 1)?))?;
    /// let (mut of_laptop, mut of_phone) = (SyncState::default(), SyncState::default());
    /// loop {
    ///     let there = phone.sync_generate(&mut of_laptop)?;
    ///     if let Some(message) = &there {
    ///         laptop.sync_receive(&mut of_phone, message)?;
    ///     }
    ///     let back = laptop.sync_generate(&mut of_phone)?;
    ///     if let Some(message) = &back {
    ///         phone.sync_receive(&mut of_laptop, message)?;
    ///     }
    ///     if there.is_none() && back.is_none() {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(phone.heads()?, laptop.heads()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::SyncOver`] if the peer has to begin anew, else as for [`AutomergeDocument::read`].
    pub fn sync_generate(&self, peer: &mut SyncState) -> Result<Option<Bytes>, ReplicaError> {
        self.sync_say(peer, engine::Live::sync_generate)
    }

    fn sync_say<T>(
        &self,
        peer: &mut SyncState,
        say: impl FnOnce(&engine::Live, &mut engine::SyncState) -> T,
    ) -> Result<T, ReplicaError> {
        let mut next = self.current(peer)?;
        let said = self.open.look_durably(|live| say(live, &mut next.peer))?;
        *peer = next;
        Ok(said)
    }

    /// Takes in a message of automerge's sync protocol; when this returns, what it brought is fsynced, what lacks its
    /// ground included. After an error nothing was taken in, and the connection is to be closed. Blocking.
    ///
    /// ```
    /// # use automerge::transaction::Transactable;
    /// # use automerge::ROOT;
    /// # use tombolo::replica::{Replica, SyncState};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let (list, copy) = (replica.create_automerge()?, replica.create_automerge()?);
    /// list.edit(|edit| Ok(edit.put(ROOT, "milk", 1)?))?;
    /// let (mut of_copy, mut of_list) = (SyncState::default(), SyncState::default());
    /// // Both say where they stand; then one says what the other lacks.
    /// let where_copy_is = copy.sync_generate(&mut of_list)?.ok_or("it says where it stands")?;
    /// assert!(!list.sync_receive(&mut of_copy, &where_copy_is)?.changed);
    /// let changes = list.sync_generate(&mut of_copy)?.ok_or("it has more")?;
    /// assert!(copy.sync_receive(&mut of_list, &changes)?.changed);
    /// assert_eq!(copy.heads()?, list.heads()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::SyncOver`] if the peer has to begin anew, [`ReplicaError::Changes`] if it is no sync message,
    /// else as for [`AutomergeDocument::edit`].
    pub fn sync_receive(&self, peer: &mut SyncState, message: &Bytes) -> Result<SyncReceived, ReplicaError> {
        self.sync_take(peer, message, Origin::Remote)
    }

    /// As [`AutomergeDocument::sync_receive`], of whatever origin.
    pub(super) fn sync_take(
        &self,
        peer: &mut SyncState,
        message: &Bytes,
        origin: Origin,
    ) -> Result<SyncReceived, ReplicaError> {
        let message = on_a_large_stack(|| BroughtMessage::read(message), |error| self.refused(error))?;
        let mut next = self.current(peer)?;
        let ((), changed) = self.open.change(origin, |live| {
            let receive = || live.sync_receive(&mut next.peer, message);
            let (live, news) = on_a_large_stack(receive, |error| self.refused(error))?;
            Ok((live, (), news))
        })?;
        *peer = next;
        Ok(SyncReceived { changed })
    }

    /// The state to go on with, out of its place: who does not put it back leaves a connection that is over.
    fn current(&self, peer: &mut SyncState) -> Result<SyncState, ReplicaError> {
        let edition = self.open.edition();
        match peer.told {
            Told::Edition(told) if told != edition => {}
            Told::TooMuch => {}
            Told::Nothing | Told::Edition(_) => {
                let over = SyncState { told: Told::TooMuch, ..SyncState::default() };
                let mut state = std::mem::replace(peer, over);
                state.told = Told::Edition(edition);
                return Ok(state);
            }
        }
        Err(ReplicaError::SyncOver { document: self.id().clone() })
    }

    fn refused(&self, error: EngineError) -> ReplicaError {
        match error {
            EngineError::Malformed { .. } => {
                ReplicaError::Changes { document: self.id().clone(), source: error }
            }
            error => ReplicaError::unreadable(self.id(), &error),
        }
    }
}

impl Live for engine::Live {
    const KIND: Kind = Kind::AutomergeChanges;

    fn open(document: &DocumentId, parts: &[Bytes]) -> Result<Self, ReplicaError> {
        let actor = random()?;
        on_a_large_stack(|| Self::open(parts, actor), |error| ReplicaError::unreadable(document, &error))
    }
}

#[cfg(test)]
mod tests;
