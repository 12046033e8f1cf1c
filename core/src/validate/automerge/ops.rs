//! The operation columns of changes and documents, walked row by row side by side.
//!
//! | column | specifications | change | document |
//! |---|---|---|---|
//! | object | 0 actor, 0 integer | both or neither | same |
//! | key | 1 actor, 1 delta, 1 string | element or string | same |
//! | id | 2 actor, 2 delta | absent | always |
//! | insert | 3 boolean | always | always |
//! | action | 4 integer | always | always |
//! | value | 5 metadata, 5 raw | by row | same |
//! | pred | 7 group, 7 actor, 7 delta | by row | absent |
//! | succ | 8 group, 8 actor, 8 delta | absent | by row |
//! | expand, mark | 9 boolean, 10 string | optional | optional |

use super::budget::Budget;
use super::columns::{Booleans, Column, Delta, Rle, Values, find};
use super::error::InvalidAutomerge;
use crate::limits::OP_COUNTER_MAX;

/// Which of the two layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Ids follow from the change; `pred` is given.
    Change,
    /// Ids are given; `succ` is given.
    Document,
}

const fn spec(id: u32, kind: u32) -> u32 {
    id << 4 | kind
}
const GROUP: u32 = 0;
const ACTOR: u32 = 1;
const INTEGER: u32 = 2;
const DELTA: u32 = 3;
const BOOLEAN: u32 = 4;
const STRING: u32 = 5;
const META: u32 = 6;
const RAW: u32 = 7;

/// Checks the columns against each other; returns the number of rows.
pub(super) fn walk_ops(
    columns: &[Column<'_>],
    layout: Layout,
    actors: u64,
    budget: &mut Budget,
) -> Result<u64, InvalidAutomerge> {
    let of = |id, kind| find(columns, spec(id, kind));
    let (absent, list) = if layout == Layout::Change { (8, 7) } else { (7, 8) };
    let foreign = |column: &Column<'_>| {
        column.spec >> 4 == absent || (column.spec >> 4 == 2 && layout == Layout::Change)
    };
    if columns.iter().any(foreign) {
        return Err(InvalidAutomerge::Operation);
    }
    let (mut obj_actor, mut obj_ctr) = (Rle::<u64>::new(of(0, ACTOR)), Rle::<u64>::new(of(0, INTEGER)));
    let (mut key_actor, mut key_ctr) = (Rle::<u64>::new(of(1, ACTOR)), Delta::new(of(1, DELTA)));
    let mut key_text = Rle::<&str>::new(of(1, STRING));
    let (mut id_actor, mut id_ctr) = (Rle::<u64>::new(of(2, ACTOR)), Delta::new(of(2, DELTA)));
    let mut insert = Booleans::new(of(3, BOOLEAN));
    let mut action = Rle::<u64>::new(of(4, INTEGER));
    let mut values = Values::new(of(5, META), of(5, RAW));
    let mut group = Rle::<u64>::new(of(list, GROUP));
    let (mut list_actor, mut list_ctr) = (Rle::<u64>::new(of(list, ACTOR)), Delta::new(of(list, DELTA)));
    let mut expand = Booleans::new(of(9, BOOLEAN));
    let mut mark = Rle::<&str>::new(of(10, STRING));
    let actor = |index: u64| if index < actors { Ok(()) } else { Err(InvalidAutomerge::Actor) };
    let (mut rows, mut ids) = (0u64, Vec::new());
    while !action.done() {
        rows += 1;
        budget.spend(1)?;
        match (obj_actor.next()?, obj_ctr.next()?) {
            (None, None) => {}
            (Some(index), Some(clock)) if (1..=OP_COUNTER_MAX).contains(&clock) => actor(index)?,
            _ => return Err(InvalidAutomerge::Counter),
        }
        let inserted = insert.next()?;
        match (key_actor.next()?, key_ctr.next()?, key_text.next()?) {
            (None, None, Some(_)) if !inserted => {}
            // The head of a list: counter 0 without an actor.
            (None, Some(0), None) if inserted => {}
            (Some(index), Some(clock), None) => {
                counter(clock)?;
                actor(index)?;
            }
            _ => return Err(InvalidAutomerge::Operation),
        }
        if layout == Layout::Document {
            let (index, clock) = (id_actor.some()?, id_ctr.next()?.ok_or(InvalidAutomerge::Null)?);
            actor(index)?;
            counter(clock)?;
            ids.push((clock, index));
        }
        let action = action.some()?;
        let kind = values.next()?;
        // 5 increments a counter, by an integer only.
        if action > 7
            || (action == 5 && !matches!(kind, 3 | 4))
            || (layout == Layout::Document && action == 3)
        {
            return Err(InvalidAutomerge::Operation);
        }
        expand.next()?;
        let marked = mark.next()?.is_some();
        if marked && action != 7 {
            return Err(InvalidAutomerge::Operation);
        }
        let count = group.next()?.unwrap_or(0);
        budget.spend(count)?;
        for _ in 0..count {
            actor(list_actor.some()?)?;
            counter(list_ctr.next()?.ok_or(InvalidAutomerge::Null)?)?;
        }
    }
    for ended in [
        obj_actor.end(),
        obj_ctr.end(),
        key_actor.end(),
        key_ctr.end(),
        key_text.end(),
        id_actor.end(),
        id_ctr.end(),
        insert.end(),
        values.end(),
        group.end(),
        list_actor.end(),
        list_ctr.end(),
        expand.end(),
        mark.end(),
    ] {
        ended?;
    }
    // The engine puts operations back into their changes and panics where there is one already (HAZARDS am-10).
    ids.sort_unstable();
    if ids.windows(2).any(|pair| matches!(pair, [one, two] if one == two)) {
        return Err(InvalidAutomerge::Operation);
    }
    Ok(rows)
}

/// A counter of an operation that exists.
fn counter(clock: i64) -> Result<(), InvalidAutomerge> {
    match u64::try_from(clock) {
        Ok(1..=OP_COUNTER_MAX) => Ok(()),
        _ => Err(InvalidAutomerge::Counter),
    }
}
