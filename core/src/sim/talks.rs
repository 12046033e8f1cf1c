//! Automerge documents on a link: one turn of a talk after the other, each in the time that reading and the disk take.
//!
//! As `node/src/replica/automerge/talk.rs` and the desk of a link do it: what came is durable before the next message is
//! made, and what that speaks of before it leaves.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::chance::Chance;
use super::log::Content;
use super::replica::{Replica, Via};
use super::world::{Task, World};
use crate::engine::automerge::{Arrived, BroughtMessage, Compared, SyncState};
use crate::id::DocumentId;
use crate::session::{Synced, Talk};

/// What was said in a talk.
#[derive(Debug, Default)]
struct State {
    peer: SyncState,
    arrived: Arrived,
}

#[derive(Debug)]
enum Turn {
    Step(Talk, DocumentId, Step),
    /// The talk is over.
    Over(Talk),
}

#[derive(Debug)]
enum Step {
    /// Take in what came, not before this time of the world.
    Take(Option<Bytes>, u64),
    /// Say what there is to say when the log is durable up to here.
    Say(u64),
    /// Tell the session so then.
    Tell(u64, Synced),
}

/// The talks of a link.
#[derive(Debug, Default)]
pub(super) struct Talks {
    turns: VecDeque<Turn>,
    /// None after an error.
    states: BTreeMap<Talk, Option<State>>,
}

impl World {
    /// A turn is to be taken.
    pub(super) fn ask_turn(
        &mut self,
        r: usize,
        l: usize,
        talk: Talk,
        document: DocumentId,
        message: Option<Bytes>,
    ) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let (start, at) = (replica.start, self.now + self.chance.below(replica.read_ms + 1));
        if let Some(driver) = replica.links.get_mut(l) {
            driver.talks.turns.push_back(Turn::Step(talk, document, Step::Take(message, at)));
        }
        self.at(at, Task::Read(r, start, l));
    }

    /// A talk is over, once what was asked before is done.
    pub(super) fn end_talk(&mut self, r: usize, l: usize, talk: Talk) {
        let driver = self.replicas.get_mut(r).and_then(|replica| replica.links.get_mut(l));
        if let Some(driver) = driver {
            driver.talks.turns.push_back(Turn::Over(talk));
        }
        self.take_turns(r, l);
    }

    /// Goes on as far as time and the disk have come.
    pub(super) fn take_turns(&mut self, r: usize, l: usize) {
        loop {
            let (now, Some(replica)) = (self.now, self.replicas.get_mut(r)) else { return };
            let (clock, durable) = (replica.clock(now), replica.disk.log.durable());
            let Some(driver) = replica.links.get_mut(l) else { return };
            let is_ready = |turn: &Turn| match turn {
                Turn::Step(_, _, Step::Take(_, at)) => *at <= now,
                Turn::Step(_, _, Step::Say(until) | Step::Tell(until, _)) => *until <= durable,
                Turn::Over(_) => true,
            };
            let turns = &mut driver.talks.turns;
            let next = if turns.front().is_some_and(is_ready) { turns.pop_front() } else { None };
            let (talk, document, step) = match next {
                None => return self.sync(r),
                Some(Turn::Over(talk)) => {
                    driver.talks.states.remove(&talk);
                    continue;
                }
                Some(Turn::Step(talk, document, step)) => (talk, document, step),
            };
            let next = match step {
                Step::Tell(_, synced) => {
                    driver.session.synced(clock, talk, &document, Ok(synced));
                    continue;
                }
                Step::Take(message, _) => {
                    let state = driver.talks.states.entry(talk).or_insert_with(|| Some(State::default()));
                    match state.take() {
                        None => Err("begin anew".to_owned()),
                        Some(state) => replica.take_in(l, &document, state, message, &mut self.chance),
                    }
                    .map(|(state, until)| (state, Step::Say(until)))
                }
                Step::Say(_) => match driver.talks.states.get_mut(&talk).and_then(Option::take) {
                    None => Err("begin anew".to_owned()),
                    Some(state) => replica.say(&document, state, &mut self.chance),
                },
            };
            let Some(driver) = replica.links.get_mut(l) else { return };
            match next {
                Ok((state, step)) => {
                    driver.talks.states.insert(talk, Some(state));
                    driver.talks.turns.push_front(Turn::Step(talk, document, step));
                }
                Err(words) => driver.session.synced(clock, talk, &document, Err(words)),
            }
        }
    }
}

impl Replica {
    /// Takes in a message; up to which position the log must be durable then.
    fn take_in(
        &mut self,
        l: usize,
        document: &DocumentId,
        mut state: State,
        message: Option<Bytes>,
        chance: &mut Chance,
    ) -> Result<(State, u64), String> {
        if self.is_troubled {
            return Err("it cannot be read".to_owned());
        }
        let Some(message) = message else { return Ok((state, 0)) };
        let message = BroughtMessage::read(&message).map_err(|error| error.to_string())?;
        // What is not put back is given up, and read again.
        let live = self.automerge(document, chance)?;
        let (live, news) = live.sync_receive(&mut state.peer, message).map_err(|error| error.to_string())?;
        let until = match news {
            None => 0,
            Some(_) if self.is_full => return Err("the disk is full".to_owned()),
            Some(news) => self.append(document, Content::automerge(news)?, Via::Link(l)),
        };
        self.automerge.insert(document.clone(), live);
        Ok((state, until))
    }

    /// Makes the next message, which speaks of all that is in the document.
    fn say(
        &mut self,
        document: &DocumentId,
        mut state: State,
        chance: &mut Chance,
    ) -> Result<(State, Step), String> {
        // Before it is looked at, so that everything up to it is seen.
        let position = self.disk.log.durable();
        let live = self.automerge(document, chance)?;
        let State { peer, arrived } = &mut state;
        let (message, compared) = (live.sync_generate(peer), live.compare(peer));
        let acknowledged = arrived.look(&live, peer, position);
        self.automerge.insert(document.clone(), live);
        let Compared { is_heard: heard, has_all_of_theirs: caught_up } = compared;
        let synced = Synced { message, heard, caught_up, acknowledged };
        Ok((state, Step::Tell(self.disk.log.end(), synced)))
    }
}
