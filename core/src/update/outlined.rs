//! An update with its outline: served whole, extended and cut without an index of its structs.
//!
//! Its bytes must have passed [`Update::parse`] once, and have been kept with a checksum since: they are not judged
//! again. That the outline is theirs is checked as far as heads of clients and deletes go; a struct that is not
//! where the outline says is an error, never a panic.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::block::{Id, RawBlock};
use super::coverage::Coverage;
use super::error::InvalidUpdate;
use super::merge::{Piece, delete_set, pieces, write_pieces, write_section};
use super::outline::{Outline, Place};
use super::parse::{Section, Update, parse_deletes};
use super::ranges::write_delete_set;
use super::state_vector::StateVector;
use crate::wire::lib0::{Reader, write_var_u64};

/// Most bytes that a number takes.
const COUNT_BYTES_MAX: usize = 10;

/// An update whose structs are not read before they are needed. A clone shares the bytes.
#[derive(Clone, Debug)]
pub struct Outlined {
    bytes: Bytes,
    outline: Outline,
}

impl Outlined {
    /// Puts an update and its outline together. Only for bytes that were parsed before they were stored.
    ///
    /// # Errors
    /// [`InvalidUpdate`] if the outline is that of another update.
    pub fn new(bytes: Bytes, outline: Outline) -> Result<Self, InvalidUpdate> {
        let mut before = 0;
        for (index, place) in outline.places.iter().enumerate() {
            let mut head = Reader::new(bytes.get(before..place.at).ok_or(InvalidUpdate::Outline)?);
            let is_counted = index > 0 || head.var_u64()? == outline.places.len() as u64;
            let found = (head.var_u64()?, head.var_u64()?, head.var_u64()?);
            if !is_counted || found != (place.structs, place.client, 0) || !head.rest().is_empty() {
                return Err(InvalidUpdate::Outline);
            }
            before = place.behind;
        }
        let outlined = Self { bytes, outline };
        parse_deletes(outlined.delete_bytes())?;
        Ok(outlined)
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Adds what it inserts and deletes to what is known.
    ///
    /// # Errors
    /// As of [`Coverage::add_outline`].
    pub fn add_to(&self, known: &mut Coverage) -> Result<(), InvalidUpdate> {
        known.add_outline(&self.outline, self.delete_bytes())
    }

    /// How far each client is known.
    #[must_use]
    pub fn state_vector(&self) -> StateVector {
        self.outline.state_vector()
    }

    /// As [`diff`](super::diff()) of this update and of `tail` behind it.
    ///
    /// # Errors
    /// [`InvalidUpdate`] if a struct is not where the outline says.
    pub fn diff(&self, tail: &[Update], have: &StateVector) -> Result<Bytes, InvalidUpdate> {
        if tail.is_empty() && have.is_empty() {
            return Ok(self.bytes.clone());
        }
        type Sources<'a> = (Option<&'a Place>, Vec<(&'a Update, &'a Section)>);
        let mut clients: BTreeMap<u64, Sources<'_>> = BTreeMap::new();
        for place in &self.outline.places {
            clients.entry(place.client).or_default().0 = Some(place);
        }
        for update in tail {
            for section in update.sections() {
                clients.entry(section.client).or_default().1.push((update, section));
            }
        }
        // The number of sections comes to stand directly before them when it is known.
        let mut out = vec![0; COUNT_BYTES_MAX];
        if have.is_empty() {
            out.reserve(self.bytes.len() + tail.iter().map(|update| update.bytes().len()).sum::<usize>());
        }
        let mut written = 0u64;
        for (&client, (place, sources)) in clients.iter().rev() {
            let have = have.get(client);
            written += match place.filter(|place| have < place.end) {
                Some(place) => {
                    self.write_place(&mut out, place, pieces(sources, place.end), have)?;
                    1
                }
                None => u64::from(write_section(&mut out, client, sources, have)),
            };
        }
        self.write_deletes(&mut out, tail)?;
        let mut count = Vec::new();
        write_var_u64(&mut count, written);
        let start = COUNT_BYTES_MAX.saturating_sub(count.len());
        out.splice(start..COUNT_BYTES_MAX, count);
        Ok(Bytes::from(out).slice(start..))
    }

    /// Appends the section of one client: what is here behind `have`, and what goes on behind that.
    fn write_place(
        &self,
        out: &mut Vec<u8>,
        place: &Place,
        more: Vec<Piece<'_>>,
        have: u64,
    ) -> Result<(), InvalidUpdate> {
        let cut = self.cut(place, have)?;
        let mut body = Vec::new();
        let count = write_pieces(&mut body, place.client, more, place.end);
        write_var_u64(out, cut.structs + count);
        write_var_u64(out, place.client);
        write_var_u64(out, have);
        out.extend_from_slice(&cut.rest_of_first);
        out.extend_from_slice(self.bytes.get(cut.at..place.behind).ok_or(InvalidUpdate::Outline)?);
        out.append(&mut body);
        Ok(())
    }

    /// What of a client is left behind `have`, which is before its end.
    fn cut(&self, place: &Place, have: u64) -> Result<Cut, InvalidUpdate> {
        let (mut index, mut clock, at) = place.mark(have);
        let mut reader = Reader::new(self.bytes.get(at..place.behind).ok_or(InvalidUpdate::Outline)?);
        let at = |reader: &Reader<'_>| place.behind - reader.rest().len();
        loop {
            let structs = place.structs.checked_sub(index).ok_or(InvalidUpdate::Outline)?;
            if clock == have {
                return Ok(Cut { structs, rest_of_first: Vec::new(), at: at(&reader) });
            }
            let id = Id { client: place.client, clock };
            let block = RawBlock::read(&mut reader, id)?;
            index += 1;
            clock += block.len;
            if clock > have {
                let mut rest_of_first = Vec::new();
                block.write_tail(&mut rest_of_first, id, have - id.clock)?;
                return Ok(Cut { structs, rest_of_first, at: at(&reader) });
            }
        }
    }

    fn write_deletes(&self, out: &mut Vec<u8>, tail: &[Update]) -> Result<(), InvalidUpdate> {
        let mut more = tail.iter().flat_map(Update::deletes).peekable();
        if more.peek().is_none() {
            out.extend_from_slice(self.delete_bytes());
            return Ok(());
        }
        let here = parse_deletes(self.delete_bytes())?;
        let here = here.iter().map(|&(client, clock, len)| (client, clock.into(), len.into()));
        write_delete_set(out, &delete_set(here.chain(more)));
        Ok(())
    }

    fn delete_bytes(&self) -> &[u8] {
        self.bytes.get(self.outline.deletes_at()..).unwrap_or_default()
    }
}

/// A client's section behind a clock.
struct Cut {
    structs: u64,
    /// What is left of a struct that the clock lies in.
    rest_of_first: Vec<u8>,
    /// Where the next struct starts, in bytes.
    at: usize,
}

impl Coverage {
    /// Adds what an update of this outline inserts, and its deletes: its bytes from
    /// [`Outline::deletes_at`] on.
    ///
    /// # Errors
    /// [`InvalidUpdate`] if those are no deletes; then nothing is added.
    pub fn add_outline(&mut self, outline: &Outline, deletes: &[u8]) -> Result<(), InvalidUpdate> {
        let deletes = parse_deletes(deletes)?;
        self.add_state_vector(&outline.state_vector());
        self.add_ordered_deletes(&deletes);
        Ok(())
    }
}
