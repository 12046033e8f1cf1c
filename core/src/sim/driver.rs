//! One link of a replica, as a driver wires it: session, link and scheduler around one connection.
//!
//! What a scheduler takes for delivered is confirmed by a ping of the driver's own behind what was sent: the answer
//! says that everything before it has arrived.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::doorstep::MORE;
use super::feed::Keeper;
use super::network::Wire;
use super::talks::Talks;
use crate::dialect::replica::{self, Handle, Identity, Message};
use crate::id::DocumentId;
use crate::link::{End, Link, LinkConfig, LinkEffect};
use crate::schedule::{ScheduleConfig, Scheduler};
use crate::session::{self, Session, SessionConfig};
use crate::time::Millis;
use crate::update::StateVector;

/// Tokens of the driver's own pings start here.
const OWN_PINGS: u64 = 1 << 40;
/// Of what a document lacks that is behind, a page has so much: documents are small here.
pub(super) const PAGE_BYTES: usize = 64;

/// What a link knows of a keeper, as the replica stores it.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) keeper: Keeper,
    pub(super) acknowledged: u64,
    pub(super) checkpoint: Bytes,
}

/// A question of the other end.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) document: DocumentId,
    pub(super) have: StateVector,
    /// When it is read, in the time of the world.
    pub(super) at: u64,
    /// All up to this position must be durable before: what was brought before is in the answer.
    pub(super) until: u64,
}

/// What the replica must do for a link.
#[derive(Debug)]
pub(super) enum Do {
    Dial,
    HangUp(Wire),
    Transmit(Wire, Vec<u8>),
    Session(session::Effect),
}

/// What was sent and not confirmed.
#[derive(Clone, Copy, Debug, Default)]
struct Unconfirmed {
    /// Behind the ping.
    bytes: usize,
    /// The ping under way, and the bytes before it.
    asked: Option<(u64, usize)>,
    token: u64,
}

/// One link.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) door: usize,
    pub(super) session: Session,
    pub(super) link: Link,
    pub(super) out: Scheduler<Vec<u8>>,
    pub(super) wire: Option<Wire>,
    /// The store at the other end, once it said so.
    pub(super) peer: Option<Identity>,
    /// What changed here is being listed, so often.
    pub(super) lists: usize,
    /// What is being read for the other end, in order.
    pub(super) reads: VecDeque<Read>,
    pub(super) talks: Talks,
    /// What the session has opened and not shut.
    pub(super) open: BTreeSet<Handle>,
    /// When it is woken, in the time of the world.
    pub(super) wakes: Option<u64>,
    unconfirmed: Unconfirmed,
    /// Says more than this version does.
    is_later: bool,
}

impl Driver {
    pub(super) fn new(door: usize, seed: u64, config: SessionConfig, latest: u64, now: Millis) -> Self {
        Self {
            door,
            session: Session::new(config, latest),
            link: Link::new(LinkConfig::default(), seed, now),
            out: Scheduler::new(ScheduleConfig::default(), now),
            wire: None,
            peer: None,
            lists: 0,
            reads: VecDeque::new(),
            talks: Talks::default(),
            open: BTreeSet::new(),
            wakes: None,
            unconfirmed: Unconfirmed::default(),
            is_later: false,
        }
    }

    /// The door let it in.
    pub(super) fn welcomed(&mut self, own: Keeper, is_later: bool, now: Millis) {
        self.link.welcomed(now);
        self.out.clear(now);
        self.unconfirmed = Unconfirmed { token: self.unconfirmed.token, ..Unconfirmed::default() };
        self.open.clear();
        self.session.begin(&Identity { keeps: Some(own), lists: false, gives_up: false });
        self.is_later = is_later;
    }

    /// The connection is gone, and who ended it is told.
    pub(super) fn ended(&mut self, now: Millis, end: End) {
        self.link.ended(now, end);
        self.forget(now);
    }

    fn forget(&mut self, now: Millis) {
        (self.wire, self.peer) = (None, None);
        self.session.end();
        self.open.clear();
        self.out.clear(now);
    }

    /// A frame came.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn frame(&mut self, now: Millis, frame: &Bytes) -> Result<(), String> {
        match replica::parse(frame) {
            Ok(Message::Pong(token)) => {
                self.link.pong(now, token);
                if let Some((_, bytes)) = self.unconfirmed.asked.filter(|(asked, _)| *asked == token) {
                    self.unconfirmed.asked = None;
                    self.out.delivered(now, bytes);
                }
            }
            Ok(Message::Shut { handle, .. }) => {
                self.open.remove(&handle);
                self.link.heard(now);
            }
            Ok(Message::Identity(identity, _)) => {
                self.peer = Some(identity);
                self.link.heard(now);
            }
            _ => self.link.heard(now),
        }
        self.session.receive(now, frame).map_err(|error| error.to_string())
    }

    /// The next thing to do.
    pub(super) fn next(&mut self, now: Millis) -> Option<Do> {
        if let Some(effect) = self.link.poll(now) {
            return match (effect, self.wire) {
                (LinkEffect::Dial, _) => Some(Do::Dial),
                (LinkEffect::Ping { token }, Some(wire)) => Some(Do::Transmit(wire, replica::ping(token))),
                (LinkEffect::Ping { .. }, None) => self.next(now),
                (LinkEffect::HangUp { .. }, wire) => {
                    self.forget(now);
                    wire.map(Do::HangUp).or_else(|| self.next(now))
                }
            };
        }
        while let Some(effect) = self.session.poll(now) {
            match effect {
                session::Effect::Send { lane, priority, mut frame } => {
                    if self.is_later && frame.first() == Some(&32) {
                        frame.extend_from_slice(MORE);
                    }
                    self.note_open(&frame);
                    self.out.push(lane, priority, frame.len(), frame, now);
                }
                other => return Some(Do::Session(other)),
            }
        }
        let wire = self.wire?;
        if let Some(sending) = self.out.next(now) {
            self.unconfirmed.bytes += sending.bytes;
            if !self.out.waits(sending.lane) {
                self.session.go_on(sending.lane, PAGE_BYTES);
            }
            return Some(Do::Transmit(wire, sending.item));
        }
        if self.unconfirmed.bytes > 0 && self.unconfirmed.asked.is_none() {
            let token = OWN_PINGS + self.unconfirmed.token;
            self.unconfirmed = Unconfirmed {
                bytes: 0,
                asked: Some((token, self.unconfirmed.bytes)),
                token: self.unconfirmed.token + 1,
            };
            return Some(Do::Transmit(wire, replica::ping(token)));
        }
        None
    }

    fn note_open(&mut self, frame: &[u8]) {
        // Others are long, perhaps, and many.
        if frame.len() < 600 {
            match replica::parse(&Bytes::copy_from_slice(frame)) {
                Ok(Message::Open { handle, .. }) => _ = self.open.insert(handle),
                Ok(Message::Shut { handle, .. }) => _ = self.open.remove(&handle),
                _ => {}
            }
        }
    }

    /// When there is something to do by itself.
    pub(super) fn deadline(&self) -> Option<Millis> {
        let out = self.out.deadline().filter(|_| self.wire.is_some());
        [self.link.deadline(), self.session.deadline(), out].into_iter().flatten().min()
    }
}
