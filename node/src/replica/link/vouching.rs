//! Who has what: asked of links before a document's content is given up here; and what links do about one that went.
//!
//! Guarantee: a link vouches for a document only while it is connected, with what that very store has fsynced and gives up
//! for nobody; what it does not know it does not vouch for.

use std::sync::mpsc::{SyncSender, sync_channel};

use tombolo_core::id::{DocumentId, Format, Incarnation, ReplicaId};
use tombolo_core::schedule::Priority;
use tombolo_core::session::Lag;

use super::desk::Job;
use super::driver::Driver;
use super::{Command, Links, Running, Shelves};

/// A store at the other end of a link, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::replica) struct Keeper {
    pub(in crate::replica) keeper: (ReplicaId, Incarnation),
    pub(in crate::replica) address: String,
}

/// How a link stands with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Holding {
    /// All of it is fsynced at the other end.
    Held,
    /// It keeps what it gets, and may lack something of it.
    Owed,
    /// It has nothing to do with it, or it is not known who is there.
    Unknown,
}

/// What a link says of the documents that it was asked about.
#[derive(Debug)]
pub(in crate::replica) struct Vouched {
    /// Who is there now.
    pub(in crate::replica) keeper: Option<Keeper>,
    /// In the order in which they were asked about.
    pub(in crate::replica) holdings: Vec<Holding>,
}

/// Documents with the numbers of their latest changes, and whom to tell.
pub(super) type Question = (Vec<(DocumentId, u64)>, SyncSender<Vouched>);

impl Links {
    pub(in crate::replica) fn shelves(&self) -> &Shelves {
        &self.shelves
    }

    /// Asks every link how it stands with these documents, each as it was at the number of a change.
    pub(in crate::replica) fn vouch(&self, documents: &[(DocumentId, u64)]) -> Vec<Vouched> {
        let ask = |running: &Running| {
            let (sender, receiver) = sync_channel(1);
            let _ = running.commands.send(Command::Vouch((documents.to_vec(), sender)));
            receiver
        };
        let asked: Vec<_> = self.lock().running.iter().map(ask).collect();
        // One that has ended says nothing.
        asked.into_iter().filter_map(|answer| answer.recv().ok()).collect()
    }

    /// Addresses of links at whose other end this store is now.
    pub(in crate::replica) fn to_keeper(&self, keeper: (ReplicaId, Incarnation)) -> Vec<String> {
        let there = self.vouch(&[]).into_iter().filter_map(|vouched| vouched.keeper);
        there.filter(|there| there.keeper == keeper).map(|there| there.address).collect()
    }

    /// How urgent a document is on the link on which it is most.
    pub(in crate::replica) fn priority_of(&self, document: &DocumentId) -> Priority {
        let state = self.lock();
        if let Some(priority) = state.priorities.get(document) {
            return *priority;
        }
        let of = |running: &Running| running.subscription.priority_for(document);
        state.running.iter().filter_map(of).max().unwrap_or(Priority::Normal)
    }

    /// Whether somebody here has it open.
    pub(in crate::replica) fn is_in_use(&self, document: &DocumentId) -> bool {
        match document.format() {
            Format::Yjs => self.shelves.yjs.is_held(document),
            Format::Automerge => self.shelves.automerge.is_held(document),
        }
    }

    /// What links hold open without need is let go.
    pub(in crate::replica) fn let_go(&self) {
        let ask = |running: &Running| {
            let (sender, receiver) = sync_channel(1);
            let _ = running.commands.send(Command::LetGo(sender));
            receiver
        };
        let asked: Vec<_> = self.lock().running.iter().map(ask).collect();
        for done in asked {
            // One that has ended holds nothing.
            let _ = done.recv();
        }
    }

    /// A document is not here any more.
    pub(in crate::replica) fn evicted(&self, document: &DocumentId) {
        self.tell(|| Command::Evicted(document.clone()));
    }

    /// An evicted document is wanted again, before anything else; or has come, or is given up.
    pub(in crate::replica) fn fetch(&self, document: &DocumentId, wanted: bool) {
        self.tell(|| Command::Fetch(document.clone(), wanted));
    }
}

impl Driver {
    pub(super) fn vouch(&self, (documents, answer): Question) {
        let keeps = self.session.peer().and_then(|peer| peer.keeps);
        let keeper = keeps.map(|keeper| Keeper { keeper, address: self.address.to_string() });
        let holdings = documents.iter().map(|(document, number)| self.holding(document, *number)).collect();
        let _ = answer.send(Vouched { keeper, holdings });
    }

    fn holding(&self, document: &DocumentId, number: u64) -> Holding {
        if !self.subscription.has(document) {
            return Holding::Unknown;
        }
        let standing = self.session.standing(document);
        let refused =
            |lag: &Lag| matches!(lag, Lag::Dropped { .. } | Lag::Parked { .. } | Lag::Refused { .. });
        let is_refused = standing.as_ref().is_some_and(|standing| standing.lag.as_ref().is_some_and(refused));
        if is_refused || self.knowledge.all_dropped().any(|dropped| dropped == document) {
            // It may count as acknowledged, and is not; or it is not there any more.
            return Holding::Unknown;
        }
        // What has not changed since the list of changes began was there before; nothing is known before that was read.
        let before = self.listed_since.is_some_and(|since| since >= number);
        let is_held = match standing {
            Some(standing) if standing.acknowledged < standing.last => false,
            Some(standing) => standing.acknowledged >= number || before,
            None => before,
        };
        let is_there = self.session.peer().is_some_and(|peer| peer.keeps.is_some());
        let gives_up = self.session.peer().is_some_and(|peer| peer.gives_up);
        match (is_held, is_there, self.knowledge.keeper().is_some()) {
            // It might count on this one, and both would give it up.
            (true, true, _) if gives_up => Holding::Unknown,
            (true, true, _) => Holding::Held,
            (false, _, true) | (false, true, _) => Holding::Owed,
            (_, false, _) => Holding::Unknown,
        }
    }

    pub(super) fn let_go(&mut self, done: SyncSender<()>) {
        let now = self.now();
        self.session.shut_done();
        while let Some(effect) = self.session.poll(now) {
            self.carry_out(now, effect);
        }
        // Behind what is to be let go.
        let _ = self.desk.send(Job::Reached(done));
    }

    /// Nothing is sent of it any more, nor asked for: that it is not here says nothing about it.
    pub(super) fn evicted(&mut self, document: &DocumentId) {
        self.session.remove(document);
        self.outbox.forget(document);
    }

    /// It is evicted, as was found or decided; perhaps just before it was to be fetched.
    pub(super) fn found_evicted(&mut self, document: &DocumentId) {
        if self.fetching.contains_key(document) {
            self.begin_fetching(document);
        } else {
            self.evicted(document);
        }
    }

    pub(super) fn fetch(&mut self, document: &DocumentId, wanted: bool) {
        if !self.subscription.has(document) {
            return;
        }
        if wanted {
            *self.fetching.entry(document.clone()).or_default() += 1;
            self.begin_fetching(document);
        } else if let Some(others) = self.fetching.remove(document).filter(|fetches| *fetches > 1) {
            self.fetching.insert(document.clone(), others - 1);
        } else {
            self.session.watch(document, false);
            let priority = self.priorities.get(document).copied();
            let priority = priority.or(self.subscription.priority_for(document)).unwrap_or_default();
            self.session.set_priority(document, priority);
        }
    }

    fn begin_fetching(&mut self, document: &DocumentId) {
        // Anew, whatever was known of it: it is not here, or only a part. What came of it over another link counts as
        // acknowledged on this one only when it is.
        self.session.remove(document);
        self.add(document, self.hub().latest());
        self.session.watch(document, true);
        self.session.set_priority(document, Priority::Critical);
    }
}
