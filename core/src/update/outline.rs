//! Where the structs of an update lie, kept beside it: what it holds is known without reading it.
//!
//! An outline belongs to an update that starts each client at clock 0 and has no holes, as an engine writes a whole
//! document. Of any other update there is none. Its bytes, in varUints:
//!
//! ```text
//! clients { client, structs, clock behind the last, bytes before the first struct, bytes of structs, marks }
//! marks   { clocks since the last mark, bytes since the last mark }   for struct 256, 512, …
//! ```
//!
//! in the order in which the update has them; "before" counts from the end of the client before.

use std::collections::BTreeSet;

use super::any::count;
use super::error::InvalidUpdate;
use super::parse::{Section, Update};
use super::state_vector::StateVector;
use crate::limits::{CLIENT_ID_MAX, CLOCK_MAX, UPDATE_BYTES_MAX, UPDATE_CLIENTS_MAX, UPDATE_STRUCTS_MAX};
use crate::wire::lib0::{Reader, write_var_u64};

/// Structs from one mark to the next: so many are read at most to find a clock.
const STEP: usize = 256;

/// Where the structs of an update lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    pub(super) places: Vec<Place>,
}

/// Where the structs of one client lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) client: u64,
    pub(super) structs: u64,
    /// The clock behind its last struct.
    pub(super) end: u64,
    /// Where its first struct starts, in bytes.
    pub(super) at: usize,
    /// Where its last struct ends, in bytes.
    pub(super) behind: usize,
    /// Clock and place of structs 256, 512, …
    marks: Vec<(u64, usize)>,
}

impl Place {
    fn of(section: &Section) -> Option<Self> {
        let (first, last) = (section.blocks.first()?, section.blocks.last()?);
        if first.start() != 0 || section.blocks.iter().any(|block| block.is_skip()) {
            return None;
        }
        let marks = section.blocks.iter().step_by(STEP).skip(1).map(|block| (block.start(), block.at()));
        Some(Self {
            client: section.client,
            structs: section.blocks.len() as u64,
            end: last.end(),
            at: first.at(),
            behind: section.end(),
            marks: marks.collect(),
        })
    }

    /// The last struct that is marked at or before a clock: its number, its clock and where it starts.
    pub(super) fn mark(&self, clock: u64) -> (u64, u64, usize) {
        let marked = self.marks.partition_point(|(marked, _)| *marked <= clock);
        match marked.checked_sub(1).and_then(|last| self.marks.get(last)) {
            Some((clock, at)) => ((marked * STEP) as u64, *clock, *at),
            None => (0, 0, self.at),
        }
    }

    fn write(&self, out: &mut Vec<u8>, before: usize) {
        write_var_u64(out, self.client);
        write_var_u64(out, self.structs);
        write_var_u64(out, self.end);
        write_var_u64(out, (self.at - before) as u64);
        write_var_u64(out, (self.behind - self.at) as u64);
        let (mut last_clock, mut last_at) = (0, self.at);
        for (clock, at) in &self.marks {
            write_var_u64(out, clock - last_clock);
            write_var_u64(out, (at - last_at) as u64);
            (last_clock, last_at) = (*clock, *at);
        }
    }

    /// Bounded by the bytes that are there: each mark takes two of them.
    fn read(reader: &mut Reader<'_>, before: usize) -> Result<Self, InvalidUpdate> {
        let (client, structs, end) = (reader.var_u64()?, reader.var_u64()?, reader.var_u64()?);
        if client > CLIENT_ID_MAX || end > CLOCK_MAX {
            return Err(InvalidUpdate::ClockTooHigh { client });
        }
        let bytes = |reader: &mut Reader<'_>, from: usize| {
            let len = reader.var_u64()?;
            let behind = usize::try_from(len).ok().and_then(|len| from.checked_add(len));
            behind
                .filter(|behind| *behind > from && *behind <= UPDATE_BYTES_MAX)
                .ok_or(InvalidUpdate::Outline)
        };
        let at = bytes(reader, before)?;
        let behind = bytes(reader, at)?;
        if structs == 0 || structs > end || structs > UPDATE_STRUCTS_MAX as u64 {
            return Err(InvalidUpdate::Outline);
        }
        let mut marks = Vec::new();
        let mut last = (0u64, at);
        for _ in 0..(structs - 1) / STEP as u64 {
            let clock =
                last.0.checked_add(reader.var_u64()?).filter(|clock| (last.0 + 1..end).contains(clock));
            last = (clock.ok_or(InvalidUpdate::Outline)?, bytes(reader, last.1)?);
            marks.push(last);
        }
        if last.1 >= behind {
            Err(InvalidUpdate::Outline)
        } else {
            Ok(Self { client, structs, end, at, behind, marks })
        }
    }
}

impl Update {
    /// Where its structs lie; none if it has holes, does not start at the beginning, or inserts nothing.
    #[must_use]
    pub fn outline(&self) -> Option<Outline> {
        let mut places = self.sections().iter().map(Place::of).collect::<Option<Vec<_>>>()?;
        places.sort_unstable_by_key(|place| place.at);
        (!places.is_empty()).then_some(Outline { places })
    }
}

impl Outline {
    /// Reads the bytes of [`Outline::encode`].
    ///
    /// # Errors
    /// [`InvalidUpdate`] if they are no outline of any update. Whether it is that of a certain one is for
    /// [`Outlined::new`](super::Outlined::new) to say.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidUpdate> {
        let mut reader = Reader::new(bytes);
        let (mut places, mut clients, mut before) = (Vec::new(), BTreeSet::new(), 0);
        for _ in 0..count(&mut reader, 5)? {
            let place = Place::read(&mut reader, before)?;
            if !clients.insert(place.client) {
                return Err(InvalidUpdate::DuplicateClient { client: place.client });
            }
            if clients.len() > UPDATE_CLIENTS_MAX {
                return Err(InvalidUpdate::TooMany { what: "clients", max: UPDATE_CLIENTS_MAX });
            }
            before = place.behind;
            places.push(place);
        }
        reader.end()?;
        if places.is_empty() { Err(InvalidUpdate::Outline) } else { Ok(Self { places }) }
    }

    /// Its bytes: some ten for each client, and five for each 256 structs.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_var_u64(&mut out, self.places.len() as u64);
        let mut before = 0;
        for place in &self.places {
            place.write(&mut out, before);
            before = place.behind;
        }
        out
    }

    /// Where the update's deletes start, in bytes; they reach to its end.
    #[must_use]
    pub fn deletes_at(&self) -> usize {
        self.places.last().map_or(0, |place| place.behind)
    }

    /// How far each client is known.
    #[must_use]
    pub fn state_vector(&self) -> StateVector {
        self.places.iter().map(|place| (place.client, place.end)).collect()
    }
}
