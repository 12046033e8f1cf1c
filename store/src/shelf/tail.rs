//! Operations since the snapshot, as many in a row of at most 4 KiB as go in.
//!
//! Key: prefix of the document (16), position of the first operation (8), number of the piece (4), big-endian. The
//! body of piece 0 is a list of operations:
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | 0: the whole head follows; 1: kind and replica are those of the operation before, seq is one more |
//! | 1, 16, 8, 8 | after 0: kind, replica, seq, stamp |
//! | varint | after 1: how much later the stamp is |
//! | varint | length of the payload |
//! | | payload |
//!
//! An operation that is longer than a row has one for itself, and the rest of its payload in the pieces behind. In
//! rows of version 1 piece 0 has one operation: kind (1), replica (16), seq (8), stamp (8), length (4), payload.
//!
//! A row whose position lies before the next one that is read was left by a fold that split it, and is passed over.

use std::ops::{ControlFlow, Range};

use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};
use tombolo_core::wire::lib0::{Reader, write_var_u64};

use super::document::{DocumentRecord, Prefix};
use super::row::{Row, body_bytes_max};
use super::rows::Rows;
use super::{Change, ShelfError, Tree};

const KEY: usize = 28;
const BODY_BYTES_MAX: usize = body_bytes_max(KEY);
const WHOLE: u8 = 0;
const NEXT: u8 = 1;

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

/// The rows of operations from this position on.
pub(super) fn rows<'a>(
    rows: &Rows,
    prefix: &Prefix,
    mut position: u64,
    operations: impl IntoIterator<Item = &'a Operation>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut body, mut count, mut last) = (Vec::new(), 0, None);
    for operation in operations {
        let mut entry = encode(last, operation);
        if body.len() + entry.len() > BODY_BYTES_MAX && !body.is_empty() {
            put(rows, prefix, position, &body, &mut changes);
            position += count;
            (body, count, entry) = (Vec::new(), 0, encode(None, operation));
        }
        body.append(&mut entry);
        count += 1;
        last = Some(operation);
    }
    if !body.is_empty() {
        put(rows, prefix, position, &body, &mut changes);
    }
    changes
}

fn encode(last: Option<&Operation>, operation: &Operation) -> Vec<u8> {
    let mut out = Vec::with_capacity(operation.payload.len() + 40);
    let follows = last.filter(|last| {
        (last.kind, last.replica, last.seq.next()) == (operation.kind, operation.replica, operation.seq)
    });
    let later = follows.and_then(|last| operation.stamp.0.checked_sub(last.stamp.0));
    if let Some(later) = later {
        out.push(NEXT);
        write_var_u64(&mut out, later);
    } else {
        out.extend_from_slice(&[WHOLE, operation.kind.tag()]);
        out.extend_from_slice(&operation.replica.0);
        out.extend_from_slice(&operation.seq.0.to_be_bytes());
        out.extend_from_slice(&operation.stamp.0.to_be_bytes());
    }
    write_var_u64(&mut out, operation.payload.len() as u64);
    out.extend_from_slice(&operation.payload);
    out
}

fn put(rows: &Rows, prefix: &Prefix, position: u64, body: &[u8], changes: &mut Vec<Change>) {
    let pieces = (0u32..).zip(body.chunks(BODY_BYTES_MAX));
    changes.extend(pieces.map(|(piece, body)| rows.put(Tree::Tails, key(prefix, position, piece), body)));
}

/// The operations behind the snapshot, in order.
pub(super) fn read(
    rows: &Rows,
    id: &DocumentId,
    prefix: &Prefix,
    record: &DocumentRecord,
) -> Result<Vec<Operation>, ShelfError> {
    let damaged = |found| ShelfError::Damaged { document: id.clone(), found };
    let mut reading = Reading::new(id);
    let mut fault = None;
    let positions = record.tail_first..record.tail_end();
    let keys = range(prefix, positions.clone());
    rows.engine.scan(Tree::Tails, &keys.start, Some(&keys.end), &mut |found, row| {
        let Some((_, position, piece)) = place_of(found) else {
            fault = Some(damaged("a row of an operation has no place"));
            return ControlFlow::Break(());
        };
        let next = positions.start + reading.operations.len() as u64;
        if position < next && !reading.is_amid(piece) {
            return ControlFlow::Continue(());
        }
        let taken = match rows.mark.open(Tree::Tails, found, row) {
            Err(error) => Err(error.of(id)),
            Ok(_) if position > next => Err(damaged("a row of an operation is missing")),
            Ok(row) => reading.take(piece, row).map_err(|Unreadable| damaged("an operation is not whole")),
        };
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                fault = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    let count = usize::try_from(record.tail_count).unwrap_or(usize::MAX);
    match fault {
        Some(fault) => Err(fault),
        None if reading.operations.len() >= count => {
            reading.operations.truncate(count);
            Ok(reading.operations)
        }
        None => Err(damaged("operations at the end are missing")),
    }
}

/// A row that cannot be the next one.
pub(super) struct Unreadable;

/// Operations that are put together from their rows.
pub(super) struct Reading<'a> {
    id: &'a DocumentId,
    pub(super) operations: Vec<Operation>,
    /// One whose payload goes on in further pieces: it, what is here, and how long it will be.
    amid: Option<(Operation, Vec<u8>, usize)>,
    /// Number of the next piece.
    piece: u32,
}

impl<'a> Reading<'a> {
    pub(super) fn new(id: &'a DocumentId) -> Self {
        Self { id, operations: Vec::new(), amid: None, piece: 0 }
    }

    /// Whether this piece belongs to an operation that has begun.
    pub(super) fn is_amid(&self, piece: u32) -> bool {
        piece > 0 && self.amid.is_some()
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: u32, row: Row<'_>) -> Result<(), Unreadable> {
        if let Some((operation, mut payload, len)) = self.amid.take() {
            if piece != self.piece || row.body.is_empty() {
                return Err(Unreadable);
            }
            payload.extend_from_slice(row.body);
            return self.go_on(operation, payload, len);
        }
        if piece != 0 {
            return Err(Unreadable);
        }
        self.piece = 0;
        let mut reader = Reader::new(row.body);
        let mut before = None;
        while !reader.rest().is_empty() {
            let (operation, len) = if row.version == 1 {
                self.head_1(&mut reader)
            } else {
                self.head(before.as_ref(), &mut reader)
            }
            .ok_or(Unreadable)?;
            let here = len.min(reader.rest().len());
            let payload = reader.bytes(here).map_err(|_| Unreadable)?.to_vec();
            before = Some(operation.clone());
            self.go_on(operation, payload, len)?;
        }
        Ok(())
    }

    fn go_on(&mut self, mut operation: Operation, payload: Vec<u8>, len: usize) -> Result<(), Unreadable> {
        self.piece = self.piece.saturating_add(1);
        if payload.len() > len {
            return Err(Unreadable);
        }
        if payload.len() < len {
            self.amid = Some((operation, payload, len));
        } else {
            operation.payload = payload.into();
            self.operations.push(operation);
        }
        Ok(())
    }

    fn head(&self, before: Option<&Operation>, reader: &mut Reader<'_>) -> Option<(Operation, usize)> {
        let operation = match reader.u8().ok()? {
            WHOLE => self.fields(reader)?,
            NEXT => {
                let before = before?;
                let stamp = Stamp(before.stamp.0.checked_add(reader.var_u64().ok()?)?);
                Operation { seq: Seq(before.seq.0.checked_add(1)?), stamp, ..before.clone() }
            }
            _ => return None,
        };
        Some((operation, usize::try_from(reader.var_u64().ok()?).ok()?))
    }

    fn head_1(&self, reader: &mut Reader<'_>) -> Option<(Operation, usize)> {
        let operation = self.fields(reader)?;
        let len = u32::from_be_bytes(reader.bytes(4).ok()?.try_into().ok()?);
        Some((operation, len as usize))
    }

    fn fields(&self, reader: &mut Reader<'_>) -> Option<Operation> {
        Some(Operation {
            document: self.id.clone(),
            kind: Kind::from_tag(reader.u8().ok()?)?,
            replica: ReplicaId(reader.bytes(16).ok()?.try_into().ok()?),
            seq: Seq(u64::from_be_bytes(reader.bytes(8).ok()?.try_into().ok()?)),
            stamp: Stamp(u64::from_be_bytes(reader.bytes(8).ok()?.try_into().ok()?)),
            payload: bytes::Bytes::new(),
        })
    }
}

/// Whether a row begins at this position.
pub(super) fn begins_at(rows: &Rows, prefix: &Prefix, position: u64) -> Result<bool, ShelfError> {
    Ok(rows.engine.get(Tree::Tails, &key(prefix, position, 0))?.is_some())
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
pub(super) fn range(prefix: &Prefix, positions: Range<u64>) -> Range<Vec<u8>> {
    key(prefix, positions.start, 0)..key(prefix, positions.end, 0)
}

/// Removals of every row at these positions.
pub(super) fn removals(
    rows: &Rows,
    prefix: &Prefix,
    positions: Range<u64>,
) -> Result<Vec<Change>, ShelfError> {
    let mut changes = Vec::new();
    let keys = range(prefix, positions);
    rows.engine.scan(Tree::Tails, &keys.start, Some(&keys.end), &mut |found, _| {
        changes.push((found.to_vec(), None));
        ControlFlow::Continue(())
    })?;
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryShelf;
    use super::super::row::Mark;
    use super::*;

    #[test]
    fn golden_bytes_of_a_row_of_operations() {
        let rows = Rows { engine: Box::new(MemoryShelf::default()), mark: Mark(*b"\xd4ROWmark") };
        let id = DocumentId::yjs("d").unwrap();
        let operation = |seq: u64, payload: &'static [u8]| Operation {
            document: id.clone(),
            replica: ReplicaId([7; 16]),
            seq: Seq(seq),
            stamp: Stamp(200 * seq),
            kind: Kind::YjsUpdate,
            payload: payload.into(),
        };
        let operations = [operation(3, b"ab"), operation(4, b""), operation(6, b"c")];
        let changes = super::rows(&rows, &[9; 16], 5, &operations);
        let [(found, Some(row))] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(place_of(found), Some(([9; 16], 5, 0)));
        let golden = [
            &[0, 1][..],
            &[7; 16],
            &3u64.to_be_bytes(),
            &600u64.to_be_bytes(),
            b"\x02ab",
            b"\x01\xc8\x01\x00",
            &[0, 1],
            &[7; 16],
            &6u64.to_be_bytes(),
            &1200u64.to_be_bytes(),
            b"\x01c",
        ]
        .concat();
        let row = rows.mark.open(Tree::Tails, found, row).unwrap();
        assert_eq!(row.body, golden);
        let mut reading = Reading::new(&id);
        assert!(reading.take(0, row).is_ok());
        assert_eq!(reading.operations, operations);
    }

    #[test]
    fn rows_of_version_1_have_one_operation() {
        let id = DocumentId::yjs("d").unwrap();
        let body = [&[2][..], &[7; 16], &3u64.to_be_bytes(), &4u64.to_be_bytes(), &3u32.to_be_bytes(), b"a"]
            .concat();
        let mut reading = Reading::new(&id);
        assert!(reading.take(0, Row { version: 1, body: &body }).is_ok());
        assert!(reading.take(1, Row { version: 1, body: b"bc" }).is_ok());
        let [found] = &reading.operations[..] else { panic!() };
        assert_eq!((found.kind, found.seq, found.stamp), (Kind::AutomergeChanges, Seq(3), Stamp(4)));
        assert_eq!(found.payload, &b"abc"[..]);
    }
}
