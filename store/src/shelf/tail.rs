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
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};

use super::document::{DocumentRecord, Prefix};
use super::row::body_bytes_max;
use super::rows::Rows;
use super::{Change, ShelfError, Tree};

const HEAD: usize = 37;
const KEY: usize = 28;
const BODY_BYTES_MAX: usize = body_bytes_max(KEY);

/// Key of a piece.
fn key(prefix: &Prefix, position: u64, piece: u32) -> Vec<u8> {
    [&prefix[..], &position.to_be_bytes(), &piece.to_be_bytes()].concat()
}

/// The prefix, position and piece of a key.
pub(super) fn place_of(key: &[u8]) -> Option<(Prefix, u64, u32)> {
    let key: &[u8; KEY] = key.try_into().ok()?;
    let (prefix, rest) = key.split_first_chunk::<16>()?;
    let (position, piece) = rest.split_first_chunk::<8>()?;
    Some((*prefix, u64::from_be_bytes(*position), u32::from_be_bytes(piece.try_into().ok()?)))
}

/// The rows of an operation at this position.
pub(super) fn rows(rows: &Rows, prefix: &Prefix, position: u64, operation: &Operation) -> Vec<Change> {
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
        .map(|(piece, body)| rows.put(Tree::Tails, key(prefix, position, piece), body))
        .collect()
}

/// The operations behind the snapshot, in order.
pub(super) fn read(
    rows: &Rows,
    id: &DocumentId,
    prefix: &Prefix,
    record: &DocumentRecord,
) -> Result<Vec<Operation>, ShelfError> {
    let damaged = |found| ShelfError::Damaged { document: id.clone(), found };
    let below = record.tail_end();
    let mut position = record.tail_first;
    let mut reading = Reading::default();
    let mut operations = Vec::new();
    let mut fault = None;
    rows.engine.scan(
        Tree::Tails,
        &key(prefix, record.tail_first, 0),
        Some(&key(prefix, below, 0)),
        &mut |found, row| {
            let taken = if found == key(prefix, position, reading.piece) {
                rows.mark.open(Tree::Tails, found, row).map_err(|fault| fault.of(id)).and_then(|row| {
                    reading
                        .take(id, row.body)
                        .map_err(|Unreadable| damaged("an operation is not as long as it says"))
                })
            } else {
                Err(damaged("a row of an operation is missing"))
            };
            match taken {
                Ok(whole) => {
                    position += u64::from(whole.is_some());
                    operations.extend(whole);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    fault = Some(error);
                    ControlFlow::Break(())
                }
            }
        },
    )?;
    match fault {
        Some(fault) => Err(fault),
        None if position == below && reading.piece == 0 => Ok(operations),
        None => Err(damaged("operations at the end are missing")),
    }
}

/// What an operation's head says.
struct Head {
    kind: Kind,
    replica: ReplicaId,
    seq: Seq,
    stamp: Stamp,
}

/// A piece that cannot be the next one.
pub(super) struct Unreadable;

/// An operation that is put together from its pieces.
#[derive(Default)]
pub(super) struct Reading {
    head: Option<Head>,
    /// Number of the next piece.
    pub(super) piece: u32,
    /// Payload bytes still to come.
    missing: usize,
    payload: Vec<u8>,
}

impl Reading {
    /// Takes the next piece; gives the operation with its last one.
    pub(super) fn take(&mut self, id: &DocumentId, body: &[u8]) -> Result<Option<Operation>, Unreadable> {
        let part = if self.piece == 0 {
            let (head, part) = body.split_first_chunk::<HEAD>().ok_or(Unreadable)?;
            let (head, len) = decode_head(head).ok_or(Unreadable)?;
            self.head = Some(head);
            self.missing = len;
            part
        } else if body.is_empty() {
            return Err(Unreadable);
        } else {
            body
        };
        self.missing = self.missing.checked_sub(part.len()).ok_or(Unreadable)?;
        self.payload.extend_from_slice(part);
        self.piece = self.piece.saturating_add(1);
        if self.missing > 0 {
            return Ok(None);
        }
        self.piece = 0;
        let Head { kind, replica, seq, stamp } = self.head.take().ok_or(Unreadable)?;
        let payload = Bytes::from(std::mem::take(&mut self.payload));
        Ok(Some(Operation { document: id.clone(), replica, seq, stamp, kind, payload }))
    }
}

fn decode_head(head: &[u8; HEAD]) -> Option<(Head, usize)> {
    let (kind, rest) = head.split_first()?;
    let (replica, rest) = rest.split_first_chunk::<16>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (stamp, len) = rest.split_first_chunk::<8>()?;
    let head = Head {
        kind: Kind::from_tag(*kind)?,
        replica: ReplicaId(*replica),
        seq: Seq(u64::from_be_bytes(*seq)),
        stamp: Stamp(u64::from_be_bytes(*stamp)),
    };
    Some((head, u32::from_be_bytes(len.try_into().ok()?) as usize))
}

/// Payload bytes of the first `count` operations.
pub(super) fn bytes_of_first(
    rows: &Rows,
    id: &DocumentId,
    prefix: &Prefix,
    record: &DocumentRecord,
    count: u64,
) -> Result<u64, ShelfError> {
    let first = DocumentRecord { tail_count: count.min(record.tail_count), ..record.clone() };
    Ok(read(rows, id, prefix, &first)?.iter().map(|operation| operation.payload.len() as u64).sum())
}

/// Whether any row of the document is there.
pub(super) fn any(rows: &Rows, prefix: &Prefix) -> Result<bool, ShelfError> {
    let mut any = false;
    let (from, below) = (key(prefix, 0, 0), key(prefix, u64::MAX, u32::MAX));
    rows.engine.scan(Tree::Tails, &from, Some(&below), &mut |_, _| {
        any = true;
        ControlFlow::Break(())
    })?;
    Ok(any)
}

/// Keys of the rows at these positions.
pub(super) fn range(prefix: &Prefix, positions: std::ops::Range<u64>) -> std::ops::Range<Vec<u8>> {
    key(prefix, positions.start, 0)..key(prefix, positions.end, 0)
}

/// Removals of every row at these positions.
pub(super) fn removals(
    rows: &Rows,
    prefix: &Prefix,
    positions: std::ops::Range<u64>,
) -> Result<Vec<Change>, ShelfError> {
    let mut changes = Vec::new();
    let keys = range(prefix, positions);
    rows.engine.scan(Tree::Tails, &keys.start, Some(&keys.end), &mut |found, _| {
        changes.push((found.to_vec(), None));
        ControlFlow::Continue(())
    })?;
    Ok(changes)
}
