//! Everything that is intact of a shelf, for repair.
//!
//! Documents that the engine still gives whole are handed over as they are. The others are put together from rows
//! that are found in the bytes of the shelf's files, whatever the engine makes of them: a row says which key it
//! belongs to ([`Mark::carve`]). An operation has a name and is applied once, so one too many does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;

use bytes::Bytes;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation};

use super::document::{DocumentRecord, Prefix, place};
use super::open_shelf::OpenShelf;
use super::quarantine::{self, SetAside};
use super::row::{self, Mark, Row};
use super::stored::Stored;
use super::{Tree, VALUE_BYTES_MAX, snapshot, tail};

/// Bytes of a file that are looked at together.
const WINDOW: usize = 8 * 1024 * 1024;

/// What is intact of a document.
#[derive(Clone, Debug)]
pub struct Rescued {
    /// Which.
    pub id: DocumentId,
    /// Its content.
    pub stored: Stored,
    /// What of it is in quarantine.
    pub set_aside: Vec<SetAside>,
    /// Whether it is all that was there, as far as rows can tell.
    pub whole: bool,
    /// Operations in quarantine that are known to be missing.
    pub missing: u64,
}

/// What could not be handed over through the engine.
pub(super) enum Rest {
    /// Documents of these keys.
    These(BTreeSet<Vec<u8>>),
    /// Whatever is there, and these at least.
    Everything(BTreeSet<Vec<u8>>),
}

impl Rest {
    /// Whether there is anything to look for.
    pub(super) fn is_some(&self) -> bool {
        matches!(self, Self::These(keys) if !keys.is_empty()) || matches!(self, Self::Everything(_))
    }
}

impl OpenShelf {
    /// Hands over what is whole; gives back what is not.
    pub(super) fn hand_over<E: From<io::Error>>(
        &self,
        expected: BTreeSet<Vec<u8>>,
        take: &mut dyn FnMut(Rescued) -> Result<(), E>,
    ) -> Result<Rest, E> {
        let mut keys = expected;
        let scanned = self.rows.engine.scan(Tree::Documents, &[], None, &mut |key, _| {
            keys.insert(key.to_vec());
            ControlFlow::Continue(())
        });
        let mut rest = BTreeSet::new();
        for key in keys {
            let Ok(id) = DocumentId::from_key(&key) else { continue };
            let set_aside = quarantine::read_all(&self.rows, &id, &place(&id).0);
            match (self.load(&id, false), set_aside) {
                (Ok(Some(stored)), Ok(set_aside)) => {
                    take(Rescued { id, stored, set_aside, whole: true, missing: 0 })?;
                }
                _ => {
                    rest.insert(key);
                }
            }
        }
        Ok(if scanned.is_ok() { Rest::These(rest) } else { Rest::Everything(rest) })
    }
}

/// Bodies by the number of their piece.
type Pieces = BTreeMap<u32, Vec<Vec<u8>>>;

/// Rows of one document, found in the bytes of files. Of one key there may be several, because an engine leaves
/// older ones behind.
#[derive(Default)]
struct Carving {
    id: Option<DocumentId>,
    records: Vec<DocumentRecord>,
    operations: BTreeMap<u64, Pieces>,
    snapshots: BTreeMap<u64, Pieces>,
    quarantine: BTreeMap<(ReplicaId, Seq), Pieces>,
}

/// Puts documents together from the bytes of these files.
pub(super) fn carve<E: From<io::Error>>(
    files: &[(String, PathBuf)],
    mark: Mark,
    rest: &Rest,
    take: &mut dyn FnMut(Rescued) -> Result<(), E>,
) -> Result<(), E> {
    let (Rest::These(keys) | Rest::Everything(keys)) = rest;
    let only: Option<BTreeSet<Prefix>> = match rest {
        Rest::These(_) => Some(keys.iter().filter_map(|key| prefix_of(key)).collect()),
        Rest::Everything(_) => None,
    };
    let mut carvings: BTreeMap<Prefix, Carving> = BTreeMap::new();
    for key in keys {
        if let Ok(id) = DocumentId::from_key(key) {
            let prefix = place(&id).0;
            carvings.entry(prefix).or_default().id = Some(id);
        }
    }
    for (_, path) in files {
        read_in_windows(File::open(path)?, |bytes| {
            mark.carve(bytes, |found| {
                let prefix = match found.tree {
                    Tree::Documents => prefix_of(found.key),
                    _ => found.key.first_chunk().copied(),
                };
                if let Some(prefix) = prefix.filter(|p| only.as_ref().is_none_or(|only| only.contains(p)))
                    && let Ok(row) = mark.open(found.tree, found.key, found.row)
                {
                    carvings.entry(prefix).or_default().add(found.tree, found.key, row);
                }
            });
        })?;
    }
    carvings.into_values().filter_map(Carving::put_together).try_for_each(take)
}

fn prefix_of(key: &[u8]) -> Option<Prefix> {
    DocumentId::from_key(key).ok().map(|id| place(&id).0)
}

/// Calls for windows that overlap by the longest row, so that each row is whole in one.
fn read_in_windows(mut file: File, mut look: impl FnMut(&[u8])) -> io::Result<()> {
    let mut window = Vec::with_capacity(WINDOW + VALUE_BYTES_MAX);
    loop {
        let read = Read::by_ref(&mut file).take(WINDOW as u64).read_to_end(&mut window)?;
        look(&window);
        if read == 0 {
            return Ok(());
        }
        window.drain(..window.len().saturating_sub(VALUE_BYTES_MAX));
    }
}

impl Carving {
    fn add(&mut self, tree: Tree, key: &[u8], row: Row<'_>) {
        let keep = |found: &mut Vec<Vec<u8>>| {
            if !found.iter().any(|body| body == row.body) {
                found.push(row.body.to_vec());
            }
        };
        match tree {
            Tree::Documents => {
                self.id = DocumentId::from_key(key).ok();
                self.records.extend(DocumentRecord::decode(row));
            }
            Tree::Tails | Tree::Snapshots => {
                let Some((_, number, piece)) = tail::place_of(key) else { return };
                let map = if tree == Tree::Tails { &mut self.operations } else { &mut self.snapshots };
                keep(map.entry(number).or_default().entry(piece).or_default());
            }
            Tree::Quarantine => {
                let Some((name, piece)) = quarantine::place_of(key) else { return };
                keep(self.quarantine.entry(name).or_default().entry(piece).or_default());
            }
        }
    }

    fn put_together(mut self) -> Option<Rescued> {
        let id = self.id.clone()?;
        // Positions and generations only grow.
        let operations =
            |record: &DocumentRecord| record.version.iter().map(|(_, seq)| u128::from(seq.0)).sum::<u128>();
        self.records.sort_by_key(|record| {
            (operations(record), record.tail_end(), record.generation, record.deleted_ms)
        });
        let newest = self.records.pop();
        let deleted = newest.as_ref().filter(|record| record.deleted_ms > 0);
        if let Some(record) = deleted {
            let stored = Stored { record: record.clone(), ..Stored::default() };
            return Some(Rescued { id, stored, set_aside: Vec::new(), whole: true, missing: 0 });
        }
        // Of an evicted one nothing was here; what was before lies elsewhere.
        let stub = newest.as_ref().filter(|record| record.stub.is_some() && !record.has_content());
        if let Some(record) = stub {
            let stored = Stored { record: record.clone(), ..Stored::default() };
            return Some(Rescued { id, stored, set_aside: Vec::new(), whole: true, missing: 0 });
        }
        let from = newest.as_ref().map_or(0, |record| record.tail_first);
        let generation = newest.as_ref().map_or(0, |record| record.generation);
        let (of, snapshot) = self.newest_snapshot(newest.as_ref());
        // Without the snapshot of that record, older operations may still be what it was made of.
        let from = if of == generation { from } else { 0 };
        let operations = self.operations(&id, from);
        let set_aside = self.set_aside(&id);
        // Without a record nothing tells which of them were given back before.
        let counted = newest.as_ref().map_or(self.quarantine.len() as u64, |record| record.set_aside);
        let missing = counted.saturating_sub(set_aside.len() as u64);
        let counted = newest.as_ref().map(|record| record.tail_count);
        let whole = missing == 0 && of == generation && counted == Some(operations.len() as u64);
        let mut record = newest.unwrap_or_default();
        for operation in &operations {
            record.version.advance(operation.replica, operation.seq);
        }
        let stored = Stored { record, snapshot, outline: None, tail: operations };
        Some(Rescued { id, stored, set_aside, whole, missing })
    }

    /// The newest generation whose pieces are all here, with its number; 0 if there is none.
    fn newest_snapshot(&self, newest: Option<&DocumentRecord>) -> (u64, Option<Bytes>) {
        // What is above the newest record was cut off before it counted.
        let until = newest.map_or(u64::MAX, |record| record.generation);
        for (generation, pieces) in self.snapshots.range(..=until).rev() {
            // A generation is written once, or again by a fold that was cut off: then its pieces do not fit.
            let contiguous = pieces.keys().copied().eq(0..u32::try_from(pieces.len()).unwrap_or(u32::MAX));
            let packed: Vec<u8> = pieces
                .values()
                .filter_map(|bodies| bodies.last())
                .flat_map(|body| body.iter().copied())
                .collect();
            // After a deletion nothing of before counts.
            let wanted =
                newest.is_none_or(|record| record.generation != *generation || record.has_snapshot());
            if contiguous
                && wanted
                && let Some(snapshot) = snapshot::unpack(&packed)
            {
                return (*generation, Some(snapshot));
            }
        }
        (0, None)
    }

    /// Operations from this position on, by name and in the order of positions.
    fn operations(&self, id: &DocumentId, from: u64) -> Vec<Operation> {
        let mut names: BTreeSet<(ReplicaId, Seq)> = BTreeSet::new();
        let mut operations = Vec::new();
        for pieces in self.operations.range(from..).map(|(_, pieces)| pieces) {
            let firsts = pieces.get(&0).into_iter().flatten();
            for operation in firsts.flat_map(|first| whole_operations(id, first, pieces)) {
                if operation.kind != Kind::Deletion && names.insert((operation.replica, operation.seq)) {
                    operations.push(operation);
                }
            }
        }
        operations
    }

    /// Operations in quarantine that are as they were set aside. Of what was dropped the payload may still lie there:
    /// then it is kept.
    fn set_aside(&self, id: &DocumentId) -> Vec<SetAside> {
        let whole = |(name, pieces): (&(ReplicaId, Seq), &Pieces)| {
            let firsts = pieces.get(&0)?.iter().rev().filter_map(|first| {
                let mut rest = (1..).map_while(|piece| Some(pieces.get(&piece)?.last()?.as_slice()));
                quarantine::join(id, *name, first, &mut rest)
            });
            firsts.min_by_key(|aside| aside.dropped)
        };
        self.quarantine.iter().filter_map(whole).collect()
    }
}

/// Puts operations together from their first piece and whichever of the others fit behind it.
fn whole_operations(id: &DocumentId, first: &[u8], pieces: &Pieces) -> Vec<Operation> {
    let mut reading = tail::Reading::new(id);
    let mut bodies =
        std::iter::once(first).chain((1..).map_while(|piece| Some(pieces.get(&piece)?.last()?.as_slice())));
    let mut piece = 0;
    // Rows that can be carved are of the present version.
    while (piece == 0 || reading.is_amid(piece))
        && let Some(body) = bodies.next()
        && reading.take(piece, Row { version: row::VERSION, body }).is_ok()
    {
        piece += 1;
    }
    reading.operations
}
