//! One link, carried out: the machines of [`tombolo_core::link`], [`tombolo_core::session`] and
//! [`tombolo_core::schedule`] on a real connection, a real clock and a real store.

mod board; // its status
mod commands; // what its owner says

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tombolo_core::clock::Observed;
use tombolo_core::dialect::native::{Hello, Role};
use tombolo_core::dialect::replica::{self, Identity, Message};
use tombolo_core::id::{DocumentId, PeerId};
use tombolo_core::link::{End, Link, LinkConfig, LinkEffect};
use tombolo_core::schedule::{Priority, ScheduleConfig, Scheduler};
use tombolo_core::session::{Change, Effect, Session};
use tombolo_core::time::Millis;
use tombolo_relay::backplane::{Failure, RelayAddress, dial};

use super::desk::{Done, Finished, Job, Shelves};
use super::hub::{Heard, Hub, News};
use super::knowledge::Knowledge;
use super::outbox::Outbox;
use super::showing::Showing;
use super::socket::{Connection, hear};
use super::stale::Staleness;
use super::status::Board;
use super::{Command, LinkId, Subscription};

/// Most jobs on the desk before nothing more is read from the other end, and most bytes of updates among them, but for one.
const JOBS_MAX: usize = 64;
const JOB_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most bytes that wait to be sent before nothing more is read: what is read may cause answers.
const QUEUED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long after what changed here could not be listed that is tried again, in ms.
const LIST_AGAIN_MS: u64 = 5_000;

/// What a link hears from the rest of the process.
pub(super) struct Ears {
    pub(super) news: UnboundedReceiver<Heard>,
    pub(super) done: UnboundedReceiver<Finished>,
    pub(super) commands: UnboundedReceiver<Command>,
}

/// One link.
pub(super) struct Driver {
    pub(super) id: LinkId,
    pub(super) address: RelayAddress,
    pub(super) token: String,
    pub(super) subscription: Subscription,
    pub(super) own: Identity,
    pub(super) desk: Sender<Job>,
    pub(super) board: Board,
    pub(super) knowledge: Knowledge,
    pub(super) outbox: Arc<Outbox>,
    start: Instant,
    link: Link,
    pub(super) session: Session,
    scheduler: Scheduler<Vec<u8>>,
    connection: Option<Connection>,
    /// Bytes that were sent before each of our own pings, by token.
    probes: VecDeque<(u64, usize)>,
    next_probe: u64,
    unprobed: usize,
    /// How often what changed here is being listed.
    lists: usize,
    /// All that changed here since then was listed; none until it was.
    pub(super) listed_since: Option<u64>,
    /// Why that failed, and when it is tried again.
    unlisted: Option<(String, Millis)>,
    /// Work on the desk, and what updates of it weigh in bytes.
    jobs: usize,
    /// Documents of the other end about which it is asked whether they were evicted here.
    finding: usize,
    job_bytes: usize,
    /// The last change here that was heard of.
    heard: u64,
    pub(super) priorities: BTreeMap<DocumentId, Priority>,
    /// What was evicted and is wanted again, by how many.
    pub(super) fetching: BTreeMap<DocumentId, usize>,
    staleness: Staleness,
    shelves: Shelves,
    showing: Showing,
}

/// The parts that a link is made of.
pub(super) struct Parts {
    pub(super) id: LinkId,
    pub(super) address: RelayAddress,
    pub(super) token: String,
    pub(super) subscription: Subscription,
    pub(super) own: Identity,
    pub(super) desk: Sender<Job>,
    pub(super) board: Board,
    pub(super) knowledge: Knowledge,
    pub(super) outbox: Arc<Outbox>,
    pub(super) session: Session,
    pub(super) stale: Staleness,
    pub(super) shelves: Shelves,
    pub(super) seed: u64,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { id, address, token, subscription, own, desk, board, knowledge, outbox, session, .. } =
            parts;
        let Parts { stale: staleness, shelves, seed, .. } = parts;
        let now = Millis(0);
        Self {
            id,
            address,
            token,
            subscription,
            own,
            desk,
            board,
            knowledge,
            outbox,
            start: Instant::now(),
            link: Link::new(LinkConfig::default(), seed, now),
            session,
            scheduler: Scheduler::new(ScheduleConfig::default(), now),
            connection: None,
            probes: VecDeque::new(),
            next_probe: 0,
            unprobed: 0,
            lists: 0,
            listed_since: None,
            unlisted: None,
            jobs: 0,
            finding: 0,
            job_bytes: 0,
            heard: 0,
            priorities: BTreeMap::new(),
            fetching: BTreeMap::new(),
            staleness,
            shelves,
            showing: Showing::default(),
        }
    }

    /// Whether it is evicted here is to be seen.
    pub(super) fn find(&mut self, document: DocumentId) {
        self.finding += 1;
        self.give(Job::Find(document));
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.shelves.hub
    }

    pub(super) fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Runs until it is told to end, or nobody is there to tell.
    pub(super) async fn run(mut self, mut ears: Ears) {
        let (dialed, mut dials) = unbounded_channel();
        self.list();
        for document in self.hub().presences.watched() {
            self.watch(&document, true);
        }
        loop {
            self.turn(&dialed);
            let list = self.unlisted.as_ref().map(|(_, again)| *again);
            let deadline = [self.link.deadline(), self.session.deadline(), self.scheduler.deadline(), list];
            let wait =
                deadline.into_iter().flatten().min().map_or(60_000, |at| at.0.saturating_sub(self.now().0));
            let save = self.knowledge.wait_ms().unwrap_or(u64::MAX).min(self.outbox_wait_ms());
            tokio::select! {
                biased;
                command = ears.commands.recv() => {
                    let Some(command) = command else { break };
                    // Who asks hears of what was durable before.
                    while let Ok(heard) = ears.news.try_recv() {
                        self.told(heard);
                    }
                    if !self.obey(command) {
                        break;
                    }
                }
                Some(done) = ears.done.recv() => self.done(done),
                Some(heard) = ears.news.recv() => self.told(heard),
                Some(result) = dials.recv() => self.dialed(result),
                // What comes waits in the socket while the desk is full.
                heard = hear(&mut self.connection), if !self.is_full() => self.heard(heard),
                () = tokio::time::sleep(Duration::from_millis(wait.min(save).max(1))) => {}
            }
        }
        // What was sent is on its way; nothing is lost that is not sent again.
        drop(self.connection.take());
        self.knowledge.parted();
        self.knowledge.close().await;
    }

    /// Everything that is to be done now.
    fn turn(&mut self, dialed: &UnboundedSender<Result<dial::Socket, Failure>>) {
        let now = self.now();
        while let Some(effect) = self.link.poll(now) {
            match effect {
                LinkEffect::Dial => self.dial(dialed),
                LinkEffect::Ping { token } => self.transmit(replica::ping(token << 1)),
                LinkEffect::HangUp { reason } => {
                    tracing::debug!(link = %self.address, %reason, "hung up");
                    self.gone();
                }
            }
        }
        if self.unlisted.as_ref().is_some_and(|(_, again)| *again <= now) {
            self.list();
        }
        loop {
            self.showing.show(&mut self.session, self.scheduler.bytes());
            while let Some(effect) = self.session.poll(now) {
                self.carry_out(now, effect);
            }
            if let Some(backlog) = (!self.is_listing() && self.finding == 0)
                .then(|| self.staleness.tell(&mut self.session))
                .flatten()
            {
                // Before anything of it is opened.
                self.board.write(|status| status.backlog = Some(backlog));
                continue;
            }
            let sending = self.connection.is_some().then(|| self.scheduler.next(now)).flatten();
            let Some(sending) = sending else { break };
            self.unprobed += sending.bytes;
            self.transmit(sending.item);
            if !self.scheduler.waits(sending.lane) {
                self.session.go_on(sending.lane, self.scheduler.page_bytes());
            }
        }
        if self.unprobed > 0 {
            self.probes.push_back((self.next_probe, std::mem::take(&mut self.unprobed)));
            self.transmit(replica::ping(self.next_probe << 1 | 1));
            self.next_probe += 1;
        }
        self.forget_dropped();
        self.knowledge.save_if_due();
        self.sweep_outbox();
        self.show();
    }

    pub(super) fn carry_out(&mut self, now: Millis, effect: Effect) {
        match effect {
            Effect::Send { lane, priority, frame } => {
                self.scheduler.push(lane, priority, frame.len(), frame, now);
            }
            Effect::Describe(document) => self.give(Job::Describe(document)),
            Effect::Read { document, have } => self.give(Job::Read(document, have)),
            Effect::Bring { token, document, update } => self.give(Job::Bring(token, document, update)),
            Effect::Sync { talk, document, message } => self.give(Job::Sync(talk, document, message)),
            // There is no answer to wait for, and without a desk no talk.
            Effect::Over(talk) => drop(self.desk.send(Job::Over(talk))),
            Effect::Presence { document, update } => self.hub().presences.heard(self.id, &document, update),
            Effect::Stamp(stamp) => {
                let clock_ahead_ms = match self.shelves.store.observe(stamp) {
                    Observed::Taken => None,
                    Observed::Ahead { ms } => Some(ms),
                };
                self.board.write(|status| status.clock_ahead_ms = clock_ahead_ms);
            }
            Effect::All => {
                self.knowledge.forget();
                self.list();
            }
            Effect::Gone(document) => drop(self.desk.send(Job::Keep(document))),
            Effect::Found(document) => {
                if self.subscription.has(&document) {
                    self.find(document);
                } else {
                    self.session.decline(&document);
                }
            }
            Effect::Acknowledged { keeper, position } => self.knowledge.acknowledged(keeper, position),
            Effect::Reached { keeper, checkpoint } => self.knowledge.reached(keeper, &checkpoint),
        }
    }

    fn give(&mut self, job: Job) {
        let bytes = job.bytes();
        // Without its desk a link does nothing any more; it says so by never being in sync.
        if self.desk.send(job).is_ok() {
            self.jobs += 1;
            self.job_bytes += bytes;
        }
    }

    /// Whether nothing more is to be read from the other end for now: it waits in the socket, and so does who fills it.
    fn is_full(&self) -> bool {
        self.jobs >= JOBS_MAX || self.job_bytes >= JOB_BYTES_MAX || self.scheduler.bytes() >= QUEUED_BYTES_MAX
    }

    /// Whether it is not known yet what changed here.
    fn is_listing(&self) -> bool {
        self.lists > 0 || self.unlisted.is_some()
    }

    fn list(&mut self) {
        self.unlisted = None;
        self.lists += 1;
        self.session.set_listing(true);
        self.listed_since = None;
        self.give(Job::List(self.knowledge.since()));
    }

    pub(super) fn add(&mut self, document: &DocumentId, last: u64) {
        self.session.add(document, last);
        if let Some(priority) =
            self.priorities.get(document).or(self.subscription.priority_for(document).as_ref())
        {
            self.session.set_priority(document, *priority);
        }
    }

    fn done(&mut self, done: Finished) {
        let now = self.now();
        let Finished { done, bytes, ends_job } = done;
        self.jobs -= usize::from(ends_job).min(self.jobs);
        self.job_bytes = self.job_bytes.saturating_sub(bytes);
        match done {
            Done::Described(document, have) => {
                self.session.described(&document, &have);
                // Whoever is there has just come, for this link.
                if let Some(shown) = self.hub().presences.introduce(&document) {
                    self.showing.put(document, &shown);
                }
            }
            Done::Lacking(document, update, position) => self.session.lacking(&document, &update, position),
            Done::Brought(token, result) => self.session.brought(now, token, result),
            Done::Synced(talk, document, result) => self.session.synced(now, talk, &document, result),
            Done::Listed { documents, last } => {
                for (document, position) in documents {
                    if self.subscription.has(&document) {
                        self.add(&document, position);
                        self.lacks(&document, position);
                    }
                }
                if last {
                    self.unlisted = None;
                    self.lists = self.lists.saturating_sub(1);
                    self.session.set_listing(self.lists > 0);
                    if self.lists == 0 {
                        self.listed_since = Some(self.knowledge.since().map_or(0, |since| since.number));
                    }
                }
            }
            Done::Found(document, is_evicted) => {
                self.finding = self.finding.saturating_sub(1);
                if is_evicted {
                    self.found_evicted(&document);
                } else {
                    self.add(&document, 0);
                }
            }
            Done::Gone(document) => self.session.remove(&document),
            Done::Evicted(document) => self.found_evicted(&document),
            Done::Failed(document, failed, reason) => {
                tracing::warn!(link = %self.address, %document, reason, "a document cannot be synced now");
                self.session.failed(now, &document, failed, reason);
            }
            Done::Unlisted(reason) => {
                tracing::error!(link = %self.address, reason, "what changed here cannot be listed");
                self.lists = self.lists.saturating_sub(1);
                self.unlisted = Some((reason, now.plus(LIST_AGAIN_MS)));
            }
        }
    }

    fn told(&mut self, heard: Heard) {
        match heard {
            Heard::News(news) => self.news(&news),
            Heard::Mark(position) => self.heard = self.heard.max(position),
            Heard::Flush(done) => drop(done.send(())),
            Heard::Presence(document, update) => self.showing.put(document, &update),
            Heard::Watch(document, watched) => self.watch(&document, watched),
        }
    }

    fn news(&mut self, news: &News) {
        self.heard = self.heard.max(news.position);
        if !self.subscription.has(&news.document) {
            return;
        }
        if !self.session.has(&news.document) {
            self.add(&news.document, 0);
        }
        let News { document, position, update, via, priority } = news;
        self.lacks_change(news);
        let is_from_there = *via == Some(self.id);
        let change = Change { document, position: *position, update, priority: *priority, is_from_there };
        self.session.changed(self.now(), &change);
    }

    fn dial(&self, dialed: &UnboundedSender<Result<dial::Socket, Failure>>) {
        let (address, token, dialed) = (self.address.clone(), self.token.clone(), dialed.clone());
        // The name is of no use for replicas, which say who they are themselves.
        let hello = Hello { role: Role::Replica, peer: PeerId(0), token };
        tokio::spawn(async move {
            let result = dial::dial(&address, hello, replica::FRAME_BYTES_MAX + 4096).await;
            let _ = dialed.send(result);
        });
    }

    fn dialed(&mut self, result: Result<dial::Socket, Failure>) {
        let now = self.now();
        match result {
            Ok(socket) => {
                self.link.connected(now);
                self.connection = Some(Connection::new(socket));
                self.scheduler.clear(now);
                (self.next_probe, self.unprobed) = (0, 0);
                self.probes.clear();
                self.session.hold(self.staleness.begin(SystemTime::now(), self.knowledge.synced()));
                self.board.write(|status| status.backlog = None);
                self.session.begin_at(&self.own, Some(self.shelves.store.stamp()));
                self.link.welcomed(now);
                tracing::debug!(link = %self.address, "linked");
            }
            Err(Failure { words, is_permanent: true }) => self.ended(End::Permanent { reason: words }),
            Err(Failure { words, .. }) => self.ended(End::Retriable { reason: words }),
        }
    }

    fn heard(&mut self, heard: Result<Option<Bytes>, String>) {
        let now = self.now();
        let frame = match heard {
            Ok(None) => return self.link.heard(now),
            Ok(Some(frame)) => frame,
            Err(reason) => {
                let reason = format!("the connection to {} ended: {reason}", self.address);
                return self.ended(End::Retriable { reason });
            }
        };
        self.link.heard(now);
        // Pongs are small; the others are read once, by the session.
        if frame.len() <= 16
            && let Ok(Message::Pong(token)) = replica::parse(&frame)
        {
            return self.pong(now, token);
        }
        if let Err(error) = self.session.receive(now, &frame) {
            let reason = format!("{} says what no relay says ({error}); see its version", self.address);
            self.ended(End::Retriable { reason });
        }
    }

    fn pong(&mut self, now: Millis, token: u64) {
        if token & 1 == 0 {
            return self.link.pong(now, token >> 1);
        }
        while let Some((_, bytes)) = self.probes.front().copied().filter(|(probe, _)| *probe <= token >> 1) {
            self.probes.pop_front();
            self.scheduler.delivered(now, bytes);
        }
    }

    fn ended(&mut self, end: End) {
        tracing::debug!(link = %self.address, %end, "not linked");
        self.link.ended(self.now(), end);
        self.gone();
    }

    fn gone(&mut self) {
        self.connection = None;
        self.knowledge.parted();
        self.hub().presences.lost(self.id);
        self.scheduler.clear(self.now());
        self.session.end();
    }

    fn transmit(&self, frame: Vec<u8>) {
        if let Some(connection) = &self.connection {
            connection.send(frame);
        }
    }
}
