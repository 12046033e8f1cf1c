//! Joins updates by copying struct bytes, in time linear in their size (times a sort).
//!
//! A struct of format v1 does not hold its own clock, so it may be copied into any section that counts
//! up to it. Only a struct that overlaps an earlier one is rewritten: its known front is cut off.
//! Why not the engine: a flat merge in yrs is near-quadratic (HAZARDS: yrs-8) and trusts its input.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::block::{Id, RawBlock, SKIP};
use super::parse::{Section, Update};
use super::ranges::{RangeSet, write_delete_set};
use super::state_vector::StateVector;
use crate::wire::lib0::{Reader, write_var_u64};

/// One update that has the effect of all `updates`, whatever their order.
///
/// Holes between the structs of a client become `Skip` structs.
#[must_use]
pub fn merge(updates: &[Update]) -> Bytes {
    diff(updates, &StateVector::default())
}

/// As [`merge()`], without the structs that `have` already covers but always with every delete, because
/// state vectors do not see deletes (HAZARDS: yrs-7).
#[must_use]
pub fn diff(updates: &[Update], have: &StateVector) -> Bytes {
    if let ([only], true) = (updates, have.is_empty()) {
        return only.bytes().clone();
    }
    let mut clients: BTreeMap<u64, Vec<(&Update, &Section)>> = BTreeMap::new();
    for update in updates {
        for section in update.sections() {
            clients.entry(section.client).or_default().push((update, section));
        }
    }
    let mut sections = Vec::new();
    let mut written = 0u64;
    // Higher clients first: Yjs resolves more conflicts in one pass that way.
    for (&client, sources) in clients.iter().rev() {
        written += u64::from(write_section(&mut sections, client, sources, have.get(client)));
    }
    let mut out = Vec::with_capacity(sections.len() + 16);
    write_var_u64(&mut out, written);
    out.append(&mut sections);
    write_delete_set(&mut out, &delete_set(updates.iter().flat_map(Update::deletes)));
    out.into()
}

/// A struct of an update: its clock, the clock behind it, and where it is.
pub(super) type Piece<'a> = (u64, u64, &'a Update, &'a Section, usize);

/// The structs of sections of one client that reach beyond a clock, in order.
pub(super) fn pieces<'a>(sources: &[(&'a Update, &'a Section)], have: u64) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    for &(update, section) in sources {
        for (index, block) in section.blocks.iter().enumerate() {
            if !block.is_skip() && block.end() > have {
                pieces.push((block.start(), block.end(), update, section, index));
            }
        }
    }
    // A stable sort: of two structs for the same clock the earlier update wins, as when applied in turn.
    pieces.sort_by_key(|piece| piece.0);
    pieces
}

/// Appends the section of one client; returns whether there was anything to write.
pub(super) fn write_section(
    out: &mut Vec<u8>,
    client: u64,
    sources: &[(&Update, &Section)],
    have: u64,
) -> bool {
    let pieces = pieces(sources, have);
    let Some(first) = pieces.first().map(|piece| piece.0.max(have)) else { return false };
    let mut body = Vec::new();
    let count = write_pieces(&mut body, client, pieces, first);
    write_var_u64(out, count);
    write_var_u64(out, client);
    write_var_u64(out, first);
    out.append(&mut body);
    true
}

/// Appends structs from the clock `next` on, with holes where there are some; returns how many.
pub(super) fn write_pieces(body: &mut Vec<u8>, client: u64, pieces: Vec<Piece<'_>>, mut next: u64) -> u64 {
    let mut count = 0;
    for (start, end, update, section, index) in pieces {
        if end <= next {
            continue;
        }
        if start > next {
            body.push(SKIP);
            write_var_u64(body, start - next);
            count += 1;
            next = start;
        }
        let bytes = update.block_bytes(section, index);
        if start == next {
            body.extend_from_slice(bytes);
        } else {
            let (id, offset) = (Id { client, clock: start }, next - start);
            let cut = RawBlock::read(&mut Reader::new(bytes), id)
                .and_then(|block| block.write_tail(body, id, offset));
            assert!(cut.is_ok(), "a parsed struct of client {client} at {start} cannot be read again");
        }
        count += 1;
        next = end;
    }
    count
}

/// Delete ranges by client, joined.
pub(super) fn delete_set(ranges: impl Iterator<Item = (u64, u64, u64)>) -> BTreeMap<u64, RangeSet> {
    let mut deletes: BTreeMap<u64, RangeSet> = BTreeMap::new();
    for (client, clock, len) in ranges {
        deletes.entry(client).or_default().insert(clock, clock + len);
    }
    deletes
}
