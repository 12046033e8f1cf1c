//! A replica: documents that are edited, a log, and links.
//!
//! An edit is shown at once and leaves when it is durable. A crash loses what was not synced and gives the documents
//! new client ids; a restore from a backup gives the replica a new name and an older log.

use std::collections::{BTreeMap, BTreeSet};

use super::chance::Chance;
use super::driver::{Driver, Memory};
use super::feed::Keeper;
use super::host::Desk;
use super::log::{Content, Log};
use super::plan::Speaks;
use super::scribble;
use crate::engine::automerge;
use crate::engine::edit::Live;
use crate::id::{DocumentId, Format};
use crate::session::{SessionConfig, Token};
use crate::time::Millis;
use crate::update::Update;

/// What waits until the log is durable up to a position.
#[derive(Clone, Debug)]
pub(super) struct Brought {
    pub(super) position: u64,
    pub(super) link: usize,
    pub(super) token: Token,
}

/// Who brought a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// This replica made it.
    Own,
    Link(usize),
    /// Somebody at the door where it listens.
    Door,
}

/// What is on the disk beside the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) log: Log,
    pub(super) memories: BTreeMap<usize, Memory>,
}

/// One replica.
#[derive(Debug)]
pub(super) struct Replica {
    /// Its store; another one after a restore.
    pub(super) name: Keeper,
    pub(super) speaks: Speaks,
    /// The door where it listens, and what is done for who comes there.
    pub(super) listens: Option<usize>,
    pub(super) desk: Desk,
    pub(super) disk: Disk,
    /// What it learned of keepers and has not synced.
    pub(super) learned: BTreeMap<usize, Memory>,
    pub(super) backup: Option<(Disk, BTreeSet<DocumentId>)>,
    /// Which documents it keeps.
    pub(super) subscribed: BTreeSet<DocumentId>,
    /// It takes what it finds.
    pub(super) takes_found: bool,
    pub(super) live: BTreeMap<DocumentId, Live>,
    pub(super) automerge: BTreeMap<DocumentId, automerge::Live>,
    pub(super) links: Vec<Driver>,
    pub(super) doors: Vec<usize>,
    pub(super) config: SessionConfig,
    pub(super) brought: Vec<Brought>,
    /// Who brought what is not durable yet, by position.
    pub(super) via: BTreeMap<u64, Via>,
    pub(super) is_up: bool,
    /// Counts starts, so that what an earlier one waited for is passed over.
    pub(super) start: u64,
    pub(super) is_syncing: bool,
    pub(super) is_full: bool,
    /// It cannot read, nor store what others made.
    pub(super) is_troubled: bool,
    /// What its clock says beside the time of the world, in ms.
    pub(super) skew_ms: i64,
    /// May only read.
    pub(super) reads_only: bool,
    pub(super) sync_ms: u64,
    /// Longest time to read what somebody lacks; 0 for at once.
    pub(super) read_ms: u64,
}

/// What clocks say at the start of the world, in ms.
const EPOCH: u64 = 2_000_000_000_000;

impl Replica {
    /// What its clock says.
    pub(super) fn clock(&self, now: u64) -> Millis {
        Millis((EPOCH + now).saturating_add_signed(self.skew_ms))
    }

    /// Starts with what is on the disk.
    pub(super) fn start(&mut self, now: u64, chance: &mut Chance) {
        (self.is_up, self.is_syncing) = (true, false);
        self.start += 1;
        self.live.clear();
        self.automerge.clear();
        self.brought.clear();
        self.via.clear();
        self.desk = Desk::default();
        self.learned = self.disk.memories.clone();
        let (clock, latest) = (self.clock(now), self.disk.log.durable());
        self.links.clear();
        for (index, door) in self.doors.iter().enumerate() {
            let mut driver = Driver::new(*door, chance.next(), self.config.clone(), latest, clock);
            if let Some(Memory { keeper, acknowledged, checkpoint }) = self.disk.memories.get(&index) {
                driver.session.remember(*keeper, *acknowledged, checkpoint.clone());
            }
            self.links.push(driver);
        }
    }

    /// Position of the last durable change of a document; 0 if there is none.
    pub(super) fn last(&self, document: &DocumentId) -> u64 {
        self.disk.log.synced(document).map_or(0, |kept| kept.last)
    }

    /// The process ends; so many changes that were not synced are on the disk all the same.
    pub(super) fn crash(&mut self, more: u64) {
        self.is_up = false;
        self.disk.log.crash(more);
        self.live.clear();
        self.automerge.clear();
        self.links.clear();
        self.brought.clear();
        self.via.clear();
        self.desk = Desk::default();
    }

    /// Keeps a document from now on, or no more.
    pub(super) fn subscribe(&mut self, document: &DocumentId, wants: bool) {
        let last = self.last(document);
        // What is known of a keeper is known of the documents that were kept.
        if wants && self.subscribed.insert(document.clone()) {
            self.learned.clear();
            self.disk.memories.clear();
            self.links.iter_mut().for_each(|driver| driver.session.add(document, last));
        } else if !wants && self.subscribed.remove(document) {
            self.links.iter_mut().for_each(|driver| driver.session.remove(document));
        }
    }

    /// Edits a document; what it made, if that changed anything.
    ///
    /// # Errors
    /// What the engine said.
    pub(super) fn edit(&mut self, document: &DocumentId, chance: &mut Chance) -> Result<Option<u64>, String> {
        if self.is_full {
            return Ok(None);
        }
        if document.format() == Format::Automerge {
            return self.edit_automerge(document, chance);
        }
        let live = match self.live.remove(document) {
            Some(live) => live,
            None => {
                let parts: Vec<_> =
                    self.disk.log.taken(document).into_iter().flat_map(|kept| &kept.updates).collect();
                let parts: Vec<_> = parts.into_iter().map(|update| update.bytes().clone()).collect();
                Live::open(&parts, chance.next()).map_err(|error| error.to_string())?
            }
        };
        let (live, (), update) =
            live.edit(|edit| scribble::in_yjs(edit, chance)).map_err(|error| error.to_string())?;
        self.live.insert(document.clone(), live);
        Ok(update.map(|update| self.append(document, Content::Yjs(update), Via::Own)))
    }

    fn edit_automerge(&mut self, document: &DocumentId, chance: &mut Chance) -> Result<Option<u64>, String> {
        let live = self.automerge(document, chance)?;
        let edited = live.edit(0, |edit| scribble::in_automerge(edit, chance));
        let (live, (), made) = edited.map_err(|error| error.to_string())?;
        self.automerge.insert(document.clone(), live);
        let content = made.map(Content::automerge).transpose()?;
        Ok(content.map(|content| self.append(document, content, Via::Own)))
    }

    /// An Automerge document, out of its place: who does not put it back has given it up.
    ///
    /// # Errors
    /// What the engine said.
    pub(super) fn automerge(
        &mut self,
        document: &DocumentId,
        chance: &mut Chance,
    ) -> Result<automerge::Live, String> {
        if let Some(live) = self.automerge.remove(document) {
            return Ok(live);
        }
        let chunks = self.disk.log.taken(document).map(|kept| kept.chunks.clone()).unwrap_or_default();
        automerge::Live::open(&chunks, chance.id()).map_err(|error| error.to_string())
    }

    /// Takes an update of somebody else.
    ///
    /// # Errors
    /// What the engine said.
    pub(super) fn take(
        &mut self,
        document: &DocumentId,
        update: &Update,
        via: Via,
    ) -> Result<Option<u64>, String> {
        if self.disk.log.taken(document).is_some_and(|kept| kept.known.covers(update)) {
            return Ok(None);
        }
        if let Some(live) = self.live.remove(document) {
            let (live, _) = live.apply(update).map_err(|error| error.to_string())?;
            self.live.insert(document.clone(), live);
        }
        Ok(Some(self.append(document, Content::Yjs(update.clone()), via)))
    }

    pub(super) fn append(&mut self, document: &DocumentId, content: Content, via: Via) -> u64 {
        let position = self.disk.log.append(document, content);
        self.via.insert(position, via);
        position
    }
}
