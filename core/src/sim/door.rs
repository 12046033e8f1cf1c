//! A relay's door for replicas: real rooms, seats with numbers, perhaps an archive, perhaps a feed of changes.
//!
//! As `relay/src/connection/replica.rs` and `relay/src/room/carry.rs` do it, but for the backplane: one process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::answers::Answers;
use super::archive::Archive;
use super::doorstep::MORE;
use super::feed::{self, Keeper};
use super::network::Wire;
use crate::dialect::replica::{self, Handle, Identity, Message, Outcome};
use crate::dialect::y_protocols::{self, Message as Said};
use crate::id::{DocumentId, Format};
use crate::room::{Acknowledgement, Answer, Arrival, Effect, MemberId, Room, StoreRefused, Ticket};
use crate::time::Millis;
use crate::update::{StateVector, Update};

/// What the world does for a door.
#[derive(Debug)]
pub(super) enum Out {
    Send(Wire, Vec<u8>),
    /// Hang up.
    Close(Wire),
    /// It is to be stored.
    Store {
        document: DocumentId,
        room: u64,
        ticket: Ticket,
        update: Update,
        arrival: Arrival,
    },
    /// Somebody says something about an Automerge document, or nothing more.
    Hear {
        document: DocumentId,
        peer: u64,
        message: Bytes,
    },
    Hush(DocumentId, u64),
    /// Somebody wants to be told of changes since this.
    Watch(Wire, Bytes),
    /// Reads take a while.
    Read {
        document: DocumentId,
        room: u64,
        asker: MemberId,
        have: StateVector,
    },
}

/// The room of a document, and who sits in it.
#[derive(Debug)]
struct Hall {
    room: Room,
    number: u64,
    seats: BTreeMap<MemberId, (Wire, Handle)>,
}

/// A connection.
#[derive(Debug)]
struct Guest {
    open: BTreeMap<Handle, (DocumentId, MemberId)>,
    reads_only: bool,
    is_met: bool,
    /// What it was told of changes, and which it wants to hear of.
    watch: Option<(u64, Vec<String>)>,
    answers: Answers,
    heard: u64,
}

/// One door.
pub(super) struct Door {
    pub(super) archive: Option<Archive>,
    /// The replica that listens here.
    pub(super) host: Option<usize>,
    /// The store behind it.
    pub(super) keeps: Option<Keeper>,
    pub(super) lists: bool,
    /// Speaks as a later version may: says more, and refuses for reasons that nobody knows.
    pub(super) is_later: bool,
    pub(super) is_up: bool,
    pub(super) start: u64,
    pub(super) is_syncing: bool,
    pub(super) sync_ms: u64,
    pub(super) read_ms: u64,
    pub(super) documents_max: usize,
    /// With which code it lets nobody in.
    pub(super) refuses: Option<u64>,
    /// When it is woken, in the time of the world.
    pub(super) wakes: Option<u64>,
    halls: BTreeMap<DocumentId, Hall>,
    guests: BTreeMap<Wire, Guest>,
    /// Who syncs an Automerge document at the archive.
    pairs: BTreeMap<u64, (Wire, Handle)>,
    next_member: u64,
    next_room: u64,
    pub(super) out: VecDeque<Out>,
    /// What a replica must never say.
    pub(super) blame: Option<String>,
}

/// Documents in one list; small, so that lists have several pages.
const PAGE: usize = 2;
/// Nothing heard for so long: the connection is gone, in ms.
const SILENT_MS: u64 = 60_000;

impl Door {
    pub(super) fn new(archive: Option<Archive>, host: Option<usize>, lists: bool) -> Self {
        Self {
            keeps: archive.as_ref().map(|archive| archive.name),
            archive,
            host,
            lists,
            is_later: false,
            is_up: true,
            start: 0,
            is_syncing: false,
            sync_ms: 1,
            read_ms: 0,
            documents_max: 2_000,
            refuses: None,
            wakes: None,
            halls: BTreeMap::new(),
            guests: BTreeMap::new(),
            pairs: BTreeMap::new(),
            next_member: 0,
            next_room: 0,
            out: VecDeque::new(),
            blame: None,
        }
    }

    /// The process ends; of what was not synced in its archive so much is on the disk all the same.
    pub(super) fn crash(&mut self, more: u64) {
        self.is_up = false;
        self.halls.clear();
        self.guests.clear();
        self.pairs.clear();
        self.out.clear();
        if let Some(archive) = &mut self.archive {
            archive.crash(more);
        }
    }

    pub(super) fn start(&mut self) {
        (self.is_up, self.is_syncing) = (true, false);
        self.start += 1;
    }

    /// Somebody comes in.
    pub(super) fn welcome(&mut self, now: u64, wire: Wire, reads_only: bool) {
        let mut frame =
            replica::identity_frame(&Identity { keeps: self.keeps, lists: self.lists, gives_up: false });
        if self.is_later {
            frame.extend_from_slice(MORE);
        }
        let (open, answers) = (BTreeMap::new(), Answers::default());
        self.guests.insert(wire, Guest { open, reads_only, is_met: false, watch: None, answers, heard: now });
        self.out.push_back(Out::Send(wire, frame));
    }

    /// Somebody is gone.
    pub(super) fn leave(&mut self, now: u64, wire: Wire) {
        let Some(guest) = self.guests.remove(&wire) else { return };
        for (document, member) in guest.open.into_values() {
            self.stand_up(now, &document, member);
        }
    }

    fn stand_up(&mut self, now: u64, document: &DocumentId, member: MemberId) {
        if self.pairs.remove(&member.0).is_some() {
            self.out.push_back(Out::Hush(document.clone(), member.0));
        }
        if let Some(hall) = self.halls.get_mut(document)
            && hall.seats.remove(&member).is_some()
        {
            hall.room.leave(Millis(now), member);
        }
        self.carry_out(now, document);
    }

    /// A frame of a replica.
    pub(super) fn frame(&mut self, now: u64, wire: Wire, frame: &Bytes) {
        let message = match replica::parse(frame) {
            Ok(message) => message,
            Err(error) => return self.blame(format!("a replica sent a frame that breaks a rule: {error}")),
        };
        let Some(guest) = self.guests.get_mut(&wire) else { return };
        guest.heard = now;
        let is_identity = matches!(message, Message::Identity(..));
        // The driver's own pings go past its scheduler.
        if !matches!(message, Message::Ping(_)) && is_identity == std::mem::replace(&mut guest.is_met, true) {
            return self.blame("a replica did not say who it is, once and first".to_owned());
        }
        match message {
            Message::Identity(..) => {}
            Message::Pong(token) => {
                let frames = guest.answers.pong(token);
                self.out.extend(frames.into_iter().map(|frame| Out::Send(wire, frame)));
            }
            Message::Ping(token) => self.out.push_back(Out::Send(wire, replica::pong(token))),
            Message::Open { handle, document } => self.open(now, wire, handle, &document),
            Message::Shut { handle, .. } => {
                guest.answers.shut(handle);
                if let Some((document, member)) = guest.open.remove(&handle) {
                    self.stand_up(now, &document, member);
                }
            }
            Message::Y { handle, message } => self.hear(now, wire, handle, message),
            Message::Watch { since, prefixes } if self.lists => {
                guest.watch = Some((0, prefixes));
                self.out.push_back(Out::Watch(wire, since));
            }
            Message::Sync { handle, message } => match guest.open.get(&handle) {
                Some((document @ DocumentId::Automerge(_), member)) if self.pairs.contains_key(&member.0) => {
                    let (document, peer) = (document.clone(), member.0);
                    self.out.push_back(Out::Hear { document, peer, message });
                }
                Some((DocumentId::Yjs(_), _)) => self.blame("a replica mixes formats up".to_owned()),
                // It crossed with a Shut.
                _ => {}
            },
            // What is durable is listed at once.
            Message::Mark { token, .. } if guest.watch.is_some() => {
                self.out.push_back(Out::Send(wire, replica::marked(token, None)));
            }
            Message::Watch { .. }
            | Message::Mark { .. }
            | Message::Marked { .. }
            | Message::Stored { .. }
            | Message::Changes { .. } => {
                self.blame("a replica said what is not for it to say".to_owned());
            }
        }
    }

    fn blame(&mut self, words: String) {
        self.blame.get_or_insert(words);
    }

    fn open(&mut self, now: u64, wire: Wire, handle: Handle, document: &DocumentId) {
        let Some(guest) = self.guests.get_mut(&wire) else { return };
        if guest.open.contains_key(&handle) {
            return self.blame("a replica opened a document under a number in use".to_owned());
        }
        let (halls, pairs) = (&self.halls, &self.pairs);
        guest.open.retain(|_, (document, member)| {
            let is_seated = halls.get(document).is_some_and(|hall| hall.seats.contains_key(member));
            is_seated || pairs.contains_key(&member.0)
        });
        if guest.open.len() >= self.documents_max {
            let outcome = if self.is_later { Outcome(77) } else { Outcome::CROWDED };
            self.out.push_back(Out::Send(wire, replica::shut(handle, outcome, "too many documents")));
            return;
        }
        let is_pair = document.format() == Format::Automerge;
        if is_pair && (guest.reads_only || self.archive.is_none()) {
            self.out.push_back(Out::Send(wire, replica::shut(handle, Outcome::FORBIDDEN, "not here")));
            return;
        }
        self.next_member += 1;
        let member = MemberId(self.next_member);
        guest.open.insert(handle, (document.clone(), member));
        if is_pair {
            self.pairs.insert(member.0, (wire, handle));
            return;
        }
        let policy = match self.keeps {
            Some(_) => Acknowledgement::Durable,
            None => Acknowledgement::Never,
        };
        let reads_only = guest.reads_only;
        if !self.halls.contains_key(document) {
            self.next_room += 1;
        }
        let hall = self.halls.entry(document.clone()).or_insert_with(|| Hall {
            room: Room::new(policy),
            number: self.next_room,
            seats: BTreeMap::new(),
        });
        hall.seats.insert(member, (wire, handle));
        match reads_only {
            true => hall.room.join_to_read(member, true),
            false => hall.room.join(member, true),
        }
        hall.room.rely(member);
        self.carry_out(now, document);
    }

    /// As `reader::fate`: of who may only read the archive hears that it has nothing.
    fn hear(&mut self, now: u64, wire: Wire, handle: Handle, message: Said) {
        let Some(guest) = self.guests.get_mut(&wire) else { return };
        let Some((document, member)) = guest.open.get(&handle).cloned() else { return };
        let Some(hall) = self.halls.get_mut(&document).filter(|hall| hall.seats.contains_key(&member)) else {
            guest.open.remove(&handle);
            return;
        };
        if guest.reads_only {
            match &message {
                Said::SyncStep1(_) | Said::Awareness(_) | Said::QueryAwareness => {}
                Said::SyncStep2(update) if update.is_empty() => {
                    if self.keeps.is_none() {
                        return;
                    }
                }
                Said::SyncStep2(_) | Said::Update(_) => {
                    self.out.push_back(Out::Send(wire, replica::stored(handle, Outcome::READ_ONLY)));
                    return;
                }
            }
        }
        if let Err(violation) = hall.room.handle(Millis(now), member, message) {
            self.blame(format!("a replica broke a rule of the room: {violation}"));
            return;
        }
        self.carry_out(now, &document);
    }

    /// The archive says something about an Automerge document.
    pub(super) fn say(&mut self, peer: u64, message: &Bytes) {
        if let Some((wire, handle)) = self.pairs.get(&peer) {
            self.out.push_back(Out::Send(*wire, replica::packed(replica::sync(*handle, message))));
        }
    }

    /// It syncs it with these no more.
    pub(super) fn end_pairs(&mut self, peers: &BTreeSet<u64>, outcome: Outcome) {
        for peer in peers {
            if let Some((wire, handle)) = self.pairs.remove(peer) {
                if let Some(guest) = self.guests.get_mut(&wire)
                    && let Some((document, member)) = guest.open.remove(&handle)
                {
                    self.out.push_back(Out::Hush(document, member.0));
                }
                self.out.push_back(Out::Send(wire, replica::shut(handle, outcome, "begin anew")));
            }
        }
    }

    /// Who is told of changes, and up to where they were.
    pub(super) fn watching(&self) -> Vec<(Wire, u64)> {
        let since = |(wire, guest): (&Wire, &Guest)| Some((*wire, guest.watch.as_ref()?.0));
        self.guests.iter().filter_map(since).collect()
    }

    /// Tells somebody of documents by their last changes, up to a position.
    pub(super) fn list(&mut self, wire: Wire, anew: bool, changed: &[(u64, DocumentId)], durable: u64) {
        let (Some(keeper), Some(guest)) = (self.keeps, self.guests.get_mut(&wire)) else { return };
        let Some((since, prefixes)) = &mut guest.watch else { return };
        let wanted = changed.iter().filter(|(_, document)| replica::is_wanted(prefixes, document));
        let wanted: Vec<_> = wanted.cloned().collect();
        *since = durable;
        if wanted.is_empty() && !anew {
            return;
        }
        let mut pages: Vec<_> = wanted.chunks(PAGE).collect();
        let last = pages.pop().unwrap_or_default();
        for page in pages {
            let until = feed::checkpoint(keeper, page.last().map_or(0, |(position, _)| *position));
            let documents: Vec<_> = page.iter().map(|(_, document)| document.clone()).collect();
            self.out.push_back(Out::Send(wire, replica::changes(anew, true, &until, &documents)));
        }
        let documents: Vec<_> = last.iter().map(|(_, document)| document.clone()).collect();
        let frame = replica::changes(anew, false, &feed::checkpoint(keeper, durable), &documents);
        self.out.push_back(Out::Send(wire, frame));
    }

    /// What became of [`Out::Store`].
    pub(super) fn stored(
        &mut self,
        now: u64,
        document: &DocumentId,
        room: u64,
        ticket: Ticket,
        result: Result<(), StoreRefused>,
    ) {
        if let Some(hall) = self.halls.get_mut(document).filter(|hall| hall.number == room) {
            hall.room.stored(ticket, result);
        }
        self.carry_out(now, document);
    }

    /// What somebody lacks, as asked for by [`Out::Read`].
    pub(super) fn answered(
        &mut self,
        now: u64,
        document: &DocumentId,
        room: u64,
        asker: MemberId,
        answer: Result<Answer, StoreRefused>,
    ) {
        if let Some(hall) = self.halls.get_mut(document).filter(|hall| hall.number == room) {
            hall.room.answered(asker, answer);
        }
        self.carry_out(now, document);
    }

    /// The replica that listens here has a change that no guest brought.
    pub(super) fn released(&mut self, now: u64, document: &DocumentId, update: &Update) {
        if let Some(hall) = self.halls.get_mut(document) {
            hall.room.released(update);
        }
        self.carry_out(now, document);
    }

    /// Time has passed.
    pub(super) fn wake(&mut self, now: u64) {
        let is_due = |hall: &Hall| hall.room.poll_timeout().is_some_and(|deadline| deadline.0 <= now);
        let due: Vec<_> = self
            .halls
            .iter()
            .filter(|(_, hall)| is_due(hall))
            .map(|(document, _)| document.clone())
            .collect();
        for document in due {
            if let Some(hall) = self.halls.get_mut(&document) {
                hall.room.handle_timeout(Millis(now));
            }
            self.carry_out(now, &document);
        }
        let is_silent = |guest: &Guest| guest.heard + SILENT_MS <= now;
        let silent: Vec<_> =
            self.guests.iter().filter(|(_, guest)| is_silent(guest)).map(|(wire, _)| *wire).collect();
        for wire in silent {
            self.out.push_back(Out::Close(wire));
            self.leave(now, wire);
        }
    }

    /// When it is to be woken.
    pub(super) fn deadline(&self) -> Option<u64> {
        let rooms =
            self.halls.values().filter_map(|hall| hall.room.poll_timeout()).map(|deadline| deadline.0);
        rooms.chain(self.guests.values().map(|guest| guest.heard + SILENT_MS)).min()
    }

    fn carry_out(&mut self, now: u64, document: &DocumentId) {
        let Some(hall) = self.halls.get_mut(document) else { return };
        while let Some(effect) = hall.room.poll_effect() {
            let mut send = |member: &MemberId, body: &[u8]| {
                if let Some((wire, handle)) = hall.seats.get(member) {
                    self.out.push_back(Out::Send(*wire, replica::y(*handle, body)));
                }
            };
            match effect {
                Effect::Send { to, body, .. } => send(&to, &body),
                Effect::Serve { to, update } if self.keeps.is_some() => {
                    if let Some((wire, handle)) = hall.seats.get(&to)
                        && let Some(guest) = self.guests.get_mut(wire)
                    {
                        let frames = guest.answers.take(*handle, &update);
                        self.out.extend(frames.into_iter().map(|frame| Out::Send(*wire, frame)));
                    }
                }
                Effect::Serve { to, update } => send(&to, &y_protocols::sync_step2(&update)),
                Effect::Spread { except, body, .. } => {
                    hall.seats
                        .keys()
                        .filter(|member| Some(**member) != except)
                        .for_each(|to| send(to, &body));
                }
                Effect::Acknowledge { to, applied: true } => {
                    if let Some((wire, handle)) = hall.seats.get(&to) {
                        self.out.push_back(Out::Send(*wire, replica::stored(*handle, Outcome::WELL)));
                    }
                }
                // A Shut follows, which says why.
                Effect::Acknowledge { .. } => {}
                Effect::Store { ticket, update, arrival } => {
                    let (document, room) = (document.clone(), hall.number);
                    self.out.push_back(Out::Store { document, room, ticket, update, arrival });
                }
                Effect::Read { asker, state_vector } => {
                    let (document, room) = (document.clone(), hall.number);
                    self.out.push_back(Out::Read { document, room, asker, have: state_vector });
                }
                Effect::Close { member, reason } => {
                    if let Some((wire, handle)) = hall.seats.remove(&member) {
                        if let Some(guest) = self.guests.get_mut(&wire) {
                            guest.answers.shut(handle);
                        }
                        let shut = replica::shut(handle, reason.into(), &reason.to_string());
                        self.out.push_back(Out::Send(wire, shut));
                        hall.room.leave(Millis(now), member);
                    }
                }
                Effect::Publish(_) | Effect::Tell { .. } => {
                    self.blame.get_or_insert("a room that is alone spoke to others".to_owned());
                }
            }
        }
        if hall.room.is_empty() {
            self.halls.remove(document);
        }
    }
}
