//! A folded state, packed, in rows of at most 4 KiB.
//!
//! Key: prefix of the document (16), generation (8), number of the piece (4), big-endian. A new generation
//! is durable before the record names it, and an old one goes only after that is durable.

use std::ops::ControlFlow;

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_core::limits::UPDATE_BYTES_MAX;
use tombolo_core::update::Outline;

use super::document::{DocumentRecord, Prefix};
use super::packed::{self, Head, Unpackable};
use super::row::body_bytes_max;
use super::rows::Rows;
use super::{Change, ShelfError, Tree};

const KEY: usize = 28;
const BODY_BYTES_MAX: usize = body_bytes_max(KEY);

fn key(prefix: &Prefix, generation: u64, piece: u32) -> Vec<u8> {
    [&prefix[..], &generation.to_be_bytes(), &piece.to_be_bytes()].concat()
}

/// The rows of a generation, and how many bytes they hold.
pub(super) fn rows(
    rows: &Rows,
    (id, prefix): (&DocumentId, &Prefix),
    generation: u64,
    (snapshot, outline): (&[u8], Option<&Outline>),
) -> Result<(Vec<Change>, u64), ShelfError> {
    if snapshot.len() > packed::BYTES_MAX {
        let what = "its snapshot would be longer than one that is read again";
        return Err(ShelfError::TooLarge { document: id.clone(), what });
    }
    let packed = packed::pack(snapshot, outline)?;
    let changes = (0u32..)
        .zip(packed.chunks(BODY_BYTES_MAX))
        .map(|(piece, body)| rows.put(Tree::Snapshots, key(prefix, generation, piece), body))
        .collect();
    Ok((changes, packed.len() as u64))
}

/// The rows of the snapshot that a record names.
struct Pieces<'a> {
    rows: &'a Rows,
    id: &'a DocumentId,
    prefix: &'a Prefix,
    record: &'a DocumentRecord,
    /// Its length unpacked, in bytes.
    len: usize,
}

impl<'a> Pieces<'a> {
    fn new(
        rows: &'a Rows,
        id: &'a DocumentId,
        prefix: &'a Prefix,
        record: &'a DocumentRecord,
    ) -> Result<Self, ShelfError> {
        let len = usize::try_from(record.snapshot_bytes).ok().filter(|len| *len <= packed::BYTES_MAX);
        let impossible = || damaged(id, "the snapshot claims an impossible size");
        Ok(Self { rows, id, prefix, record, len: len.ok_or_else(impossible)? })
    }

    /// The packed bytes from this piece on, until there are enough.
    fn read(
        &self,
        mut piece: u32,
        mut packed: Vec<u8>,
        enough: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, ShelfError> {
        let generation = self.record.generation;
        let (from, below) =
            (key(self.prefix, generation, piece), key(self.prefix, generation.saturating_add(1), 0));
        let mut fault = None;
        self.rows.engine.scan(Tree::Snapshots, &from, Some(&below), &mut |found, row| {
            let body = if found == key(self.prefix, generation, piece) {
                self.rows.mark.open(Tree::Snapshots, found, row).map_err(|fault| fault.of(self.id))
            } else {
                Err(damaged(self.id, "a row of the snapshot is missing"))
            };
            match body {
                Ok(row) => packed.extend_from_slice(row.body),
                Err(error) => fault = Some(error),
            }
            piece = piece.saturating_add(1);
            if fault.is_some() || enough(&packed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        fault.map_or(Ok(packed), Err)
    }

    fn error(&self, fault: Unpackable) -> ShelfError {
        match fault {
            Unpackable::Damaged(found) => damaged(self.id, found),
            Unpackable::TooNew(version) => ShelfError::TooNew { document: self.id.clone(), version },
        }
    }
}

fn damaged(id: &DocumentId, found: &'static str) -> ShelfError {
    ShelfError::Damaged { document: id.clone(), found }
}

/// The snapshot that the record names, and its outline if it has one.
pub(super) fn read(
    rows: &Rows,
    id: &DocumentId,
    prefix: &Prefix,
    record: &DocumentRecord,
) -> Result<Option<(Bytes, Option<Outline>)>, ShelfError> {
    if !record.has_snapshot() {
        return Ok(None);
    }
    let pieces = Pieces::new(rows, id, prefix, record)?;
    // As many as there should be, but not what no document has.
    let room = usize::try_from(record.snapshot_stored).unwrap_or_default().min(UPDATE_BYTES_MAX);
    let packed = pieces.read(0, Vec::with_capacity(room), |_| false)?;
    if packed.len() as u64 != record.snapshot_stored {
        return Err(damaged(id, "rows at the end of the snapshot are missing"));
    }
    packed::unpack(&packed, pieces.len).map(Some).map_err(|fault| pieces.error(fault))
}

/// The outline of the snapshot that the record names and its deletes, without its structs. None if it has none.
pub(super) fn survey(
    rows: &Rows,
    id: &DocumentId,
    prefix: &Prefix,
    record: &DocumentRecord,
) -> Result<Option<(Outline, Bytes)>, ShelfError> {
    if !record.has_snapshot() {
        return Ok(None);
    }
    let pieces = Pieces::new(rows, id, prefix, record)?;
    let is_read = |packed: &[u8]| match Head::read(packed) {
        Ok(Some(head)) => packed.len() >= head.len,
        Ok(None) | Err(_) => true,
    };
    let first = pieces.read(0, Vec::new(), is_read)?;
    let Some(head) = Head::read(&first).map_err(|fault| pieces.error(fault))? else { return Ok(None) };
    let stored = usize::try_from(record.snapshot_stored).unwrap_or_default();
    let missing = || damaged(id, "rows at the end of the snapshot are missing");
    let at = head.tail_at(stored).ok_or_else(missing)?;
    let (piece, before) = (at / BODY_BYTES_MAX, at % BODY_BYTES_MAX);
    let tail = pieces.read(u32::try_from(piece).map_err(|_| missing())?, Vec::new(), |_| false)?;
    if tail.len() != stored - piece * BODY_BYTES_MAX {
        return Err(missing());
    }
    let tail = tail.get(before..).unwrap_or_default();
    head.survey(&first, tail, pieces.len).map(Some).map_err(|fault| pieces.error(fault))
}

/// Unpacks rows of which no record tells how long they are; none if they are not one snapshot.
pub(super) fn unpack(packed: &[u8]) -> Option<Bytes> {
    packed::unpack_unknown(packed)
}

/// Keys of the rows of these generations.
pub(super) fn range(prefix: &Prefix, generations: std::ops::Range<u64>) -> std::ops::Range<Vec<u8>> {
    key(prefix, generations.start, 0)..key(prefix, generations.end, 0)
}

/// Removals of every row of these generations.
pub(super) fn removals(
    rows: &Rows,
    prefix: &Prefix,
    generations: std::ops::Range<u64>,
) -> Result<Vec<Change>, ShelfError> {
    let mut changes = Vec::new();
    let keys = range(prefix, generations);
    rows.engine.scan(Tree::Snapshots, &keys.start, Some(&keys.end), &mut |found, _| {
        changes.push((found.to_vec(), None));
        ControlFlow::Continue(())
    })?;
    Ok(changes)
}

/// Whether any row of the document is there.
pub(super) fn any(rows: &Rows, prefix: &Prefix) -> Result<bool, ShelfError> {
    let mut any = false;
    rows.engine.scan(
        Tree::Snapshots,
        &key(prefix, 0, 0),
        Some(&key(prefix, u64::MAX, u32::MAX)),
        &mut |_, _| {
            any = true;
            ControlFlow::Break(())
        },
    )?;
    Ok(any)
}
