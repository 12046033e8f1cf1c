//! A replica that listens: what the rooms behind its door ask of it, done one after the other.
//!
//! As `node/src/replica/listen` does: what is known already is called stored when it is durable, what is handed out is
//! durable, and rooms hear of what they did not bring before watchers do.

use std::collections::VecDeque;

use super::replica::Via;
use super::world::{Task, World};
use crate::id::DocumentId;
use crate::room::{Answer, MemberId, StoreRefused, Ticket};
use crate::update::{StateVector, Update};

/// What a room asks for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) document: DocumentId,
    /// Which room of the document.
    pub(super) room: u64,
    pub(super) work: Work,
}

#[derive(Debug)]
pub(super) enum Work {
    Store(Ticket, Update),
    Read(MemberId, StateVector),
}

/// What is told when the disk has all that it speaks of.
#[derive(Debug)]
enum Done {
    Stored(Ticket),
    Answer(MemberId, Answer),
}

/// What is to be done, and what is being done.
#[derive(Debug, Default)]
pub(super) struct Desk {
    jobs: VecDeque<Job>,
    /// The job that waits until the log is durable up to a position.
    waiting: Option<(u64, DocumentId, u64, Done)>,
    /// A job is begun soon.
    is_due: bool,
}

impl World {
    /// A room asks something of the replica behind its door.
    pub(super) fn ask_host(&mut self, host: usize, job: Job) {
        if let Some(replica) = self.replicas.get_mut(host).filter(|replica| replica.is_up) {
            replica.desk.jobs.push_back(job);
            self.host(host);
        }
    }

    /// Ends the job that waited for the disk, if that has come so far, and begins the next.
    pub(super) fn host(&mut self, r: usize) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let durable = replica.disk.log.durable();
        if let Some((_, document, room, done)) = replica.desk.waiting.take_if(|(until, ..)| *until <= durable)
        {
            self.tell_room(r, &document, room, Ok(done));
        }
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let desk = &mut replica.desk;
        if desk.waiting.is_some() || desk.is_due || desk.jobs.is_empty() {
            return;
        }
        desk.is_due = true;
        let (start, ms) = (replica.start, self.chance.below(replica.read_ms + 1));
        self.after(ms, Task::Host(r, start));
    }

    /// Begins the next job.
    pub(super) fn work(&mut self, r: usize) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        replica.desk.is_due = false;
        let Some(Job { document, room, work }) = replica.desk.jobs.pop_front() else { return };
        let end = replica.disk.log.end();
        let begun = match work {
            _ if replica.is_troubled => Err((work, StoreRefused::Trouble)),
            Work::Store(ticket, update) if update.is_empty() => Ok((end, Done::Stored(ticket))),
            Work::Store(..) if replica.is_full => Err((work, StoreRefused::NoRoom)),
            Work::Store(ticket, update) => match replica.take(&document, &update, Via::Door) {
                Ok(position) => Ok((position.unwrap_or(end), Done::Stored(ticket))),
                Err(words) => return self.blame(format!("replica {r} cannot take an update: {words}")),
            },
            Work::Read(asker, have) => {
                let kept = replica.disk.log.taken(&document).cloned().unwrap_or_default();
                let answer = Answer { update: kept.lacking(&have), state_vector: kept.known.state_vector() };
                Ok((end, Done::Answer(asker, answer)))
            }
        };
        match begun {
            Ok((until, done)) => replica.desk.waiting = Some((until, document, room, done)),
            Err((work, reason)) => self.tell_room(r, &document, room, Err((work, reason))),
        }
        self.sync(r);
        self.host(r);
    }

    fn tell_room(
        &mut self,
        r: usize,
        document: &DocumentId,
        room: u64,
        result: Result<Done, (Work, StoreRefused)>,
    ) {
        let now = self.now;
        let Some(d) = self.replicas.get(r).and_then(|replica| replica.listens) else { return };
        let Some(door) = self.doors.get_mut(d) else { return };
        match result {
            Ok(Done::Stored(ticket)) => door.stored(now, document, room, ticket, Ok(())),
            Ok(Done::Answer(asker, answer)) => door.answered(now, document, room, asker, Ok(answer)),
            Err((Work::Store(ticket, _), reason)) => door.stored(now, document, room, ticket, Err(reason)),
            Err((Work::Read(asker, _), reason)) => door.answered(now, document, room, asker, Err(reason)),
        }
        self.drain(d);
    }
}
