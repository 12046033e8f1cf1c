//! A replica that others link to directly: the relay of a node in this process, and this replica in the archive's seat.
//!
//! Guarantees: what others bring is fsynced here before it is acknowledged, and what is edited here is handed to whoever
//! has the document open when it is fsynced. Stock clients are served, too.

mod archive; // this replica in the archive's seat
mod following; // who hears of changes
mod pairs; // Automerge documents
mod work; // on Yjs documents

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tombolo_relay::admission::{Admission, Everybody, Tokens};
use tombolo_relay::backplane::Token;
use tombolo_relay::{Parts, Relay, RelayConfig};

use self::archive::ReplicaArchive;
use super::error::ReplicaError;
use super::link::{LinkId, Shelves};

/// Who may link to a replica that listens.
#[derive(Clone, Debug, Default)]
pub struct ListenOptions {
    /// What opens it. Without one only this machine may be listened to.
    pub token: Option<Token>,
    /// What opens it for reading; of use beside the other only.
    pub read_only_token: Option<Token>,
    /// This replica gives nothing up and is given no budget while it is open, so that others with a budget may count on it, as
    /// they do on a node. Without this they keep what is only here and there: both might give it up.
    pub keeps_all: bool,
}

/// A replica that listens, until this is stopped.
pub(super) struct Listening {
    relay: Relay,
    archive: Arc<ReplicaArchive>,
    address: SocketAddr,
}

/// How long connections have to end well.
const END: Duration = Duration::from_secs(2);

impl Listening {
    /// Blocking.
    pub(super) fn start(
        shelves: Shelves,
        id: LinkId,
        handle: &Handle,
        address: SocketAddr,
        options: ListenOptions,
    ) -> Result<Self, ReplicaError> {
        // Nobody is a peer of it, least of all without what opens it.
        let peer_token = options.token.clone();
        let admission: Arc<dyn Admission> = match options.token {
            Some(token) => Arc::new(Tokens::new(token, options.read_only_token)),
            None if address.ip().is_loopback() => Arc::new(Everybody),
            None => return Err(ReplicaError::Exposed { address }),
        };
        if options.keeps_all {
            if !shelves.store.stubs().map_err(ReplicaError::read)?.is_empty() {
                return Err(ReplicaError::KeepsAll);
            }
            shelves.space.keep_all()?;
        }
        let archive = Arc::new(ReplicaArchive::start(shelves, id, handle.clone(), options.keeps_all)?);
        let parts = Parts { admission, archive: Some(Arc::clone(&archive) as Arc<_>), routes: None };
        let config = RelayConfig { threads: 1, peer_token, ..RelayConfig::new(address) };
        let relay = on(handle, Relay::start(config, parts));
        let relay = relay.ok_or(ReplicaError::Closed).and_then(|relay| relay.map_err(ReplicaError::Listen));
        let relay = relay.inspect_err(|_| archive.stop())?;
        Ok(Self { address: relay.local_addr(), relay, archive })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Blocking.
    pub(super) fn stop(self, handle: &Handle) {
        on(handle, self.relay.stop(END));
        self.archive.stop();
    }
}

/// Waits for what runs elsewhere. None if that has ended.
fn on<T: Send + 'static>(handle: &Handle, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    handle.spawn(async move { drop(sender.send(work.await)) });
    receiver.recv().ok()
}
