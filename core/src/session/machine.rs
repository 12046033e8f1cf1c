//! The session itself: which documents are open on the link, and what is sent about them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::effect::{Effect, Token};
use super::holding::Holding;
use super::listing::Listing;
use super::queue::Queue;
use super::standing::Document;
use super::waiting::Waiting;
use crate::dialect::replica::{self, Handle, Identity, Outcome};
use crate::dialect::y_protocols;
use crate::id::{DocumentId, Format, Incarnation, ReplicaId};
use crate::operation::Stamp;
use crate::schedule::Priority;
use crate::time::{Millis, Moment, Steady};
use crate::update::{StateVector, Update};

/// How long after a change came from there it is asked whether it is on the disk there, in ms: others come meanwhile.
const CONFIRM_MS: u64 = 2_000;

/// A change of this replica.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Of which document.
    pub document: &'a DocumentId,
    /// Its position among all changes of this replica.
    pub position: u64,
    /// What changed.
    pub update: &'a Bytes,
    /// How urgent it is, if not as its document.
    pub priority: Option<Priority>,
    /// It came from the other end of this link, and is not sent back.
    pub is_from_there: bool,
}

/// What a session may do at once.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Most documents that are open at once; the others take turns.
    pub documents_max: usize,
    /// The same where the other end does not tell what changes: what is shut there hears of nothing, so as many as a
    /// relay allows.
    pub unlisted_max: usize,
    /// How long a document that is in sync stays open when nobody looks at it, in ms.
    pub linger_ms: u64,
    /// How large a page of a large answer is before [`Session::go_on`] says another size, in bytes.
    pub page_bytes: usize,
    /// Which documents are asked after: those under one of these ([`DocumentId::is_under`]); all if there is none.
    pub prefixes: Vec<String>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            documents_max: 250,
            unlisted_max: 2_000,
            linger_ms: 30_000,
            page_bytes: 16 * 1024,
            prefixes: Vec::new(),
        }
    }
}

/// What is known of one keeper from earlier connections.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) keeper: (ReplicaId, Incarnation),
    pub(super) acknowledged: u64,
    pub(super) checkpoint: Bytes,
}

/// One link's session.
#[derive(Debug)]
pub struct Session {
    pub(super) config: SessionConfig,
    /// The driver's may be set.
    pub(super) clock: Steady,
    /// The other end, while there is a connection and it said who it is.
    pub(super) peer: Option<Identity>,
    pub(super) known: Option<Known>,
    pub(super) documents: BTreeMap<DocumentId, Document>,
    pub(super) handles: BTreeMap<Handle, DocumentId>,
    pub(super) next_handle: u64,
    /// What is worth a look: it differs, or is open.
    pub(super) restless: BTreeSet<DocumentId>,
    /// Open documents that are done, by when they were.
    pub(super) done: BTreeMap<DocumentId, Moment>,
    /// Of which document, and through which opening.
    pub(super) bringing: BTreeMap<Token, (DocumentId, u64)>,
    /// Documents were opened so often, on any connection.
    pub(super) openings: u64,
    pub(super) next_token: u64,
    pub(super) listing: Listing,
    pub(super) effects: VecDeque<Effect>,
    /// Positions that were given so far.
    pub(super) latest: u64,
    /// What waits for a place, and nothing else.
    pub(super) queue: Queue,
    /// Of each of these as much is acknowledged at least.
    pub(super) queue_floor: u64,
    /// What waits for a decision.
    pub(super) holding: Option<Holding>,
    /// What somebody waits for.
    pub(super) waiting: Waiting,
    /// Something became restless since that was looked at.
    pub(super) look: bool,
    /// When it was looked at last.
    pub(super) looked: Moment,
    /// Documents that may differ are still being added.
    pub(super) adding: bool,
    /// It is at work: what is added from now on was not in what is remembered.
    begun: bool,
    /// How large a page of a large answer should be, in bytes.
    pub(super) page_bytes: usize,
}

impl Session {
    /// A session without a connection. `latest` is the position of the last change of this replica.
    #[must_use]
    pub fn new(config: SessionConfig, latest: u64) -> Self {
        Self {
            page_bytes: config.page_bytes,
            config,
            clock: Steady::new(Millis(0)),
            peer: None,
            known: None,
            documents: BTreeMap::new(),
            handles: BTreeMap::new(),
            next_handle: 1,
            restless: BTreeSet::new(),
            done: BTreeMap::new(),
            bringing: BTreeMap::new(),
            openings: 0,
            next_token: 1,
            listing: Listing::default(),
            effects: VecDeque::new(),
            latest,
            look: false,
            looked: Moment::default(),
            queue: Queue::default(),
            queue_floor: 0,
            holding: None,
            adding: false,
            waiting: Waiting::default(),
            begun: false,
        }
    }

    /// What an earlier session learned of a keeper ([`Effect::Acknowledged`], [`Effect::Reached`]), before any document is
    /// added. It was about the documents of that session: with others, start from nothing. If another keeper is at the
    /// other end, it counts for nothing.
    pub fn remember(&mut self, keeper: (ReplicaId, Incarnation), acknowledged: u64, checkpoint: Bytes) {
        self.known = Some(Known { keeper, acknowledged, checkpoint });
    }

    /// This document is to be kept in sync; its latest change here is at this position, 0 if there is none. One that is
    /// added at work, other than by [`Effect::Found`], was not in what is remembered: forget that first. What was learned
    /// without it and did not come out yet is taken back here.
    pub fn add(&mut self, document: &DocumentId, last: u64) {
        let known = self.known.as_ref().map_or(0, |known| known.acknowledged);
        let is_new = !self.documents.contains_key(document);
        let stale = self.bringing.values().filter(|(of, _)| of == document && is_new).count();
        let entry = self.documents.entry(document.clone()).or_default();
        entry.last = entry.last.max(last);
        entry.stale += stale;
        if entry.last > entry.acknowledged {
            entry.take_up();
        }
        if is_new && self.begun {
            // Nothing is known of it, neither what is lacking there nor what changed before the checkpoint.
            entry.listed = true;
            self.listing.add(document);
            self.take_back(last);
        } else if is_new {
            // What was acknowledged up to a position was so of every document.
            entry.acknowledged = known.min(entry.last);
        }
        self.latest = self.latest.max(last);
        self.unsettle(document);
        if !is_new {
            // If it was compared before that was known, it is once more.
            self.settle(self.clock.passed(), document);
        }
    }

    /// Whether what may differ is still being listed here, to be added: at the beginning, and because of [`Effect::All`].
    /// Until all of it is, nothing is taken for known there, told to be acknowledged, or in sync: who adds what was found
    /// before it was listed does not know its latest change.
    pub fn set_listing(&mut self, listing: bool) {
        self.adding = listing;
        self.tell_acknowledged();
    }

    /// A document of [`Effect::Found`] is not wanted.
    pub fn decline(&mut self, document: &DocumentId) {
        self.listing.forget(document);
        self.waiting.forget(document);
        self.reach();
    }

    /// It is not to be kept in sync any more.
    pub fn remove(&mut self, document: &DocumentId) {
        self.shut(document);
        self.documents.remove(document);
        self.restless.remove(document);
        self.queue.remove(document);
        self.drop_held(document);
        self.decline(document);
    }

    /// Somebody here looks at it, so that it stays open; or nobody any more.
    pub fn watch(&mut self, document: &DocumentId, watched: bool) {
        if let Some(entry) = self.documents.get_mut(document) {
            let asks = watched && !std::mem::replace(&mut entry.watched, watched);
            entry.watched = watched;
            let handle = entry.handle.filter(|_| asks && document.format() == Format::Yjs);
            self.unsettle(document);
            self.settle(self.clock.passed(), document);
            if let Some(handle) = handle {
                // Who was open already was told who is there when nobody looked.
                self.send_about(handle, replica::y(handle, &y_protocols::QUERY_AWARENESS));
            }
        }
    }

    /// A connection is there, and the other end let this replica in. `own` is who this is.
    pub fn begin(&mut self, own: &Identity) {
        self.begin_at(own, None);
    }

    /// As [`Session::begin`], at this stamp of a clock.
    pub fn begin_at(&mut self, own: &Identity, stamp: Option<Stamp>) {
        self.begun = true;
        self.end();
        self.send(replica::identity_frame_at(own, stamp));
    }

    /// The connection is gone.
    pub fn end(&mut self) {
        self.peer = None;
        let talks: Vec<_> = self.open_talks().collect();
        self.handles.clear();
        self.done.clear();
        self.queue.clear();
        self.end_holding();
        for effect in &self.effects {
            // Nobody has begun to read it.
            let (Effect::Read { document, .. } | Effect::Describe(document)) = effect else { continue };
            match (self.documents.get_mut(document), effect) {
                (Some(entry), Effect::Read { .. }) => entry.unread(),
                (Some(entry), _) => {
                    entry.described();
                }
                (None, _) => {}
            }
        }
        // What was learned stays true.
        let stays = |effect: &Effect| {
            use Effect::{Acknowledged, Gone, Over, Reached};
            matches!(effect, Acknowledged { .. } | Reached { .. } | Over(_) | Gone(_))
        };
        self.effects.retain(stays);
        self.effects.extend(talks);
        self.next_handle = 1;
        self.page_bytes = self.config.page_bytes;
        self.listing.end();
        self.waiting.end();
        for (id, document) in &mut self.documents {
            if document.handle.is_some() || document.differs() {
                self.restless.insert(id.clone());
            }
            document.closed();
            document.seen = false;
        }
    }

    /// How urgent the changes of a document are from now on.
    pub fn set_priority(&mut self, document: &DocumentId, priority: Priority) {
        if let Some(entry) = self.documents.get_mut(document) {
            entry.priority = priority;
            if self.queue.remove(document) {
                self.queue.insert(document.clone(), entry.urgency());
            }
        }
    }

    /// A change of this replica is durable, whoever made it.
    pub fn changed(&mut self, now: Millis, change: &Change<'_>) {
        let Change { document, position, update, priority, is_from_there } = *change;
        self.begun = true;
        let now = self.clock.tell(now);
        self.latest = self.latest.max(position);
        let keeps = self.keeps();
        let Some(entry) = self.documents.get_mut(document) else { return };
        entry.last = entry.last.max(position);
        if !is_from_there {
            entry.take_up();
        }
        if !is_from_there && (document.format() == Format::Automerge || !entry.compared) {
            // It goes with what is found to be lacking.
            entry.raise(priority, position);
        }
        if document.format() == Format::Automerge {
            self.unsettle(document);
            return self.ask(document);
        }
        let (handle, priority) = (entry.handle, priority.unwrap_or(entry.priority));
        if is_from_there {
            // Whoever made it may be gone before it is on the disk there.
            if !entry.is_read_only() {
                entry.confirm = entry.confirm.or(Some(now.plus(CONFIRM_MS)));
            }
        } else if handle.is_some() && keeps {
            entry.in_flight.push_back(if entry.compared { position } else { 0 });
        }
        self.unsettle(document);
        if let Some(handle) = handle.filter(|_| !is_from_there) {
            let frame = replica::packed(replica::y(handle, &y_protocols::update(update)));
            self.effects.push_back(Effect::Send { lane: handle.0, priority, frame });
        }
        // It is done with, unless an answer is waited for.
        self.settle(now, document);
    }

    /// Shows presence, if its Yjs document is open.
    pub fn show(&mut self, document: &DocumentId, presence: &[u8]) {
        let is_yjs = document.format() == Format::Yjs;
        if let Some(handle) = self.documents.get(document).and_then(|entry| entry.handle).filter(|_| is_yjs) {
            self.send_about(handle, replica::y(handle, &y_protocols::awareness(presence)));
        }
    }

    /// What is here of a document, as asked for by [`Effect::Describe`]; all that was to be brought before included.
    pub fn described(&mut self, document: &DocumentId, have: &StateVector) {
        let Some(entry) = self.documents.get_mut(document) else { return };
        // For an earlier opening, it is asked for once more.
        let is_for_this = entry.described();
        if let Some(handle) = entry.handle.filter(|_| is_for_this) {
            let question = y_protocols::sync_step1(&have.encode());
            self.send_about(handle, replica::packed(replica::y(handle, &question)));
        }
    }

    /// What became of [`Effect::Bring`]; it is not to be handed to [`Session::changed`] before.
    pub fn brought(&mut self, now: Millis, token: Token, result: Result<(), String>) {
        let now = self.clock.tell(now);
        self.waiting.brought(token);
        let Some((document, opening)) = self.bringing.remove(&token) else { return };
        let Some(entry) = self.documents.get_mut(&document) else { return };
        if entry.handle.is_none() || entry.opening != opening {
            // It was shut meanwhile, and what is on its way now is counted anew.
            entry.stale = entry.stale.saturating_sub(1);
            entry.listed |= result.is_err();
            // Otherwise what is asked for will be told of it.
            if entry.stale == 0 && entry.handle.is_some() && entry.describes == 0 {
                self.describe(&document);
            }
            self.unsettle(&document);
            return;
        }
        entry.bringing = entry.bringing.saturating_sub(1);
        if let Err(reason) = result {
            // What comes behind it may stand on it, so all of it is asked for again.
            entry.refuse(now, Outcome::TROUBLE, reason);
            self.shut(&document);
            return;
        }
        self.settle(now, &document);
    }

    /// Tries a document that is refused there once more.
    pub fn retry(&mut self, now: Millis, document: &DocumentId) {
        let now = self.clock.tell(now);
        let Some(entry) = self.documents.get_mut(document) else { return };
        if entry.dropped.take().is_some() {
            // As if nothing of it were known there.
            entry.acknowledged = 0;
            self.unsettle(document);
        }
        if let Some(entry) = self.documents.get_mut(document)
            && let Some(refusal) = &mut entry.refusal
        {
            (refusal.again, refusal.attempts, refusal.may_read) = (Some(now), 0, false);
            entry.seen = false;
            // Open for reading, it is compared again with all that was not taken.
            self.shut(document);
            self.unsettle(document);
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self, now: Millis) -> Option<Effect> {
        self.begun = true;
        let now = self.clock.tell(now);
        if self.effects.is_empty() {
            self.open_some(now);
            self.confirm_some(now);
            self.shut_some(now);
            self.wait_on();
        }
        self.effects.pop_front()
    }

    /// When [`Session::poll`] has something to do at the latest, if nothing happens, in the driver's time as it was told
    /// last.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        if self.look && self.peer.is_some() {
            return Some(Millis(0));
        }
        self.due().map(|due| self.clock.at(due))
    }

    pub(super) fn due(&self) -> Option<Moment> {
        self.peer.as_ref()?;
        let lingering = self.done.values().min().map(|since| since.plus(self.config.linger_ms));
        // Whatever was due when that was last looked at waits for a place.
        let waiting = self.restless.iter().filter_map(|id| self.documents.get(id));
        let waiting = waiting.filter_map(|entry| entry.deadline(self.looked));
        lingering.filter(|_| self.is_listing()).into_iter().chain(waiting.min()).min()
    }

    pub(super) fn keeps(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.keeps.is_some())
    }

    pub(super) fn is_listing(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.lists)
    }

    /// About no document.
    pub(super) fn send(&mut self, frame: Vec<u8>) {
        self.effects.push_back(Effect::Send { lane: 0, priority: Priority::Critical, frame });
    }

    /// About a document.
    pub(super) fn send_about(&mut self, handle: Handle, frame: Vec<u8>) {
        let document = self.handles.get(&handle).and_then(|id| self.documents.get(id));
        let priority = document.map_or(Priority::Normal, Document::urgency);
        self.effects.push_back(Effect::Send { lane: handle.0, priority, frame });
    }

    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// This document is worth a look.
    pub(super) fn unsettle(&mut self, document: &DocumentId) {
        self.done.remove(document);
        self.queue.remove(document);
        self.look = true;
        if self.documents.get(document).is_some_and(|entry| entry.held) {
            // Whatever happens, it waits.
            return self.put_by(document);
        }
        self.restless.insert(document.clone());
    }

    pub(super) fn bring(&mut self, document: DocumentId, update: Update) {
        let token = Token(self.next_token);
        self.next_token += 1;
        if let Some(entry) = self.documents.get_mut(&document) {
            entry.bringing += 1;
            self.bringing.insert(token, (document.clone(), entry.opening));
        }
        self.effects.push_back(Effect::Bring { token, document, update });
    }
}
