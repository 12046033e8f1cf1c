//! Sets of clocks as sorted, disjoint, non-touching ranges.

use std::collections::BTreeMap;

use crate::wire::lib0::write_var_u64;

/// Start to end (exclusive). Touching ranges are joined, so "covered" means "inside one range".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    /// Adds `start..end`; returns whether any of it was new.
    pub(super) fn insert(&mut self, start: u64, end: u64) -> bool {
        if start >= end || self.covers(start, end) {
            return false;
        }
        let (mut low, mut high) = (start, end);
        while let Some((&from, &to)) = self.0.range(..=high).next_back() {
            if to < low {
                break;
            }
            self.0.remove(&from);
            low = low.min(from);
            high = high.max(to);
        }
        self.0.insert(low, high);
        true
    }

    /// A set of ranges that are in order and do not overlap, in linear time.
    pub(super) fn of_ordered(ranges: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (start, end) in ranges {
            match joined.last_mut() {
                Some(last) if last.1 == start => last.1 = end,
                _ => joined.push((start, end)),
            }
        }
        Self(joined.into_iter().collect())
    }

    /// Whether all of `start..end` is in the set.
    pub(super) fn covers(&self, start: u64, end: u64) -> bool {
        start >= end || self.0.range(..=start).next_back().is_some_and(|(_, &to)| to >= end)
    }

    /// How far the set reaches without a hole from 0.
    pub(super) fn contiguous(&self) -> u64 {
        self.0.get(&0).copied().unwrap_or(0)
    }

    /// The first clock that no range reaches.
    pub(super) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, &end)| end)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(&start, &end)| (start, end))
    }
}

/// Appends a delete set: `varUint clients { varUint client, varUint ranges { varUint clock, varUint length } }`,
/// in descending client order as Yjs writes it.
pub(super) fn write_delete_set(out: &mut Vec<u8>, deletes: &BTreeMap<u64, RangeSet>) {
    write_var_u64(out, deletes.len() as u64);
    for (&client, ranges) in deletes.iter().rev() {
        write_var_u64(out, client);
        write_var_u64(out, ranges.len() as u64);
        for (start, end) in ranges.iter() {
            write_var_u64(out, start);
            write_var_u64(out, end - start);
        }
    }
}
