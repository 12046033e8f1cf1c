//! The world: hosts, what is to happen when, and the time.
//!
//! Everything that happens is a task at a moment; two of one moment keep the order in which they were made. So a run
//! depends on nothing but its plan.

use std::collections::{BTreeMap, BTreeSet};

use super::archive::{Archive, Waiting};
use super::chance::Chance;
use super::door::{Door, Out};
use super::host::{Desk, Job, Work};
use super::judge::{self, Everything};
use super::network::{Network, Packet, Path, Way, Wire};
use super::plan::{Act, Kind, Plan, Shape};
use super::replica::{Disk, Replica};
use super::trace::Trace;
use crate::id::{DocumentId, Incarnation, ReplicaId};
use crate::room::MemberId;
use crate::session::SessionConfig;
use crate::update::StateVector;

/// What happens at a moment.
#[derive(Debug)]
pub(super) enum Task {
    /// A step of the plan.
    Act(usize),
    /// Something arrives at a door, or at a replica.
    Arrive(Wire, Way),
    /// A link of a replica has something to do.
    Wake(usize, usize),
    /// A room has.
    WakeDoor(usize),
    /// A replica's log is durable up to a position.
    Synced(usize, u64, u64),
    SyncedDoor(usize, u64, u64),
    /// A link lists what changed here since a position.
    List(usize, u64, usize, u64),
    /// A link's other end asked something that can be read.
    Read(usize, u64, usize),
    /// A replica that listens begins with what is asked of it.
    Host(usize, u64),
    /// The archive of a door replies to who syncs an Automerge document.
    ReplyDoor(usize, u64, DocumentId),
    /// The archive of a door read something.
    ReadDoor {
        door: usize,
        start: u64,
        document: DocumentId,
        room: u64,
        asker: MemberId,
        have: StateVector,
    },
    Start(usize),
    StartDoor(usize),
    /// What a fault did ends.
    Undo(Act, usize, usize),
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The hash of all that happened.
    pub trace: [u8; 32],
    /// The same for people, if it was asked for.
    pub lines: Vec<String>,
    /// When the world was at rest, in ms.
    pub rested: u64,
    /// Things that happened.
    pub tasks: u64,
    /// What was wrong, and when, in ms.
    pub broken: Option<(u64, String)>,
}

/// A world of replicas, relays and archives.
pub(super) struct World {
    pub(super) now: u64,
    tasks: BTreeMap<(u64, u64), Task>,
    order: u64,
    pub(super) chance: Chance,
    pub(super) trace: Trace,
    pub(super) network: Network,
    pub(super) replicas: Vec<Replica>,
    pub(super) doors: Vec<Door>,
    pub(super) documents: Vec<DocumentId>,
    pub(super) broken: Option<String>,
    /// A crash may leave some of what was not synced.
    pub(super) is_torn: bool,
    /// Messages about documents that arrived.
    pub(super) said: u64,
}

/// How long a world may take to come to rest, in ms: links wait for up to five minutes, several times.
const REST_MS: u64 = 90 * 60 * 1_000;
/// How often it is looked whether it has.
const LOOK_MS: u64 = 5_000;
/// For so long nothing more may be said about documents.
const QUIET_MS: u64 = 60_000;
/// More tasks in one run mean that it turns in circles.
const TASKS_MAX: u64 = 3_000_000;

impl World {
    pub(super) fn new(plan: &Plan, keeps_lines: bool) -> Self {
        let mut chance = Chance::new(plan.seed ^ 0x7e57);
        let documents =
            (0..plan.shape.documents).filter_map(|number| DocumentId::yjs(&format!("d/{number}")).ok());
        let automerge = (1..).map(|number| DocumentId::Automerge([number; 16]));
        let documents: Vec<_> = documents.chain(automerge.take(plan.shape.automerge)).collect();
        let doors: Vec<_> =
            plan.shape.doors.iter().map(|kind| door(*kind, &plan.shape, &mut chance)).collect();
        let mut world = Self {
            now: 0,
            tasks: BTreeMap::new(),
            order: 0,
            trace: Trace::new(keeps_lines),
            network: Network::default(),
            replicas: Vec::new(),
            doors,
            broken: None,
            is_torn: plan.shape.is_torn,
            said: 0,
            documents,
            chance,
        };
        for (index, doors) in plan.shape.replicas.iter().enumerate() {
            world.settle_in(plan, index, doors);
        }
        for (index, step) in plan.steps.iter().enumerate() {
            world.at(step.at, Task::Act(index));
        }
        world
    }

    fn settle_in(&mut self, plan: &Plan, index: usize, doors: &[usize]) {
        let shape = &plan.shape;
        let chance = &mut self.chance;
        let lists =
            doors.iter().all(|d| matches!(shape.doors.get(*d), Some(Kind::Lister | Kind::Replica(_))));
        let documents_max = if lists { shape.documents_max } else { SessionConfig::default().documents_max };
        let config = SessionConfig {
            documents_max,
            unlisted_max: documents_max,
            linger_ms: one_of(chance, [50, 2_000, 30_000]),
            page_bytes: super::driver::PAGE_BYTES,
            prefixes: Vec::new(),
        };
        let subscribed: BTreeSet<_> = self.documents.iter().filter(|_| !chance.one_in(4)).cloned().collect();
        let reads_only = index >= shape.readers_from;
        let mut replica = Replica {
            name: (ReplicaId(chance.id()), Incarnation(chance.id())),
            speaks: shape.speaks.get(index).copied().unwrap_or_default(),
            listens: shape.doors.iter().position(|kind| *kind == Kind::Replica(index)),
            desk: Desk::default(),
            disk: Disk::default(),
            learned: BTreeMap::new(),
            backup: None,
            subscribed,
            takes_found: chance.one_in(2),
            live: BTreeMap::new(),
            automerge: BTreeMap::new(),
            links: Vec::new(),
            // Who may only read has one way, or what came on the other would be refused here.
            doors: doors.iter().take(if reads_only { 1 } else { 9 }).copied().collect(),
            config,
            brought: Vec::new(),
            via: BTreeMap::new(),
            is_up: true,
            start: 0,
            is_syncing: false,
            is_full: false,
            is_troubled: false,
            skew_ms: 0,
            reads_only,
            sync_ms: one_of(chance, [1, 40, 1_500]),
            read_ms: one_of(chance, [0, 60, 1_500]),
        };
        for door in 0..shape.doors.len() {
            self.network.set_path(index, door, path(chance));
        }
        replica.start(0, chance);
        if let Some(door) = replica.listens.and_then(|door| self.doors.get_mut(door)) {
            door.keeps = Some(replica.name);
        }
        let links = replica.links.len();
        self.replicas.push(replica);
        (0..links).for_each(|link| self.begin(index, link));
    }

    /// Puts a task at a moment.
    pub(super) fn at(&mut self, at: u64, task: Task) {
        self.order += 1;
        self.tasks.insert((at.max(self.now), self.order), task);
    }

    /// Puts a task some time from now.
    pub(super) fn after(&mut self, ms: u64, task: Task) {
        self.at(self.now + ms, task);
    }

    /// The first thing that is wrong ends the run.
    pub(super) fn blame(&mut self, words: String) {
        self.broken.get_or_insert(words);
    }

    /// Plays a plan to its end and lets the world come to rest.
    pub(super) fn play(mut self, plan: &Plan) -> Report {
        let mut tasks = 0;
        let healed = plan.end() + 1;
        self.run_until(healed, plan, &mut tasks);
        self.heal();
        let mut rest = Err("nobody looked".to_owned());
        while rest.is_err() && self.broken.is_none() && self.now < healed + REST_MS {
            let until = self.now + LOOK_MS;
            self.run_until(until, plan, &mut tasks);
            self.retry();
            let documents = self.documents.clone();
            rest = judge::at_rest(&self.everything(), &documents);
        }
        let rested = self.now;
        if let Err(words) = rest {
            self.blame(format!("no rest after {} minutes: {words}", REST_MS / 60_000));
        }
        // What was about to be said is said; then it is quiet.
        self.run_until(rested + QUIET_MS, plan, &mut tasks);
        let said = self.said;
        self.run_until(rested + 2 * QUIET_MS, plan, &mut tasks);
        if self.said > said && self.broken.is_none() {
            let more = self.said - said;
            self.blame(format!("at rest {more} messages about documents were said in a minute"));
        }
        let broken = self.broken.take().map(|words| (self.now, words));
        let (trace, lines) = self.trace.end();
        Report { trace, lines, rested, tasks, broken }
    }

    fn run_until(&mut self, until: u64, plan: &Plan, tasks: &mut u64) {
        while self.broken.is_none() && self.tasks.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            let Some(((at, _), task)) = self.tasks.pop_first() else { return };
            self.now = at;
            *tasks += 1;
            if *tasks > TASKS_MAX {
                self.blame(format!("it turns in circles: {TASKS_MAX} things happened"));
            }
            self.carry_out(plan, task);
            self.look(*tasks);
        }
        if self.broken.is_none() {
            self.now = self.now.max(until);
        }
    }

    fn carry_out(&mut self, plan: &Plan, task: Task) {
        match task {
            Task::Act(index) => {
                if let Some(step) = plan.steps.get(index) {
                    self.act(*step);
                }
            }
            Task::Arrive(wire, way) => self.arrive(wire, way),
            Task::Wake(replica, link) => self.wake(replica, link),
            Task::WakeDoor(door) => self.wake_door(door),
            Task::Synced(replica, start, until) => self.synced(replica, start, until),
            Task::SyncedDoor(door, start, until) => self.synced_door(door, start, until),
            Task::Read(replica, start, link) => {
                if self.replicas.get(replica).is_some_and(|replica| replica.start == start) {
                    self.read(replica, link);
                    self.take_turns(replica, link);
                    self.pump(replica, link);
                }
            }
            Task::List(replica, start, link, since) => {
                if self.replicas.get(replica).is_some_and(|replica| replica.start == start && replica.is_up) {
                    self.listed(replica, link, since);
                }
            }
            Task::Host(replica, start) => {
                if self.replicas.get(replica).is_some_and(|replica| replica.start == start && replica.is_up) {
                    self.work(replica);
                }
            }
            Task::ReplyDoor(door, start, document) => {
                let it = self.doors.get_mut(door).filter(|door| door.start == start && door.is_up);
                if let Some(archive) = it.and_then(|door| door.archive.as_mut()) {
                    archive.reply(&document);
                }
                self.drain(door);
            }
            Task::ReadDoor { door, start, document, room, asker, have } => {
                let now = self.now;
                if let Some(it) = self.doors.get_mut(door).filter(|door| door.start == start && door.is_up)
                    && let Some(answer) = it.archive.as_ref().map(|archive| archive.read(&document, &have))
                {
                    it.answered(now, &document, room, asker, answer);
                }
                self.drain(door);
            }
            Task::Start(replica) => self.start(replica),
            Task::StartDoor(door) => self.start_door(door),
            Task::Undo(act, replica, which) => self.undo(act, replica, which),
        }
    }

    /// What can be looked at cheaply is at each step, the rest now and then.
    fn look(&mut self, tasks: u64) {
        let blamed = self.doors.iter_mut().find_map(|door| door.blame.take());
        if let Some(words) = blamed {
            self.blame(words);
        }
        if tasks.is_multiple_of(16) {
            let mut all = self.everything();
            if let Err(words) = judge::bounds(&mut all).and_then(|()| judge::standings(&all)) {
                self.blame(words);
            }
        }
    }

    pub(super) fn everything(&mut self) -> Everything<'_> {
        Everything { replicas: &self.replicas, doors: &self.doors, network: &mut self.network }
    }

    /// Sends a packet and sees to it that it arrives.
    pub(super) fn send(&mut self, wire: Wire, way: Way, packet: Packet) {
        let now = self.now;
        if let Some(at) = self.network.send(wire, way, packet, now, &mut self.chance) {
            self.at(at, Task::Arrive(wire, way));
        }
    }

    /// Does what a door wants done.
    pub(super) fn drain(&mut self, index: usize) {
        while let Some(out) = self.doors.get_mut(index).and_then(|door| door.out.pop_front()) {
            match out {
                Out::Send(wire, frame) => self.send(wire, Way::Down, Packet::Frame(frame)),
                Out::Close(wire) => {
                    self.send(wire, Way::Down, Packet::End);
                    self.network.leave(wire, Way::Up);
                }
                Out::Store { document, room, ticket, update, arrival } => {
                    let now = self.now;
                    let Some(door) = self.doors.get_mut(index) else { return };
                    if let Some(host) = door.host {
                        self.ask_host(host, Job { document, room, work: Work::Store(ticket, update) });
                    } else if let Some(archive) = &mut door.archive
                        && let Err(reason) = archive.store(room, &document, ticket, &update, arrival)
                    {
                        door.stored(now, &document, room, ticket, Err(reason));
                    }
                }
                Out::Watch(wire, since) => self.watch(index, wire, &since),
                Out::Hear { document, peer, message } => self.hear(index, &document, peer, &message),
                Out::Hush(document, peer) => {
                    let door = self.doors.get_mut(index);
                    if let Some(archive) = door.and_then(|door| door.archive.as_mut()) {
                        archive.hush(&document, peer);
                    }
                }
                Out::Read { document, room, asker, have } => {
                    let Some(door) = self.doors.get(index) else { return };
                    if let Some(host) = door.host {
                        self.ask_host(host, Job { document, room, work: Work::Read(asker, have) });
                        continue;
                    }
                    let (start, ms) = (door.start, self.chance.below(door.read_ms + 1));
                    self.after(ms, Task::ReadDoor { door: index, start, document, room, asker, have });
                }
            }
        }
        let (now, Some(door)) = (self.now, self.doors.get_mut(index)) else { return };
        let deadline = door.deadline().filter(|_| door.is_up).map(|deadline| deadline.max(now));
        if let Some(deadline) = deadline.filter(|deadline| door.wakes.is_none_or(|wakes| *deadline < wakes)) {
            door.wakes = Some(deadline);
            self.at(deadline, Task::WakeDoor(index));
        }
        self.sync_door(index);
    }

    /// An archive is told something about an Automerge document.
    fn hear(&mut self, d: usize, document: &DocumentId, peer: u64, message: &[u8]) {
        let Some(door) = self.doors.get_mut(d) else { return };
        let Some(archive) = &mut door.archive else { return };
        match archive.hear(document, peer, message) {
            Err((peers, outcome)) => door.end_pairs(&peers, outcome),
            Ok(false) => {}
            Ok(true) => {
                let (start, ms) = (door.start, self.chance.below(door.read_ms + 1));
                self.after(ms, Task::ReplyDoor(d, start, document.clone()));
            }
        }
    }

    /// An archive's disk is busy whenever something is not on it.
    pub(super) fn sync_door(&mut self, index: usize) {
        let Some(door) = self.doors.get_mut(index) else { return };
        let Some(archive) = &door.archive else { return };
        let is_due = archive.log.end() > archive.log.durable() || archive.is_waited_for();
        // What is there already has room; what is not waits.
        let is_stuck = archive.is_full && archive.log.end() > archive.log.durable();
        if door.is_syncing || !door.is_up || !is_due || is_stuck {
            return;
        }
        door.is_syncing = true;
        let (start, until, ms) = (door.start, archive.log.end(), 1 + self.chance.below(door.sync_ms));
        self.after(ms, Task::SyncedDoor(index, start, until));
    }

    fn wake_door(&mut self, index: usize) {
        let now = self.now;
        let Some(door) = self.doors.get_mut(index) else { return };
        if door.wakes == Some(now) {
            door.wakes = None;
        }
        if door.is_up {
            door.wake(now);
        }
        self.drain(index);
    }

    fn synced_door(&mut self, index: usize, start: u64, until: u64) {
        let now = self.now;
        let Some(door) = self.doors.get_mut(index).filter(|door| door.start == start && door.is_up) else {
            return;
        };
        door.is_syncing = false;
        if door.archive.as_ref().is_some_and(|archive| archive.is_full && archive.log.durable() < until) {
            return;
        }
        let done = door.archive.as_mut().map(|archive| archive.synced(until)).unwrap_or_default();
        for Waiting { room, document, ticket, .. } in done {
            door.stored(now, &document, room, ticket, Ok(()));
        }
        self.list_all(index);
        if let Some(door) = self.doors.get_mut(index) {
            // They may come behind what was listed.
            let replies = door.archive.as_mut().map(|archive| archive.replies()).unwrap_or_default();
            replies.iter().for_each(|(peer, message)| door.say(*peer, message));
        }
        self.trace.note(now, format_args!("door {index} has synced {until}"));
        self.drain(index);
    }
}

fn door(kind: Kind, shape: &Shape, chance: &mut Chance) -> Door {
    let mut archive = || Archive::new((ReplicaId(chance.id()), Incarnation(chance.id())));
    let mut door = match kind {
        Kind::Bare => Door::new(None, None, false),
        Kind::Keeper => Door::new(Some(archive()), None, false),
        Kind::Lister => Door::new(Some(archive()), None, true),
        Kind::Replica(host) => Door::new(None, Some(host), true),
    };
    door.is_later = shape.is_later;
    door.sync_ms = one_of(chance, [1, 60, 1_500]);
    door.read_ms = one_of(chance, [0, 80, 1_500]);
    if door.lists && chance.one_in(6) {
        door.documents_max = 1 + chance.index(4);
    }
    door
}

/// Up to one of these, in ms.
fn one_of(chance: &mut Chance, most: [u64; 3]) -> u64 {
    let most = most.get(chance.index(3)).copied().unwrap_or(0);
    chance.below(most + 1)
}

fn path(chance: &mut Chance) -> Path {
    let latency_ms = one_of(chance, [5, 50, 400]);
    let bytes_per_second = [2_000, 50_000, 10_000_000].get(chance.index(3)).copied().unwrap_or(50_000);
    Path { latency_ms, jitter_ms: latency_ms / 2, bytes_per_second, blocked_up: false, blocked_down: false }
}
