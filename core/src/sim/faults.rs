//! What people, clocks and faults do, step by step, and how everything is made well again.

use super::chance::Chance;
use super::network::{Packet, Path, Way};
use super::plan::{Act, Speaks, Step};
use super::world::{Task, World};
use crate::id::{DocumentId, Incarnation, ReplicaId};
use crate::link::End;
use crate::schedule::{Mode, Priority};
use crate::validate::{AwarenessEntry, AwarenessUpdate};

impl World {
    /// Takes a step of the plan.
    pub(super) fn act(&mut self, step: Step) {
        let Step { replica, which, act, .. } = step;
        let (r, d) = (
            replica.checked_rem(self.replicas.len()).unwrap_or(0),
            which.checked_rem(self.doors.len()).unwrap_or(0),
        );
        self.trace.note(self.now, format_args!("replica {r}, door {d}, {which}: {act:?}"));
        match act {
            Act::Edit { times } => {
                for _ in 0..times {
                    self.edit(r, which);
                }
            }
            Act::Presence
            | Act::Watch(_)
            | Act::Subscribe(_)
            | Act::Priority(_)
            | Act::Saving(_)
            | Act::Hint => {
                self.act_of_app(r, which, act);
            }
            Act::Crash { .. }
            | Act::Backup
            | Act::Restore
            | Act::Jump { .. }
            | Act::Full { .. }
            | Act::Trouble { .. } => {
                self.act_on_replica(r, act);
            }
            Act::Cut | Act::Stall { .. } | Act::Strange { .. } => self.act_on_wire(which, act),
            Act::Partition { .. } | Act::Slow { .. } => self.act_on_path(r, d, act),
            Act::CrashDoor { .. }
            | Act::BackupDoor
            | Act::RestoreDoor
            | Act::FullDoor { .. }
            | Act::TroubleDoor { .. }
            | Act::RefuseDoor { .. } => self.act_on_door(d, act),
        }
    }

    fn document(&self, r: usize, which: usize, subscribed: bool) -> Option<DocumentId> {
        let replica = self.replicas.get(r).filter(|replica| replica.is_up)?;
        let of: Vec<_> =
            self.documents.iter().filter(|id| !subscribed || replica.subscribed.contains(*id)).collect();
        of.get(which.checked_rem(of.len())?).copied().cloned()
    }

    fn edit(&mut self, r: usize, which: usize) {
        let Some(document) = self.document(r, which, true) else { return };
        let Some(replica) = self.replicas.get_mut(r) else { return };
        // Who may only read knows it, mostly.
        if replica.reads_only && !self.chance.one_in(4) {
            return;
        }
        if let Err(words) = replica.edit(&document, &mut self.chance) {
            self.blame(format!("replica {r} cannot edit {document:?}: {words}"));
        }
        self.sync(r);
    }

    fn act_of_app(&mut self, r: usize, which: usize, act: Act) {
        let Some(document) = self.document(r, which, !matches!(act, Act::Subscribe(_))) else { return };
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let clock = replica.clock(self.now);
        if let Act::Subscribe(wants) = act {
            replica.subscribe(&document, wants);
        }
        for driver in &mut replica.links {
            match act {
                Act::Presence => {
                    let state = Some(bytes::Bytes::from_static(b"{\"at\":1}"));
                    let entry = AwarenessEntry { client: 2 + r as u64, clock: self.now, state };
                    driver.session.show(&document, &AwarenessUpdate { entries: vec![entry] }.encode());
                }
                Act::Watch(watched) => {
                    if watched && !driver.session.has(&document) {
                        driver.session.add(&document, 0);
                    }
                    driver.session.watch(&document, watched);
                }
                Act::Priority(class) => {
                    let class =
                        usize::try_from(class).ok().and_then(|class| Priority::ALL.get(class).copied());
                    driver.session.set_priority(&document, class.unwrap_or_default());
                }
                Act::Saving(is) => driver.out.set_mode(if is { Mode::Saving } else { Mode::Normal }, clock),
                Act::Hint => driver.link.network_changed(clock),
                _ => {}
            }
        }
        self.pump_all(r);
    }

    fn act_on_replica(&mut self, r: usize, act: Act) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        match act {
            Act::Crash { power, ms } if replica.is_up => {
                self.stop(r, power);
                self.after(ms, Task::Start(r));
            }
            Act::Backup => replica.backup = Some((replica.disk.clone(), replica.subscribed.clone())),
            Act::Restore if replica.is_up && replica.backup.is_some() => {
                self.stop(r, true);
                if let Some(replica) = self.replicas.get_mut(r)
                    && let Some((disk, subscribed)) = replica.backup.clone()
                {
                    (replica.disk, replica.subscribed) = (disk, subscribed);
                    let unsynced = replica.disk.log.end() - replica.disk.log.durable();
                    replica.disk.log.crash(survivors(self.is_torn, true, unsynced, &mut self.chance));
                    // Of what it was nothing is known to be there.
                    replica.name.1 = Incarnation(self.chance.id());
                }
                self.after(1_000, Task::Start(r));
            }
            Act::Jump { ms } => {
                // Never more than ten years and a bit from where it should be.
                replica.skew_ms = ms;
                self.pump_all(r);
            }
            Act::Full { ms } => {
                replica.is_full = true;
                self.after(ms, Task::Undo(act, r, 0));
            }
            Act::Trouble { ms } => {
                replica.is_troubled = true;
                self.after(ms, Task::Undo(act, r, 0));
            }
            _ => {}
        }
    }

    /// A replica's process ends; the system tells the doors, unless its power went.
    fn stop(&mut self, r: usize, power: bool) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let unsynced = replica.disk.log.end() - replica.disk.log.durable();
        replica.crash(survivors(self.is_torn, power, unsynced, &mut self.chance));
        if self.is_torn {
            match self.chance.below(4) {
                // What was learned last had reached the disk, or what did is damaged.
                0 => replica.disk.memories = replica.learned.clone(),
                1 => replica.disk.memories.clear(),
                _ => {}
            }
        }
        if let Some(door) = replica.listens {
            self.stop_door(door, power);
        }
        for wire in self.network.wires_of(Some(r), None) {
            if self.network.has(wire, Way::Down) {
                if !power {
                    self.send(wire, Way::Up, Packet::End);
                }
                self.network.leave(wire, Way::Down);
            }
        }
    }

    pub(super) fn start(&mut self, r: usize) {
        let now = self.now;
        let Some(replica) = self.replicas.get_mut(r).filter(|replica| !replica.is_up) else { return };
        replica.start(now, &mut self.chance);
        let (name, listens) = (replica.name, replica.listens);
        if let Some((d, door)) = listens.and_then(|d| Some((d, self.doors.get_mut(d)?))) {
            door.keeps = Some(name);
            self.start_door(d);
        }
        let Some(replica) = self.replicas.get(r) else { return };
        let links = replica.links.len();
        self.trace.note(now, format_args!("replica {r} starts with {}", replica.disk.log.durable()));
        (0..links).for_each(|l| self.begin(r, l));
    }

    fn act_on_wire(&mut self, which: usize, act: Act) {
        let wires = self.network.wires();
        let Some(wire) = which.checked_rem(wires.len()).and_then(|index| wires.get(index)).copied() else {
            return;
        };
        match act {
            Act::Strange { up } => self.say_strangely(wire, if up { Way::Up } else { Way::Down }),
            Act::Stall { up } => self.network.stall(wire, if up { Way::Up } else { Way::Down }),
            _ => {
                self.network.lose(wire);
                for way in [Way::Up, Way::Down] {
                    self.send(wire, way, Packet::End);
                }
            }
        }
    }

    fn act_on_path(&mut self, r: usize, d: usize, act: Act) {
        let Some(path) = self.network.path(r, d) else { return };
        match act {
            Act::Partition { up, down, ms } => {
                (path.blocked_up, path.blocked_down) = (up, down);
                self.after(ms, Task::Undo(act, r, d));
            }
            Act::Slow { latency_ms, bytes_per_second, ms } => {
                (path.latency_ms, path.bytes_per_second) = (latency_ms, bytes_per_second);
                self.after(ms, Task::Undo(act, r, d));
            }
            _ => {}
        }
    }

    fn act_on_door(&mut self, d: usize, act: Act) {
        let chance = &mut self.chance;
        let Some(door) = self.doors.get_mut(d) else { return };
        if let Some(host) = door.host {
            return self.act_on_host(host, d, act);
        }
        match (act, &mut door.archive) {
            (Act::CrashDoor { power, ms }, _) if door.is_up => {
                self.stop_door(d, power);
                self.after(ms, Task::StartDoor(d));
            }
            (Act::BackupDoor, Some(archive)) => archive.backup = Some(archive.log.clone()),
            (Act::RestoreDoor, Some(archive)) if door.is_up => {
                let Some(mut log) = archive.backup.clone() else { return };
                log.crash(survivors(self.is_torn, true, log.end() - log.durable(), chance));
                archive.log = log;
                archive.name = (ReplicaId(chance.id()), Incarnation(chance.id()));
                door.keeps = Some(archive.name);
                self.stop_door(d, true);
                self.after(1_000, Task::StartDoor(d));
            }
            (Act::FullDoor { ms }, Some(archive)) => {
                archive.is_full = true;
                self.after(ms, Task::Undo(act, 0, d));
            }
            (Act::TroubleDoor { ms }, Some(archive)) => {
                archive.is_troubled = true;
                self.after(ms, Task::Undo(act, 0, d));
            }
            (Act::RefuseDoor { code, ms }, _) => {
                door.refuses = Some(code);
                self.after(ms, Task::Undo(act, 0, d));
            }
            _ => {}
        }
    }

    /// What happens to the door of a replica that listens happens to the replica.
    fn act_on_host(&mut self, r: usize, d: usize, act: Act) {
        match act {
            Act::CrashDoor { power, ms } => self.act_on_replica(r, Act::Crash { power, ms }),
            Act::BackupDoor => self.act_on_replica(r, Act::Backup),
            Act::RestoreDoor => self.act_on_replica(r, Act::Restore),
            Act::FullDoor { ms } => self.act_on_replica(r, Act::Full { ms }),
            Act::TroubleDoor { ms } => self.act_on_replica(r, Act::Trouble { ms }),
            Act::RefuseDoor { code, ms } => {
                if let Some(door) = self.doors.get_mut(d) {
                    door.refuses = Some(code);
                }
                self.after(ms, Task::Undo(act, r, d));
            }
            _ => {}
        }
    }

    fn stop_door(&mut self, d: usize, power: bool) {
        let Some(door) = self.doors.get_mut(d) else { return };
        let unsynced = door.archive.as_ref().map_or(0, |archive| archive.log.end() - archive.log.durable());
        door.crash(survivors(self.is_torn, power, unsynced, &mut self.chance));
        for wire in self.network.wires_of(None, Some(d)) {
            if self.network.has(wire, Way::Up) {
                if !power {
                    self.send(wire, Way::Down, Packet::End);
                }
                self.network.leave(wire, Way::Up);
            }
        }
    }

    pub(super) fn start_door(&mut self, d: usize) {
        let Some(door) = self.doors.get_mut(d).filter(|door| !door.is_up) else { return };
        door.start();
        self.trace.note(self.now, format_args!("door {d} starts"));
    }

    /// What a fault did ends, if nothing of the kind has begun since.
    pub(super) fn undo(&mut self, act: Act, r: usize, d: usize) {
        self.trace.note(self.now, format_args!("replica {r}, door {d}: no more {act:?}"));
        match act {
            Act::Full { .. } => {
                if let Some(replica) = self.replicas.get_mut(r) {
                    replica.is_full = false;
                }
            }
            Act::Partition { .. } => self.join(r, d),
            Act::Slow { .. } => {
                if let Some(path) = self.network.path(r, d) {
                    (path.latency_ms, path.bytes_per_second) = (20, 50_000);
                }
            }
            Act::Trouble { .. } => {
                if let Some(replica) = self.replicas.get_mut(r) {
                    replica.is_troubled = false;
                }
            }
            Act::FullDoor { .. } | Act::TroubleDoor { .. } => {
                if let Some(archive) = self.doors.get_mut(d).and_then(|door| door.archive.as_mut()) {
                    (archive.is_full, archive.is_troubled) = (false, false);
                }
                self.sync_door(d);
            }
            Act::RefuseDoor { .. } => {
                if let Some(door) = self.doors.get_mut(d) {
                    door.refuses = None;
                }
            }
            _ => {}
        }
    }

    /// A partition ends: what waited arrives.
    fn join(&mut self, r: usize, d: usize) {
        if let Some(path) = self.network.path(r, d) {
            (path.blocked_up, path.blocked_down) = (false, false);
        }
        for wire in self.network.wires_of(Some(r), Some(d)) {
            for way in [Way::Up, Way::Down] {
                (0..self.network.waiting(wire, way)).for_each(|_| self.after(0, Task::Arrive(wire, way)));
            }
        }
    }

    /// All faults end, whoever is down starts, and nobody looks at anything any more.
    pub(super) fn heal(&mut self) {
        self.trace.note(self.now, format_args!("all is well"));
        for path in self.network.paths() {
            *path = Path { latency_ms: 20, jitter_ms: 5, bytes_per_second: 50_000, ..path.clone() };
        }
        for d in 0..self.doors.len() {
            let host = self.doors.get(d).and_then(|door| door.host);
            self.undo(Act::TroubleDoor { ms: 0 }, 0, d);
            self.undo(Act::RefuseDoor { code: 0, ms: 0 }, 0, d);
            // Another one starts with its replica.
            if host.is_none() {
                self.start_door(d);
            }
        }
        for r in 0..self.replicas.len() {
            (0..self.doors.len()).for_each(|d| self.join(r, d));
            self.undo(Act::Full { ms: 0 }, r, 0);
            self.undo(Act::Trouble { ms: 0 }, r, 0);
            self.start(r);
            if let Some(replica) = self.replicas.get_mut(r) {
                if replica.speaks == Speaks::Other {
                    replica.speaks = Speaks::This;
                }
                let clock = replica.clock(self.now);
                for driver in &mut replica.links {
                    driver.out.set_mode(Mode::Normal, clock);
                    // What is looked at keeps its place, where a door has few.
                    replica.subscribed.iter().for_each(|document| driver.session.watch(document, false));
                }
            }
            self.pump_all(r);
        }
    }

    /// A person tries again what was refused for good.
    pub(super) fn retry(&mut self) {
        for r in 0..self.replicas.len() {
            let Some(replica) = self.replicas.get_mut(r) else { return };
            let clock = replica.clock(self.now);
            for driver in replica.links.iter_mut().filter(|driver| driver.wire.is_none()) {
                if driver.link.last_error().is_some_and(End::is_permanent) {
                    driver.link.retry(clock);
                }
            }
            self.pump_all(r);
        }
    }
}

/// How many changes that were not synced a crash leaves.
fn survivors(is_torn: bool, power: bool, unsynced: u64, chance: &mut Chance) -> u64 {
    match is_torn {
        false => 0,
        // What the system has does not go with the process.
        true if !power && chance.one_in(2) => unsynced,
        true => chance.below(unsynced + 1),
    }
}
