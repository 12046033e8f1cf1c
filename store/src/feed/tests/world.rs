//! A store of which the feed, the takeover's queue and the disk are real: operations are durable when they are appended, and a
//! shelf is a set of names.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tombolo_core::id::{DocumentId, Incarnation, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};

use crate::disk::faulty::FaultyDisk;
use crate::document::Entry;
use crate::feed::{Changes, Checkpoint, Feed};
use crate::journal::{Position, SegmentId};
use crate::takeover::Takeover;

/// What survives a stop, but for the disk of the feed.
#[derive(Clone, Default)]
pub(super) struct Lasting {
    /// Durable and not reclaimed.
    journal: Vec<(SegmentId, u64)>,
    /// The segment that is written to.
    segment: u64,
    /// Everything before is on the shelf only.
    shelved: Position,
    shelf: BTreeSet<u64>,
    /// Every change that ever was durable.
    pub(super) log: Vec<u64>,
}

/// An open store.
pub(super) struct World {
    pub(super) lasting: Lasting,
    takeover: Takeover,
    feed: Feed,
}

pub(super) fn id(document: u64) -> DocumentId {
    DocumentId::yjs(&format!("document {document}")).unwrap()
}

impl World {
    /// Opens it, with what the journal has.
    pub(super) fn open(disk: &FaultyDisk, lasting: Lasting) -> Self {
        let feed = Feed::new(Arc::new(disk.clone()), Incarnation([1; 16]), lasting.shelved);
        let world = Self { lasting, takeover: Takeover::default(), feed };
        // By document, as a store replays.
        let mut replayed = world.lasting.journal.clone();
        replayed.sort_by_key(|(_, document)| *document);
        let (first, last) = (world.lasting.shelved.0, SegmentId(world.lasting.segment));
        for (at, (_, document)) in replayed.iter().enumerate() {
            world.push(*document, if at + 1 == replayed.len() { last } else { first });
        }
        world
    }

    fn push(&self, document: u64, segment: SegmentId) {
        let operation = Operation {
            document: id(document),
            replica: ReplicaId([1; 16]),
            seq: Seq(1),
            stamp: Stamp(1),
            kind: Kind::YjsUpdate,
            payload: Bytes::new(),
        };
        self.takeover.push(Arc::new(Entry::new(id(document))), operation, segment);
    }

    /// An operation with a receipt.
    pub(super) fn append(&mut self, document: u64) {
        let segment = SegmentId(self.lasting.segment);
        self.lasting.journal.push((segment, document));
        self.lasting.log.push(document);
        self.push(document, segment);
    }

    /// The journal goes on in another segment.
    pub(super) fn roll(&mut self) {
        self.lasting.segment += 1;
    }

    /// Takes what waits over, and gives segments back; `stop` before that happens.
    pub(super) fn take(&mut self, stop: bool) -> io::Result<()> {
        if self.takeover.bytes() == 0 {
            return Ok(());
        }
        let piece = self.takeover.next(Duration::ZERO).unwrap();
        self.lasting.shelf.extend(piece.iter().map(|item| number_of(&item.entry.id)));
        self.feed.note(&self.takeover, &piece)?;
        if stop {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let last = piece.last().unwrap().segment;
        self.lasting.journal.retain(|(segment, _)| *segment >= last);
        self.lasting.shelved = self.lasting.shelved.max((last, 0));
        self.takeover.taken(&piece);
        Ok(())
    }

    /// A document changes otherwise than by an operation; `stop` when it has and before that is said.
    pub(super) fn release(
        &mut self,
        document: u64,
        between: impl FnOnce(&mut Self),
        stop: bool,
    ) -> io::Result<()> {
        let intended = self.feed.intend(&self.takeover, &id(document))?;
        between(self);
        if self.lasting.shelf.contains(&document) {
            self.lasting.log.push(document);
        }
        if stop {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.takeover.touch(&id(document), intended);
        Ok(())
    }

    /// Closes it whole.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.take(false)?;
        let end = (SegmentId(self.lasting.segment), self.lasting.log.len() as u64 + 1);
        self.feed.close(&self.takeover, end)?;
        self.lasting.journal.clear();
        self.lasting.shelved = end;
        Ok(())
    }

    /// All pages; the first one says whether it is anew.
    pub(super) fn changes(&self, since: Option<&Checkpoint>, limit: usize) -> io::Result<Changes> {
        let shelved = |visit: &mut dyn FnMut(&DocumentId)| {
            self.lasting.shelf.iter().for_each(|document| visit(&id(*document)));
            Ok(())
        };
        let ask = |since: Option<&Checkpoint>| {
            let asked = self.feed.changes(&self.takeover, &shelved, since, limit);
            asked.map_err(|error| io::Error::other(error.to_string()))
        };
        let mut all = ask(since)?;
        while all.more {
            let next = ask(Some(&all.up_to))?;
            if next.anew {
                // The feed was given up between two pages.
                all.documents.clear();
                all.anew = true;
            }
            all.documents.extend(next.documents);
            (all.up_to, all.more) = (next.up_to, next.more);
        }
        Ok(all)
    }

    /// Asks, and holds the answer to what is promised; `known` is how much of the log was told with the checkpoint.
    pub(super) fn check(
        &self,
        since: Option<(Checkpoint, usize)>,
        limit: usize,
        context: &str,
    ) -> io::Result<Checkpoint> {
        let changes = self.changes(since.as_ref().map(|(checkpoint, _)| checkpoint), limit)?;
        let told: BTreeSet<_> = changes.documents.iter().map(|(id, _)| number_of(id)).collect();
        assert_eq!(told.len(), changes.documents.len(), "{context}: each once");
        assert!(changes.documents.is_sorted_by_key(|(_, number)| *number), "{context}");
        let known = if changes.anew { 0 } else { since.map_or(0, |(_, known)| known) };
        let missing: Vec<_> =
            self.lasting.log[known..].iter().filter(|document| !told.contains(document)).collect();
        assert!(
            missing.is_empty(),
            "{context}: of {since:?} these are missing: {missing:?}; told: {changes:?}"
        );
        Ok(changes.up_to)
    }
}

fn number_of(id: &DocumentId) -> u64 {
    id.to_string().strip_prefix("document ").unwrap().parse().unwrap()
}
