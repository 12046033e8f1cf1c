//! One open Yjs document: edited, read, watched.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::engine::EngineError;
use tombolo_core::engine::edit::{Edit, EditError, Live as Yjs, View};
use tombolo_core::id::DocumentId;
use tombolo_core::limits::CLIENT_ID_MAX;
use tombolo_core::operation::Kind;
use tombolo_core::update::{self, Coverage, StateVector, Update};

use super::changes::{Change, Observation, Origin};
use super::error::ReplicaError;
use super::open::{Live, Open, on_a_large_stack, random};
use super::presence::{PresenceChange, PresenceObservation, Stage, States};
use super::urgency::EditOptions;

/// An open Yjs document of a replica. A cheap clone; all handles share one state.
#[derive(Clone)]
pub struct YjsDocument {
    open: Arc<Open<Yjs>>,
}

impl YjsDocument {
    pub(super) fn of(open: Arc<Open<Yjs>>) -> Self {
        Self { open }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &DocumentId {
        self.open.id()
    }

    /// Edits in one transaction; when this returns, the edit is fsynced and everybody sees it. If the closure fails,
    /// nothing is changed. Blocking, for the disk only.
    ///
    /// ```
    /// use tombolo::replica::{EditError, Replica};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// let list = replica.yjs("list")?;
    /// let length = list.edit(|edit| {
    ///     let mut text = edit.text("text");
    ///     text.insert(0, "milk")?;
    ///     text.push(", bread");
    ///     Ok(text.len())
    /// })?;
    /// assert_eq!(length, 11);
    /// // All or nothing.
    /// let failed = list.edit(|edit| {
    ///     edit.text("text").remove(0, 4)?;
    ///     Err::<(), _>(EditError::Cancelled)
    /// });
    /// assert!(failed.is_err());
    /// assert_eq!(list.text("text")?, "milk, bread");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Edit`] if the closure fails, [`ReplicaError::NotStored`] if the disk does not take it,
    /// [`ReplicaError::Deleted`] if the document was deleted.
    pub fn edit<T>(
        &self,
        work: impl FnOnce(&mut Edit<'_, '_>) -> Result<T, EditError>,
    ) -> Result<T, ReplicaError> {
        self.edit_with(EditOptions::default(), work)
    }

    /// As [`YjsDocument::edit`], as urgent as the options say.
    ///
    /// # Errors
    /// As for [`YjsDocument::edit`].
    pub fn edit_with<T>(
        &self,
        options: EditOptions,
        work: impl FnOnce(&mut Edit<'_, '_>) -> Result<T, EditError>,
    ) -> Result<T, ReplicaError> {
        let (value, _) = self.open.change_with(Origin::Local, options, |live| {
            let edited = live.edit(work);
            let (live, value, made) =
                edited.map_err(|source| ReplicaError::Edit { document: self.id().clone(), source })?;
            Ok((live, value, made.map(|update| update.bytes().clone())))
        })?;
        Ok(value)
    }

    /// Takes in what others did: a Yjs update, v1, whole states included. True if anything of it was new; then it is
    /// fsynced. What lacks its ground is stored and shown when that has come. Blocking, for the disk only.
    ///
    /// ```
    /// use tombolo::replica::Replica;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let phone = Replica::open(folder.path().join("phone"))?.yjs("list")?;
    /// let laptop = Replica::open(folder.path().join("laptop"))?.yjs("list")?;
    /// phone.edit(|edit| edit.text("text").insert(0, "milk\n"))?;
    /// laptop.edit(|edit| edit.text("text").insert(0, "bread\n"))?;
    /// assert!(phone.apply(&laptop.state()?)?);
    /// assert!(laptop.apply(&phone.state()?)?);
    /// assert_eq!(phone.text("text")?, laptop.text("text")?);
    /// assert!(!phone.apply(&laptop.state()?)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Update`] if it is none, else as for [`YjsDocument::edit`].
    pub fn apply(&self, update: &Bytes) -> Result<bool, ReplicaError> {
        self.bring(update, Origin::Remote)
    }

    /// As [`YjsDocument::apply`], for updates of whatever origin.
    pub(crate) fn bring(&self, update: &Bytes, origin: Origin) -> Result<bool, ReplicaError> {
        let update = Update::parse(update.clone())
            .map_err(|source| ReplicaError::Update { document: self.id().clone(), source })?;
        self.take(&update, origin)
    }

    /// As [`YjsDocument::bring`], of what was judged already.
    pub(super) fn take(&self, update: &Update, origin: Origin) -> Result<bool, ReplicaError> {
        let (_, is_new) = self.open.change(origin, |live| {
            let refused = |error| ReplicaError::unreadable(self.id(), &error);
            let (live, is_new) = on_a_large_stack(|| live.apply(update), refused)?;
            Ok((live, (), is_new.then(|| update.bytes().clone())))
        })?;
        Ok(is_new)
    }

    /// Reads it as it is now, edits of other threads that are on their way to the disk included. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Read`] or [`ReplicaError::Unreadable`] if it cannot be read, [`ReplicaError::Deleted`] if it
    /// was deleted.
    pub fn read<T>(&self, work: impl FnOnce(&View<'_>) -> T) -> Result<T, ReplicaError> {
        self.open.look(|live| live.read(work))
    }

    /// The text under this name, empty if there is none. The page of `tombolo serve` shows the one under `text`.
    ///
    /// # Errors
    /// As for [`YjsDocument::read`].
    pub fn text(&self, name: &str) -> Result<String, ReplicaError> {
        self.read(|view| view.text(name).unwrap_or_default())
    }

    /// All of it as one Yjs update, v1, what waits for others included.
    ///
    /// # Errors
    /// As for [`YjsDocument::read`].
    pub fn state(&self) -> Result<Bytes, ReplicaError> {
        Ok(update::merge(&self.updates()?))
    }

    /// What is stored of it.
    pub(super) fn updates(&self) -> Result<Vec<Update>, ReplicaError> {
        let parse = |part: Bytes| {
            Update::parse(part).map_err(|error| {
                ReplicaError::unreadable(self.id(), &EngineError::Malformed { reason: error.to_string() })
            })
        };
        self.open.parts()?.into_iter().map(parse).collect()
    }

    /// How far each client's changes are here.
    pub(super) fn state_vector(&self) -> Result<StateVector, ReplicaError> {
        let mut coverage = Coverage::default();
        for update in &self.updates()? {
            coverage.add(update);
        }
        Ok(coverage.state_vector())
    }

    /// Waits until everything that was appended before is fsynced.
    pub(super) fn settle(&self) -> Result<(), ReplicaError> {
        self.open.settle()
    }

    /// Calls `observer` for each change from now on, until what this gives back is dropped: once each, in order, when
    /// it is durable, on a thread that edits this document. It may read and edit; what it edits it hears of after it
    /// has returned.
    pub fn observe(&self, observer: impl FnMut(&Change) + Send + 'static) -> Observation {
        self.open.observe(observer)
    }

    /// Shows others a state of this program, such as a name and where its cursor is, for as long as the document is open
    /// and this program is linked to them; it is kept by nobody. Clients of y-protocols call it their local awareness
    /// state. Null shows nothing any more.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tombolo::replica::{LinkOptions, ListenOptions, Replica};
    /// use tombolo::serde_json::json;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let phone = Replica::open(folder.path().join("phone"))?;
    /// let laptop = Replica::open(folder.path().join("laptop"))?;
    /// let address = laptop.listen("127.0.0.1:0".parse()?, ListenOptions::default())?;
    /// phone.link(&format!("ws://{address}"), LinkOptions::default())?;
    /// let (here, there) = (phone.yjs("list")?, laptop.yjs("list")?);
    /// let (sender, seen) = std::sync::mpsc::channel();
    /// let _watch = there.observe_presence(move |change| drop(sender.send(change.clone())))?;
    /// here.set_presence(&json!({ "name": "Anna" }))?;
    /// let change = seen.recv_timeout(Duration::from_secs(30))?;
    /// assert_eq!(change.shown[&here.presence_id()?]["name"], "Anna");
    /// assert_eq!(there.presence()?, change.shown);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Presence`] if its JSON has more than 64 KiB, [`ReplicaError::System`] if there are no threads or no
    /// random numbers.
    pub fn set_presence(&self, state: &serde_json::Value) -> Result<(), ReplicaError> {
        self.stage()?.set(Some(state))
    }

    /// Under which client id [`YjsDocument::set_presence`] shows it. It is none of those that edits are made under.
    ///
    /// # Errors
    /// [`ReplicaError::System`] as for [`YjsDocument::set_presence`].
    pub fn presence_id(&self) -> Result<u64, ReplicaError> {
        Ok(self.stage()?.client())
    }

    /// Who else is in the document now, and what they show, by their client ids. From the first call on that is heard of
    /// until the document is closed, so the first one may know nobody yet.
    ///
    /// # Errors
    /// [`ReplicaError::System`] as for [`YjsDocument::set_presence`].
    pub fn presence(&self) -> Result<States, ReplicaError> {
        Ok(self.stage()?.others())
    }

    /// Calls `observer` when somebody comes, goes, or shows something else, on a thread of its own for all documents,
    /// until what this gives back is dropped. It is called for nothing that was there before.
    ///
    /// # Errors
    /// [`ReplicaError::System`] as for [`YjsDocument::set_presence`].
    pub fn observe_presence(
        &self,
        observer: impl FnMut(&PresenceChange) + Send + 'static,
    ) -> Result<PresenceObservation, ReplicaError> {
        Ok(self.stage()?.observe(observer))
    }

    fn stage(&self) -> Result<&Arc<Stage>, ReplicaError> {
        self.open.stage(random_client()?)
    }
}

impl Live for Yjs {
    const KIND: Kind = Kind::YjsUpdate;

    fn open(document: &DocumentId, parts: &[Bytes]) -> Result<Self, ReplicaError> {
        let client = random_client()?;
        on_a_large_stack(|| Self::open(parts, client), |error| ReplicaError::unreadable(document, &error))
    }
}

/// A client id that nobody has used, of all that JavaScript can count to.
fn random_client() -> Result<u64, ReplicaError> {
    Ok(u64::from_le_bytes(random()?) & CLIENT_ID_MAX)
}

#[cfg(test)]
mod tests;
