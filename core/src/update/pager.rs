//! One update in pages: what is far behind catches up page by page, and goes on after a break where it was.
//!
//! Guarantees: each page is an update that has its ground in what its receiver had and in the pages before it, if the whole
//! had its ground there; all of them are the whole. A page deletes what the whole deletes of its own structs; the
//! rest of the deletes come last. Whatever the update, its structs are looked at once for each thing that they lean on.
//!
//! Structs that lean on each other in a circle, which no client writes, are one page. So is a struct that cannot be cut.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::block::{Id, RawBlock, SKIP};
use super::parse::{Section, Update};
use super::ranges::{RangeSet, write_delete_set};
use crate::wire::lib0::{Reader, write_var_u64};

/// About what a client costs in a page, and what a delete range does, in bytes.
const CLIENT_BYTES: usize = 16;
const DELETE_BYTES: usize = 8;

/// Hands an update out in pages. A clone shares its bytes.
#[derive(Clone, Debug)]
pub struct Pager {
    update: Update,
    /// How many structs of each section are out.
    out: Vec<usize>,
    /// Sections that may go on; the first one is being handed out.
    ready: VecDeque<usize>,
    /// By section and by the clock that it must come to: the sections that wait for that.
    waiting: BTreeMap<usize, BTreeMap<u64, Vec<usize>>>,
    /// What is left of a struct that is handed out in pieces, the next one of the first section: the clock behind each, and
    /// its bytes.
    pieces: VecDeque<(u64, Vec<u8>)>,
    /// How far that struct is out.
    cut: u64,
    deletes: Deletes,
    begun: bool,
}

/// What stops a section.
enum Stop {
    /// The page is full.
    Full,
    /// It is at its end, or waits.
    Over,
}

impl Pager {
    /// Begins with the first page.
    #[must_use]
    pub fn new(update: Update) -> Self {
        let sections = update.sections().len();
        Self {
            out: vec![0; sections],
            // Higher clients first, as Yjs writes them.
            ready: (0..sections).rev().collect(),
            waiting: BTreeMap::new(),
            pieces: VecDeque::new(),
            cut: 0,
            deletes: Deletes::of(&update),
            begun: false,
            update,
        }
    }

    /// Whether there is no further page. There is always a first one.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.begun && self.ready.is_empty() && self.deletes.is_empty()
    }

    /// The next page, an update of about so many bytes at most; none if there is none. The first one is the whole update if that
    /// has no more.
    pub fn page(&mut self, bytes_max: usize) -> Option<Bytes> {
        if !self.begun && self.update.bytes().len() <= bytes_max {
            self.begun = true;
            self.ready.clear();
            self.deletes = Deletes::default();
            return Some(self.update.bytes().clone());
        }
        if self.is_done() {
            return None;
        }
        self.begun = true;
        let mut page = Page { bytes_max, ..Page::default() };
        let update = self.update.clone();
        while let Some(&index) = self.ready.front() {
            let Some(section) = update.sections().get(index) else { break };
            match self.fill(&mut page, &update, index, section) {
                Stop::Full => return Some(page.write()),
                Stop::Over => drop(self.ready.pop_front()),
            }
            self.wake(index);
        }
        self.rest(&mut page, &update);
        self.deletes.rest(&mut page);
        Some(page.write())
    }

    /// Moves structs of a section to the page.
    fn fill(&mut self, page: &mut Page, update: &Update, index: usize, section: &Section) -> Stop {
        let client = section.client;
        while let Some((number, block)) =
            self.out.get(index).and_then(|out| Some((*out, section.blocks.get(*out)?)))
        {
            if let Some((end, piece)) = self.pieces.front() {
                if !page.has_room(piece.len()) {
                    return Stop::Full;
                }
                let clocks = (std::mem::replace(&mut self.cut, *end), *end);
                page.push(client, clocks, piece);
                self.deletes.of_structs(client, clocks, page);
                self.pieces.pop_front();
                if !self.pieces.is_empty() {
                    continue;
                }
            } else if !block.is_skip() {
                let bytes = update.block_bytes(section, number);
                if !page.has_room(bytes.len().min(page.bytes_max)) {
                    return Stop::Full;
                }
                let id = Id { client, clock: block.start() };
                // It was read before, so it reads.
                let Ok(read) = RawBlock::read(&mut Reader::new(bytes), id) else { return Stop::Over };
                if let Some((other, clock)) = read.needs().find_map(|need| self.lacks(need)) {
                    self.waiting.entry(other).or_default().entry(clock).or_default().push(index);
                    return Stop::Over;
                }
                if bytes.len() > page.bytes_max
                    && let Some(pieces) = read.pieces(id, page.bytes_max)
                {
                    (self.pieces, self.cut) = (pieces.into(), block.start());
                    continue;
                }
                page.push(client, (block.start(), block.end()), bytes);
                self.deletes.of_structs(client, (block.start(), block.end()), page);
            }
            if let Some(out) = self.out.get_mut(index) {
                *out += 1;
            }
        }
        Stop::Over
    }

    /// The section that must go on before something of it is out, and behind which clock. What is not in the update is
    /// at the receiver, or missing there however it comes.
    fn lacks(&self, id: Id) -> Option<(usize, u64)> {
        let sections = self.update.sections();
        let index = sections.binary_search_by_key(&id.client, |section| section.client).ok()?;
        let section = sections.get(index)?;
        let is_in = section.blocks.last().is_some_and(|last| id.clock < last.end());
        let next = section.blocks.get(*self.out.get(index)?)?;
        (is_in && id.clock >= next.start()).then_some((index, id.clock + 1))
    }

    /// A section has gone on: those that waited for what is out now may, too.
    fn wake(&mut self, index: usize) {
        let next =
            self.update.sections().get(index).and_then(|section| {
                section.blocks.get(*self.out.get(index)?).map(super::parse::Block::start)
            });
        let Some(waiting) = self.waiting.get_mut(&index) else { return };
        while let Some(first) =
            waiting.first_entry().filter(|first| next.is_none_or(|next| *first.key() <= next))
        {
            self.ready.extend(first.remove());
        }
    }

    /// What leans on itself in a circle.
    fn rest(&mut self, page: &mut Page, update: &Update) {
        if self.waiting.is_empty() {
            return;
        }
        self.waiting.clear();
        for (section, out) in update.sections().iter().zip(&mut self.out) {
            for number in *out..section.blocks.len() {
                let Some(block) = section.blocks.get(number).filter(|block| !block.is_skip()) else {
                    continue;
                };
                page.push(section.client, (block.start(), block.end()), update.block_bytes(section, number));
                self.deletes.of_structs(section.client, (block.start(), block.end()), page);
            }
            *out = section.blocks.len();
        }
    }
}

/// What the update deletes and no page has yet: by client, in order.
#[derive(Clone, Debug, Default)]
struct Deletes {
    left: BTreeMap<u64, VecDeque<(u64, u64)>>,
    /// What is not among the structs of the update.
    others: BTreeMap<u64, VecDeque<(u64, u64)>>,
}

impl Deletes {
    fn of(update: &Update) -> Self {
        let mut left: BTreeMap<u64, VecDeque<_>> = BTreeMap::new();
        for (client, clock, len) in update.deletes() {
            left.entry(client).or_default().push_back((clock, clock + len));
        }
        Self { left, others: BTreeMap::new() }
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty() && self.others.is_empty()
    }

    /// Moves what is deleted of structs to their page. Those of a client come in order.
    fn of_structs(&mut self, client: u64, (start, end): (u64, u64), page: &mut Page) {
        let Some(left) = self.left.get_mut(&client) else { return };
        while let Some(mut range) = left.front().copied().filter(|range| range.0 < end) {
            left.pop_front();
            if range.0 < start {
                self.others.entry(client).or_default().push_back((range.0, range.1.min(start)));
                range.0 = range.1.min(start);
            }
            if range.0 < range.1 {
                page.delete(client, (range.0, range.1.min(end)));
            }
            if range.1 > end {
                left.push_front((end, range.1));
                break;
            }
        }
        if left.is_empty() {
            self.left.remove(&client);
        }
    }

    /// Moves as many of the rest to a page as it has room for; all structs are out.
    fn rest(&mut self, page: &mut Page) {
        for (client, left) in std::mem::take(&mut self.left) {
            self.others.entry(client).or_default().extend(left);
        }
        while let Some(mut entry) = self.others.first_entry() {
            while page.has_room(DELETE_BYTES)
                && let Some(range) = entry.get_mut().pop_front()
            {
                page.delete(*entry.key(), range);
            }
            if !entry.get().is_empty() {
                return;
            }
            entry.remove();
        }
    }
}

/// A page that is being filled.
#[derive(Debug, Default)]
struct Page {
    bytes_max: usize,
    bytes: usize,
    clients: BTreeMap<u64, Part>,
    deletes: BTreeMap<u64, RangeSet>,
}

/// Structs of one client.
#[derive(Debug)]
struct Part {
    start: u64,
    end: u64,
    count: u64,
    body: Vec<u8>,
}

impl Page {
    /// Whether so many bytes fit, or nothing is in it.
    fn has_room(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= self.bytes_max
    }

    fn push(&mut self, client: u64, (start, end): (u64, u64), bytes: &[u8]) {
        self.bytes += bytes.len();
        let part = self.clients.entry(client).or_insert_with(|| {
            self.bytes += CLIENT_BYTES;
            Part { start, end: start, count: 0, body: Vec::new() }
        });
        if part.end < start {
            part.body.push(SKIP);
            write_var_u64(&mut part.body, start - part.end);
            part.count += 1;
        }
        part.body.extend_from_slice(bytes);
        (part.end, part.count) = (end, part.count + 1);
    }

    fn delete(&mut self, client: u64, (start, end): (u64, u64)) {
        self.bytes += DELETE_BYTES;
        self.deletes.entry(client).or_default().insert(start, end);
    }

    fn write(self) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes + CLIENT_BYTES);
        write_var_u64(&mut out, self.clients.len() as u64);
        for (client, part) in self.clients.into_iter().rev() {
            write_var_u64(&mut out, part.count);
            write_var_u64(&mut out, client);
            write_var_u64(&mut out, part.start);
            out.extend_from_slice(&part.body);
        }
        write_delete_set(&mut out, &self.deletes);
        out.into()
    }
}
