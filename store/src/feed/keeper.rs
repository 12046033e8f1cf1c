//! The feed of a store: its file is read when it is first needed, made when somebody asks for changes, and given up
//! when anything is wrong with it.
//!
//! Changes have numbers since the opening of the store ([`Takeover::push`]); what these are above is drawn at random and
//! written to the file before any is told or written. So no number that was told before a stop is ever given again, and
//! a checkpoint of another history, as of a folder that went backwards unseen, is hardly ever one of this.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tombolo_core::id::{DocumentId, Incarnation};

use super::checkpoint::{Changes, Checkpoint, FeedId};
use super::file::{DRAFT, FeedFile, NAME, SPAN};
use super::page::{Page, page};
use super::rewrite::rewrite;
use super::row::Row;
use super::verify::{self, Fault};
use super::watch::{ChangeWatch, Heard};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::journal::Position;
use crate::takeover::{Item, Takeover, Touched};

/// Calls what it is given with each document that is on the shelves.
pub(crate) type Shelved<'a> = dyn Fn(&mut dyn FnMut(&DocumentId)) -> Result<(), StoreError> + 'a;

/// Rows that a file may have however few documents are in it.
const ROWS_MIN: u64 = 1024;

/// A change that is to be written, with its number since the opening.
struct Change<'a> {
    given: u64,
    id: &'a DocumentId,
    /// The feed whose file says that it was intended.
    intended: Option<FeedId>,
}

impl<'a> From<&'a Touched> for Change<'a> {
    fn from(touched: &'a Touched) -> Self {
        Self { given: touched.number, id: &touched.id, intended: touched.intended }
    }
}

fn no_numbers() -> io::Error {
    io::Error::other("there are no more numbers")
}

/// The feed of one store.
#[derive(Debug)]
pub(crate) struct Feed {
    disk: Arc<dyn Disk>,
    incarnation: Incarnation,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: Known,
    /// Everything before this place in the journal is on the shelf.
    covered: Position,
    /// What the numbers of this opening are above, once the file says so.
    start: Option<u64>,
    /// No number of a feed that was given up in this opening is above: who watches hears of numbers that grow.
    floor: u64,
}

#[derive(Debug)]
enum Known {
    /// Nobody looked yet.
    Unread,
    /// There is none until somebody asks.
    None,
    Open(FeedFile),
}

impl Feed {
    /// The feed in this folder, of which nothing is read yet. Everything before `covered` in the journal is on the
    /// shelf and was not replayed.
    pub(crate) fn new(disk: Arc<dyn Disk>, incarnation: Incarnation, covered: Position) -> Self {
        let state = State { file: Known::Unread, covered, start: None, floor: 0 };
        Self { disk, incarnation, state: Mutex::new(state) }
    }

    /// What changed since a checkpoint, at most `limit` documents, and at least one if there is any.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be made, or the shelves not be read.
    pub(crate) fn changes(
        &self,
        takeover: &Takeover,
        shelved: &Shelved<'_>,
        since: Option<&Checkpoint>,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        let mut state = self.lock();
        loop {
            let made = self.ready(&mut state, takeover, shelved)?;
            let State { file: Known::Open(file), start: Some(start), .. } = &*state else { continue };
            let (given, on_the_way) = takeover.on_the_way();
            let feed = file.header().feed;
            let known = since.filter(|since| since.feed == feed && file.knows(since.number, given));
            let above = known.map_or(0, |since| since.number);
            let numbered = on_the_way.into_iter().map(|(id, given)| (id, start + given));
            let later = numbered.filter(|(_, number)| *number > above).collect();
            match page(file, above, later, limit.max(1)) {
                Ok(Some(Page { documents, more })) => {
                    let last = documents.last().map_or(above, |(_, number)| *number);
                    let number = if more { last } else { start + given };
                    let up_to = Checkpoint { feed, number };
                    return Ok(Changes { documents, up_to, more, anew: known.is_none() });
                }
                // One that was made just now and cannot be read is no better the next time.
                Err(error) if made => return Err(StoreError::Feed(error)),
                Ok(None) if made => return Err(StoreError::Feed(io::ErrorKind::InvalidData.into())),
                Ok(None) => self.give_up(&mut state, "a row of it has changed").map_err(StoreError::Feed)?,
                Err(error) => self.give_up(&mut state, &error.to_string()).map_err(StoreError::Feed)?,
            }
        }
    }

    /// The last change that is durable.
    ///
    /// # Errors
    /// As of [`Feed::changes`].
    pub(crate) fn latest(
        &self,
        takeover: &Takeover,
        shelved: &Shelved<'_>,
    ) -> Result<Checkpoint, StoreError> {
        let mut state = self.lock();
        loop {
            self.ready(&mut state, takeover, shelved)?;
            let State { file: Known::Open(file), start: Some(start), .. } = &*state else { continue };
            return Ok(Checkpoint { feed: file.header().feed, number: start + takeover.on_the_way().0 });
        }
    }

    /// Calls `heard` for each change from now on.
    ///
    /// # Errors
    /// As of [`Feed::changes`].
    pub(crate) fn watch(
        &self,
        takeover: &Takeover,
        shelved: &Shelved<'_>,
        heard: Heard,
    ) -> Result<ChangeWatch, StoreError> {
        self.ready(&mut self.lock(), takeover, shelved)?;
        Ok(takeover.watchers.watch(heard))
    }

    /// Notes changes that the shelf has, durably, before the journal gives them up.
    ///
    /// # Errors
    /// What the disk says to the removal of a file that is no good: then the journal must keep them.
    pub(crate) fn note(&self, takeover: &Takeover, piece: &[Item]) -> io::Result<()> {
        let Some(last) = piece.last() else { return Ok(()) };
        let mut state = self.lock();
        self.read(&mut state, takeover)?;
        state.covered = state.covered.max((last.segment, 0));
        if !matches!(state.file, Known::Open(_)) {
            return Ok(());
        }
        let mut latest: HashMap<&DocumentId, u64> = HashMap::new();
        for item in piece {
            latest.insert(&item.entry.id, item.number);
        }
        // Numbers in the file only grow, so what comes later waits.
        let touched = takeover.touched_up_to(last.number);
        let operations = latest.into_iter().map(|(id, given)| Change { given, id, intended: None });
        let mut changes: Vec<_> = operations.chain(touched.iter().map(Change::from)).collect();
        changes.sort_unstable_by_key(|change| change.given);
        let written = self.write(&mut state, &changes);
        self.keep_or_give_up(&mut state, written)
    }

    /// Notes that a document is about to change otherwise than by an operation, durably: if the store stops before
    /// [`Takeover::touch`], which takes what this gives back, it counts as changed.
    ///
    /// # Errors
    /// As of [`Feed::note`].
    pub(crate) fn intend(&self, takeover: &Takeover, id: &DocumentId) -> io::Result<Option<FeedId>> {
        let mut state = self.lock();
        self.read(&mut state, takeover)?;
        let Known::Open(file) = &mut state.file else { return Ok(None) };
        let feed = file.header().feed;
        let written = file.put(&Row::Intended { key: &id.to_key() }).and_then(|()| file.sync());
        self.keep_or_give_up(&mut state, written)?;
        // If it was given up there is nothing that this would settle.
        Ok(Some(feed))
    }

    /// Notes what is left when nothing comes any more, and that everything before this place of the journal is above.
    ///
    /// # Errors
    /// As of [`Feed::note`].
    pub(crate) fn close(&self, takeover: &Takeover, end: Position) -> io::Result<()> {
        let mut state = self.lock();
        self.read(&mut state, takeover)?;
        state.covered = state.covered.max(end);
        if !matches!(state.file, Known::Open(_)) {
            return Ok(());
        }
        let touched = takeover.touched_up_to(u64::MAX);
        let changes: Vec<_> = touched.iter().map(Change::from).collect();
        let written = self.write(&mut state, &changes);
        self.keep_or_give_up(&mut state, written)
    }

    /// What is wrong with the file now, if anything is.
    pub(crate) fn verify(&self) -> Option<Fault> {
        let _state = self.lock();
        verify::verify(&*self.disk, Position::default(), true)
    }

    /// Appends changes and up to where the journal is covered, and makes the file anew if it has grown too much.
    fn write(&self, state: &mut State, changes: &[Change<'_>]) -> io::Result<()> {
        if !changes.is_empty() {
            Self::number(state)?;
        }
        let State { file: Known::Open(file), covered, start, .. } = state else { return Ok(()) };
        let feed = file.header().feed;
        for Change { given, id, intended } in changes {
            let number =
                start.filter(|_| *given <= SPAN).map(|start| start + given).ok_or_else(no_numbers)?;
            file.put(&Row::Changed { number, key: &id.to_key(), settles: *intended == Some(feed) })?;
        }
        file.put(&Row::Covered(*covered))?;
        file.sync()?;
        if file.rows_len() > ROWS_MIN + 2 * file.header().documents {
            *file = rewrite(&*self.disk, file)?.ok_or(io::ErrorKind::InvalidData)?;
        }
        Ok(())
    }

    /// Puts what the numbers of this opening are above; it is durable with what comes next.
    fn number(state: &mut State) -> io::Result<()> {
        if let State { file: Known::Open(file), start: start @ None, floor, .. } = state {
            *start = Some(file.put_opening(*floor)?.ok_or_else(no_numbers)?);
        }
        Ok(())
    }

    /// Sees to a file, and that it says what the numbers of this opening are above; true if it was made just now.
    fn ready(
        &self,
        state: &mut State,
        takeover: &Takeover,
        shelved: &Shelved<'_>,
    ) -> Result<bool, StoreError> {
        self.read(state, takeover).map_err(StoreError::Feed)?;
        if state.start.is_none() && matches!(state.file, Known::Open(_)) {
            let numbered = Self::number(state).and_then(|()| match &mut state.file {
                Known::Open(file) => file.sync(),
                _ => Ok(()),
            });
            self.keep_or_give_up(state, numbered).map_err(StoreError::Feed)?;
        }
        let make = matches!(state.file, Known::None);
        if make {
            self.make(state, shelved)?;
        }
        takeover.watchers.set_start(state.start.unwrap_or_default());
        Ok(make)
    }

    /// Makes a file with all documents that are on the shelves.
    fn make(&self, state: &mut State, shelved: &Shelved<'_>) -> Result<(), StoreError> {
        let mut feed = FeedId([0; 16]);
        getrandom::fill(&mut feed.0)
            .map_err(|error| StoreError::Feed(io::Error::other(error.to_string())))?;
        let mut file = FeedFile::begin(&*self.disk, feed, self.incarnation).map_err(StoreError::Feed)?;
        let (mut documents, start) =
            (0, file.put_opening(state.floor).map_err(StoreError::Feed)?.unwrap_or_default());
        let mut put = Ok(());
        shelved(&mut |id| {
            if put.is_ok() {
                documents += 1;
                put =
                    file.put(&Row::Changed { number: start + documents, key: &id.to_key(), settles: false });
            }
        })?;
        let finished = put.and_then(|()| file.put_opening(state.floor)).and_then(|start| {
            file.put(&Row::Covered(state.covered))?;
            file.publish(&*self.disk, documents)?;
            Ok(start)
        });
        state.start = finished.map_err(StoreError::Feed)?;
        state.file = Known::Open(file);
        Ok(())
    }

    /// Reads the file, once, if there is one that can be believed.
    fn read(&self, state: &mut State, takeover: &Takeover) -> io::Result<()> {
        if !matches!(state.file, Known::Unread) {
            return Ok(());
        }
        let file = match FeedFile::read(&*self.disk) {
            Ok(Some(file)) => file,
            Ok(None) => return self.give_up(state, "there is none, or it has no header"),
            Err(error) => return self.give_up(state, &error.to_string()),
        };
        if file.header().incarnation != self.incarnation {
            return self.give_up(state, "it is of another life of this store");
        }
        if file.covered() < state.covered {
            return self.give_up(state, "it ends before what the journal has");
        }
        // Torn or damaged: nothing tells which, and what is not in the journal may have been there.
        if file.is_cut_off() {
            return self.give_up(state, "what follows its last whole row is no row");
        }
        let feed = file.header().feed;
        for (key, count) in file.intended() {
            let id = DocumentId::from_key(key).ok();
            id.iter().for_each(|id| (0..*count).for_each(|_| takeover.touch(id, Some(feed))));
        }
        state.file = Known::Open(file);
        Ok(())
    }

    fn keep_or_give_up(&self, state: &mut State, done: io::Result<()>) -> io::Result<()> {
        done.or_else(|error| self.give_up(state, &error.to_string()))
    }

    /// Removes the file, durably; the next who asks has another feed made.
    fn give_up(&self, state: &mut State, why: &str) -> io::Result<()> {
        // If it cannot be removed it is read again: what is known of it in memory may not be what is on the disk.
        if let Some(start) = state.start {
            state.floor = state.floor.max(start.saturating_add(SPAN));
        }
        (state.file, state.start) = (Known::Unread, None);
        let mut found = false;
        for name in [NAME, DRAFT] {
            match self.disk.remove(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => {
                    removed?;
                    found = true;
                }
            }
        }
        if found {
            tracing::warn!(
                why,
                "the list of changed documents is given up: whoever asks next gets all documents"
            );
            self.disk.sync_folder()?;
        }
        state.file = Known::None;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is not whole after a panic says so when it is read: the file is what counts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
