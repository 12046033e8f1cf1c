//! Sets of clocks as sorted, disjoint, non-touching ranges.

use std::collections::BTreeMap;

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

    /// Whether all of `start..end` is in the set.
    pub(super) fn covers(&self, start: u64, end: u64) -> bool {
        start >= end || self.0.range(..=start).next_back().is_some_and(|(_, &to)| to >= end)
    }

    /// How far the set reaches without a hole from 0.
    pub(super) fn contiguous(&self) -> u64 {
        self.0.get(&0).copied().unwrap_or(0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(&start, &end)| (start, end))
    }
}
