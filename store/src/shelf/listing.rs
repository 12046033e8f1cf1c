//! Which documents there are, over all shelves.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use tombolo_core::id::DocumentId;

use super::ShelfError;
use super::document::DocumentRecord;
use super::open_shelf::OpenShelf;
use super::shelves::Shelves;
use super::stub::Stub;

/// Rows read of a shelf at once, besides its share of what is asked for: names are not spread quite evenly.
const SPARE: usize = 16;

impl Shelves {
    /// Documents that have content, or were evicted, in the order of their keys, behind `after`, at most `limit`, with their records.
    ///
    /// # Errors
    /// [`ShelfError`] if a shelf cannot be read.
    pub fn documents(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, DocumentRecord)>, ShelfError> {
        let mut shelves = Vec::new();
        for index in 0..usize::from(self.count()) {
            shelves.extend(self.shelf_if_made(index)?);
        }
        let rows = (limit / shelves.len().max(1)).saturating_add(SPARE).min(limit);
        let mut listings = Vec::new();
        for shelf in shelves {
            listings.push(Listing::start(shelf, after, rows)?);
        }
        // The next key of each shelf, the least on top.
        let keys =
            listings.iter().enumerate().filter_map(|(at, listing)| Some(Reverse((listing.key()?, at))));
        let mut keys: BinaryHeap<_> = keys.collect();
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(Reverse((_, at))) = keys.pop()
            && let Some(listing) = listings.get_mut(at)
        {
            found.extend(listing.next()?);
            keys.extend(listing.key().map(|key| Reverse((key, at))));
        }
        Ok(found)
    }

    /// Deleted documents and when they were deleted, in ms since 1970.
    ///
    /// # Errors
    /// [`ShelfError`] if a shelf cannot be read.
    pub fn tombstones(&self) -> Result<Vec<(DocumentId, u64)>, ShelfError> {
        self.select(|record| (record.deleted_ms > 0).then_some(record.deleted_ms))
    }

    /// Evicted documents.
    ///
    /// # Errors
    /// [`ShelfError`] if a shelf cannot be read.
    pub fn stubs(&self) -> Result<Vec<(DocumentId, Stub)>, ShelfError> {
        self.select(|record| record.stub.clone())
    }

    /// Documents that have operations in quarantine, and how many.
    ///
    /// # Errors
    /// [`ShelfError`] if a shelf cannot be read.
    pub fn quarantined(&self) -> Result<Vec<(DocumentId, u64)>, ShelfError> {
        self.select(|record| (record.set_aside > 0).then_some(record.set_aside))
    }

    /// Visits every document that is here, deleted ones and those whose record is damaged included.
    ///
    /// # Errors
    /// [`ShelfError`] if a shelf cannot be read.
    pub fn names(&self, visit: &mut dyn FnMut(&DocumentId)) -> Result<(), ShelfError> {
        self.visit(&mut |id, _| visit(&id))
    }

    fn select<T>(
        &self,
        choose: impl Fn(&DocumentRecord) -> Option<T>,
    ) -> Result<Vec<(DocumentId, T)>, ShelfError> {
        let mut found = Vec::new();
        self.visit(&mut |id, record| {
            found.extend(record.and_then(|record| choose(&record)).map(|value| (id, value)));
        })?;
        found.sort_by_cached_key(|(id, _)| id.to_key());
        Ok(found)
    }

    fn visit(&self, visit: &mut dyn FnMut(DocumentId, Option<DocumentRecord>)) -> Result<(), ShelfError> {
        for index in 0..self.slots.len() {
            if let Some(shelf) = self.shelf_if_made(index)? {
                shelf.records(None, &mut |id, record| {
                    visit(id, record);
                    ControlFlow::Continue(())
                })?;
            }
        }
        Ok(())
    }
}

/// The documents of one shelf, a few at a time.
struct Listing {
    shelf: Arc<OpenShelf>,
    rows: usize,
    read: VecDeque<(DocumentId, DocumentRecord)>,
    /// The last that was read; none at the end of the shelf.
    last: Option<DocumentId>,
}

impl Listing {
    fn start(shelf: Arc<OpenShelf>, after: Option<&DocumentId>, rows: usize) -> Result<Self, ShelfError> {
        let mut listing = Self { shelf, rows, read: VecDeque::new(), last: None };
        listing.read(after)?;
        Ok(listing)
    }

    fn key(&self) -> Option<Vec<u8>> {
        self.read.front().map(|(id, _)| id.to_key())
    }

    fn next(&mut self) -> Result<Option<(DocumentId, DocumentRecord)>, ShelfError> {
        let next = self.read.pop_front();
        if self.read.is_empty()
            && let Some(last) = self.last.take()
        {
            self.read(Some(&last))?;
        }
        Ok(next)
    }

    fn read(&mut self, after: Option<&DocumentId>) -> Result<(), ShelfError> {
        let mut found = Vec::new();
        self.shelf.documents(after, self.rows, &mut found)?;
        self.last = found.last().filter(|_| found.len() >= self.rows).map(|(id, _)| id.clone());
        self.read = found.into();
        Ok(())
    }
}
