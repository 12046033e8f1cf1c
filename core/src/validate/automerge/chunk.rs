//! Chunks: `85 6f 4a 83`, 4 bytes of checksum, type, length, body.
//!
//! | type | body |
//! |---|---|
//! | 0 document | actors, heads, change directory, op directory, change columns, op columns, head indices |
//! | 1 change | deps, actor, seq, start op, time, message, other actors, directory, columns, extra bytes |
//! | 2 compressed change | the body of a change, deflated |

use super::budget::Budget;
use super::columns::{Column, Delta, Rle, Values, find, read_columns, read_directory};
use super::error::InvalidAutomerge;
use super::leb::Leb;
use super::ops::{Layout, walk_ops};
use crate::limits::{OP_COUNTER_MAX, UPDATE_BYTES_MAX};
use crate::wire::inflate::inflate;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];

/// Checks a run of chunks; no bytes at all are a valid run.
///
/// # Errors
/// [`InvalidAutomerge`] names the first thing that is wrong.
pub fn validate_chunks(bytes: &[u8]) -> Result<(), InvalidAutomerge> {
    if bytes.len() > UPDATE_BYTES_MAX {
        return Err(InvalidAutomerge::TooLarge { found: bytes.len() });
    }
    validate_run(bytes, &mut Budget::of(bytes.len()))
}

/// The same for a part of a message.
pub(super) fn validate_run(bytes: &[u8], budget: &mut Budget) -> Result<(), InvalidAutomerge> {
    let mut reader = Leb::new(bytes);
    while !reader.is_empty() {
        if reader.take(4)? != MAGIC {
            return Err(InvalidAutomerge::Magic);
        }
        reader.take(4)?;
        let kind = reader.u8()?;
        let body = reader.counted()?;
        match kind {
            0 => validate_document(body, budget)?,
            1 => validate_change(body, budget)?,
            2 => validate_change(&inflate(body)?, budget)?,
            found => return Err(InvalidAutomerge::UnknownChunk { found }),
        }
    }
    Ok(())
}

fn validate_change(body: &[u8], budget: &mut Budget) -> Result<(), InvalidAutomerge> {
    let mut reader = Leb::new(body);
    reader.hashes()?;
    let own = reader.counted()?;
    let (seq, start_op) = (reader.u64()?, reader.u64()?);
    if !(1..=OP_COUNTER_MAX).contains(&seq) || !(1..=OP_COUNTER_MAX).contains(&start_op) {
        return Err(InvalidAutomerge::Counter);
    }
    reader.i64()?;
    reader.text()?;
    let others = read_actors(&mut reader)?;
    if others.contains(&own) {
        return Err(InvalidAutomerge::ActorOrder);
    }
    let directory = read_directory(&mut reader)?;
    let columns = read_columns(&mut reader, &directory, false)?;
    // What follows the columns are extra bytes, which any later version may have written.
    let ops = walk_ops(&columns, Layout::Change, others.len() as u64 + 1, budget)?;
    if start_op + ops > OP_COUNTER_MAX { Err(InvalidAutomerge::Counter) } else { Ok(()) }
}

fn validate_document(body: &[u8], budget: &mut Budget) -> Result<(), InvalidAutomerge> {
    let mut reader = Leb::new(body);
    let actors = read_actors(&mut reader)?.len() as u64;
    let heads = reader.hashes()?;
    let change_directory = read_directory(&mut reader)?;
    let op_directory = read_directory(&mut reader)?;
    let change_columns = read_columns(&mut reader, &change_directory, true)?;
    let op_columns = read_columns(&mut reader, &op_directory, true)?;
    let changes = walk_changes(&change_columns, actors, budget)?;
    walk_ops(&op_columns, Layout::Document, actors, budget)?;
    // Documents of old JavaScript versions lack the indices.
    if !reader.is_empty() {
        for _ in 0..heads {
            if reader.u64()? >= changes {
                return Err(InvalidAutomerge::Dependency);
            }
        }
    }
    reader.end()
}

/// A count of counted actor ids, which must ascend.
fn read_actors<'a>(reader: &mut Leb<'a>) -> Result<Vec<&'a [u8]>, InvalidAutomerge> {
    let mut actors: Vec<&[u8]> = Vec::new();
    for _ in 0..reader.count(1)? {
        let actor = reader.counted()?;
        if actors.last().is_some_and(|last| *last >= actor) {
            return Err(InvalidAutomerge::ActorOrder);
        }
        actors.push(actor);
    }
    Ok(actors)
}

/// Checks the change columns of a document; returns the number of changes.
///
/// Columns: 0 actor, 0 delta seq, 1 delta highest op, 2 delta time, 3 string message, 4 group and delta
/// dependencies (indices of earlier changes), 5 metadata and raw extra bytes.
fn walk_changes(columns: &[Column<'_>], actors: u64, budget: &mut Budget) -> Result<u64, InvalidAutomerge> {
    let mut actor = Rle::<u64>::new(find(columns, 0x01));
    let (mut seq, mut max_op) = (Delta::new(find(columns, 0x03)), Delta::new(find(columns, 0x13)));
    let (mut time, mut message) = (Delta::new(find(columns, 0x23)), Rle::<&str>::new(find(columns, 0x35)));
    let (mut group, mut deps) = (Rle::<u64>::new(find(columns, 0x40)), Delta::new(find(columns, 0x43)));
    let mut extra = Values::new(find(columns, 0x56), find(columns, 0x57));
    let mut rows = 0u64;
    let mut next_seq = std::collections::BTreeMap::<u64, i64>::new();
    while !actor.done() {
        let index = actor.some()?;
        if index >= actors {
            return Err(InvalidAutomerge::Actor);
        }
        let expected = next_seq.entry(index).or_insert(1);
        if seq.next()? != Some(*expected) {
            return Err(InvalidAutomerge::Counter);
        }
        *expected += 1;
        match max_op.next()?.map(u64::try_from) {
            Some(Ok(highest)) if highest <= OP_COUNTER_MAX => {}
            _ => return Err(InvalidAutomerge::Counter),
        }
        time.next()?;
        message.next()?;
        extra.next()?;
        let count = group.next()?.unwrap_or(0);
        budget.spend(count.saturating_add(1))?;
        for _ in 0..count {
            match deps.next()?.map(u64::try_from) {
                Some(Ok(earlier)) if earlier < rows => {}
                _ => return Err(InvalidAutomerge::Dependency),
            }
        }
        rows += 1;
    }
    for ended in [seq.end(), max_op.end(), time.end(), message.end(), group.end(), deps.end(), extra.end()] {
        ended?;
    }
    Ok(rows)
}
