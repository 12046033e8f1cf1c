//! A tail into a snapshot, and operations into quarantine and out of it.
//!
//! Order is what makes a stop harmless: new rows durable, then the record that counts them, then the old rows go.

use std::sync::PoisonError;

use bytes::Bytes;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::Operation;
use tombolo_core::update::Outline;

use super::document::{DocumentRecord, Life, place};
use super::open_shelf::{OpenShelf, Writing};
use super::quarantine::{self, Noted, SetAside};
use super::rows::Rows;
use super::{ShelfError, Tree, snapshot, tail};

/// What a fold puts in the place of the snapshot and the first operations of the tail.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    /// The state that was read; none if that cannot have changed. Of another one nothing is folded.
    pub of: Option<Life>,
    /// How many operations of the tail it is about.
    pub count: u64,
    /// What the snapshot and the others of them are together; none if the present one stays.
    pub snapshot: Option<Bytes>,
    /// Where the structs of that snapshot lie, if it is a Yjs update that has an outline.
    pub outline: Option<Outline>,
    /// Those that stay in the tail, behind the rest.
    pub keep: Vec<Operation>,
    /// Those that go into quarantine.
    pub set_aside: Vec<SetAside>,
}

impl Fold {
    fn is_of(&self, record: &DocumentRecord) -> bool {
        record.tail_count >= self.count && self.of.is_none_or(|life| life == record.life())
    }
}

/// What becomes of an operation in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It goes back into the document.
    Retry,
    /// Its payload is given up; the same bytes stay refused.
    Drop,
}

/// How many are in quarantine besides these, and at least so many: one that a stop left there although it is in the
/// document counts, too. If it did not, the record would count too few when it goes, and miss another one.
fn others_aside(rows: &Rows, id: &DocumentId, known: u64, is_of_these: impl Fn(&Noted) -> bool) -> u64 {
    // Damage there is told to whoever asks for it.
    let noted = quarantine::list(rows, id, &place(id).0).unwrap_or_default();
    known.max(noted.iter().filter(|noted| !is_of_these(noted)).count() as u64)
}

fn names(aside: &SetAside, noted: &Noted) -> bool {
    (aside.operation.replica, aside.operation.seq) == (noted.replica, noted.seq)
}

impl OpenShelf {
    /// See [`Shelves::fold`](super::Shelves::fold).
    pub(super) fn fold(&self, id: &DocumentId, fold: &Fold) -> Result<(), ShelfError> {
        self.change(|writing| self.fold_rows(writing, id, fold))
    }

    fn fold_rows(&self, writing: &mut Writing, id: &DocumentId, fold: &Fold) -> Result<(), ShelfError> {
        let Some(mut record) = self.record(id, false)?.filter(|record| fold.is_of(record)) else {
            // It was deleted meanwhile, and may have begun anew.
            return Ok(());
        };
        let (prefix, rows) = (place(id).0, &self.rows);
        let tail = tail::read(rows, id, &prefix, &record)?;
        let Some((folded, rest)) =
            usize::try_from(fold.count).ok().and_then(|count| tail.split_at_checked(count))
        else {
            return Ok(());
        };
        let bytes =
            |operations: &[Operation]| operations.iter().map(|op| op.payload.len() as u64).sum::<u64>();
        let (gone, kept) = (bytes(folded), bytes(&fold.keep));
        let mut tails = tail::removals(rows, &prefix, record.tail_end()..u64::MAX)?;
        let first = record.tail_first.saturating_add(fold.count);
        if !rest.is_empty() && !tail::begins_at(rows, &prefix, first)? {
            // The fold ends amid a row; what is behind gets rows of its own.
            tails.append(&mut tail::rows(rows, &prefix, first, rest));
        }
        tails.append(&mut tail::rows(rows, &prefix, record.tail_end(), &fold.keep));
        let mut aside = Vec::new();
        for operation in &fold.set_aside {
            aside.append(&mut quarantine::rows(rows, &prefix, operation)?);
        }
        record.tail_first = first;
        record.tail_count = record.tail_count - fold.count + fold.keep.len() as u64;
        record.tail_bytes = (record.tail_bytes + kept).saturating_sub(gone);
        if !fold.set_aside.is_empty() {
            let is_new = |noted: &Noted| fold.set_aside.iter().any(|aside| names(aside, noted));
            record.set_aside = others_aside(rows, id, record.set_aside, is_new) + fold.set_aside.len() as u64;
        }
        if let Some(snapshot) = &fold.snapshot {
            record.generation = record.generation.saturating_add(1);
            record.snapshot_bytes = snapshot.len() as u64;
            // A fold that was stopped before its record may have left rows of this generation, and more of them.
            let mut changes = snapshot::removals(rows, &prefix, record.generation..u64::MAX)?;
            let packing = (&snapshot[..], fold.outline.as_ref());
            let (mut pieces, stored) = snapshot::rows(rows, (id, &prefix), record.generation, packing)?;
            changes.append(&mut pieces);
            record.snapshot_stored = stored;
            rows.engine.write_in_order(Tree::Snapshots, changes)?;
        }
        let row = record.to_row(rows, id)?;
        let was_dirty = std::mem::replace(&mut writing.dirty, true);
        rows.engine.batch(Tree::Tails, tails)?;
        rows.engine.batch(Tree::Quarantine, aside)?;
        rows.engine.sync()?;
        self.write_records(vec![row])?;
        writing.dirty = was_dirty;
        let _nobody_reads = self.reading.write().unwrap_or_else(PoisonError::into_inner);
        rows.engine.batch(Tree::Tails, tail::removals(rows, &prefix, 0..record.tail_first)?)?;
        rows.engine.batch(Tree::Snapshots, snapshot::removals(rows, &prefix, 0..record.generation)?)
    }

    /// See [`Shelves::release`](super::Shelves::release).
    pub(super) fn release(
        &self,
        id: &DocumentId,
        name: (ReplicaId, Seq),
        release: Release,
    ) -> Result<bool, ShelfError> {
        self.change(|writing| self.release_rows(writing, id, name, release))
    }

    fn release_rows(
        &self,
        writing: &mut Writing,
        id: &DocumentId,
        (replica, seq): (ReplicaId, Seq),
        release: Release,
    ) -> Result<bool, ShelfError> {
        let (prefix, rows) = (place(id).0, &self.rows);
        let Some(mut record) = self.record(id, false)?.filter(|record| record.set_aside > 0) else {
            return Ok(false);
        };
        let Some(mut aside) = quarantine::read(rows, id, &prefix, (replica, seq))? else {
            return Ok(false);
        };
        if aside.dropped {
            return Ok(release == Release::Drop);
        }
        let was_dirty = std::mem::replace(&mut writing.dirty, true);
        let _nobody_reads = self.reading.write().unwrap_or_else(PoisonError::into_inner);
        match release {
            Release::Drop => {
                aside.operation.payload = Bytes::new();
                aside.dropped = true;
                rows.engine.batch(Tree::Quarantine, quarantine::rows(rows, &prefix, &aside)?)?;
                rows.engine.sync()?;
            }
            Release::Retry => {
                let position = record.tail_end();
                let mut changes = tail::removals(rows, &prefix, position..u64::MAX)?;
                changes.append(&mut tail::rows(rows, &prefix, position, [&aside.operation]));
                rows.engine.batch(Tree::Tails, changes)?;
                rows.engine.sync()?;
                record.tail_count += 1;
                record.tail_bytes += aside.operation.payload.len() as u64;
                let others = record.set_aside.saturating_sub(1);
                record.set_aside = others_aside(rows, id, others, |noted| names(&aside, noted));
                self.write_records(vec![record.to_row(rows, id)?])?;
                rows.engine.batch(Tree::Quarantine, quarantine::removals(rows, &prefix, replica, seq)?)?;
                rows.engine.sync()?;
            }
        }
        writing.dirty = was_dirty;
        Ok(true)
    }
}
