//! automerge-repo connections that another relay serves, and those of others that are served here.
//!
//! automerge-repo syncs in pairs, so all clients of a document must meet at one place: at the archive, or at one
//! of the relays. Elsewhere a connection is only handed through, message by message. When that place changes, the
//! connections end and stock clients come back by themselves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tombolo_core::cluster::{TunnelFrame, TunnelId};
use tombolo_core::id::PeerId;

use super::tunnel::{self, Entrance};
use crate::connection::queue::Queue;
use crate::connection::{Closing, Dialect, frame, refuse_text};
use crate::listener::Shared;

/// "Come back": stock clients do after any code.
const CLOSE_MOVED: u16 = 1012;
const MOVED: &str = "these documents are served elsewhere now";
/// "Come back": what it did not read in time is lost to it.
const CLOSE_BEHIND: u16 = 1013;
/// The path of the dialect.
const PATH: &str = "/automerge";

/// All tunnels of a relay, and the connections that have none.
#[derive(Default)]
pub(crate) struct Tunnels {
    next: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Connections here that are served elsewhere.
    away: HashMap<TunnelId, (PeerId, Arc<Queue>)>,
    /// Connections elsewhere that are served here.
    here: HashMap<(PeerId, TunnelId), Entrance>,
    /// Connections here that are served here.
    local: HashMap<u64, Weak<Queue>>,
}

impl Tunnels {
    /// A connection that is served here, as long as this lives.
    pub(crate) fn local(self: &Arc<Self>, queue: &Arc<Queue>) -> Local {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().local.insert(number, Arc::downgrade(queue));
        Local { tunnels: Arc::clone(self), number }
    }

    /// Another place serves from now on: whoever is served at the old one has to come back.
    pub(super) fn home_changed(&self, home: PeerId, me: PeerId) {
        let moved: Vec<_> = {
            let inner = self.lock();
            let away =
                inner.away.values().filter(|(peer, _)| *peer != home).map(|(_, queue)| Arc::clone(queue));
            let local = inner.local.values().filter(|_| home != me).filter_map(Weak::upgrade);
            away.chain(local).collect()
        };
        moved.iter().for_each(|queue| queue.close(CLOSE_MOVED, MOVED));
    }

    /// The other end of all tunnels with a peer is gone.
    pub(super) fn broken(&self, peer: PeerId) {
        let away: Vec<_> = {
            let mut inner = self.lock();
            // Their tasks end with them.
            inner.here.retain(|(other, _), _| *other != peer);
            inner.away.extract_if(|_, (other, _)| *other == peer).map(|(_, (_, queue))| queue).collect()
        };
        away.iter().for_each(|queue| queue.close(CLOSE_MOVED, MOVED));
    }

    /// A frame of a peer.
    pub(super) fn take(self: &Arc<Self>, shared: &Arc<Shared>, peer: PeerId, frame: TunnelFrame) {
        match frame {
            TunnelFrame::Open { tunnel, host, client, .. } => {
                let from = SocketAddr::new(client.unwrap_or_else(|| shared.config.listen.ip()), 0);
                let entrance = tunnel::serve(shared, (peer, tunnel), host, from);
                self.lock().here.insert((peer, tunnel), entrance);
            }
            TunnelFrame::Data { tunnel, payload } => self.data(peer, tunnel, payload),
            TunnelFrame::Close { tunnel, code, reason } => {
                let away = {
                    let mut inner = self.lock();
                    inner.here.remove(&(peer, tunnel));
                    inner.away.extract_if(|id, (other, _)| *id == tunnel && *other == peer).next()
                };
                if let Some((_, (_, queue))) = away {
                    queue.close(code, &reason);
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
            inner.away.get(&tunnel).filter(|(other, _)| *other == peer).map(|(_, queue)| Arc::clone(queue))
        };
        let Some(queue) = away else { return };
        // Where it is served nobody knows how much waits here.
        if queue.bytes() > tunnel::WAITING_BYTES_MAX {
            return queue.close(CLOSE_BEHIND, "the connection does not keep up");
        }
        queue.answer(frame::binary(&[&payload]));
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
    tunnel: TunnelId,
}

impl Away {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        queue: &Arc<Queue>,
        address: SocketAddr,
        host: &str,
        home: PeerId,
    ) -> Self {
        let tunnels = &shared.tunnels;
        let tunnel = TunnelId(tunnels.next.fetch_add(1, Ordering::Relaxed));
        tunnels.lock().away.insert(tunnel, (home, Arc::clone(queue)));
        let (path, host) = (PATH.to_owned(), host.to_owned());
        shared.joint.tunnel(home, TunnelFrame::Open { tunnel, path, host, client: Some(address.ip()) });
        Self { shared: Arc::clone(shared), queue: Arc::clone(queue), home, tunnel }
    }
}

impl Dialect for Away {
    fn message(&mut self, payload: Bytes) -> Result<(), Closing> {
        self.shared.joint.tunnel(self.home, TunnelFrame::Data { tunnel: self.tunnel, payload });
        Ok(())
    }

    fn silent(&self) -> u16 {
        CLOSE_MOVED
    }

    fn text(&mut self, _text: &str) -> Result<(), Closing> {
        Err(refuse_text(&self.queue))
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
