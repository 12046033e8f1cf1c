//! The native dialect: the door through which a peer, such as an archive on another machine, joins the backplane, and
//! through which replicas come in.
//!
//! A peer is powerful: it may acknowledge. So it needs a token, unless nobody but this machine can reach the listener.
//! One that does not keep up is closed and comes again; nothing is left out for it silently.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tombolo_core::cluster::To;
use tombolo_core::dialect::native::{self, Hello, Message, Refusal, Role};
use tombolo_core::dialect::replica::{self, Outcome, may_open};
use tombolo_core::id::{DocumentId, PeerId};

use super::queue::Queue;
use super::replica::{Replica, Rights};
use super::{Closing, Dialect, frame};
use crate::admission::{Access, Claim};
use crate::backplane::{Backplane, Hearer, Link, NameTaken, Participant};
use crate::cluster::{self, Away, Tunnels};
use crate::config::RelayConfig;
use crate::listener::Shared;

/// As long as others wait for it before they miss it, and some.
const PATIENCE_MS: u64 = 10_000;

/// Which of the two doors it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// `/native`, and whether nobody but this machine can be there.
    Peers { is_local: bool },
    /// `/replica`: clients like others, with their limits.
    Replicas,
}

/// A peer or a replica, or somebody who wants to be one.
pub(crate) struct Native {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    address: SocketAddr,
    door: Door,
    guest: Option<Guest>,
}

/// Somebody who was let in.
enum Guest {
    Peer(Peer),
    Replica(Replica),
    /// A replica that another relay serves, which has an archive.
    Away(Handed),
}

/// One whose documents are judged here, where its token is known, and served there.
struct Handed {
    away: Away,
    token: String,
    access: Access,
}

/// One that was let in. Its seat is given up with it.
struct Peer {
    _participant: Participant,
    ear: Arc<Ear>,
    listens: HashSet<DocumentId>,
}

/// Hears for a peer.
struct Ear {
    queue: Arc<Queue>,
    relay: PeerId,
    backplane: Mutex<Option<Arc<dyn Backplane>>>,
}

impl Hearer for Ear {
    fn up(&self, backplane: Arc<dyn Backplane>) {
        *self.backplane.lock().unwrap_or_else(PoisonError::into_inner) = Some(backplane);
        // Only now may it say something.
        let welcome = Message::Welcome { version: native::VERSION, relay: self.relay };
        self.queue.answer(frame::binary(&[&welcome.encode()]));
    }

    fn hear(&self, to: &To, message: Bytes) {
        self.queue.forward(frame::binary(&[&native::heard_head(to), &message]));
    }

    fn is_busy(&self) -> bool {
        self.queue.is_behind()
    }

    fn down(&self, reason: &str) {
        // It begins anew with a connection of its own, and needs no frame for this.
        self.queue.close(native::CLOSE_ANEW, reason);
    }
}

impl Handed {
    fn message(
        &mut self,
        shared: &Shared,
        queue: &Queue,
        address: SocketAddr,
        payload: Bytes,
    ) -> Result<(), Closing> {
        if may_open(&payload)
            && let Ok(replica::Message::Open { handle, document }) = replica::parse(&payload)
        {
            let claim = Claim { address, document: Some(&document), token: Some(&self.token) };
            let refusal = match shared.admission.admit(&claim) {
                Ok(access) if access == self.access => None,
                Ok(_) => {
                    Some("this document has other rights than the connection; link to its archive".to_owned())
                }
                Err(denied) => Some(denied.reason),
            };
            if let Some(reason) = refusal {
                shared.metrics.refuse("admission");
                queue.answer(frame::binary(&[&replica::shut(handle, Outcome::FORBIDDEN, &reason)]));
                return Ok(());
            }
        }
        self.away.message(payload)
    }
}

impl Native {
    pub(crate) fn new(shared: &Arc<Shared>, queue: &Arc<Queue>, address: SocketAddr, door: Door) -> Self {
        Self { shared: Arc::clone(shared), queue: Arc::clone(queue), address, door, guest: None }
    }

    fn welcome(&mut self, hello: Hello) -> Result<(), Closing> {
        let guest = match (hello.role, self.door) {
            (Role::Peer, Door::Peers { .. }) => Guest::Peer(self.welcome_peer(&hello)?),
            (Role::Replica, Door::Replicas) => self.welcome_replica(hello.token)?,
            (Role::Peer, _) => {
                return Err(self.refuse(Refusal::ROLE, "peers join at /native; here are replicas"));
            }
            (Role::Replica, _) => {
                return Err(self.refuse(Refusal::ROLE, "replicas come in at /replica; here are peers"));
            }
            (Role::Other(_), _) => {
                return Err(self.refuse(Refusal::ROLE, "this version takes peers and replicas only"));
            }
        };
        self.guest = Some(guest);
        Ok(())
    }

    /// One that was welcomed at another relay, and may do this.
    pub(crate) fn replica(
        shared: &Arc<Shared>,
        queue: &Arc<Queue>,
        address: SocketAddr,
        access: Access,
    ) -> Self {
        let guest = Replica::new(shared, queue, address, Rights::Given(access));
        Self { guest: Some(Guest::Replica(guest)), ..Self::new(shared, queue, address, Door::Replicas) }
    }

    /// Its token is for documents, as those of clients are; each that it opens is judged by itself as well.
    fn welcome_replica(&self, token: String) -> Result<Guest, Closing> {
        let claim = Claim { address: self.address, document: None, token: Some(&token) };
        let access = self.shared.admission.admit(&claim).map_err(|denied| {
            self.shared.metrics.refuse("admission");
            self.refuse(Refusal::TOKEN, &denied.reason)
        })?;
        let welcome = Message::Welcome { version: native::VERSION, relay: self.shared.plane.name() };
        self.queue.answer(frame::binary(&[&welcome.encode()]));
        tracing::debug!(address = %self.address, "a replica has come");
        let elsewhere = || self.shared.joint.archive_elsewhere().filter(|_| self.shared.archive.is_none());
        let Some(home) = elsewhere() else {
            let rights = Rights::Asked(token.clone());
            return Ok(Guest::Replica(Replica::new(&self.shared, &self.queue, self.address, rights)));
        };
        let handed = (cluster::Handed::Replica(access), "");
        let away = Away::new(&self.shared, &self.queue, self.address, handed, home);
        if elsewhere() != Some(home) {
            // It moved before this one was among those that are told.
            Tunnels::move_on(&self.queue);
        }
        Ok(Guest::Away(Handed { away, token, access }))
    }

    fn welcome_peer(&self, hello: &Hello) -> Result<Peer, Closing> {
        self.admit(hello)?;
        let plane = &self.shared.plane;
        let ear = Ear { queue: Arc::clone(&self.queue), relay: plane.name(), backplane: Mutex::default() };
        let ear = Arc::new(ear);
        let joined = plane.hub().join(hello.peer, Arc::clone(&ear) as Arc<dyn Hearer>);
        let participant = joined.map_err(|NameTaken(name)| {
            // Its network broke, and here nobody noticed yet.
            plane.hub().expel(name, "another connection has come under the same name");
            self.refuse(
                Refusal::NAME,
                "your last connection has not quite ended here; come again in a moment",
            )
        })?;
        tracing::info!(address = %self.address, peer = %hello.peer, "a peer has joined");
        Ok(Peer { _participant: participant, ear, listens: HashSet::new() })
    }

    fn admit(&self, hello: &Hello) -> Result<(), Closing> {
        let config = &self.shared.config;
        match &config.peer_token {
            Some(token) if token.is(&hello.token) => {}
            Some(_) if hello.token.is_empty() => {
                return Err(
                    self.refuse(Refusal::TOKEN, "this relay wants a token; give its own with --peer-token")
                );
            }
            Some(_) => {
                return Err(
                    self.refuse(Refusal::TOKEN, "wrong token; give the one of this relay with --peer-token")
                );
            }
            None if self.door == (Door::Peers { is_local: true }) => {}
            None => {
                let words = "without a token only peers on its own machine may join this relay, where nobody else \
                             reaches it; start it with --peer-token, and give the same here";
                return Err(self.refuse(Refusal::TOKEN, words));
            }
        }
        if hello.peer == self.shared.plane.name() {
            return Err(
                self.refuse(Refusal::YOURSELF, "this is you yourself; give the address of another relay")
            );
        }
        if matches!(config.link, Link::Relays(..)) {
            let words = "this server is joined to a relay itself (--relay); give the address of that one";
            return Err(self.refuse(Refusal::GUEST, words));
        }
        Ok(())
    }

    /// Tells why not; the connection ends behind that.
    fn refuse(&self, refusal: Refusal, words: &str) -> Closing {
        let refused = Message::Refused { refusal, reason: words.to_owned() };
        self.queue.answer(frame::binary(&[&refused.encode()]));
        tracing::info!(address = %self.address, "a peer was refused: {words}");
        let code = if refusal.is_permanent() { native::CLOSE_REFUSED } else { native::CLOSE_ANEW };
        Closing::refused(code, words, if refusal == Refusal::TOKEN { "peer_token" } else { "peer" })
    }

    fn said(&mut self, message: Message) -> Result<(), Closing> {
        let bad = |words, reason| Err(Closing::refused(native::CLOSE_BAD_FRAME, words, reason));
        let Some(Guest::Peer(guest)) = &mut self.guest else {
            return bad("a peer says hello first", "no_hello");
        };
        let backplane = guest.ear.backplane.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(backplane) = backplane else { return bad("a peer waits until it is welcome", "no_hello") };
        match message {
            Message::Say { to, payload } => backplane.say(&to, payload),
            Message::Listen(document) => {
                if guest.listens.len() >= self.shared.config.documents_per_peer_max {
                    return bad("too many documents of one peer", "documents_per_connection");
                }
                backplane.listen(&document);
                guest.listens.insert(document);
            }
            Message::Unlisten(document) => {
                backplane.unlisten(&document);
                guest.listens.remove(&document);
            }
            Message::Hello(_) | Message::HelloOfOthers => {
                return bad("a peer says hello once", "hello_again");
            }
            Message::Welcome { .. } | Message::Refused { .. } | Message::Heard { .. } => {
                return bad("this is for relays to say", "server_only");
            }
        }
        Ok(())
    }
}

impl Dialect for Native {
    fn message(&mut self, payload: Bytes) -> Result<(), Closing> {
        match &mut self.guest {
            Some(Guest::Replica(replica)) => return replica.message(&payload),
            Some(Guest::Away(handed)) => {
                return handed.message(&self.shared, &self.queue, self.address, payload);
            }
            Some(Guest::Peer(_)) | None => {}
        }
        let message = native::parse(&payload)
            .map_err(|error| Closing::refused(native::CLOSE_BAD_FRAME, &error, error.reason()))?;
        match message {
            Message::HelloOfOthers if self.guest.is_none() => {
                let words = format!(
                    "no version of the protocol is spoken on both sides; here it is {}: run the same version of \
                     tombolo on both machines",
                    native::VERSION
                );
                Err(self.refuse(Refusal::VERSION, &words))
            }
            Message::Hello(hello) if self.guest.is_none() => self.welcome(hello),
            message => self.said(message),
        }
    }

    fn silent(&self) -> u16 {
        native::CLOSE_ANEW
    }

    /// Peers ping every two seconds, and what is said to one that is gone is lost.
    fn patience_ms(&self, config: &RelayConfig) -> u64 {
        if self.door == Door::Replicas {
            return config.silence_ms;
        }
        config.silence_ms.min(PATIENCE_MS)
    }

    fn text(&mut self, _text: &str) -> Result<(), Closing> {
        Err(binary_only())
    }
}

/// The answer to a text message.
pub(crate) fn binary_only() -> Closing {
    Closing::refused(1003, "this dialect has binary messages only", "text_message")
}
