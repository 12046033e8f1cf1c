//! A folded state, compressed (zstd), in rows of at most 4 KiB.
//!
//! Key: prefix of the document (16), generation (8), number of the piece (4), big-endian. A new generation
//! is durable before the record names it, and an old one goes only after that is durable.

use std::ops::ControlFlow;

use bytes::Bytes;
use tombolo_core::id::DocumentId;

use super::document::{DocumentRecord, Prefix};
use super::row::body_bytes_max;
use super::rows::Rows;
use super::{Change, ShelfError, Tree};

/// Fast, and near the ratio of the slow levels on operation bytes.
const LEVEL: i32 = 3;
const KEY: usize = 28;
/// What bytes that no record vouches for may unpack to.
const BYTES_MAX: usize = 1024 * 1024 * 1024;

fn key(prefix: &Prefix, generation: u64, piece: u32) -> Vec<u8> {
    [&prefix[..], &generation.to_be_bytes(), &piece.to_be_bytes()].concat()
}

/// The rows of a generation, and how many bytes they hold.
pub(super) fn rows(
    rows: &Rows,
    prefix: &Prefix,
    generation: u64,
    snapshot: &[u8],
) -> Result<(Vec<Change>, u64), ShelfError> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    // Rows have checksums of their own; this one says that they belong together.
    compressor.include_checksum(true)?;
    let packed = compressor.compress(snapshot)?;
    let changes = (0u32..)
        .zip(packed.chunks(body_bytes_max(KEY)))
        .map(|(piece, body)| rows.put(Tree::Snapshots, key(prefix, generation, piece), body))
        .collect();
    Ok((changes, packed.len() as u64))
}

/// The snapshot that the record names.
pub(super) fn read(
    rows: &Rows,
    id: &DocumentId,
    prefix: &Prefix,
    record: &DocumentRecord,
) -> Result<Option<Bytes>, ShelfError> {
    if !record.has_snapshot() {
        return Ok(None);
    }
    let damaged = |found| ShelfError::Damaged { document: id.clone(), found };
    let (from, below) =
        (key(prefix, record.generation, 0), key(prefix, record.generation.saturating_add(1), 0));
    let (mut packed, mut piece, mut fault) = (Vec::new(), 0u32, None);
    rows.engine.scan(Tree::Snapshots, &from, Some(&below), &mut |found, row| {
        let body = if found == key(prefix, record.generation, piece) {
            rows.mark.open(Tree::Snapshots, found, row).map_err(|fault| fault.of(id))
        } else {
            Err(damaged("a row of the snapshot is missing"))
        };
        match body {
            Ok(row) => {
                packed.extend_from_slice(row.body);
                piece = piece.saturating_add(1);
                ControlFlow::Continue(())
            }
            Err(error) => {
                fault = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    if packed.len() as u64 != record.snapshot_stored {
        return Err(damaged("rows at the end of the snapshot are missing"));
    }
    let bytes_max = usize::try_from(record.snapshot_bytes)
        .map_err(|_| damaged("the snapshot claims an impossible size"))?;
    let snapshot =
        zstd::bulk::decompress(&packed, bytes_max).map_err(|_| damaged("the snapshot does not unpack"))?;
    if snapshot.len() != bytes_max {
        return Err(damaged("the snapshot unpacks to another size"));
    }
    Ok(Some(snapshot.into()))
}

/// Unpacks rows of which no record tells how long they are; none if they are not one snapshot.
pub(super) fn unpack(packed: &[u8]) -> Option<Bytes> {
    let len = zstd::zstd_safe::get_frame_content_size(packed).ok()??;
    let len = usize::try_from(len).ok().filter(|len| *len <= BYTES_MAX)?;
    let snapshot = zstd::bulk::decompress(packed, len).ok()?;
    (snapshot.len() == len).then(|| snapshot.into())
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
