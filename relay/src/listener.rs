//! The listeners: accept sockets, hand them to HTTP, and the handle that stops all of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tombolo_core::room::Acknowledgement;

use crate::admission::Admission;
use crate::backplane::{self, Hearer, Link, Participant, Plane};
use crate::cluster::{Joint, Tunnels};
use crate::config::{AcknowledgeWithoutArchive, RelayConfig};
use crate::door::Door;
use crate::drop_in::DropIn;
use crate::error::StartError;
use crate::http::{self, Routes, Visit};
use crate::limits::{Neighbour, Neighbours, Stay};
use crate::member::Archive;
use crate::metrics::Metrics;
use crate::open::Open;
use crate::room::{Guests, PairRooms, RoomLimits, Rooms, Stateless, Topics};
use crate::shards::Shards;
use crate::shutdown::Stop;

/// What every connection of a relay shares.
pub(crate) struct Shared {
    pub(crate) config: RelayConfig,
    pub(crate) admission: Arc<dyn Admission>,
    pub(crate) archive: Option<Arc<dyn Archive>>,
    pub(crate) routes: Option<Arc<dyn Routes>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) pair_rooms: Arc<PairRooms>,
    pub(crate) topics: Topics,
    pub(crate) stateless: Stateless,
    pub(crate) stop: Stop,
    pub(crate) open: Open,
    pub(crate) shards: Shards,
    pub(crate) plane: Plane,
    pub(crate) joint: Arc<Joint>,
    pub(crate) tunnels: Arc<Tunnels>,
    neighbours: Arc<Neighbours>,
    connections: AtomicUsize,
}

/// What a relay is made of besides its settings.
pub struct Parts {
    /// Who may join.
    pub admission: Arc<dyn Admission>,
    /// What stores, if anything does.
    pub archive: Option<Arc<dyn Archive>>,
    /// What else is served over HTTP.
    pub routes: Option<Arc<dyn Routes>>,
}

/// A running relay. Dropping it does not stop it; [`Relay::stop`] does.
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    drop_ins: Vec<(DropIn, SocketAddr)>,
    accepting: Vec<JoinHandle<()>>,
    _participant: Option<Participant>,
}

/// One address that is listened on.
pub(crate) struct Entrance {
    pub(crate) door: Door,
    /// Whom it stands in for, if it is not the main one.
    pub(crate) stands_in_for: Option<DropIn>,
}

impl Relay {
    /// Listens, and serves on threads of its own.
    ///
    /// # Errors
    /// [`StartError`] if one of the addresses cannot be listened on; then none is.
    pub async fn start(config: RelayConfig, parts: Parts) -> Result<Self, StartError> {
        let (main, address) = listen(config.listen, None).await?;
        let mut listeners = vec![(main, address, None)];
        for (drop_in, address) in &config.drop_ins {
            let (listener, address) = listen(*address, Some(*drop_in)).await?;
            listeners.push((listener, address, Some(*drop_in)));
        }
        let shards = config.threads;
        let metrics = Arc::new(Metrics::default());
        let acknowledgement = match (&parts.archive, config.acknowledge) {
            (Some(_), _) => Acknowledgement::Durable,
            (None, AcknowledgeWithoutArchive::Never) => Acknowledgement::Never,
            (None, AcknowledgeWithoutArchive::Forwarded) => Acknowledgement::Forwarded,
        };
        let limits = RoomLimits::of(&config);
        let shards = Shards::start(shards).map_err(|source| StartError::Threads { source })?;
        let (name, joins) = (backplane::fresh_name(), config.link != Link::None);
        let rooms =
            Rooms::new(acknowledgement, parts.archive.clone(), Arc::clone(&metrics), limits, (name, joins));
        let home = parts.archive.as_ref().map(|archive| archive.pairwise().storage_id().to_owned());
        let pair_rooms = PairRooms::new(home, config.paired_members_max, limits);
        // On a thread that has turns, so that what comes from there is gathered as well.
        let plane = shards.enter(|| backplane::start(config.link.clone(), name));
        let shared = Arc::new(Shared {
            config,
            plane,
            joint: Arc::clone(rooms.joint()),
            tunnels: Arc::default(),
            admission: parts.admission,
            archive: parts.archive,
            routes: parts.routes,
            metrics,
            rooms,
            pair_rooms,
            topics: Topics::default(),
            stateless: Stateless::default(),
            stop: Stop::new(),
            open: Open::default(),
            shards,
            neighbours: Neighbours::new(),
            connections: AtomicUsize::new(0),
        });
        let hearer = Arc::clone(&shared.joint) as Arc<dyn Hearer>;
        // Nobody else has the name: it is new.
        let participant = shared.plane.hub().join(name, hearer).ok();
        shared.shards.spawn(shared.joint.run(&shared));
        let drop_ins = listeners.iter().filter_map(|(_, address, drop_in)| Some(((*drop_in)?, *address)));
        let drop_ins = drop_ins.collect();
        let accepting = listeners.into_iter().filter_map(|(listener, address, stands_in_for)| {
            let door = Door::new(address.ip(), shared.config.origins.clone());
            let entrance = Arc::new(Entrance { door, stands_in_for });
            shared.shards.spawn(accept(Arc::clone(&shared), listener, entrance))
        });
        let accepting = accepting.collect();
        Ok(Self { shared, address, drop_ins, accepting, _participant: participant })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where it stands in for other servers.
    #[must_use]
    pub fn drop_ins(&self) -> &[(DropIn, SocketAddr)] {
        &self.drop_ins
    }

    /// The way into its rooms for those in this process.
    #[must_use]
    pub fn guests(&self) -> Guests {
        Guests::of(&self.shared.rooms)
    }

    /// What joins it with others.
    #[must_use]
    pub fn plane(&self) -> &Plane {
        &self.shared.plane
    }

    /// Stops accepting, closes every connection with 1012, 2,000 a second so that they do not all come back at once,
    /// and waits until the last are gone, at most `wait`.
    pub async fn stop(self, wait: Duration) {
        self.shared.stop.ask();
        for accepting in self.accepting {
            let _ = accepting.await;
        }
        self.shared.open.drain().await;
        self.shared.joint.stop();
        let deadline = tokio::time::Instant::now() + wait;
        while self.shared.connections.load(Ordering::Acquire) > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.shared.plane.stop().await;
        self.shared.shards.end();
    }
}

async fn listen(
    address: SocketAddr,
    drop_in: Option<DropIn>,
) -> Result<(std::net::TcpListener, SocketAddr), StartError> {
    let listener = TcpListener::bind(address).await.and_then(TcpListener::into_std);
    let listener = listener.map_err(|source| match (source.kind(), drop_in) {
        (std::io::ErrorKind::AddrInUse, None) => StartError::AddressInUse { address },
        (std::io::ErrorKind::AddrInUse, Some(drop_in)) => StartError::DropInInUse { address, drop_in },
        _ => StartError::Listen { address, source },
    })?;
    let address = listener.local_addr().unwrap_or(address);
    Ok((listener, address))
}

async fn accept(shared: Arc<Shared>, listener: std::net::TcpListener, entrance: Arc<Entrance>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot accept connections"),
    };
    loop {
        let accepted = tokio::select! {
            () = shared.stop.asked() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => open(&shared, &entrance, socket, address),
            Err(error) => {
                // Out of descriptors: those that are open go on, new ones wait at the door.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Connections beyond the limit that may still ask how it goes: whoever looks after a full relay has to see it.
const SPARE: usize = 8;

fn open(shared: &Arc<Shared>, entrance: &Arc<Entrance>, socket: TcpStream, address: SocketAddr) {
    let refuse = |reason| {
        shared.metrics.refuse(reason);
        tracing::debug!(%address, reason, "refused at the door");
    };
    let counted = match shared.neighbours.enter(address.ip(), &shared.config) {
        Ok(stay) => Counted::new(shared, stay),
        Err(reason) => return refuse(reason),
    };
    let beyond = shared.connections.load(Ordering::Relaxed).saturating_sub(shared.config.connections_max);
    let is_spare = beyond > 0;
    if beyond > SPARE || (is_spare && entrance.stands_in_for.is_some()) {
        return refuse("connections");
    }
    let _ = socket.set_nodelay(true);
    let visit =
        Visit { shared: Arc::clone(shared), entrance: Arc::clone(entrance), address, counted, is_spare };
    shared.shards.give(socket, move |socket| drop(tokio::spawn(http::serve(visit, socket))));
}

/// Counts an open socket once, for as long as anything holds a clone of this.
#[derive(Clone)]
pub(crate) struct Counted(Arc<CountedSocket>);

struct CountedSocket {
    shared: Arc<Shared>,
    stay: Stay,
}

impl Counted {
    fn new(shared: &Arc<Shared>, stay: Stay) -> Self {
        shared.connections.fetch_add(1, Ordering::AcqRel);
        Self(Arc::new(CountedSocket { shared: Arc::clone(shared), stay }))
    }

    /// The same socket, for a client behind a proxy. The label of the refusal, if that one must go.
    pub(crate) fn of_client(&self, client: IpAddr) -> Result<Self, &'static str> {
        let shared = &self.0.shared;
        Ok(Self::new(shared, shared.neighbours.enter(client, &shared.config)?))
    }

    /// Where it comes from, if that has limits.
    pub(crate) fn neighbour(&self) -> Option<Arc<Neighbour>> {
        self.0.stay.neighbour()
    }

    /// Whether where it comes from had as many connections as it may have.
    pub(crate) fn is_one_too_many(&self) -> bool {
        self.0.stay.is_one_too_many()
    }
}

impl Drop for CountedSocket {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
    }
}
