//! What arrives, what a replica does about it, and what of that goes out.

use bytes::Bytes;

use super::driver::{Do, Memory, Read};
use super::feed::Keeper;
use super::judge;
use super::log::Content;
use super::network::{Packet, Way, Wire};
use super::replica::{Brought, Via};
use super::world::{Task, World};
use crate::dialect::replica::{self, Message};
use crate::id::DocumentId;
use crate::link::End;
use crate::session::{Change, Effect, Failed, Token};
use crate::update::Update;

impl World {
    /// Something may have arrived.
    pub(super) fn arrive(&mut self, wire: Wire, way: Way) {
        let Some(packet) = self.network.arrived(wire, way, self.now) else { return };
        let Some((r, l, d)) = self.network.ends(wire) else { return };
        let is_up = match way {
            Way::Up => self.doors.get(d).is_some_and(|door| door.is_up),
            Way::Down => self.replicas.get(r).is_some_and(|replica| replica.is_up),
        };
        if let Packet::Dial(hello) = packet {
            match way {
                Way::Up if is_up => self.let_in(wire, r, d, hello),
                Way::Up => self.send(wire, Way::Down, Packet::End),
                Way::Down => self.opened(wire, r, l),
            }
            return;
        }
        if !self.network.has(wire, way) {
            // Who knows nothing of a connection says so.
            if !matches!(packet, Packet::End) && is_up {
                self.send(wire, way.back(), Packet::End);
            }
            return;
        }
        match way {
            Way::Up => self.arrive_up(wire, d, packet),
            Way::Down => self.arrive_down(wire, r, l, packet),
        }
    }

    fn arrive_up(&mut self, wire: Wire, d: usize, packet: Packet) {
        let now = self.now;
        let Some(door) = self.doors.get_mut(d) else { return };
        match packet {
            Packet::Frame(frame) if self.network.is_strange(wire, &frame) => {
                self.trace.note(now, format_args!("door {d} ({}) ends what it cannot read", wire.0));
                door.leave(now, wire);
                self.network.leave(wire, Way::Up);
                self.send(wire, Way::Down, Packet::End);
            }
            Packet::Frame(frame) => {
                let frame = frame.into();
                self.trace.frame(now, format_args!("door {d} ({})", wire.0), &frame);
                door.frame(now, wire, &frame);
            }
            Packet::End => {
                door.leave(now, wire);
                self.network.leave(wire, Way::Up);
            }
            Packet::Dial(_) | Packet::Answer(_) => {}
        }
        self.drain(d);
    }

    fn arrive_down(&mut self, wire: Wire, r: usize, l: usize, packet: Packet) {
        let now = self.now;
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let clock = replica.clock(now);
        let Some(driver) = replica.links.get_mut(l).filter(|driver| driver.wire == Some(wire)) else {
            return;
        };
        let ended = match packet {
            Packet::Dial(_) => None,
            Packet::Answer(answer) => self.answered(r, l, answer),
            Packet::Frame(frame) => {
                let is_strange = self.network.is_strange(wire, &frame);
                let frame = Bytes::from(frame);
                self.trace.frame(now, format_args!("replica {r} link {l} ({})", wire.0), &frame);
                self.said += u64::from(is_about_a_document(&frame));
                match driver.frame(clock, &frame) {
                    Err(words) if is_strange => {
                        self.send(wire, Way::Up, Packet::End);
                        Some(End::Retriable { reason: format!("what no relay says ({words})") })
                    }
                    Err(words) => {
                        self.blame(format!("replica {r} link {l} does not understand: {words}"));
                        None
                    }
                    Ok(()) => None,
                }
            }
            Packet::End => Some(End::Retriable { reason: "the connection ended".to_owned() }),
        };
        if let Some(end) = ended {
            self.trace.note(now, format_args!("replica {r} link {l} ends: {end}"));
            if let Some(driver) = self.replicas.get_mut(r).and_then(|replica| replica.links.get_mut(l)) {
                driver.ended(clock, end);
            }
            self.network.leave(wire, Way::Down);
        }
        self.pump(r, l);
    }

    /// A link's deadline has come.
    pub(super) fn wake(&mut self, r: usize, l: usize) {
        let now = self.now;
        let Some(driver) = self.replicas.get_mut(r).and_then(|replica| replica.links.get_mut(l)) else {
            return;
        };
        if driver.wakes == Some(now) {
            driver.wakes = None;
        }
        self.pump(r, l);
    }

    /// All links of a replica have something to do.
    pub(super) fn pump_all(&mut self, r: usize) {
        let links = self.replicas.get(r).map_or(0, |replica| replica.links.len());
        (0..links).for_each(|l| self.pump(r, l));
    }

    /// Does what a link wants done, and sees to it that it is woken.
    pub(super) fn pump(&mut self, r: usize, l: usize) {
        for rounds in 0.. {
            let Some(replica) = self.replicas.get_mut(r).filter(|replica| replica.is_up) else { return };
            let clock = replica.clock(self.now);
            let Some(driver) = replica.links.get_mut(l) else { return };
            let Some(wanted) = driver.next(clock) else { break };
            if rounds > 10_000 {
                self.blame(format!("replica {r} link {l} has no end of things to do at once"));
                return;
            }
            self.do_for(r, l, wanted);
            if self.broken.is_some() {
                return;
            }
        }
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let clock = replica.clock(self.now);
        let Some(driver) = replica.links.get_mut(l) else { return };
        // Timers run by the time that passes, whatever clocks are set to.
        let deadline = driver.deadline().map(|deadline| self.now + deadline.0.saturating_sub(clock.0));
        if let Some(deadline) = deadline.filter(|deadline| driver.wakes.is_none_or(|wakes| *deadline < wakes))
        {
            if deadline <= self.now {
                self.blame(format!("replica {r} link {l} is due at once, and has nothing to do"));
                return;
            }
            driver.wakes = Some(deadline);
            self.at(deadline, Task::Wake(r, l));
        }
        self.sync(r);
    }

    fn do_for(&mut self, r: usize, l: usize, wanted: Do) {
        match wanted {
            Do::Dial => self.dial(r, l),
            Do::HangUp(wire) => {
                self.trace.note(self.now, format_args!("replica {r} link {l} hangs up"));
                self.send(wire, Way::Up, Packet::End);
                self.network.leave(wire, Way::Down);
            }
            Do::Transmit(wire, frame) => self.send(wire, Way::Up, Packet::Frame(frame)),
            Do::Session(effect) => self.carry_out_for(r, l, effect),
        }
    }

    fn carry_out_for(&mut self, r: usize, l: usize, effect: Effect) {
        match effect {
            // The driver's.
            Effect::Send { .. } => {}
            Effect::Describe(document) => {
                let Some(replica) = self.replicas.get_mut(r) else { return };
                let have = replica.disk.log.synced(&document).map(|kept| kept.known.state_vector());
                let clock = replica.clock(self.now);
                match replica.links.get_mut(l) {
                    Some(driver) if replica.is_troubled => {
                        let words = "it cannot be read".to_owned();
                        driver.session.failed(clock, &document, Failed::Describe, words);
                    }
                    Some(driver) => driver.session.described(&document, &have.unwrap_or_default()),
                    None => {}
                }
            }
            Effect::Read { document, have } => {
                let Some(replica) = self.replicas.get_mut(r) else { return };
                let Some(driver) = replica.links.get_mut(l) else { return };
                let (start, until) = (replica.start, replica.disk.log.end());
                let at = self.now + self.chance.below(replica.read_ms + 1);
                driver.reads.push_back(Read { document, have, at, until });
                self.at(at, Task::Read(r, start, l));
            }
            Effect::Bring { token, document, update } => self.bring(r, l, token, &document, &update),
            Effect::Presence { .. } | Effect::Stamp(_) | Effect::Gone(_) => {}
            Effect::Sync { talk, document, message } => self.ask_turn(r, l, talk, document, message),
            Effect::Over(talk) => self.end_talk(r, l, talk),
            Effect::All => {
                if let Some(replica) = self.replicas.get_mut(r) {
                    replica.learned.remove(&l);
                }
                self.list_own(r, l, 0);
            }
            Effect::Found(document) => {
                let Some(replica) = self.replicas.get_mut(r) else { return };
                if replica.subscribed.contains(&document) {
                    // All of it was acknowledged before this start, so it was not listed.
                    if let Some(driver) = replica.links.get_mut(l) {
                        driver.session.add(&document, 0);
                    }
                } else if replica.takes_found {
                    self.trace.note(self.now, format_args!("replica {r} link {l} takes {document:?}"));
                    replica.subscribe(&document, true);
                    self.pump_others(r, l);
                } else if let Some(driver) = replica.links.get_mut(l) {
                    driver.session.decline(&document);
                }
            }
            Effect::Acknowledged { keeper, position } => self.acknowledged(r, l, keeper, position),
            Effect::Reached { keeper, checkpoint } => self.reached(r, l, keeper, checkpoint),
        }
    }

    fn pump_others(&mut self, r: usize, l: usize) {
        let links = self.replicas.get(r).map_or(0, |replica| replica.links.len());
        (0..links).filter(|other| *other != l).for_each(|other| self.after(0, Task::Wake(r, other)));
    }

    /// Reads what the other end lacks, whatever it asked and can be read by now.
    pub(super) fn read(&mut self, r: usize, l: usize) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let clock = replica.clock(self.now);
        let (log, Some(driver)) = (&replica.disk.log, replica.links.get_mut(l)) else { return };
        let can_be = |read: &Read| read.at <= self.now && read.until <= log.durable();
        while driver.reads.front().is_some_and(can_be) {
            let Some(Read { document, have, .. }) = driver.reads.pop_front() else { return };
            if replica.is_troubled {
                let words = "it cannot be read".to_owned();
                driver.session.failed(clock, &document, Failed::Read, words);
                continue;
            }
            let update = log.synced(&document).map(|kept| kept.lacking(&have));
            let update = update.unwrap_or_else(|| Update::empty().bytes().clone());
            driver.session.lacking(&document, &update, log.durable());
        }
    }

    fn bring(&mut self, r: usize, l: usize, token: Token, document: &DocumentId, update: &Update) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let clock = replica.clock(self.now);
        let taken = match replica.is_full || replica.is_troubled {
            true => Err("the disk is full, or fails".to_owned()),
            false => match replica.take(document, update, Via::Link(l)) {
                Ok(taken) => Ok(taken),
                Err(words) => return self.blame(format!("replica {r} cannot take an update: {words}")),
            },
        };
        let end = replica.disk.log.end();
        // What is known may not be durable yet.
        if let Ok(position) = taken
            && (position.is_some() || end > replica.disk.log.durable())
        {
            replica.brought.push(Brought { position: position.unwrap_or(end), link: l, token });
        } else if let Some(driver) = replica.links.get_mut(l) {
            driver.session.brought(clock, token, taken.map(|_| ()));
        }
    }

    /// A replica's disk is busy whenever something is not on it.
    pub(super) fn sync(&mut self, r: usize) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let is_due = replica.disk.log.end() > replica.disk.log.durable();
        if replica.is_syncing || !replica.is_up || !is_due {
            return;
        }
        replica.is_syncing = true;
        let (start, until, ms) =
            (replica.start, replica.disk.log.end(), 1 + self.chance.below(replica.sync_ms + 1));
        self.after(ms, Task::Synced(r, start, until));
    }

    /// A replica's log is durable up to a position.
    pub(super) fn synced(&mut self, r: usize, start: u64, until: u64) {
        let Some(replica) =
            self.replicas.get_mut(r).filter(|replica| replica.start == start && replica.is_up)
        else {
            return;
        };
        replica.is_syncing = false;
        let before = replica.disk.log.durable();
        replica.disk.log.sync(until);
        replica.disk.memories = replica.learned.clone();
        self.hand_over(r, before + 1, until);
        let links = self.replicas.get(r).map_or(0, |replica| replica.links.len());
        for l in 0..links {
            self.read(r, l);
            self.take_turns(r, l);
        }
        self.host(r);
        self.pump_all(r);
        self.sync(r);
    }

    /// Tells the links of what has become durable, from a position to another.
    fn hand_over(&mut self, r: usize, first: u64, last: u64) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let clock = replica.clock(self.now);
        for position in first..=last {
            let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut replica.brought)
                .into_iter()
                .partition(|brought| brought.position <= position);
            replica.brought = later;
            let via = replica.via.remove(&position).unwrap_or(Via::Own);
            if let Some(row) = replica.disk.log.row(position).cloned() {
                if via == Via::Door && replica.takes_found && !replica.subscribed.contains(&row.document) {
                    replica.subscribe(&row.document, true);
                }
                if via != Via::Door
                    && let Content::Yjs(update) = &row.content
                    && let Some(door) = replica.listens.and_then(|door| self.doors.get_mut(door))
                {
                    door.released(self.now, &row.document, update);
                }
                for (l, driver) in replica.links.iter_mut().enumerate() {
                    let change = Change {
                        document: &row.document,
                        position,
                        update: row.content.bytes(),
                        priority: None,
                        is_from_there: via == Via::Link(l),
                    };
                    if replica.subscribed.contains(&row.document) && !driver.session.has(&row.document) {
                        driver.session.add(&row.document, 0);
                    }
                    driver.session.changed(clock, &change);
                }
            }
            for Brought { link, token, .. } in now {
                if let Some(driver) = replica.links.get_mut(link) {
                    driver.session.brought(clock, token, Ok(()));
                }
            }
        }
        if let Some(door) = replica.listens {
            self.list_all(door);
            self.drain(door);
        }
    }

    fn acknowledged(&mut self, r: usize, l: usize, keeper: Keeper, position: u64) {
        self.trace.note(self.now, format_args!("replica {r} link {l} has up to {position} acknowledged"));
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let memory = replica.learned.entry(l).or_insert_with(|| nothing(keeper));
        if memory.keeper != keeper {
            *memory = nothing(keeper);
        }
        memory.acknowledged = position;
        let all = self.everything();
        let (Some(replica), Some(log)) = (all.replicas.get(r), judge::keeper(&all, keeper)) else { return };
        if let Err(words) = judge::acknowledged(replica, position, log) {
            self.blame(format!("replica {r} link {l}: {words}"));
        }
    }

    fn reached(&mut self, r: usize, l: usize, keeper: Keeper, checkpoint: Bytes) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let until = checkpoint.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        self.trace.note(self.now, format_args!("replica {r} link {l} has reached {until}"));
        let memory = replica.learned.entry(l).or_insert_with(|| nothing(keeper));
        if memory.keeper != keeper {
            *memory = nothing(keeper);
        }
        memory.checkpoint = checkpoint;
        let all = self.everything();
        let (Some(replica), Some(log)) = (all.replicas.get(r), judge::keeper(&all, keeper)) else { return };
        if let Err(words) = judge::reached(replica, until, log) {
            self.blame(format!("replica {r} link {l}: {words}"));
        }
    }
}

fn nothing(keeper: Keeper) -> Memory {
    Memory { keeper, acknowledged: 0, checkpoint: Bytes::new() }
}

fn is_about_a_document(frame: &Bytes) -> bool {
    matches!(
        replica::parse(frame),
        Ok(Message::Y { .. }
            | Message::Sync { .. }
            | Message::Open { .. }
            | Message::Shut { .. }
            | Message::Stored { .. })
    )
}
