//! Operations since the snapshot, each in rows of at most 4 KiB.
//!
//! Key: prefix of the document (16), position (8), number of the piece (4), big-endian. The body of piece 0
//! is a head and the first part of the payload, those of later pieces are the rest:
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 1 | kind |
//! | 1 | 16 | replica |
//! | 17 | 8 | seq |
//! | 25 | 8 | stamp |
//! | 33 | 4 | length of the payload |

use std::ops::ControlFlow;

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Operation;

use super::document::{DocumentRecord, Prefix};
use super::row::{self, BODY_BYTES_MAX};
use super::{Change, Shelf, ShelfError, Tree};

const HEAD: usize = 37;

/// Key of a piece.
fn key(prefix: &Prefix, position: u64, piece: u32) -> Vec<u8> {
    [&prefix[..], &position.to_be_bytes(), &piece.to_be_bytes()].concat()
}

/// The rows of an operation at this position.
pub(super) fn rows(prefix: &Prefix, position: u64, operation: &Operation) -> Vec<Change> {
    let mut first = Vec::with_capacity(BODY_BYTES_MAX.min(HEAD + operation.payload.len()));
    first.push(operation.kind.tag());
    first.extend_from_slice(&operation.replica.0);
    first.extend_from_slice(&operation.seq.0.to_be_bytes());
    first.extend_from_slice(&operation.stamp.0.to_be_bytes());
    // The journal took it, so its length fits.
    first.extend_from_slice(&u32::try_from(operation.payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    let split = operation.payload.len().min(BODY_BYTES_MAX - HEAD);
    let (start, rest) = operation.payload.split_at(split);
    first.extend_from_slice(start);
    let bodies = std::iter::once(&first[..]).chain(rest.chunks(BODY_BYTES_MAX));
    (0u32..)
        .zip(bodies)
        .map(|(piece, body)| {
            let key = key(prefix, position, piece);
            let row = row::seal(Tree::Tails, &key, body);
            (key, Some(row))
        })
        .collect()
}

/// The payloads behind the snapshot, in order.
pub(super) fn read(
    shelf: &dyn Shelf,
    id: &DocumentId,
    prefix: &Prefix,
    record: &DocumentRecord,
) -> Result<Vec<Bytes>, ShelfError> {
    let damaged = |found| ShelfError::Damaged { document: id.clone(), found };
    let below = record.tail_first.saturating_add(record.tail_count);
    let mut reading = Reading {
        position: record.tail_first,
        piece: 0,
        missing: 0,
        payload: Vec::new(),
        payloads: Vec::new(),
    };
    let mut fault = None;
    shelf.scan(
        Tree::Tails,
        &key(prefix, record.tail_first, 0),
        Some(&key(prefix, below, 0)),
        &mut |found, row| {
            let taken = if found == key(prefix, reading.position, reading.piece) {
                row::open(Tree::Tails, found, row).map_err(|fault| fault.of(id)).and_then(|body| {
                    reading.take(body).ok_or_else(|| damaged("an operation is not as long as it says"))
                })
            } else {
                Err(damaged("a row of an operation is missing"))
            };
            match taken {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    fault = Some(error);
                    ControlFlow::Break(())
                }
            }
        },
    )?;
    match fault {
        Some(fault) => Err(fault),
        None if reading.position == below && reading.piece == 0 => Ok(reading.payloads),
        None => Err(damaged("operations at the end are missing")),
    }
}

struct Reading {
    position: u64,
    piece: u32,
    /// Payload bytes of the current operation still to come.
    missing: usize,
    payload: Vec<u8>,
    payloads: Vec<Bytes>,
}

impl Reading {
    /// Takes the next piece; none if it cannot be one.
    fn take(&mut self, body: &[u8]) -> Option<()> {
        let part = if self.piece == 0 {
            let (head, part) = body.split_first_chunk::<HEAD>()?;
            self.missing = u32::from_be_bytes(*head.last_chunk::<4>()?) as usize;
            part
        } else {
            body
        };
        self.missing = self.missing.checked_sub(part.len())?;
        self.payload.extend_from_slice(part);
        if self.missing == 0 {
            self.payloads.push(std::mem::take(&mut self.payload).into());
            self.position += 1;
            self.piece = 0;
        } else if part.is_empty() {
            return None;
        } else {
            self.piece += 1;
        }
        Some(())
    }
}

/// Payload bytes of the first `count` operations.
pub(super) fn bytes_of_first(
    shelf: &dyn Shelf,
    id: &DocumentId,
    prefix: &Prefix,
    record: &DocumentRecord,
    count: u64,
) -> Result<u64, ShelfError> {
    let first = DocumentRecord { tail_count: count.min(record.tail_count), ..record.clone() };
    Ok(read(shelf, id, prefix, &first)?.iter().map(|payload| payload.len() as u64).sum())
}

/// Whether any row of the document is there.
pub(super) fn any(shelf: &dyn Shelf, prefix: &Prefix) -> Result<bool, ShelfError> {
    let mut any = false;
    shelf.scan(Tree::Tails, &key(prefix, 0, 0), Some(&key(prefix, u64::MAX, u32::MAX)), &mut |_, _| {
        any = true;
        ControlFlow::Break(())
    })?;
    Ok(any)
}

/// Removals of every row before this position.
pub(super) fn removals(shelf: &dyn Shelf, prefix: &Prefix, below: u64) -> Result<Vec<Change>, ShelfError> {
    let mut changes = Vec::new();
    shelf.scan(Tree::Tails, &key(prefix, 0, 0), Some(&key(prefix, below, 0)), &mut |found, _| {
        changes.push((found.to_vec(), None));
        ControlFlow::Continue(())
    })?;
    Ok(changes)
}
