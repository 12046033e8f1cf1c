//! The listener: accepts sockets, hands them to HTTP, and the handle that stops all of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tombolo_core::room::Acknowledgement;

use crate::admission::Admission;
use crate::config::{AcknowledgeWithoutArchive, RelayConfig};
use crate::error::StartError;
use crate::http::{self, Routes};
use crate::limits::{Neighbour, Neighbours, Visit};
use crate::member::Archive;
use crate::metrics::Metrics;
use crate::open::Open;
use crate::room::{Gossip, Guests, RoomLimits, Rooms, Topics};
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
    pub(crate) gossip: Arc<Gossip>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) stop: Stop,
    pub(crate) open: Open,
    pub(crate) shards: Shards,
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
    accepting: Option<tokio::task::JoinHandle<()>>,
}

impl Relay {
    /// Listens, and serves on threads of its own.
    ///
    /// # Errors
    /// [`StartError`] if the address cannot be listened on.
    pub async fn start(config: RelayConfig, parts: Parts) -> Result<Self, StartError> {
        let listener = listen(config.listen).await?;
        let address = listener.local_addr().unwrap_or(config.listen);
        let shards = config.threads;
        let metrics = Arc::new(Metrics::default());
        let acknowledgement = match (&parts.archive, config.acknowledge) {
            (Some(_), _) => Acknowledgement::Durable,
            (None, AcknowledgeWithoutArchive::Never) => Acknowledgement::Never,
            (None, AcknowledgeWithoutArchive::Forwarded) => Acknowledgement::Forwarded,
        };
        let limits = RoomLimits::of(&config);
        let rooms = Rooms::new(acknowledgement, parts.archive.clone(), Arc::clone(&metrics), limits);
        let shared = Arc::new(Shared {
            config,
            admission: parts.admission,
            archive: parts.archive,
            routes: parts.routes,
            metrics,
            rooms,
            gossip: Arc::default(),
            topics: Arc::default(),
            stop: Stop::new(),
            open: Open::default(),
            shards: Shards::start(shards).map_err(|source| StartError::Threads { source })?,
            neighbours: Neighbours::new(),
            connections: AtomicUsize::new(0),
        });
        let accepting = shared.shards.spawn(accept(Arc::clone(&shared), listener));
        Ok(Self { shared, address, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The way into its rooms for those in this process.
    #[must_use]
    pub fn guests(&self) -> Guests {
        Guests::of(&self.shared.rooms)
    }

    /// Stops accepting, closes every connection with 1012, 2,000 a second so that they do not all come back at once,
    /// and waits until the last are gone, at most `wait`.
    pub async fn stop(self, wait: Duration) {
        self.shared.stop.ask();
        if let Some(accepting) = self.accepting {
            let _ = accepting.await;
        }
        self.shared.open.drain().await;
        let deadline = tokio::time::Instant::now() + wait;
        while self.shared.connections.load(Ordering::Acquire) > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.shared.shards.end();
    }
}

async fn listen(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let listener = TcpListener::bind(address).await.and_then(TcpListener::into_std);
    listener.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => StartError::AddressInUse { address },
        _ => StartError::Listen { address, source },
    })
}

async fn accept(shared: Arc<Shared>, listener: std::net::TcpListener) {
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
            Ok((socket, address)) => open(&shared, socket, address),
            Err(error) => {
                // Out of descriptors: those that are open go on, new ones wait at the door.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn open(shared: &Arc<Shared>, socket: TcpStream, address: SocketAddr) {
    let counted = match Counted::new(shared, address) {
        Ok(counted) => counted,
        Err(reason) => {
            shared.metrics.refuse(reason);
            return tracing::debug!(%address, reason, "refused at the door");
        }
    };
    let _ = socket.set_nodelay(true);
    let visited = Arc::clone(shared);
    shared.shards.give(socket, move |socket| http::serve(visited, socket, address, counted));
}

/// Counts an open socket once, for as long as anything holds a clone of this.
#[derive(Clone)]
pub(crate) struct Counted(Arc<CountedSocket>);

struct CountedSocket {
    shared: Arc<Shared>,
    visit: Visit,
}

impl Counted {
    /// # Errors
    /// The label of the refusal, if it is one too many.
    fn new(shared: &Arc<Shared>, address: SocketAddr) -> Result<Self, &'static str> {
        if shared.connections.load(Ordering::Relaxed) >= shared.config.connections_max {
            return Err("connections");
        }
        let visit = shared.neighbours.enter(address.ip(), &shared.config)?;
        shared.connections.fetch_add(1, Ordering::AcqRel);
        Ok(Self(Arc::new(CountedSocket { shared: Arc::clone(shared), visit })))
    }

    /// Where it comes from, if that has limits.
    pub(crate) fn neighbour(&self) -> Option<Arc<Neighbour>> {
        self.0.visit.neighbour()
    }

    /// Whether where it comes from had as many connections as it may have.
    pub(crate) fn is_one_too_many(&self) -> bool {
        self.0.visit.is_one_too_many()
    }
}

impl Drop for CountedSocket {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
    }
}
