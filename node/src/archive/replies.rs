//! What automerge-repo sessions say, on its way from the disk's answer to the connections.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tombolo_core::id::DocumentId;
use tombolo_relay::member::{PairwisePeer, PairwisePort};

/// The connections.
pub(super) type Ports = Arc<Mutex<HashMap<PairwisePeer, Arc<dyn PairwisePort>>>>;

/// What one document has to say, once the disk has answered for it.
pub(super) struct Reply {
    pub(super) document: DocumentId,
    pub(super) messages: Vec<(u64, Bytes)>,
    pub(super) unavailable: BTreeSet<PairwisePeer>,
    pub(super) stored: bool,
}

/// Sends replies in the order in which the disk answered; ends with the last lane.
pub(super) async fn send_replies(ports: Ports, mut ready: UnboundedReceiver<Reply>) {
    while let Some(Reply { document, messages, unavailable, stored }) = ready.recv().await {
        for (peer, message) in messages {
            match port(&ports, PairwisePeer(peer)) {
                Some(port) if stored => port.sync(&document, message),
                Some(port) => port.refuse("the document cannot be stored now"),
                None => {}
            }
        }
        for peer in unavailable {
            if let Some(port) = port(&ports, peer).filter(|_| stored) {
                port.unavailable(&document);
            }
        }
    }
}

/// The connection of a peer, if it is still there.
pub(super) fn port(ports: &Ports, peer: PairwisePeer) -> Option<Arc<dyn PairwisePort>> {
    ports.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).cloned()
}
