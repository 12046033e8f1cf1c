//! Operations that are kept and not served: what killed or stalled the merge worker, set aside by name.
//!
//! Which there are is told by their first pieces alone; a payload is read when somebody asks for that one.
//!
//! Key: prefix of the document (16), replica (16), seq (8), number of the piece (4), big-endian. The body of piece
//! 0 is a head, the reason and the first part of the payload, those of later pieces are the rest:
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 1 | 1 held, 2 dropped: the payload is gone, its hash stays |
//! | 1 | 8 | when it was set aside, ms since 1970 |
//! | 9 | 1 | kind |
//! | 10 | 8 | stamp |
//! | 18 | 4 | length of the payload that is here |
//! | 22 | 32 | BLAKE3 of the payload |
//! | 54 | 2 | length of the reason |
//! | 56 | | reason, payload |

use std::ops::ControlFlow;

use bytes::Bytes;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};

use super::document::Prefix;
use super::row::body_bytes_max;
use super::rows::Rows;
use super::{Change, ShelfError, Tree};

const HEAD: usize = 56;
const KEY: usize = 44;
const HELD: u8 = 1;
const DROPPED: u8 = 2;
/// A longer reason is cut.
const REASON_BYTES_MAX: usize = 1024;

/// An operation in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// It; without its payload if that was dropped.
    pub operation: Operation,
    /// Why.
    pub reason: String,
    /// When, in ms since 1970.
    pub at_ms: u64,
    /// BLAKE3 of its payload: the same bytes are refused when they come again.
    pub hash: [u8; 32],
    /// Whether its payload was given up.
    pub dropped: bool,
}

impl SetAside {
    /// Sets an operation aside.
    #[must_use]
    pub fn new(operation: Operation, reason: String, at_ms: u64) -> Self {
        let hash = *blake3::hash(&operation.payload).as_bytes();
        Self { operation, reason, at_ms, hash, dropped: false }
    }
}

/// An operation in quarantine, but for its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Who made it.
    pub replica: ReplicaId,
    /// Which of theirs it is.
    pub seq: Seq,
    /// Length of its payload; 0 if that was dropped.
    pub bytes: u64,
    /// As [`SetAside::reason`].
    pub reason: String,
    /// As [`SetAside::at_ms`].
    pub at_ms: u64,
    /// As [`SetAside::hash`].
    pub hash: [u8; 32],
    /// As [`SetAside::dropped`].
    pub dropped: bool,
}

fn key(prefix: &Prefix, replica: ReplicaId, seq: Seq, piece: u32) -> Vec<u8> {
    [&prefix[..], &replica.0, &seq.0.to_be_bytes(), &piece.to_be_bytes()].concat()
}

/// The rows of an operation, behind removals of what is in their place.
pub(super) fn rows(rows: &Rows, prefix: &Prefix, aside: &SetAside) -> Result<Vec<Change>, ShelfError> {
    let Operation { replica, seq, kind, stamp, payload, .. } = &aside.operation;
    let mut reason = aside.reason.as_str();
    while reason.len() > REASON_BYTES_MAX {
        let cut = reason.char_indices().rev().map(|(at, _)| at).find(|at| *at <= REASON_BYTES_MAX);
        reason = reason.get(..cut.unwrap_or_default()).unwrap_or_default();
    }
    let mut first = vec![if aside.dropped { DROPPED } else { HELD }];
    first.extend_from_slice(&aside.at_ms.to_be_bytes());
    first.push(kind.tag());
    first.extend_from_slice(&stamp.0.to_be_bytes());
    first.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    first.extend_from_slice(&aside.hash);
    first.extend_from_slice(&u16::try_from(reason.len()).unwrap_or(u16::MAX).to_be_bytes());
    first.extend_from_slice(reason.as_bytes());
    let room = body_bytes_max(KEY);
    let (start, rest) = payload.split_at(payload.len().min(room.saturating_sub(first.len())));
    first.extend_from_slice(start);
    let mut changes = removals(rows, prefix, *replica, *seq)?;
    let bodies = std::iter::once(&first[..]).chain(rest.chunks(room));
    changes.extend(
        (0u32..)
            .zip(bodies)
            .map(|(piece, body)| rows.put(Tree::Quarantine, key(prefix, *replica, *seq, piece), body)),
    );
    Ok(changes)
}

/// Removals of the rows of one operation.
pub(super) fn removals(
    rows: &Rows,
    prefix: &Prefix,
    replica: ReplicaId,
    seq: Seq,
) -> Result<Vec<Change>, ShelfError> {
    let (from, below) = (key(prefix, replica, seq, 0), key(prefix, replica, seq, u32::MAX));
    removals_between(rows, &from, &below)
}

/// Removals of all rows of a document.
pub(super) fn removals_of_all(rows: &Rows, prefix: &Prefix) -> Result<Vec<Change>, ShelfError> {
    let (from, below) = bounds(prefix);
    removals_between(rows, &from, &below)
}

/// The least key of a document, and one behind its last.
pub(super) fn bounds(prefix: &Prefix) -> (Vec<u8>, Vec<u8>) {
    (key(prefix, ReplicaId([0; 16]), Seq(0), 0), key(prefix, ReplicaId([255; 16]), Seq(u64::MAX), u32::MAX))
}

fn removals_between(rows: &Rows, from: &[u8], below: &[u8]) -> Result<Vec<Change>, ShelfError> {
    let mut changes = Vec::new();
    rows.engine.scan(Tree::Quarantine, from, Some(below), &mut |found, _| {
        changes.push((found.to_vec(), None));
        ControlFlow::Continue(())
    })?;
    Ok(changes)
}

/// What of a document is in quarantine, without reading payloads behind the first pieces.
pub(super) fn list(rows: &Rows, id: &DocumentId, prefix: &Prefix) -> Result<Vec<Noted>, ShelfError> {
    let (mut from, below) = bounds(prefix);
    let mut found = Vec::new();
    loop {
        let (mut fault, mut more) = (None, None);
        rows.engine.scan(Tree::Quarantine, &from, Some(&below), &mut |key, row| {
            let first = match rows.mark.open(Tree::Quarantine, key, row) {
                Err(error) => Err(error.of(id)),
                Ok(row) => first_piece(id, key, row.body).ok_or_else(|| not_whole(id)),
            };
            match first {
                Ok(first) => {
                    more = first.has_more().then(|| first.behind(prefix));
                    found.push(first.noted());
                }
                Err(error) => fault = Some(error),
            }
            if more.is_some() || fault.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match (fault, more) {
            (Some(fault), _) => return Err(fault),
            (None, None) => return Ok(found),
            (None, Some(behind)) => from = behind,
        }
    }
}

/// One operation in quarantine with its payload; none if there is none of that name.
pub(super) fn read(
    rows: &Rows,
    id: &DocumentId,
    prefix: &Prefix,
    (replica, seq): (ReplicaId, Seq),
) -> Result<Option<SetAside>, ShelfError> {
    let (from, below) = (key(prefix, replica, seq, 0), key(prefix, replica, seq, u32::MAX));
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut fault = None;
    rows.engine.scan(Tree::Quarantine, &from, Some(&below), &mut |found, row| {
        let next = u32::try_from(pieces.len()).map(|piece| key(prefix, replica, seq, piece));
        match rows.mark.open(Tree::Quarantine, found, row) {
            Err(error) => fault = Some(error.of(id)),
            Ok(_) if next.as_deref() != Ok(found) => fault = Some(not_whole(id)),
            Ok(row) => pieces.push(row.body.to_vec()),
        }
        if fault.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match (fault, pieces.split_first()) {
        (Some(fault), _) => Err(fault),
        (None, None) => Ok(None),
        (None, Some((first, rest))) => {
            let mut rest = rest.iter().map(Vec::as_slice);
            let joined = join(id, (replica, seq), first, &mut rest).filter(|_| rest.next().is_none());
            joined.map(Some).ok_or_else(|| not_whole(id))
        }
    }
}

/// Everything of a document that is in quarantine.
pub(super) fn read_all(rows: &Rows, id: &DocumentId, prefix: &Prefix) -> Result<Vec<SetAside>, ShelfError> {
    let names = list(rows, id, prefix)?.into_iter().map(|noted| (noted.replica, noted.seq));
    names.filter_map(|name| read(rows, id, prefix, name).transpose()).collect()
}

fn not_whole(id: &DocumentId) -> ShelfError {
    ShelfError::Damaged { document: id.clone(), found: "an operation in quarantine is not whole" }
}

/// The name and the piece that a key stands for.
pub(super) fn place_of(key: &[u8]) -> Option<((ReplicaId, Seq), u32)> {
    let (_, name) = key.split_first_chunk::<16>()?;
    let (replica, rest) = name.split_first_chunk::<16>()?;
    let (seq, piece) = rest.split_first_chunk::<8>()?;
    let name = (ReplicaId(*replica), Seq(u64::from_be_bytes(*seq)));
    Some((name, u32::from_be_bytes(piece.try_into().ok()?)))
}

/// An operation from its first piece and as many of those behind it as it needs, if it is what was set aside.
pub(super) fn join(
    id: &DocumentId,
    name: (ReplicaId, Seq),
    first: &[u8],
    rest: &mut dyn Iterator<Item = &[u8]>,
) -> Option<SetAside> {
    let First { mut aside, mut payload, len } = decode(id, name, first)?;
    while payload.len() < len {
        payload.extend_from_slice(rest.next().filter(|piece| !piece.is_empty())?);
    }
    aside.operation.payload = payload.into();
    let hashed = aside.dropped || *blake3::hash(&aside.operation.payload).as_bytes() == aside.hash;
    (hashed && aside.operation.payload.len() == len).then_some(aside)
}

/// What the first piece says.
struct First {
    aside: SetAside,
    /// As much of the payload as is in it.
    payload: Vec<u8>,
    /// Length that the payload should have.
    len: usize,
}

impl First {
    fn has_more(&self) -> bool {
        self.payload.len() < self.len
    }

    /// A key behind its last piece.
    fn behind(&self, prefix: &Prefix) -> Vec<u8> {
        key(prefix, self.aside.operation.replica, self.aside.operation.seq, u32::MAX)
    }

    fn noted(self) -> Noted {
        let SetAside { operation, reason, at_ms, hash, dropped } = self.aside;
        let Operation { replica, seq, .. } = operation;
        Noted { replica, seq, bytes: self.len as u64, reason, at_ms, hash, dropped }
    }
}

fn first_piece(id: &DocumentId, key: &[u8], body: &[u8]) -> Option<First> {
    let (name, piece) = place_of(key)?;
    decode(id, name, body).filter(|first| piece == 0 && first.payload.len() <= first.len)
}

fn decode(id: &DocumentId, (replica, seq): (ReplicaId, Seq), body: &[u8]) -> Option<First> {
    let (head, rest) = body.split_first_chunk::<HEAD>()?;
    let (state, head) = head.split_first()?;
    let (at_ms, head) = head.split_first_chunk::<8>()?;
    let (kind, head) = head.split_first()?;
    let (stamp, head) = head.split_first_chunk::<8>()?;
    let (len, head) = head.split_first_chunk::<4>()?;
    let (hash, reason_len) = head.split_first_chunk::<32>()?;
    let (reason, payload) =
        rest.split_at_checked(usize::from(u16::from_be_bytes(reason_len.try_into().ok()?)))?;
    let operation = Operation {
        document: id.clone(),
        replica,
        seq,
        stamp: Stamp(u64::from_be_bytes(*stamp)),
        kind: Kind::from_tag(*kind)?,
        payload: Bytes::new(),
    };
    let aside = SetAside {
        operation,
        reason: String::from_utf8_lossy(reason).into_owned(),
        at_ms: u64::from_be_bytes(*at_ms),
        hash: *hash,
        dropped: match *state {
            HELD => false,
            DROPPED => true,
            _ => return None,
        },
    };
    Some(First { aside, payload: payload.to_vec(), len: u32::from_be_bytes(*len) as usize })
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryShelf;
    use super::super::row::Mark;
    use super::*;

    #[test]
    fn what_is_set_aside_comes_back_whole() {
        let rows = Rows { engine: Box::new(MemoryShelf::default()), mark: Mark(*b"\xd4ROWmark") };
        let id = DocumentId::yjs("d").unwrap();
        let aside = |seq: u64, len: usize| {
            let operation = Operation {
                document: id.clone(),
                replica: ReplicaId([7; 16]),
                seq: Seq(seq),
                stamp: Stamp(5),
                kind: Kind::YjsUpdate,
                payload: vec![9; len].into(),
            };
            SetAside::new(operation, format!("reason {seq}"), 11)
        };
        let all = [aside(1, 0), aside(2, 10), aside(3, 3980), aside(4, 20_000), aside(5, 1)];
        for aside in &all {
            let changes = super::rows(&rows, &[3; 16], aside).unwrap();
            rows.engine.batch(Tree::Quarantine, changes).unwrap();
        }
        assert_eq!(read_all(&rows, &id, &[3; 16]).unwrap(), all);
        assert_eq!(read_all(&rows, &id, &[4; 16]).unwrap(), []);
        let mut dropped = all[3].clone();
        dropped.operation.payload = Bytes::new();
        dropped.dropped = true;
        rows.engine.batch(Tree::Quarantine, super::rows(&rows, &[3; 16], &dropped).unwrap()).unwrap();
        assert_eq!(read_all(&rows, &id, &[3; 16]).unwrap()[3], dropped);
        let long = SetAside { reason: "ä".repeat(2000), ..aside(6, 5000) };
        rows.engine.batch(Tree::Quarantine, super::rows(&rows, &[3; 16], &long).unwrap()).unwrap();
        assert_eq!(read_all(&rows, &id, &[3; 16]).unwrap()[5].reason, "ä".repeat(512));
    }
}
