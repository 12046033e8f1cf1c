//! automerge-repo: pairwise sync sessions that end at the archive or, where there is none, at the other clients; and
//! between clients, ephemeral messages and word of heads.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::automerge_repo::{Message, PeerMetadata, parse};
use tombolo_core::id::DocumentId;
use tombolo_core::pairs::Slot;

use super::queue::Queue;
use super::{Closing, Dialect, PresenceAllowance, frame};
use crate::admission::Denied;
use crate::listener::Shared;
use crate::member::{Archive, PairwisePeer, PairwisePort};
use crate::room::{Ear, Listener, Names, PROTOCOL_VERSION, PairRooms};

/// What is said after the `error` message; stock clients only look at the close itself.
const CLOSE_REFUSED: u16 = 1008;

struct Joined {
    client: String,
    listener: Listener,
    session: Option<Session>,
}

/// A session at the archive; dropping it leaves.
struct Session {
    archive: Arc<dyn Archive>,
    peer: PairwisePeer,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.archive.pairwise().leave(self.peer);
    }
}

/// An automerge-repo connection.
pub(crate) struct Automerge {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    address: SocketAddr,
    host: Box<str>,
    denied: Option<Denied>,
    joined: Option<Joined>,
    presence: PresenceAllowance,
}

impl Automerge {
    pub(crate) fn new(shared: &Arc<Shared>, queue: &Arc<Queue>, address: SocketAddr, host: &str) -> Self {
        let (shared, queue) = (Arc::clone(shared), Arc::clone(queue));
        let presence = PresenceAllowance::default();
        Self { shared, queue, address, host: host.into(), denied: None, joined: None, presence }
    }

    /// One that may not join; it is told so when it wants to.
    pub(crate) fn denied(self, denied: Denied) -> Self {
        Self { denied: Some(denied), ..self }
    }

    fn refuse(&self, message: &str, reason: &'static str) -> Closing {
        // Through a tunnel nobody else says so here.
        tracing::debug!(address = %self.address, reason, "an automerge-repo client was refused");
        refuse(&self.queue, message, reason)
    }

    fn join(&mut self, sender: &str, metadata: PeerMetadata, versions: &[String]) -> Result<(), Closing> {
        if self.joined.is_some() {
            return Err(self.refuse("a connection joins once", "second_join"));
        }
        if !versions.iter().any(|version| version == PROTOCOL_VERSION) {
            return Err(self.refuse("unsupported protocol version", "protocol_version"));
        }
        if let Some(denied) = &self.denied {
            return Err(self.refuse(&denied.reason, "admission"));
        }
        let archive = self.shared.archive.clone();
        let end = archive.as_ref().map(|archive| archive.pairwise());
        let names = end.map_or_else(|| Names::slots(&self.host), |end| Names::Archive(end.peer_id().into()));
        let ear = Ear::new(&self.queue, sender, metadata.storage_id, names, &self.shared.metrics);
        let storage = end.map(|end| end.storage_id().to_owned());
        ear.greet(storage.clone());
        let session = archive.zip(storage).map(|(archive, storage)| {
            let port = Port { ear: Arc::clone(&ear), rooms: Arc::clone(&self.shared.pair_rooms), storage };
            let peer = archive.pairwise().join(Arc::new(port));
            Session { archive, peer }
        });
        let listener = Listener::new(&self.shared.pair_rooms, &ear);
        self.joined = Some(Joined { client: sender.to_owned(), listener, session });
        Ok(())
    }

    /// A message of the client itself.
    fn receive(&mut self, message: Message) -> Result<(), Closing> {
        if matches!(message, Message::Leave { .. }) {
            self.joined = None;
            return Ok(());
        }
        let documents_max = self.shared.config.documents_per_connection_max;
        let Some(joined) = &mut self.joined else { return Ok(()) };
        if let Message::Request { document, data, .. }
        | Message::Sync { document, data, .. }
        | Message::Ephemeral { document, data, .. } = &message
        {
            if !joined.listener.open(document, documents_max) {
                return Err(self.refuse("too many documents on one connection", "documents_per_connection"));
            }
            if let Some(wait) = joined.listener.count(document, data.len()) {
                self.shared.metrics.slow("room_rate");
                self.queue.hold(wait);
            }
        }
        if matches!(message, Message::Ephemeral { .. }) {
            self.presence.spend(&self.shared, &self.queue);
        }
        if joined.deliver(message) {
            Ok(())
        } else {
            Err(self.refuse("too many subscriptions to heads", "subscriptions"))
        }
    }
}

impl Joined {
    /// False if it subscribes to too much.
    fn deliver(&self, message: Message) -> bool {
        let listener = &self.listener;
        let slot = |target: &str| listener.ear().names().slot(target);
        match message {
            Message::Request { document, target, data, .. } => self.sync(document, target, data, true),
            Message::Sync { document, target, data, .. } => self.sync(document, target, data, false),
            Message::DocUnavailable { document, target, .. } => {
                if let Some(slot) = slot(&target) {
                    listener.unavailable(&document, slot);
                }
            }
            Message::Ephemeral { document, target, count, session, data, .. } => {
                if let Some(slot) = slot(&target) {
                    listener.say(&document, slot, count, &session, &data);
                }
            }
            // These speak of the connection as a whole, and clients say them to each peer.
            Message::RemoteSubscriptionChange { target, add, remove, .. } => {
                return slot(&target) != Some(Slot(0)) || listener.subscribe(add, &remove);
            }
            Message::RemoteHeadsChanged { document, target, new_heads, .. } => {
                if slot(&target) == Some(Slot(0)) {
                    listener.report(&document, new_heads);
                }
            }
            Message::Join { .. } | Message::Peer { .. } | Message::Error { .. } | Message::Leave { .. } => {}
        }
        true
    }

    fn sync(&self, document: DocumentId, target: String, data: Bytes, is_request: bool) {
        let slot = self.listener.ear().names().slot(&target);
        if let Some(session) = &self.session {
            self.listener.sync(&document, slot, data.clone(), is_request);
            session.archive.pairwise().receive(session.peer, document, data, is_request);
            return;
        }
        if is_request && slot.is_none() {
            self.listener.ear().stranger_has_not(&document, target);
        }
        self.listener.sync(&document, slot, data, is_request);
    }
}

impl Dialect for Automerge {
    fn message(&mut self, payload: Bytes) -> Result<(), Closing> {
        let message = parse(&payload).map_err(|error| self.refuse(&error.to_string(), error.reason()))?;
        if let Some(Message::Join { sender, metadata, versions }) = message {
            return self.join(&sender, metadata, &versions);
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
            Message::Ephemeral { sender, .. } if *sender != joined.client => return Ok(()),
            Message::Ephemeral { sender, .. } => sender,
            _ => return Err(self.refuse("this message is for servers to send", "server_only")),
        };
        if *sender != joined.client {
            return Err(self.refuse("the sender is not who joined on this connection", "foreign_sender"));
        }
        self.receive(message)
    }

    fn silent(&self) -> u16 {
        CLOSE_REFUSED
    }

    fn text(&mut self, _text: &str) -> Result<(), Closing> {
        Err(refuse_text(&self.queue))
    }
}

/// Clients in Node throw on a failed handshake, so every refusal comes after it: `error`, then close.
fn refuse(queue: &Queue, message: &str, reason: &'static str) -> Closing {
    let error = Message::Error { sender: None, target: None, message: message.to_owned() };
    queue.answer(frame::binary(&[&error.encode()]));
    Closing::refused(CLOSE_REFUSED, message, reason)
}

/// A text message came.
pub(crate) fn refuse_text(queue: &Queue) -> Closing {
    refuse(queue, "this dialect has binary messages only", "text_message")
}

/// How the archive reaches a connection.
struct Port {
    ear: Arc<Ear>,
    rooms: Arc<PairRooms>,
    storage: String,
}

impl PairwisePort for Port {
    fn sync(&self, document: &DocumentId, data: Bytes) {
        self.ear.sync_of_archive(document, data, &self.storage, self.rooms.time());
    }

    fn unavailable(&self, document: &DocumentId) {
        self.ear.unavailable_at_archive(document);
    }

    fn refuse(&self, reason: &str) {
        self.ear.refuse(CLOSE_REFUSED, reason);
    }
}
