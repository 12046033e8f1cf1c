//! What was evicted, back again.

use std::time::{Duration, Instant};

use tombolo_core::id::{DocumentId, Format};
use tombolo_core::session::{Lag, Standing};
use tombolo_core::update::StateVector;
use tombolo_store::Stub;

use super::space::lock;
use crate::replica::automerge::AutomergeDocument;
use crate::replica::document::YjsDocument;
use crate::replica::error::ReplicaError;
use crate::replica::handle::Replica;
use crate::replica::link::{Links, Shelves};

/// How often it is looked whether all of it has come.
const LOOK: Duration = Duration::from_millis(10);

/// A document that was fetched, or was here.
#[derive(Clone)]
pub enum Fetched {
    /// A Yjs document.
    Yjs(YjsDocument),
    /// An Automerge document.
    Automerge(AutomergeDocument),
}

/// A document of an evicted one's name: what has come so far.
enum Coming {
    Yjs(YjsDocument),
    Automerge(AutomergeDocument),
}

impl Replica {
    /// Brings an evicted document back through the links, before anything else, and opens it; one that is here is opened.
    /// Who keeps it need not be the one who kept it then. Blocking, for at most this long.
    ///
    /// # Errors
    /// [`ReplicaError::NotFetched`] with why, if not all of it has come by then; it is a stub as before. Else as for
    /// [`Replica::yjs`].
    pub fn fetch(&self, document: &DocumentId, limit: Duration) -> Result<Fetched, ReplicaError> {
        let store = self.store();
        if let Some(stub) = store.stub(document).map_err(ReplicaError::read)? {
            let end = Instant::now() + limit;
            let _fetching = self.links.shelves().space.fetch(document);
            let fetched = bring(&self.links, document, &stub, end);
            self.links.fetch(document, false);
            if fetched.is_err() {
                give_up(&self.links, document);
            }
            fetched?;
        }
        Ok(match document.format() {
            Format::Yjs => Fetched::Yjs(self.yjs(&document.to_string())?),
            Format::Automerge => Fetched::Automerge(self.automerge(&document.to_string())?),
        })
    }
}

/// Waits until all of it has come, and takes the stub away.
fn bring(links: &Links, id: &DocumentId, stub: &Stub, end: Instant) -> Result<(), ReplicaError> {
    let shelves = links.shelves();
    let coming = Coming::open(shelves, id)?;
    links.fetch(id, true);
    loop {
        if shelves.store.stub(id).map_err(ReplicaError::read)?.is_none() {
            // Somebody else has fetched it.
            return Ok(());
        }
        let stands = links.explain(id);
        let is_first =
            |standing: &Standing| matches!(standing.lag, None | Some(Lag::Unacknowledged | Lag::Unkept));
        // If it is not known what it had, only who had it can tell.
        let keepers = if stub.had.is_empty() { links.to_keeper(stub.keeper) } else { Vec::new() };
        let counts = |url: &String| !stub.had.is_empty() || keepers.contains(url);
        let is_there =
            stands.iter().any(|(url, standing)| counts(url) && standing.as_ref().is_some_and(is_first));
        if is_there && coming.has(&stub.had)? {
            coming.settle()?;
            return shelves.store.fetched(id).map_err(ReplicaError::read);
        }
        let parked = |(url, standing): &(String, Option<Standing>)| match standing.as_ref()?.lag.as_ref()? {
            Lag::Parked { reason, .. } => Some(format!("{url} refuses it: {reason}")),
            _ => None,
        };
        let reasons: Vec<_> = stands.iter().filter_map(parked).collect();
        if Instant::now() >= end || reasons.len() == stands.len() {
            let reason = match (stands.len(), is_there) {
                _ if !reasons.is_empty() => reasons.join(", "),
                (0, _) => "there is no link".to_owned(),
                (_, true) => "not all that it had is there".to_owned(),
                (_, false) => "it has not come in time".to_owned(),
            };
            let (document, address) = (id.clone(), stub.address.clone());
            return Err(ReplicaError::NotFetched { document, address, reason });
        }
        std::thread::sleep(LOOK);
    }
}

impl Coming {
    fn open(shelves: &Shelves, id: &DocumentId) -> Result<Self, ReplicaError> {
        Ok(match id.format() {
            Format::Yjs => Self::Yjs(shelves.document(id)?),
            Format::Automerge => Self::Automerge(shelves.automerge_document(id)?),
        })
    }

    fn settle(&self) -> Result<(), ReplicaError> {
        match self {
            Self::Yjs(document) => document.settle(),
            Self::Automerge(document) => document.settle(),
        }
    }

    /// Whether all of what [`Stub::had`] says is here.
    fn has(&self, had: &[u8]) -> Result<bool, ReplicaError> {
        match self {
            Self::Yjs(document) => {
                let had = StateVector::parse(had).unwrap_or_default();
                let have = document.state_vector()?;
                Ok(had.iter().all(|(client, clock)| have.get(client) >= clock))
            }
            Self::Automerge(document) => document.has_heads(had),
        }
    }
}

/// What has come of it so far takes room, and nobody may read it.
fn give_up(links: &Links, id: &DocumentId) {
    let shelves = links.shelves();
    let _one = lock(&shelves.space.making_room);
    if shelves.store.stub(id).is_ok_and(|stub| stub.is_some()) {
        links.evicted(id);
    }
    let store = &shelves.store;
    let given_up = store.flush().and_then(|()| store.fetch(id)?.standing()).and_then(|standing| match store
        .stub(id)?
    {
        Some(stub) => store.evict(id, &standing, &stub.into()).map(drop),
        None => Ok(()),
    });
    if let Err(error) = given_up {
        tracing::debug!(document = %id, %error, "what was fetched of a document stays for now");
    }
}
