//! The backplane: what joins relays. It carries opaque messages and knows neither rooms' meaning nor documents.
//!
//! What it guarantees: messages of one sender to the same addressee arrive in their order, once or not at all; nobody
//! hears what it said itself. What it does not: that anything arrives. Who needs that counts, and asks again.
//!
//! All that a process says goes through its hub ([`Hub`]), which knows who is joined in the process: the relay itself,
//! and who came through the door `/native`. Behind the hub may be one link to other machines: NATS, or the door of
//! another relay.

mod address; // where others are
pub mod dial; // through the door of a relay
mod inbox; // what waits to be heard
mod link; // made, carried and made anew
mod local; // the hub
mod native; // the link to the door of another relay
#[cfg(feature = "nats")]
mod nats; // the link through NATS
mod outbox; // what waits to be said elsewhere
#[cfg(feature = "nats")]
mod subject; // what NATS calls those to whom something is said
#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tombolo_core::cluster::{Sender, To};
use tombolo_core::id::{DocumentId, PeerId};

pub use address::{InvalidAddress, NatsAddress, RelayAddress, Token};
pub use link::Failure;
pub use local::{Hub, NameTaken, Participant};
pub use tombolo_core::cluster::MESSAGE_BYTES_MAX;

/// What joins relays. Calls never block.
pub trait Backplane: Send + Sync + 'static {
    /// Says something of at most [`MESSAGE_BYTES_MAX`] bytes. While the backplane is away it is lost.
    fn say(&self, to: &To, message: Bytes);
    /// Hears what is said to a room from now on: all that is said after anything that this one says from now on.
    fn listen(&self, document: &DocumentId);
    /// Hears it no more.
    fn unlisten(&self, document: &DocumentId);
}

/// Who hears. Calls come one at a time, in order, and must not block for long.
pub trait Hearer: Send + Sync + 'static {
    /// The backplane is there, for the first time or again; nothing is listened to yet but [`To::Everybody`] and
    /// [`To::Peer`] with the own name. The one that was given before is deaf and dumb.
    fn up(&self, backplane: Arc<dyn Backplane>);
    /// Something was said by another.
    fn hear(&self, to: &To, message: Bytes);
    /// Whether the last call left something that takes long: reading what is large.
    fn has_unread(&self) -> bool {
        false
    }
    /// Does it. Called on a thread where nobody else waits, before the next call.
    fn read_aside(&self) {}
    /// The backplane is away, or lost messages: nothing is known of the others any more until it is up again. It may
    /// be up again at once, and others may be there: those in the same process, for instance.
    fn down(&self, reason: &str);
    /// Another that was joined in this process is gone, for whom nobody else says goodbye; `said` is under which start it
    /// spoke to everybody last. Comes also while the backplane is away.
    fn went(&self, _peer: PeerId, _said: Option<Sender>) {}
    /// Whether it cannot take more now: then what is said waits, and the next `up`.
    fn is_busy(&self) -> bool {
        false
    }
}

/// What joins a process with others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Nothing. Others may come through the door.
    #[default]
    None,
    /// One of these NATS servers.
    Nats(Vec<NatsAddress>),
    /// The door of one of these relays, and the token that opens it.
    Relays(Vec<RelayAddress>, Option<Token>),
}

/// How it stands with the link to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is to be none.
    None,
    /// It is there.
    Up {
        /// Where to.
        to: String,
    },
    /// It is not.
    Away {
        /// Why not, and what to do.
        why: String,
    },
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("joined with no other relay"),
            Self::Up { to } => write!(f, "joined through {to}"),
            Self::Away { why } => f.write_str(why),
        }
    }
}

/// The backplane of this process. Cheap to clone.
#[derive(Clone)]
pub struct Plane {
    name: PeerId,
    hub: Hub,
    status: Arc<Mutex<Status>>,
    keeping: Arc<Keeping>,
}

/// Starts the backplane of a process of this name, and its link, which is tried for ever if it is not there. Must be
/// called in a tokio runtime.
#[must_use]
pub fn start(link: Link, name: PeerId) -> Plane {
    let hub = Hub::new(local::WAITING_BYTES_MAX);
    let away = |why: &str| Arc::new(Mutex::new(Status::Away { why: why.to_owned() }));
    let (status, keeping) = match link {
        Link::None => (Arc::new(Mutex::new(Status::None)), None),
        Link::Relays(addresses, token) => {
            let status = away("not yet joined with another relay");
            let door = native::DoorOf { name, token };
            let keeping = link::keep(door, addresses, hub.clone(), Arc::clone(&status));
            (status, Some(tokio::spawn(keeping)))
        }
        #[cfg(feature = "nats")]
        Link::Nats(addresses) => {
            let status = away("not yet joined with NATS");
            let keeping = link::keep(nats::Nats(name), addresses, hub.clone(), Arc::clone(&status));
            (status, Some(tokio::spawn(keeping)))
        }
        #[cfg(not(feature = "nats"))]
        Link::Nats(_) => (away("this program was built without NATS; build it with the feature nats"), None),
    };
    let keeping = Arc::new(Keeping(Mutex::new(keeping)));
    Plane { name, hub, status, keeping }
}

/// The task that keeps the link; it ends with the last who has the plane.
struct Keeping(Mutex<Option<JoinHandle<()>>>);

impl Keeping {
    fn take(&self) -> Option<JoinHandle<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(keeping) = self.take() {
            keeping.abort();
        }
    }
}

/// A name that no other process has: 8 bytes that the system chose at random.
#[must_use]
pub fn fresh_name() -> PeerId {
    PeerId(RandomState::new().hash_one(()))
}

impl Plane {
    /// The name of this process.
    #[must_use]
    pub fn name(&self) -> PeerId {
        self.name
    }

    /// Where to join: this process under its name, guests under theirs.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// How it stands with the link.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the link, after all that was said if that takes no longer than a second.
    pub async fn stop(&self) {
        let Some(mut keeping) = self.keeping.take() else { return };
        self.hub.end_link();
        if tokio::time::timeout(Duration::from_secs(1), &mut keeping).await.is_err() {
            keeping.abort();
        }
    }
}
