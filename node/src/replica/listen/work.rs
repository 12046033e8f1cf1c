//! What rooms ask of the replica, done one after the other on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tombolo_core::id::DocumentId;
use tombolo_core::room::{Answer, MemberId, StoreRefused, Ticket};
use tombolo_core::update::{Coverage, StateVector, Update, diff};
use tombolo_relay::member::{Pressure, update_weight};

use super::archive::Room;
use crate::refusal::{refusal, unreadable};
use crate::replica::changes::Origin;
use crate::replica::error::ReplicaError;
use crate::replica::link::{LinkId, Shelves};

/// What is to be done.
pub(super) enum Job {
    Store(Arc<Room>, Ticket, Update),
    Read(Arc<Room>, MemberId, StateVector),
}

/// Starts the thread. It ends when all senders are dropped.
pub(super) fn start(shelves: Shelves, link: LinkId, pressure: Arc<Pressure>) -> std::io::Result<Sender<Job>> {
    let (sender, jobs) = channel();
    let builder = std::thread::Builder::new().name("listen".to_owned());
    builder.spawn(move || work(&shelves, link, &jobs, &pressure))?;
    Ok(sender)
}

fn work(shelves: &Shelves, link: LinkId, jobs: &Receiver<Job>, pressure: &Pressure) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Store(room, ticket, update) => {
                let stored = store(shelves, link, &room, &update).map_err(|error| refused(&room.id, &error));
                pressure.remove(update_weight(&update));
                room.port.stored(&[(ticket, stored)]);
            }
            Job::Read(room, asker, have) => {
                let answer = read(shelves, &room, &have).map_err(|error| refused(&room.id, &error));
                room.port.answered(asker, answer);
            }
        }
    }
}

fn store(shelves: &Shelves, link: LinkId, room: &Room, update: &Update) -> Result<(), ReplicaError> {
    let document = shelves.document(&room.id)?;
    if update.is_empty() || !document.take(update, Origin::Link(link))? {
        // It is known, though perhaps not on the disk yet.
        document.settle()?;
    }
    Ok(())
}

/// Everything that is handed out is fsynced before.
fn read(shelves: &Shelves, room: &Room, have: &StateVector) -> Result<Answer, ReplicaError> {
    let document = shelves.document(&room.id)?;
    let updates = document.updates()?;
    document.settle()?;
    let mut coverage = Coverage::default();
    for update in &updates {
        coverage.add(update);
    }
    Ok(Answer { update: diff(&updates, have), state_vector: coverage.state_vector() })
}

/// What is said about a document with which something cannot be done.
pub(super) fn refused(document: &DocumentId, error: &ReplicaError) -> StoreRefused {
    let reason = match error {
        ReplicaError::Deleted { .. } => StoreRefused::Deleted,
        ReplicaError::NotStored(error) => refusal(error),
        ReplicaError::Read(error) => unreadable(error),
        ReplicaError::Unreadable { .. } => StoreRefused::Damaged,
        _ => StoreRefused::Trouble,
    };
    tracing::warn!(%document, %error, "a document is not synced");
    reason
}
