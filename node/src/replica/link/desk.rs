//! A link's work on the store, on a thread of its own: it blocks for the disk and hydrates documents.
//!
//! Guarantees: jobs are done in their order; what is read for the other end is durable here before it is handed out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tombolo_core::engine::automerge::Live as Automerge;
use tombolo_core::engine::edit::Live as Yjs;
use tombolo_core::id::DocumentId;
use tombolo_core::session::{Failed, Synced, Talk, Token};
use tombolo_core::update::{self, StateVector, Update};
use tombolo_store::{Checkpoint, Store};

use super::LinkId;
use super::hub::Hub;
use crate::replica::automerge::{self, AutomergeDocument};
use crate::replica::budget::Space;
use crate::replica::changes::Origin;
use crate::replica::document::YjsDocument;
use crate::replica::error::ReplicaError;
use crate::replica::open::Opened;

/// What is to be done.
pub(super) enum Job {
    /// Say what is here of a document.
    Describe(DocumentId),
    /// Read what somebody lacks who has this.
    Read(DocumentId, StateVector),
    /// Store what came.
    Bring(Token, DocumentId, Update),
    /// A turn of an Automerge document's talk.
    Sync(Talk, DocumentId, Option<Bytes>),
    /// The other end has it no more: what is here of it stays. There is no answer.
    Keep(DocumentId),
    /// A talk is over. There is no answer.
    Over(Talk),
    /// Say that everything before is done.
    Reached(SyncSender<()>),
    /// There is such a document at the other end.
    Find(DocumentId),
    /// List what changed since this; everything if there is none.
    List(Option<Checkpoint>),
}

impl Job {
    /// What it holds in memory, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Bring(_, _, update) => update.bytes().len(),
            Self::Sync(_, _, message) => message.as_ref().map_or(0, Bytes::len),
            _ => 0,
        }
    }
}

/// What came of a job.
pub(super) struct Finished {
    pub(super) done: Done,
    /// As [`Job::bytes`] said.
    pub(super) bytes: usize,
    /// Nothing more comes of it.
    pub(super) ends_job: bool,
}

/// What came of it.
pub(super) enum Done {
    Described(DocumentId, StateVector),
    Lacking(DocumentId, Bytes, u64),
    Brought(Token, Result<(), String>),
    Synced(Talk, DocumentId, Result<Synced, String>),
    /// Whether it was evicted here.
    Found(DocumentId, bool),
    /// A page of documents with the positions of their last changes.
    Listed {
        documents: Vec<(DocumentId, u64)>,
        last: bool,
    },
    /// The document was deleted here.
    Gone(DocumentId),
    /// The document was evicted here, and nobody fetches it.
    Evicted(DocumentId),
    /// It cannot be read now.
    Failed(DocumentId, Failed, String),
    /// What changed cannot be listed.
    Unlisted(String),
}

/// Documents listed at once.
const PAGE: usize = 1_000;

/// What the work is done on.
#[derive(Clone)]
pub(in crate::replica) struct Shelves {
    pub(in crate::replica) store: Store,
    pub(in crate::replica) yjs: Arc<Opened<Yjs>>,
    pub(in crate::replica) automerge: Arc<Opened<Automerge>>,
    pub(in crate::replica) hub: Arc<Hub>,
    pub(in crate::replica) space: Arc<Space>,
}

impl Shelves {
    /// Of what was evicted, while it is fetched, too.
    pub(in crate::replica) fn document(&self, id: &DocumentId) -> Result<YjsDocument, ReplicaError> {
        self.yjs.open(self, id, true).map(YjsDocument::of)
    }

    /// Of what was evicted, while it is fetched, too.
    pub(in crate::replica) fn automerge_document(
        &self,
        id: &DocumentId,
    ) -> Result<AutomergeDocument, ReplicaError> {
        self.automerge.open(self, id, true).map(AutomergeDocument::of)
    }

    /// Whether it was evicted, and nobody fetches it. One that cannot be looked at says why when it is opened.
    pub(super) fn is_evicted(&self, id: &DocumentId) -> bool {
        let may_be = self.space.has_stubs() && !self.space.is_fetching(id);
        may_be && self.store.stub(id).is_ok_and(|stub| stub.is_some())
    }

    /// Bytes that it takes here, as far as can be told.
    pub(super) fn bytes(&self, id: &DocumentId) -> u64 {
        self.store.describe(id).ok().flatten().map_or(0, |described| described.bytes_at_rest)
    }

    /// Pins what is here of it: it may be nowhere else, and what was acknowledged of it says otherwise.
    fn keep(&self, id: &DocumentId) {
        let is_here = self.store.describe(id).is_ok_and(|described| described.is_some());
        let pinned = if is_here { self.space.pin(self.store.path(), id, true).map(drop) } else { Ok(()) };
        if let Err(error) = pinned {
            tracing::warn!(document = %id, %error, "a document that was deleted elsewhere is not pinned");
        }
    }

    fn describe(&self, id: &DocumentId) -> Result<StateVector, ReplicaError> {
        let document = self.document(id)?;
        let have = document.state_vector()?;
        // What is said to be here is asked for nowhere else: it must not go with the power.
        document.settle()?;
        Ok(have)
    }

    fn lacking(&self, id: &DocumentId, have: &StateVector) -> Result<(Bytes, u64), ReplicaError> {
        // Before it is read, so that everything up to it is in there.
        let position = self.hub.latest();
        let document = self.document(id)?;
        let lacking = update::diff(&document.updates()?, have);
        document.settle()?;
        Ok((lacking, position))
    }
}

/// Sync states of open Automerge documents.
type Talks = HashMap<Talk, automerge::Talk>;

fn sync(
    shelves: &Shelves,
    link: LinkId,
    talks: &mut Talks,
    talk: Talk,
    id: DocumentId,
    message: Option<&Bytes>,
) -> Done {
    let going_on = match talks.entry(talk) {
        Entry::Occupied(going_on) => Ok(going_on.into_mut()),
        Entry::Vacant(new) => {
            shelves.automerge_document(&id).map(|document| new.insert(automerge::Talk::new(document)))
        }
    };
    let turn =
        going_on.and_then(|going_on| going_on.turn(message, Origin::Link(link), || shelves.hub.latest()));
    match turn {
        Err(ReplicaError::Deleted { .. }) => Done::Gone(id),
        Err(ReplicaError::Evicted { .. }) => Done::Evicted(id),
        synced => Done::Synced(talk, id, synced.map_err(|error| error.to_string())),
    }
}

/// Starts the thread. It ends when the sender is dropped.
pub(super) fn start(
    shelves: Shelves,
    link: LinkId,
    done: UnboundedSender<Finished>,
) -> std::io::Result<Sender<Job>> {
    let (sender, jobs) = channel();
    let builder = std::thread::Builder::new().name(format!("link-{}", link.0));
    builder.spawn(move || work(&shelves, link, &jobs, &done))?;
    Ok(sender)
}

fn work(shelves: &Shelves, link: LinkId, jobs: &Receiver<Job>, done: &UnboundedSender<Finished>) {
    let mut talks = Talks::new();
    while let Ok(job) = jobs.recv() {
        let bytes = job.bytes();
        let told = match job {
            Job::List(since) => list(shelves, since, done),
            Job::Find(id) => tell(done, find(shelves, id), bytes),
            Job::Describe(id) => tell(done, describe(shelves, id), bytes),
            Job::Read(id, have) => tell(done, read(shelves, id, &have), bytes),
            Job::Bring(token, id, update) => bring(shelves, link, (token, id, &update), done),
            Job::Sync(talk, id, message) => {
                tell(done, sync(shelves, link, &mut talks, talk, id, message.as_ref()), bytes)
            }
            Job::Reached(done) => {
                let _ = done.send(());
                Ok(())
            }
            Job::Over(talk) => {
                talks.remove(&talk);
                Ok(())
            }
            Job::Keep(id) => {
                shelves.keep(&id);
                Ok(())
            }
        };
        if told.is_err() {
            return; // The link is gone.
        }
    }
}

/// The end of a job.
fn tell(done: &UnboundedSender<Finished>, end: Done, bytes: usize) -> Result<(), ()> {
    done.send(Finished { done: end, bytes, ends_job: true }).map_err(drop)
}

fn describe(shelves: &Shelves, id: DocumentId) -> Done {
    match shelves.describe(&id) {
        Ok(have) => Done::Described(id, have),
        Err(error) => failed(id, Failed::Describe, &error),
    }
}

fn read(shelves: &Shelves, id: DocumentId, have: &StateVector) -> Done {
    match shelves.lacking(&id, have) {
        Ok((lacking, position)) => Done::Lacking(id, lacking, position),
        Err(error) => failed(id, Failed::Read, &error),
    }
}

/// What came is answered for whatever became of the document.
fn bring(
    shelves: &Shelves,
    link: LinkId,
    (token, id, update): (Token, DocumentId, &Update),
    done: &UnboundedSender<Finished>,
) -> Result<(), ()> {
    let not_here = |part| {
        done.send(Finished { done: part, bytes: 0, ends_job: false }).map_err(drop)?;
        Ok(Err("the document is not here any more".to_owned()))
    };
    let take = |document: YjsDocument| {
        if !document.take(update, Origin::Link(link))? {
            // It is known, though perhaps not on the disk yet.
            document.settle()?;
        }
        Ok(())
    };
    let brought = match shelves.document(&id).and_then(take) {
        Err(ReplicaError::Deleted { .. }) => not_here(Done::Gone(id))?,
        Err(ReplicaError::Evicted { .. }) => not_here(Done::Evicted(id))?,
        brought => brought.map_err(|error| error.to_string()),
    };
    tell(done, Done::Brought(token, brought), update.bytes().len())
}

fn find(shelves: &Shelves, id: DocumentId) -> Done {
    let is_evicted = shelves.is_evicted(&id);
    Done::Found(id, is_evicted)
}

fn failed(id: DocumentId, failed: Failed, error: &ReplicaError) -> Done {
    match error {
        ReplicaError::Deleted { .. } => Done::Gone(id),
        ReplicaError::Evicted { .. } => Done::Evicted(id),
        error => Done::Failed(id, failed, error.to_string()),
    }
}

fn list(shelves: &Shelves, since: Option<Checkpoint>, done: &UnboundedSender<Finished>) -> Result<(), ()> {
    let mut since = since;
    let page = |part, ends_job| done.send(Finished { done: part, bytes: 0, ends_job }).map_err(drop);
    loop {
        match shelves.store.changes(since.as_ref(), PAGE) {
            Ok(changes) => {
                let (up_to, last) = (changes.up_to, !changes.more);
                let here = changes.documents.into_iter().filter(|(id, _)| !shelves.is_evicted(id));
                page(Done::Listed { documents: here.collect(), last }, last)?;
                if last {
                    return Ok(());
                }
                since = Some(up_to);
            }
            Err(error) => return page(Done::Unlisted(error.to_string()), true),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::replica::Replica;

    /// Who brought it waits for the answer, and is in sync no sooner.
    #[test]
    fn what_comes_for_a_document_that_is_gone_is_answered_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let replica = Replica::open(folder.path()).unwrap();
        let id = DocumentId::yjs("d").unwrap();
        replica.yjs("d").unwrap().edit(|edit| edit.text("text").insert(0, "d")).unwrap();
        assert!(replica.remove("d").unwrap());
        let (sender, mut done) = unbounded_channel();
        let update = Update::empty();
        bring(replica.links.shelves(), LinkId(1), (Token(7), id.clone(), &update), &sender).unwrap();
        let first = done.try_recv().unwrap();
        assert!(matches!(&first.done, Done::Gone(gone) if *gone == id) && !first.ends_job);
        let second = done.try_recv().unwrap();
        assert!(matches!(second.done, Done::Brought(Token(7), Err(_))) && second.ends_job);
    }
}
