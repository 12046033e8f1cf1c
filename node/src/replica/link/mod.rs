//! Links of a replica to relays, nodes and other replicas: added and removed at run time; everything else happens by
//! itself, on a thread of their own.
//!
//! Guarantees: an edit never waits for a link, and leaves only when it is fsynced here; what came over a link is fsynced
//! before observers hear of it; links that bring the same change store it once; what the other end called stored is known
//! across restarts, and what it did not is sent again until it does, or is named ([`super::Replica::explain`]). Who
//! decides all that are plain machines in [`tombolo_core::session`], [`tombolo_core::link`] and
//! [`tombolo_core::schedule`]; this carries it out.

mod desk; // work on the store
mod driver; // one link
mod hub; // who hears of changes
mod knowledge; // when what is learned is written down
mod memory; // what is known from earlier connections
mod outbox; // how much may wait for a link
mod parked; // what was refused, given up
mod showing; // presence
mod socket; // the connection
mod stale; // what waits after a long time apart
mod status;
mod subscription; // what is kept in sync
mod vouching; // who has what, before it goes here

pub(super) use desk::Shelves;
pub(super) use hub::{Heard, Hub, News};
pub(super) use outbox::Outbox;
pub use outbox::OutboxMax;
pub use stale::{Backlog, BacklogEstimate, Decision, Stale};
pub use status::LinkStatus;
pub use subscription::Subscription;
pub use tombolo_core::link::LinkState;
pub use tombolo_core::schedule::{Mode, Priority};
pub use tombolo_core::session::{Apart, Lag, Standing};
pub(super) use vouching::{Holding, Keeper};

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tombolo_core::dialect::replica::Identity;
use tombolo_core::id::DocumentId;
use tombolo_core::session::{Session, SessionConfig};
use tombolo_relay::backplane::{RelayAddress, Token};

use self::driver::{Driver, Ears, Parts};
use self::knowledge::Knowledge;
use self::memory::Memory;
use self::stale::Staleness;
use self::status::Board;
use super::error::ReplicaError;
use super::listen::{ListenOptions, Listening};
use super::open::random;

/// Names a link of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// How a link is made.
#[derive(Clone, Debug, Default)]
pub struct LinkOptions {
    /// What opens the other end, if it wants something.
    pub token: Option<Token>,
    /// Which documents are kept in sync, and how urgent they are; all of them, if this says nothing.
    pub subscription: Subscription,
    /// When it was away for so long that what both sides did meanwhile is told before it is merged.
    pub stale: Stale,
    /// How much may wait for it before edits are refused.
    pub outbox_max: OutboxMax,
}

/// What a link is told to do.
enum Command {
    End,
    /// Somebody waits: a number that grows.
    Hurry(u64),
    NetworkChanged,
    Opened(DocumentId),
    Retry(Option<DocumentId>),
    Explain(DocumentId, SyncSender<Option<Standing>>),
    Lagging(SyncSender<Vec<(DocumentId, Standing)>>),
    Decide(Decision, SyncSender<()>),
    Mode(Mode),
    Priority(DocumentId, Priority),
    Vouch(vouching::Question),
    LetGo(SyncSender<()>),
    DropParked(DocumentId, SyncSender<bool>),
    /// It is not here any more.
    Evicted(DocumentId),
    /// It is wanted here again, or that is over.
    Fetch(DocumentId, bool),
}

/// A link that runs.
struct Running {
    id: LinkId,
    url: String,
    commands: UnboundedSender<Command>,
    board: Board,
    subscription: Subscription,
    outbox: Arc<Outbox>,
    task: tokio::task::JoinHandle<()>,
}

/// The thread on which links run.
struct Runtime {
    handle: Handle,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    runtime: Option<Runtime>,
    running: Vec<Running>,
    listening: Option<Listening>,
    priorities: BTreeMap<DocumentId, Priority>,
}

/// All links of a replica. They end with it.
pub(super) struct Links {
    shelves: Shelves,
    next: AtomicU64,
    wishes: AtomicU64,
    state: Mutex<State>,
}

/// How long a link may take to put away what it knows.
const END: Duration = Duration::from_secs(5);
/// How often whoever waits is shown how far it is.
const LOOK: Duration = Duration::from_millis(200);

impl Links {
    pub(super) fn new(shelves: Shelves) -> Self {
        Self { shelves, next: AtomicU64::new(1), wishes: AtomicU64::new(0), state: Mutex::default() }
    }

    pub(super) fn add(&self, url: &str, options: LinkOptions) -> Result<(), ReplicaError> {
        let address = RelayAddress::for_replicas(url)
            .map_err(|source| ReplicaError::Address { url: url.to_owned(), source })?;
        let url = address.to_string();
        let mut state = self.lock();
        if state.running.iter().any(|running| running.url == url) {
            return Err(ReplicaError::Linked { url });
        }
        let id = LinkId(self.next.fetch_add(1, Ordering::Relaxed));
        let (parts, ears) = self.prepare(id, address, options)?;
        let (commands, board) = (ears.1, parts.board.clone());
        let (subscription, outbox) = (parts.subscription.clone(), Arc::clone(&parts.outbox));
        let handle = state.handle()?;
        if outbox.is_bound() {
            self.shelves.space.watch_outbox(&outbox);
        }
        let task = handle.spawn(Driver::new(parts).run(ears.0));
        state.running.push(Running { id, url, commands, board, subscription, outbox, task });
        Ok(())
    }

    fn prepare(
        &self,
        id: LinkId,
        address: RelayAddress,
        options: LinkOptions,
    ) -> Result<(Parts, (Ears, UnboundedSender<Command>)), ReplicaError> {
        let store = &self.shelves.store;
        let (news_sender, news) = unbounded_channel();
        let (done_sender, done) = unbounded_channel();
        let (commands_sender, commands) = unbounded_channel();
        self.shelves.hub.join(id, news_sender, store).map_err(ReplicaError::read)?;
        let path = memory::path(store.path(), &address.to_string(), &options.subscription.names());
        let memory = Memory::load(&path);
        let synced = memory.as_ref().and_then(|memory| memory.synced);
        let since = memory.as_ref().and_then(|memory| memory.acknowledged);
        // What was known counts for the feed that is here now, or not at all.
        let changes = store.changes(since.as_ref(), 1).map_err(ReplicaError::read)?;
        let memory = memory.filter(|memory| memory.acknowledged.is_none() || !changes.anew);
        let latest = store.latest_change().map_err(ReplicaError::read)?;
        self.shelves.hub.begin_at(latest.number);
        let config = SessionConfig { prefixes: options.subscription.asked_for(), ..SessionConfig::default() };
        let mut session = Session::new(config, latest.number);
        if let Some(memory) = &memory {
            let number = memory.acknowledged.map_or(0, |checkpoint| checkpoint.number);
            if let Some(keeper) = memory.keeper {
                session.remember(keeper, number, memory.reached.clone().into());
                for (document, dropped) in &memory.dropped {
                    session.remember_dropped(document, dropped.clone());
                }
            }
        }
        let identity = store.identity();
        let own =
            Identity { keeps: Some((identity.replica, identity.incarnation)), lists: false, gives_up: true };
        let url = address.to_string();
        let outbox = Outbox::new(url, options.subscription.clone(), options.outbox_max);
        let acknowledged = memory.as_ref().and_then(|memory| memory.acknowledged);
        outbox.fill(&self.shelves, acknowledged.as_ref())?;
        let parts = Parts {
            id,
            token: options.token.as_ref().map(|token| token.secret().to_owned()).unwrap_or_default(),
            board: Board::new(&address.to_string()),
            outbox: Arc::new(outbox),
            address,
            subscription: options.subscription,
            own,
            desk: desk::start(self.shelves.clone(), id, done_sender).map_err(ReplicaError::System)?,
            knowledge: Knowledge::new(path, memory, synced, latest.feed),
            session,
            stale: Staleness::new(options.stale),
            shelves: self.shelves.clone(),
            seed: u64::from_le_bytes(random()?),
        };
        Ok((parts, (Ears { news, done, commands }, commands_sender)))
    }

    pub(super) fn listen(
        &self,
        address: SocketAddr,
        options: ListenOptions,
    ) -> Result<SocketAddr, ReplicaError> {
        let mut state = self.lock();
        if let Some(listening) = &state.listening {
            return Err(ReplicaError::Listening { address: listening.address() });
        }
        let id = LinkId(self.next.fetch_add(1, Ordering::Relaxed));
        let handle = state.handle()?;
        let listening = Listening::start(self.shelves.clone(), id, &handle, address, options)?;
        let address = listening.address();
        state.listening = Some(listening);
        Ok(address)
    }

    /// Ends a link; false if there is none to there.
    pub(super) fn remove(&self, url: &str) -> bool {
        let url =
            RelayAddress::for_replicas(url).map_or_else(|_| url.to_owned(), |address| address.to_string());
        let mut state = self.lock();
        let Some(at) = state.running.iter().position(|running| running.url == url) else { return false };
        let running = state.running.remove(at);
        drop(state);
        self.end(&running);
        true
    }

    fn end(&self, running: &Running) {
        self.shelves.hub.leave(running.id);
        self.shelves.space.forget_outbox(&running.outbox);
        // One that has ended hears nothing.
        let _ = running.commands.send(Command::End);
        let end = std::time::Instant::now() + END;
        while !running.task.is_finished() && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        running.task.abort();
    }

    pub(super) fn statuses(&self) -> Vec<LinkStatus> {
        self.lock().running.iter().map(|running| running.board.read()).collect()
    }

    /// Waits until every link is in sync, or it is over with it, or the time is; `look` is called every now and then meanwhile.
    /// Others may edit on and on: what was there at the call is what counts.
    pub(super) fn wait(
        &self,
        limit: Duration,
        is_over: impl Fn(&LinkStatus) -> bool,
        mut look: impl FnMut(),
    ) -> Vec<LinkStatus> {
        // What is durable now, and told to every link: an older status is of no use.
        let told = self.shelves.hub.mark();
        let wish = self.wishes.fetch_add(1, Ordering::Relaxed) + 1;
        self.tell(|| Command::Hurry(wish));
        let is_known = |status: &LinkStatus| status.heard >= told && status.fulfilled >= wish;
        let is_synced =
            |status: &LinkStatus| is_known(status) && (status.in_sync || status.has_settled(told));
        let is_there = |status: &LinkStatus| is_synced(status) || (status.heard >= told && is_over(status));
        let boards: Vec<_> = self.lock().running.iter().map(|running| running.board.clone()).collect();
        let end = std::time::Instant::now() + limit;
        let left = || end.saturating_duration_since(std::time::Instant::now());
        let wait = |board: &Board| {
            let mut status = loop {
                let status = board.wait(left().min(LOOK), is_there);
                if is_there(&status) || left().is_zero() {
                    break status;
                }
                look();
            };
            status.in_sync = is_synced(&status);
            status
        };
        boards.iter().map(wait).collect()
    }

    pub(super) fn unsynced(&self, url: &str, subscription: &Subscription) -> Result<usize, ReplicaError> {
        let address = RelayAddress::for_replicas(url)
            .map_err(|source| ReplicaError::Address { url: url.to_owned(), source })?;
        let store = &self.shelves.store;
        let memory = Memory::load(&memory::path(store.path(), &address.to_string(), &subscription.names()));
        let mut since = memory.and_then(|memory| memory.acknowledged);
        // A deletion is a change that does not travel, and what was evicted was synced.
        let deleted: BTreeSet<_> =
            store.tombstones().map_err(ReplicaError::read)?.into_iter().map(|(id, _)| id).collect();
        let evicted: BTreeSet<_> =
            store.stubs().map_err(ReplicaError::read)?.into_iter().map(|(id, _)| id).collect();
        let is_here = |document: &DocumentId| !deleted.contains(document) && !evicted.contains(document);
        let is_owed = |document: &DocumentId| subscription.has(document) && is_here(document);
        let mut count = 0;
        loop {
            let page = store.changes(since.as_ref(), 1_000).map_err(ReplicaError::read)?;
            count += page.documents.iter().filter(|(document, _)| is_owed(document)).count();
            if !page.more {
                return Ok(count);
            }
            since = Some(page.up_to);
        }
    }

    pub(super) fn estimate(&self, backlog: &Backlog) -> Result<BacklogEstimate, ReplicaError> {
        let mut estimate = BacklogEstimate::default();
        for document in backlog.apart.here.iter().chain(&backlog.apart.both) {
            // One that was deleted meanwhile has nothing left.
            let known =
                self.shelves.store.describe(document).map_err(ReplicaError::read)?.unwrap_or_default();
            estimate.operations += known.tail_operations;
            estimate.bytes += known.tail_bytes;
        }
        Ok(estimate)
    }

    pub(super) fn explain(&self, document: &DocumentId) -> Vec<(String, Option<Standing>)> {
        let ask = |running: &Running| {
            let (sender, receiver) = std::sync::mpsc::sync_channel(1);
            let _ = running.commands.send(Command::Explain(document.clone(), sender));
            (running.url.clone(), receiver)
        };
        let asked: Vec<_> = self.lock().running.iter().map(ask).collect();
        asked.into_iter().map(|(url, answer)| (url, answer.recv().ok().flatten())).collect()
    }

    pub(super) fn lagging(&self) -> Vec<(String, DocumentId, Standing)> {
        let ask = |running: &Running| {
            let (sender, receiver) = std::sync::mpsc::sync_channel(1);
            let _ = running.commands.send(Command::Lagging(sender));
            (running.url.clone(), receiver)
        };
        let asked: Vec<_> = self.lock().running.iter().map(ask).collect();
        let answers = asked.into_iter().map(|(url, answer)| (url, answer.recv().unwrap_or_default()));
        let named = |(url, lagging): (String, Vec<_>)| {
            lagging.into_iter().map(move |(document, standing)| (url.clone(), document, standing))
        };
        answers.flat_map(named).collect()
    }

    /// Somebody here is interested in a document, whether or not there is anything in it yet.
    pub(super) fn opened(&self, document: &DocumentId) {
        self.shelves.space.touch(document);
        self.tell(|| Command::Opened(document.clone()));
    }

    pub(super) fn network_changed(&self) {
        self.tell(|| Command::NetworkChanged);
    }

    pub(super) fn retry(&self, document: Option<&DocumentId>) {
        self.tell(|| Command::Retry(document.cloned()));
    }

    /// False if there is no link to there.
    pub(super) fn decide(&self, url: &str, decision: Decision) -> bool {
        let url =
            RelayAddress::for_replicas(url).map_or_else(|_| url.to_owned(), |address| address.to_string());
        let (done, decided) = std::sync::mpsc::sync_channel(1);
        let state = self.lock();
        let running = state.running.iter().find(|running| running.url == url);
        let is_told =
            running.is_some_and(|running| running.commands.send(Command::Decide(decision, done)).is_ok());
        drop(state);
        // Who waits for sync from now on does not see that it is waited for.
        is_told && decided.recv().is_ok()
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        self.tell(|| Command::Mode(mode));
    }

    pub(super) fn set_priority(&self, document: &DocumentId, priority: Priority) {
        self.lock().priorities.insert(document.clone(), priority);
        self.tell(|| Command::Priority(document.clone(), priority));
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for running in &self.lock().running {
            let _ = running.commands.send(command());
        }
    }

    /// Ends all links.
    pub(super) fn close(&self) {
        self.shelves.space.close();
        let State { running, runtime, listening, .. } = std::mem::take(&mut *self.lock());
        running.iter().for_each(|running| self.end(running));
        if let Some(runtime) = runtime {
            if let Some(listening) = listening {
                listening.stop(&runtime.handle);
            }
            let _ = runtime.stop.send(());
            let _ = runtime.thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    /// Where links run; started with the first of them.
    fn handle(&mut self) -> Result<Handle, ReplicaError> {
        if let Some(runtime) = &self.runtime {
            return Ok(runtime.handle.clone());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ReplicaError::System)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let builder = std::thread::Builder::new().name("links".to_owned());
        // Whoever drops the sender wants the end, too.
        let thread = builder.spawn(move || drop(runtime.block_on(stopped))).map_err(ReplicaError::System)?;
        self.runtime = Some(Runtime { handle: handle.clone(), stop, thread });
        Ok(handle)
    }
}
