//! Connections that another relay serves, and those of others that are served here.
//!
//! automerge-repo syncs in pairs, and signaling of y-webrtc knows no room, so their clients must meet at one place: at
//! the archive, or at one of the relays. Elsewhere a connection is only handed through, message by message; so is that of a
//! replica, which wants to know who keeps what it brings, if an archive is anywhere. When that place changes, the
//! connections end and clients come back by themselves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tombolo_core::cluster::{TunnelFrame, TunnelId};
use tombolo_core::id::PeerId;

use super::Joint;
use super::tunnel::{self, Entrance};
use crate::admission::Access;
use crate::config::RelayConfig;
use crate::connection::queue::Queue;
use crate::connection::{self, Closing, Dialect, frame, refuse_text};
use crate::listener::Shared;

/// "Come back": stock clients do after any code.
const CLOSE_MOVED: u16 = 1012;
const MOVED: &str = "these documents are served elsewhere now";
/// "Come back": what it did not read in time is lost to it.
const CLOSE_BEHIND: u16 = 1013;

/// A dialect whose connections are handed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// automerge-repo: binary messages.
    Automerge,
    /// Signaling of y-webrtc: text.
    Signaling,
    /// A replica that was welcomed, and what it may do: binary messages.
    Replica(Access),
}

impl Handed {
    fn path(self) -> &'static str {
        match self {
            Self::Automerge => "/automerge",
            Self::Signaling => "/signaling",
            Self::Replica(Access::ReadWrite) => "/replica",
            Self::Replica(Access::ReadOnly) => "/replica/read-only",
        }
    }

    fn at(path: &str) -> Option<Self> {
        let replicas = [Access::ReadWrite, Access::ReadOnly].map(Self::Replica);
        [Self::Automerge, Self::Signaling].into_iter().chain(replicas).find(|handed| handed.path() == path)
    }

    /// Which of WebSocket's kinds its messages have.
    pub(crate) fn is_text(self) -> bool {
        self == Self::Signaling
    }
}

/// All tunnels of a relay, and the connections that have none.
#[derive(Default)]
pub(crate) struct Tunnels {
    next: AtomicU64,
    /// Bytes that wait to be read from all tunnels that end here.
    pub(super) waiting: Arc<AtomicUsize>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Connections here that are served elsewhere.
    away: HashMap<TunnelId, Handing>,
    /// Connections elsewhere that are served here.
    here: HashMap<(PeerId, TunnelId), Entrance>,
    /// Connections here that are served here, and whether only an archive would serve them better.
    local: HashMap<u64, (Weak<Queue>, bool)>,
}

struct Handing {
    home: PeerId,
    handed: Handed,
    queue: Arc<Queue>,
}

impl Tunnels {
    /// A connection that is served here, and has to leave when another relay serves it.
    pub(crate) fn local(
        self: &Arc<Self>,
        queue: &Arc<Queue>,
        wants_archive: bool,
        dialect: Box<dyn Dialect>,
    ) -> Local {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().local.insert(number, (Arc::downgrade(queue), wants_archive));
        Local { tunnels: Arc::clone(self), number, dialect }
    }

    /// Another place serves from now on: whoever is served at the old one has to come back.
    pub(super) fn home_changed(&self, home: PeerId, joint: &Joint) {
        let (is_elsewhere, has_archive) = (home != joint.me(), joint.archive_elsewhere().is_some());
        let moved: Vec<_> = {
            let inner = self.lock();
            let away = inner.away.values().filter(|handing| handing.home != home);
            let away = away.map(|handing| Arc::clone(&handing.queue));
            let goes = |wants_archive: bool| if wants_archive { has_archive } else { is_elsewhere };
            let local = inner.local.values().filter(|(_, wants_archive)| goes(*wants_archive));
            away.chain(local.filter_map(|(queue, _)| queue.upgrade())).collect()
        };
        moved.iter().for_each(|queue| Self::move_on(queue));
    }

    /// Has a connection come back, to be served where that is done now.
    pub(crate) fn move_on(queue: &Queue) {
        queue.close(CLOSE_MOVED, MOVED);
    }

    /// The other end of all tunnels with a peer is gone.
    pub(super) fn broken(&self, peer: PeerId) {
        let away: Vec<_> = {
            let mut inner = self.lock();
            // Their tasks end with them.
            inner.here.retain(|(other, _), _| *other != peer);
            // These stay until their connections end: one may have been opened there after the break, and must be closed.
            let away = inner.away.values().filter(|handing| handing.home == peer);
            away.map(|handing| Arc::clone(&handing.queue)).collect()
        };
        away.iter().for_each(|queue| Self::move_on(queue));
    }

    /// A frame of a peer.
    pub(super) fn take(self: &Arc<Self>, shared: &Arc<Shared>, peer: PeerId, frame: TunnelFrame) {
        match frame {
            TunnelFrame::Open { tunnel, path, host, client } => {
                let Some(handed) = Handed::at(&path) else {
                    let (code, reason) = (CLOSE_MOVED, "this version does not serve it".to_owned());
                    shared.joint.tunnel(peer, TunnelFrame::Close { tunnel, code, reason });
                    return;
                };
                let from = SocketAddr::new(client.unwrap_or_else(|| shared.config.listen.ip()), 0);
                let entrance = tunnel::serve(shared, (peer, tunnel), handed, host, from);
                self.lock().here.insert((peer, tunnel), entrance);
            }
            TunnelFrame::Data { tunnel, payload } => self.data(peer, tunnel, payload),
            TunnelFrame::Close { tunnel, code, reason } => {
                let away = {
                    let mut inner = self.lock();
                    inner.here.remove(&(peer, tunnel));
                    let is_of_it = inner.away.get(&tunnel).is_some_and(|handing| handing.home == peer);
                    is_of_it.then(|| inner.away.remove(&tunnel)).flatten()
                };
                if let Some(handing) = away {
                    handing.queue.close(code, &reason);
                }
            }
        }
    }

    fn data(&self, peer: PeerId, tunnel: TunnelId, payload: Bytes) {
        let away = {
            let inner = self.lock();
            if let Some(entrance) = inner.here.get(&(peer, tunnel)) {
                return entrance.put(payload);
            }
            let away = inner.away.get(&tunnel).filter(|handing| handing.home == peer);
            away.map(|handing| (handing.handed, Arc::clone(&handing.queue)))
        };
        let Some((handed, queue)) = away else { return };
        // Where it is served nobody knows how much waits here.
        if queue.bytes() > tunnel::WAITING_BYTES_MAX {
            return queue.close(CLOSE_BEHIND, "the connection does not keep up");
        }
        if handed.is_text() {
            queue.answer(frame::text(&String::from_utf8_lossy(&payload)));
        } else {
            queue.answer(frame::binary(&[&payload]));
        }
    }

    pub(super) fn ended_here(&self, peer: PeerId, tunnel: TunnelId) {
        self.lock().here.remove(&(peer, tunnel));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Insertions and removals are single steps, so a poisoned map is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Tunnels::local`].
pub(crate) struct Local {
    tunnels: Arc<Tunnels>,
    number: u64,
    dialect: Box<dyn Dialect>,
}

impl Dialect for Local {
    fn message(&mut self, payload: Bytes) -> Result<(), Closing> {
        self.dialect.message(payload)
    }

    fn silent(&self) -> u16 {
        self.dialect.silent()
    }

    fn patience_ms(&self, config: &RelayConfig) -> u64 {
        self.dialect.patience_ms(config)
    }

    fn text(&mut self, text: &str) -> Result<(), Closing> {
        self.dialect.text(text)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.tunnels.lock().local.remove(&self.number);
    }
}

/// A connection that is served elsewhere; dropping it ends the tunnel.
pub(crate) struct Away {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    home: PeerId,
    handed: Handed,
    tunnel: TunnelId,
}

impl Away {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        queue: &Arc<Queue>,
        address: SocketAddr,
        (handed, host): (Handed, &str),
        home: PeerId,
    ) -> Self {
        let tunnels = &shared.tunnels;
        // While both sides find out who serves, there may be tunnels in both directions: the last bit tells them apart.
        let number = tunnels.next.fetch_add(1, Ordering::Relaxed);
        let tunnel = TunnelId(2 * number + u64::from(shared.joint.me() > home));
        tunnels.lock().away.insert(tunnel, Handing { home, handed, queue: Arc::clone(queue) });
        let (path, host) = (handed.path().to_owned(), host.to_owned());
        shared.joint.tunnel(home, TunnelFrame::Open { tunnel, path, host, client: Some(address.ip()) });
        Self { shared: Arc::clone(shared), queue: Arc::clone(queue), home, handed, tunnel }
    }
}

impl Dialect for Away {
    fn message(&mut self, payload: Bytes) -> Result<(), Closing> {
        if self.handed.is_text() {
            return Err(Closing::refused(1003, "this dialect has text messages only", "binary_message"));
        }
        self.shared.joint.tunnel(self.home, TunnelFrame::Data { tunnel: self.tunnel, payload });
        Ok(())
    }

    fn silent(&self) -> u16 {
        CLOSE_MOVED
    }

    fn text(&mut self, text: &str) -> Result<(), Closing> {
        match self.handed {
            Handed::Signaling => {}
            Handed::Automerge => return Err(refuse_text(&self.queue)),
            Handed::Replica(_) => return Err(connection::binary_only()),
        }
        let payload = Bytes::copy_from_slice(text.as_bytes());
        self.shared.joint.tunnel(self.home, TunnelFrame::Data { tunnel: self.tunnel, payload });
        Ok(())
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let was_open = self.shared.tunnels.lock().away.remove(&self.tunnel).is_some();
        if was_open {
            let (tunnel, code, reason) = (self.tunnel, frame::NO_CODE, String::new());
            self.shared.joint.tunnel(self.home, TunnelFrame::Close { tunnel, code, reason });
        }
    }
}
