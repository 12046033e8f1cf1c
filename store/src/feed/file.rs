//! One file of rows: read from the disk, appended to, or begun under another name and put in its place.
//!
//! Nothing here is synced before it is asked for, and what failed is not used again: whoever has it gives it up.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use tombolo_core::id::Incarnation;

use super::checkpoint::FeedId;
use super::row::{HEADER_LEN, Header, Row};
use super::scan::scan;
use crate::disk::{Disk, DiskFile};
use crate::journal::Position;

/// Name of the file in the data folder.
pub(super) const NAME: &str = "feed";
/// Name of one that is not whole yet.
pub(super) const DRAFT: &str = "feed.draft";
/// Most changes between two openings of a store: a number further behind an opening is none of this feed.
pub(super) const SPAN: u64 = 1 << 32;
/// The next opening's numbers start up to so many behind that, at random.
const GAP: u64 = 1 << 46;
/// Openings whose checkpoints are known when the file is made anew.
pub(super) const OPENINGS_KEPT: usize = 1024;
/// Bytes from one place to the next that is found without reading.
const STRIDE: u64 = 64 * 1024;
/// Encoded rows that are written at once.
const SPILL: usize = 256 * 1024;

/// Is called with the place of a change, its number and the document's key.
pub(super) type Visit<'a> = dyn FnMut(u64, u64, &[u8]) -> ControlFlow<()> + 'a;

/// A file of rows, and what is known of them.
#[derive(Debug)]
pub(super) struct FeedFile {
    file: Arc<dyn DiskFile>,
    header: Header,
    /// Bytes that are written, header included.
    written: u64,
    /// Encoded and not yet written.
    buffer: Vec<u8>,
    rows: u64,
    /// The highest number of a change, or that of the last opening.
    last: u64,
    /// Where each opening's numbers start.
    openings: Vec<u64>,
    /// Places of some changes, with the highest number before each.
    places: Vec<(u64, u64)>,
    covered: Position,
    intended: BTreeMap<Vec<u8>, u64>,
    cut_off: bool,
}

impl FeedFile {
    /// Begins one that is nobody's yet.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn begin(disk: &dyn Disk, feed: FeedId, incarnation: Incarnation) -> io::Result<Self> {
        let header = Header { feed, incarnation, documents: 0 };
        Ok(Self::new(disk.create(DRAFT, HEADER_LEN as u64)?, header))
    }

    /// Puts one that was begun in its place, durably, with as many documents as it has now.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn publish(&mut self, disk: &dyn Disk, documents: u64) -> io::Result<()> {
        self.header.documents = documents;
        self.file.write_at(0, &self.header.encode())?;
        self.sync()?;
        disk.rename(DRAFT, NAME)?;
        disk.sync_folder()
    }

    /// Reads the one that there is, up to its first fault. None if there is none, or its header is no header.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let file = match disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let size = file.size()?;
        let mut bytes = [0; HEADER_LEN];
        if size < HEADER_LEN as u64 {
            return Ok(None);
        }
        file.read_at(0, &mut bytes)?;
        let Some(header) = Header::decode(&bytes) else { return Ok(None) };
        let mut read = Self::new(Arc::clone(&file), header);
        read.written = scan(&*file, header.feed, (HEADER_LEN as u64, size), &mut |at, row| {
            read.note(at, row);
            ControlFlow::Continue(())
        })?;
        read.cut_off = read.written < size;
        Ok(Some(read))
    }

    fn new(file: Arc<dyn DiskFile>, header: Header) -> Self {
        Self {
            file,
            header,
            written: HEADER_LEN as u64,
            buffer: Vec::new(),
            rows: 0,
            last: 0,
            openings: Vec::new(),
            places: Vec::new(),
            covered: Position::default(),
            intended: BTreeMap::new(),
            cut_off: false,
        }
    }

    fn note(&mut self, at: u64, row: &Row<'_>) {
        self.rows += 1;
        match *row {
            Row::Changed { number, key, settles } => {
                if self.places.last().is_none_or(|(place, _)| at - place >= STRIDE) {
                    self.places.push((at, self.last));
                }
                self.last = self.last.max(number);
                if settles && let Some(open) = self.intended.get_mut(key) {
                    *open -= 1;
                    if *open == 0 {
                        self.intended.remove(key);
                    }
                }
            }
            Row::Opened { number } => {
                self.last = self.last.max(number);
                self.openings.push(number);
            }
            Row::Intended { key } => {
                *self.intended.entry(key.to_vec()).or_default() += 1;
            }
            Row::Covered(place) => self.covered = self.covered.max(place),
        }
    }

    /// Appends a row; it is not durable yet.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn put(&mut self, row: &Row<'_>) -> io::Result<()> {
        let at = self.written + self.buffer.len() as u64;
        row.encode(self.header.feed, at, &mut self.buffer);
        self.note(at, row);
        if self.buffer.len() < SPILL { Ok(()) } else { self.spill() }
    }

    /// Makes everything that was put durable.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.spill()?;
        self.file.sync()
    }

    fn spill(&mut self) -> io::Result<()> {
        self.file.write_at(self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Puts an opening; gives back what its numbers are above, which lies behind `floor` and all that is here. None if
    /// there are no more numbers.
    ///
    /// # Errors
    /// What the disk or the system's generator says.
    pub(super) fn put_opening(&mut self, floor: u64) -> io::Result<Option<u64>> {
        let last = self.openings.last().copied().unwrap_or_default().max(floor);
        let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))? % GAP;
        let Some(start) = last.checked_add(SPAN + random).filter(|start| start.checked_add(SPAN).is_some())
        else {
            return Ok(None);
        };
        self.put(&Row::Opened { number: start })?;
        Ok(Some(start))
    }

    /// Visits the changes above a number, in order, with their places, from a place on if one is given; everything
    /// must have been synced. False if a row on the way is not whole any more.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn changes(&self, above: u64, from: Option<u64>, visit: &mut Visit<'_>) -> io::Result<bool> {
        if above >= self.last {
            return Ok(true);
        }
        let place = self.places.partition_point(|(_, before)| *before <= above).checked_sub(1);
        let place = place.and_then(|place| self.places.get(place)).map_or(HEADER_LEN as u64, |(at, _)| *at);
        let mut ended = false;
        let end =
            scan(&*self.file, self.header.feed, (from.unwrap_or(place), self.written), &mut |at, row| {
                match *row {
                    Row::Changed { number, key, .. } if number > above => {
                        let next = visit(at, number, key);
                        ended = next.is_break();
                        next
                    }
                    _ => ControlFlow::Continue(()),
                }
            })?;
        Ok(ended || end == self.written)
    }

    /// As [`scan`], all rows.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn rows(&self, visit: &mut dyn FnMut(u64, &Row<'_>) -> ControlFlow<()>) -> io::Result<u64> {
        scan(&*self.file, self.header.feed, (HEADER_LEN as u64, self.written), visit)
    }

    /// Whether this number may have been given to a change, if all up to `given` were since the last opening.
    pub(super) fn knows(&self, number: u64, given: u64) -> bool {
        let behind = self.openings.partition_point(|start| *start <= number);
        let Some(start) = behind.checked_sub(1).and_then(|at| self.openings.get(at)) else { return false };
        let since = number - start;
        since <= if behind == self.openings.len() { given } else { SPAN }
    }

    /// Bytes of its rows and header.
    pub(super) fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Whether something that is no row followed when it was read.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Where each opening's numbers start.
    pub(super) fn openings(&self) -> &[u64] {
        &self.openings
    }

    /// Up to where in the journal it accounts for all operations.
    pub(super) fn covered(&self) -> Position {
        self.covered
    }

    /// Keys of documents that were about to change and of which no more is said, and how often.
    pub(super) fn intended(&self) -> &BTreeMap<Vec<u8>, u64> {
        &self.intended
    }

    /// Number of rows.
    pub(super) fn rows_len(&self) -> u64 {
        self.rows
    }
}
