//! A link's work on the store, on a thread of its own: it blocks for the disk and hydrates documents.
//!
//! Guarantees: jobs are done in their order; what is read for the other end is durable here before it is handed out.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tombolo_core::engine::edit::Live as Yjs;
use tombolo_core::id::DocumentId;
use tombolo_core::session::Token;
use tombolo_core::update::{self, Coverage, StateVector, Update};
use tombolo_store::{Checkpoint, Store};

use super::LinkId;
use super::hub::Hub;
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
    /// List what changed since this; everything if there is none.
    List(Option<Checkpoint>),
}

/// What came of it.
pub(super) enum Done {
    Described(DocumentId, StateVector),
    Lacking(DocumentId, Bytes, u64),
    Brought(Token, Result<(), String>),
    /// A page of documents with the positions of their last changes.
    Listed {
        documents: Vec<(DocumentId, u64)>,
        last: bool,
    },
    /// The document cannot be had here: it was deleted, or cannot be read.
    Gone(DocumentId, String),
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
    pub(in crate::replica) hub: Arc<Hub>,
}

impl Shelves {
    pub(in crate::replica) fn document(&self, id: &DocumentId) -> Result<YjsDocument, ReplicaError> {
        self.yjs.open(&self.store, &self.hub, id).map(YjsDocument::of)
    }

    fn describe(&self, id: &DocumentId) -> Result<StateVector, ReplicaError> {
        let mut coverage = Coverage::default();
        for update in &self.document(id)?.updates()? {
            coverage.add(update);
        }
        Ok(coverage.state_vector())
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

/// Starts the thread. It ends when the sender is dropped.
pub(super) fn start(
    shelves: Shelves,
    link: LinkId,
    done: UnboundedSender<Done>,
) -> std::io::Result<Sender<Job>> {
    let (sender, jobs) = channel();
    let builder = std::thread::Builder::new().name(format!("link-{}", link.0));
    builder.spawn(move || work(&shelves, link, &jobs, &done))?;
    Ok(sender)
}

fn work(shelves: &Shelves, link: LinkId, jobs: &Receiver<Job>, done: &UnboundedSender<Done>) {
    while let Ok(job) = jobs.recv() {
        let told = match job {
            Job::Describe(id) => match shelves.describe(&id) {
                Ok(have) => done.send(Done::Described(id, have)),
                Err(error) => done.send(Done::Gone(id, error.to_string())),
            },
            Job::Read(id, have) => match shelves.lacking(&id, &have) {
                Ok((lacking, position)) => done.send(Done::Lacking(id, lacking, position)),
                Err(error) => done.send(Done::Gone(id, error.to_string())),
            },
            Job::Bring(token, id, update) => {
                let brought =
                    shelves.document(&id).and_then(|document| document.take(&update, Origin::Link(link)));
                match brought {
                    Err(ReplicaError::Deleted { .. }) => {
                        done.send(Done::Gone(id, "it was deleted here".to_owned()))
                    }
                    brought => done
                        .send(Done::Brought(token, brought.map(|_| ()).map_err(|error| error.to_string()))),
                }
            }
            Job::List(since) => list(shelves, since, done),
        };
        if told.is_err() {
            return; // The link is gone.
        }
    }
}

fn list(
    shelves: &Shelves,
    since: Option<Checkpoint>,
    done: &UnboundedSender<Done>,
) -> Result<(), tokio::sync::mpsc::error::SendError<Done>> {
    let mut since = since;
    loop {
        match shelves.store.changes(since.as_ref(), PAGE) {
            Ok(changes) => {
                let (documents, up_to, last) = (changes.documents, changes.up_to, !changes.more);
                done.send(Done::Listed { documents, last })?;
                if last {
                    return Ok(());
                }
                since = Some(up_to);
            }
            Err(error) => return done.send(Done::Unlisted(error.to_string())),
        }
    }
}
