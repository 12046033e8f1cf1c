//! What waits for one document, in order.

use std::collections::VecDeque;

use super::priority::Priority;

/// One thing to send.
#[derive(Clone, Debug)]
pub(super) struct Item<T> {
    pub(super) lane: u64,
    pub(super) priority: Priority,
    pub(super) bytes: usize,
    pub(super) item: T,
}

/// Never empty between two calls of the scheduler.
#[derive(Debug)]
pub(super) struct Lane<T> {
    items: VecDeque<Item<T>>,
    bytes: usize,
    /// How many items of each priority there are.
    counts: [usize; 4],
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: 0, counts: [0; 4] }
    }
}

impl<T> Lane<T> {
    pub(super) fn push_back(&mut self, item: Item<T>) {
        self.count(&item);
        self.items.push_back(item);
    }

    pub(super) fn push_front(&mut self, item: Item<T>) {
        self.count(&item);
        self.items.push_front(item);
    }

    pub(super) fn pop_front(&mut self) -> Option<Item<T>> {
        let item = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(item.bytes);
        if let Some(count) = self.counts.get_mut(item.priority as usize) {
            *count = count.saturating_sub(1);
        }
        Some(item)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The highest priority of what is in it: its first item has to leave for that one.
    pub(super) fn class(&self) -> Option<Priority> {
        Priority::ALL.into_iter().find(|priority| self.counts.get(*priority as usize).is_some_and(|n| *n > 0))
    }

    fn count(&mut self, item: &Item<T>) {
        self.bytes = self.bytes.saturating_add(item.bytes);
        if let Some(count) = self.counts.get_mut(item.priority as usize) {
            *count += 1;
        }
    }
}
