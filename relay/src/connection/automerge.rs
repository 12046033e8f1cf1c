//! automerge-repo: pairwise sync sessions that end at the archive, and ephemeral messages between clients.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::automerge_repo::{Message, PeerMetadata, parse};
use tombolo_core::id::DocumentId;

use super::queue::Queue;
use super::{Closing, Dialect, PresenceAllowance, frame};
use crate::admission::Claim;
use crate::listener::Shared;
use crate::member::{PairwisePeer, PairwisePort};
use crate::room::Listener;

/// The one version of the protocol that exists.
const PROTOCOL_VERSION: &str = "1";
/// What is said after the `error` message; stock clients only look at the close itself.
const CLOSE_REFUSED: u16 = 1008;

struct Joined {
    client: Arc<str>,
    peer: PairwisePeer,
    listener: Listener,
}

/// An automerge-repo connection.
pub(crate) struct Automerge {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    address: SocketAddr,
    joined: Option<Joined>,
    presence: PresenceAllowance,
}

impl Automerge {
    pub(crate) fn new(shared: &Arc<Shared>, queue: &Arc<Queue>, address: SocketAddr) -> Self {
        let (shared, queue) = (Arc::clone(shared), Arc::clone(queue));
        Self { shared, queue, address, joined: None, presence: PresenceAllowance::default() }
    }

    /// Clients in Node throw on a failed handshake, so every refusal comes after it: `error`, then close.
    fn refuse(&self, message: &str, reason: &'static str) -> Closing {
        let error = Message::Error { sender: None, target: None, message: message.to_owned() };
        self.queue.answer(frame::binary(&[&error.encode()]));
        Closing::refused(CLOSE_REFUSED, message, reason)
    }

    fn join(&mut self, sender: &str, versions: &[String]) -> Result<(), Closing> {
        if self.joined.is_some() {
            return Err(self.refuse("a connection joins once", "second_join"));
        }
        if !versions.iter().any(|version| version == PROTOCOL_VERSION) {
            return Err(self.refuse("unsupported protocol version", "protocol_version"));
        }
        let Some(archive) = &self.shared.archive else {
            return Err(self.refuse(
                "this relay keeps no documents; automerge-repo needs a server that does",
                "no_archive",
            ));
        };
        let claim = Claim { address: self.address, document: None, token: None };
        self.shared.admission.admit(&claim).map_err(|denied| self.refuse(&denied.reason, "admission"))?;
        let client: Arc<str> = sender.into();
        let end = archive.pairwise();
        let port = Port {
            queue: Arc::clone(&self.queue),
            client: Arc::clone(&client),
            server: end.peer_id().into(),
        };
        let metadata = PeerMetadata { storage_id: Some(end.storage_id().to_owned()), is_ephemeral: false };
        let peer = Message::Peer {
            sender: end.peer_id().to_owned(),
            target: sender.to_owned(),
            metadata,
            version: PROTOCOL_VERSION.to_owned(),
        };
        self.queue.answer(frame::binary(&[&peer.encode()]));
        let peer = end.join(Arc::new(port));
        let listener = self.shared.gossip.listener(&self.queue, &client);
        self.joined = Some(Joined { client, peer, listener });
        Ok(())
    }

    fn receive(&self, document: DocumentId, data: Bytes, wants: bool) -> Result<(), Closing> {
        if let (Some(joined), Some(archive)) = (&self.joined, &self.shared.archive) {
            self.hear(joined, &document)?;
            archive.pairwise().receive(joined.peer, document, data, wants);
        }
        Ok(())
    }

    fn hear(&self, joined: &Joined, document: &DocumentId) -> Result<(), Closing> {
        if joined.listener.hear(document, self.shared.config.documents_per_connection_max) {
            Ok(())
        } else {
            Err(self.refuse("too many documents on one connection", "documents_per_connection"))
        }
    }
}

impl Dialect for Automerge {
    fn message(&mut self, payload: Bytes) -> Result<(), Closing> {
        let message = parse(&payload).map_err(|error| self.refuse(&error.to_string(), error.reason()))?;
        if let Some(Message::Join { sender, versions, .. }) = &message {
            return self.join(sender, versions);
        }
        let Some(joined) = &self.joined else {
            return Err(self.refuse("the first message must be join", "not_joined"));
        };
        // A type of a later version: stock servers ignore it, and a close would only make the client come back.
        let Some(message) = message else { return Ok(()) };
        let sender = match &message {
            Message::Request { sender, .. }
            | Message::Sync { sender, .. }
            | Message::DocUnavailable { sender, .. }
            | Message::Leave { sender }
            | Message::RemoteSubscriptionChange { sender, .. }
            | Message::RemoteHeadsChanged { sender, .. } => sender,
            // Clients pass on what they hear under its author's name; only an author's own counts.
            Message::Ephemeral { sender, .. } if **sender != *joined.client => return Ok(()),
            Message::Ephemeral { sender, .. } => sender,
            _ => return Err(self.refuse("this message is for servers to send", "server_only")),
        };
        if **sender != *joined.client {
            return Err(self.refuse("the sender is not who joined on this connection", "foreign_sender"));
        }
        match message {
            Message::Request { document, data, .. } => self.receive(document, data, true)?,
            Message::Sync { document, data, .. } => self.receive(document, data, false)?,
            Message::Ephemeral { document, count, session, data, .. } => {
                self.presence.spend(&self.shared, &self.queue);
                self.hear(joined, &document)?;
                joined.listener.say(&document, count, &session, &data);
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, _text: &str) -> Result<(), Closing> {
        Err(self.refuse("this dialect has binary messages only", "text_message"))
    }
}

impl Drop for Automerge {
    fn drop(&mut self) {
        if let (Some(joined), Some(archive)) = (&self.joined, &self.shared.archive) {
            archive.pairwise().leave(joined.peer);
        }
    }
}

struct Port {
    queue: Arc<Queue>,
    client: Arc<str>,
    server: Arc<str>,
}

impl PairwisePort for Port {
    fn sync(&self, document: &DocumentId, data: Bytes) {
        let (sender, target) = (self.server.to_string(), self.client.to_string());
        let message = Message::Sync { sender, target, document: document.clone(), data };
        self.queue.answer(frame::binary(&[&message.encode()]));
    }

    fn unavailable(&self, document: &DocumentId) {
        let (sender, target) = (self.server.to_string(), self.client.to_string());
        let message = Message::DocUnavailable { sender, target, document: document.clone() };
        self.queue.answer(frame::binary(&[&message.encode()]));
    }

    fn refuse(&self, reason: &str) {
        let message = Message::Error { sender: None, target: None, message: reason.to_owned() };
        self.queue.answer(frame::binary(&[&message.encode()]));
        self.queue.close(CLOSE_REFUSED, reason);
    }
}
