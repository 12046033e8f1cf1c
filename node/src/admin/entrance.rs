//! How what is asked for becomes a change: through whoever has the documents open.
//!
//! Guarantees: what is brought is durable when it is answered, and reaches everybody who has the document open: the
//! clients of a server, or the links of a replica.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::update::Update;
use tombolo_relay::{Guests, Onlooker};
use tombolo_store::Release;

use super::desk::Desk;
use super::protocol::{Code, Failure};
use super::visitor;
use crate::archive::StoreArchive;
use crate::replica::{Replica, ReplicaError};

/// How long an import waits for the disk before it says that it does not know.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Who has documents open.
#[derive(Clone)]
pub(super) enum Entrance {
    /// A server's archive and its rooms, or ones of a command's own.
    Rooms { archive: Arc<StoreArchive>, guests: Guests, runtime: Handle },
    /// A replica with its links.
    Replica(Replica),
}

impl Entrance {
    pub(super) fn bring_update(&self, id: &DocumentId, update: Update) -> Result<(), Failure> {
        match self {
            Self::Replica(replica) => {
                replica.yjs(&id.to_string())?.apply(update.bytes())?;
                Ok(())
            }
            Self::Rooms { guests, runtime, .. } => {
                let brought = async { tokio::time::timeout(PATIENCE, guests.bring(id, update)).await };
                match runtime.block_on(brought) {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(refused)) => {
                        Err(Failure::new(Code::Refused, format!("document {id} was not stored: {refused}")))
                    }
                    Err(_) => Err(unknown(id)),
                }
            }
        }
    }

    pub(super) fn bring_changes(&self, desk: &Desk, id: &DocumentId, changes: &Bytes) -> Result<(), Failure> {
        match self {
            Self::Replica(replica) => {
                visitor::check_complete(desk, id, changes)?;
                replica.automerge(&format!("automerge:{id}"))?.apply(changes)?;
                Ok(())
            }
            Self::Rooms { archive, .. } => visitor::bring_changes(desk, archive, id, changes),
        }
    }

    /// Deletes a document; false if there is none.
    pub(super) fn remove(&self, id: &DocumentId) -> Result<bool, Failure> {
        match self {
            Self::Replica(replica) => Ok(replica.remove_document(id)?),
            Self::Rooms { archive, .. } => Ok(archive.remove(id)?),
        }
    }

    /// Puts an operation in quarantine back, or gives it up; false if there is none of that name.
    pub(super) fn release(
        &self,
        id: &DocumentId,
        name: (ReplicaId, Seq),
        release: Release,
    ) -> Result<bool, Failure> {
        match self {
            Self::Replica(_) => Err(unfit("quarantine is opened")),
            Self::Rooms { archive, .. } => Ok(archive.release(id, name, release)?),
        }
    }

    pub(super) fn onlooker(&self) -> Result<Onlooker, Failure> {
        match self {
            Self::Replica(_) => Err(unfit("rooms are watched")),
            Self::Rooms { guests, .. } => Ok(guests.onlooker()),
        }
    }
}

fn unfit(what: &str) -> Failure {
    Failure::unfit(format!(
        "`tombolo note sync --stay` has this folder; {what} while a server or nobody has it"
    ))
}

/// The disk has not answered.
pub(super) fn unknown(id: &DocumentId) -> Failure {
    let seconds = PATIENCE.as_secs();
    Failure::new(
        Code::Store,
        format!(
            "the disk did not say within {seconds} s that document {id} is stored; importing it again does no harm"
        ),
    )
}

impl From<ReplicaError> for Failure {
    fn from(error: ReplicaError) -> Self {
        match error {
            ReplicaError::Read(error) => error.into(),
            error => Self::new(Code::Refused, error.to_string()),
        }
    }
}
