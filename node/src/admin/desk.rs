//! Who answers: one function for the command on an idle folder and for the socket of a server.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::runtime::Handle;
use tombolo_core::engine::view::Form;
use tombolo_core::id::DocumentId;
use tombolo_relay::{Guests, Onlooker};
use tombolo_store::worker::{Reply, Worker, WorkerError};
use tombolo_store::{Contents, Store};

use super::entrance::Entrance;
use super::protocol::{Code, Failure, Request, Sink};
use super::{export, import, list, maintain, quarantine, rooms, show};
use crate::archive::StoreArchive;
use crate::replica::Replica;

/// Who answers requests.
pub trait Answers: Send + Sync + 'static {
    /// Answers a request; `body` is what follows it. Blocking: not on a thread of a runtime.
    ///
    /// # Errors
    /// [`Failure`], by who must act.
    fn handle(&self, request: &Request, body: &Bytes, sink: &mut Sink<'_>) -> Result<Value, Failure>;
}

/// For a relay that keeps nothing: answers what goes on in its rooms.
pub struct RelayDesk(pub Onlooker);

impl Answers for RelayDesk {
    fn handle(&self, request: &Request, _body: &Bytes, sink: &mut Sink<'_>) -> Result<Value, Failure> {
        match request {
            Request::Rooms { over_ms, limit } => rooms::rooms(&self.0, *over_ms, *limit, sink),
            _ => Err(Failure::unfit(
                "this is a relay, which keeps no documents; it can only be watched, with `tombolo top`",
            )),
        }
    }
}

/// What answering takes. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    pub(super) store: Store,
    worker: Arc<dyn Worker>,
    pub(super) entrance: Entrance,
}

impl Desk {
    /// Over these; `guests` is the way into the rooms of the server, or into rooms of one's own.
    /// To be made on a tokio runtime.
    #[must_use]
    pub fn new(store: Store, worker: Arc<dyn Worker>, archive: Arc<StoreArchive>, guests: Guests) -> Self {
        Self { store, worker, entrance: Entrance::Rooms { archive, guests, runtime: Handle::current() } }
    }

    /// Over a replica, whose links bring on what is changed.
    #[must_use]
    pub fn over(replica: &Replica, worker: Arc<dyn Worker>) -> Self {
        Self { store: replica.store().clone(), worker, entrance: Entrance::Replica(replica.clone()) }
    }

    /// Everything of a document that exists.
    pub(super) fn contents(&self, id: &DocumentId) -> Result<Vec<Bytes>, Failure> {
        if self.store.describe(id)?.is_none() {
            return Err(missing(id));
        }
        let Contents { snapshot, tail, .. } = self.store.document(id)?.read()?;
        Ok(snapshot.into_iter().chain(tail).collect())
    }

    /// The parts of a document in another form, made where an engine may die of them.
    pub(super) fn view(
        &self,
        id: &DocumentId,
        form: Form,
        root: Option<&str>,
        parts: Vec<Bytes>,
    ) -> Result<Bytes, Failure> {
        let root = root.map(str::to_owned);
        self.ask(tombolo_store::worker::Request::View { format: id.format(), form, root, parts })
    }

    /// The operation that brings what somebody has in another form.
    pub(super) fn make(
        &self,
        id: &DocumentId,
        form: Form,
        root: Option<&str>,
        content: &Bytes,
    ) -> Result<Bytes, Failure> {
        let (root, content) = (root.map(str::to_owned), content.clone());
        self.ask(tombolo_store::worker::Request::Make { format: id.format(), form, root, content })
    }

    /// Asks the merge worker for bytes.
    pub(super) fn ask(&self, request: tombolo_store::worker::Request) -> Result<Bytes, Failure> {
        match self.worker.call(request)? {
            Reply::View(bytes) | Reply::Snapshot(bytes) => Ok(bytes),
            // Whoever asks here needs all of it.
            Reply::Partly { .. } => Err(WorkerError::Pending.into()),
            _ => Err(WorkerError::Died { reason: "it answered something else".to_owned() }.into()),
        }
    }
}

impl Answers for Desk {
    fn handle(&self, request: &Request, body: &Bytes, sink: &mut Sink<'_>) -> Result<Value, Failure> {
        match request {
            Request::List { prefix, limit } => list::list(self, prefix, *limit, sink),
            Request::Show { document, content } => show::show(self, &document.id()?, *content, sink),
            Request::Export { document, form, root } => {
                export::export(self, &document.id()?, *form, root.as_deref(), sink)
            }
            Request::Import { document, form, root, .. } => {
                import::import(self, &document.id()?, *form, root.as_deref(), body)
            }
            Request::Remove { document } => maintain::remove(self, &document.id()?),
            Request::Tombstones => list::tombstones(self, sink),
            Request::Purge { document } => maintain::purge(self, &document.id()?),
            Request::Rooms { over_ms, limit } => {
                rooms::rooms(&self.entrance.onlooker()?, *over_ms, *limit, sink)
            }
            Request::Verify => maintain::verify(self, sink),
            Request::Compact => maintain::compact(self, sink),
            Request::Quarantined => quarantine::documents(self, sink),
            Request::Quarantine { document } => quarantine::operations(self, &document.id()?, sink),
            Request::Release { document, replica, seq, retry } => {
                quarantine::release(self, &document.id()?, replica, *seq, *retry)
            }
        }
    }
}

/// There is no document of this name.
pub(super) fn missing(id: &DocumentId) -> Failure {
    Failure::new(Code::Missing, format!("there is no document {id}; `tombolo doc list` says which there are"))
}
