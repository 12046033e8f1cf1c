//! A member without a connection: somebody in this process who brings an update and wants to know when it is stored.
//!
//! To the room it is a member like any other, so what it brings is forwarded to everybody who is there, stored, and
//! acknowledged after the fsync; it hears nothing but that.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::sync::oneshot;
use tombolo_core::dialect::y_protocols::Message;
use tombolo_core::id::DocumentId;
use tombolo_core::room::{Acknowledgement, StoreRefused};
use tombolo_core::update::Update;

use super::limits::RoomLimits;
use super::onlooker::Onlooker;
use super::registry::Rooms;
use crate::backplane::fresh_name;
use crate::config::RelayConfig;
use crate::member::Archive;

/// How a guest hears what became of its update.
pub(super) type Verdict = oneshot::Sender<Result<(), StoreRefused>>;

/// The way into the rooms of a relay for those in the same process.
#[derive(Clone)]
pub struct Guests(Arc<Rooms>);

impl Guests {
    pub(crate) fn of(rooms: &Arc<Rooms>) -> Self {
        Self(Arc::clone(rooms))
    }

    /// Rooms in which nobody else will ever be: for a process that stores and does not serve.
    #[must_use]
    pub fn alone(archive: Arc<dyn Archive>) -> Self {
        let limits = RoomLimits::of(&RelayConfig::new((Ipv4Addr::LOCALHOST, 0).into()));
        Self(Rooms::new(
            Acknowledgement::Durable,
            Some(archive),
            Arc::default(),
            limits,
            (fresh_name(), false),
        ))
    }

    /// Who sees what goes on in them.
    #[must_use]
    pub fn onlooker(&self) -> Onlooker {
        Onlooker::of(&self.0)
    }

    /// Brings an update into the room of a document; completes when it is durable.
    ///
    /// # Errors
    /// [`StoreRefused`] if it will not be stored. Those who were in the room may have seen it.
    pub async fn bring(&self, document: &DocumentId, update: Update) -> Result<(), StoreRefused> {
        let (verdict, heard) = oneshot::channel();
        let seated = self.0.welcome(document, verdict);
        // A guest has no other request open, so it never asks for too much.
        let bytes = update.bytes().len();
        if seated.handle(Message::Update(update), bytes).is_err() {
            return Err(StoreRefused::Trouble);
        }
        // The room is gone only when the process ends.
        heard.await.unwrap_or(Err(StoreRefused::Trouble))
    }
}
