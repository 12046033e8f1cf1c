//! The door for foreign updates: every struct and delete range is read and judged once.
//!
//! ```text
//! varUint sections { varUint structs, varUint client, varUint first clock, structs… }
//! varUint clients  { varUint client, varUint ranges { varUint clock, varUint length } }
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::any::count;
use super::block::{DELETED, GC, Id, RawBlock, SKIP, TYPE};
use super::error::InvalidUpdate;
use crate::limits::{
    CLIENT_ID_MAX, CLOCK_MAX, UPDATE_BYTES_MAX, UPDATE_CLIENTS_MAX, UPDATE_DELETES_MAX, UPDATE_HOLES_MAX,
    UPDATE_STRUCTS_MAX,
};
use crate::wire::lib0::{Lib0Error, Reader};

/// Where one struct lies; 16 bytes, because an update may hold millions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    clock: u32,
    len: u32,
    at: u32,
    pub(super) content: u8,
}

impl Block {
    pub(super) fn start(&self) -> u64 {
        self.clock.into()
    }

    pub(super) fn end(&self) -> u64 {
        u64::from(self.clock) + u64::from(self.len)
    }

    pub(super) fn at(&self) -> usize {
        self.at as usize
    }

    pub(super) fn is_skip(&self) -> bool {
        self.content == SKIP
    }
}

/// The structs of one client, in clock order and without holes.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) client: u64,
    pub(super) blocks: Vec<Block>,
    end: u32,
}

impl Section {
    /// Where its last struct ends, in bytes.
    pub(super) fn end(&self) -> usize {
        self.end as usize
    }
}

#[derive(Debug, Default)]
struct Parsed {
    sections: Vec<Section>,
    deletes: Vec<(u64, u32, u32)>,
    needs: BTreeMap<u64, u64>,
}

/// A Yjs update (format v1) that passed every structural check.
///
/// Never holds a document and never applies anything. A clone shares bytes and index.
#[derive(Clone, Debug)]
pub struct Update {
    bytes: Bytes,
    parsed: Arc<Parsed>,
}

impl Update {
    /// Checks `bytes` as one whole update and indexes its structs.
    ///
    /// # Errors
    /// [`InvalidUpdate`] names the first thing that is wrong; nothing is kept then.
    pub fn parse(bytes: Bytes) -> Result<Self, InvalidUpdate> {
        if bytes.len() > UPDATE_BYTES_MAX {
            return Err(InvalidUpdate::TooLarge { found: bytes.len() });
        }
        let mut parsed = Parsed::default();
        let (mut parents, mut needs) = (Vec::new(), BTreeMap::new());
        let mut budget = Budget::default();
        let mut reader = Reader::new(&bytes);
        for _ in 0..count(&mut reader, 5)? {
            budget.client()?;
            let section = read_section(&mut reader, bytes.len(), &mut parents, &mut needs, &mut budget)?;
            parsed.sections.push(section);
        }
        parsed.needs = needs;
        parsed.sections.sort_by_key(|section| section.client);
        if let Some(client) = duplicate(parsed.sections.iter().map(|section| section.client)) {
            return Err(InvalidUpdate::DuplicateClient { client });
        }
        check_parents(&parsed.sections, &parents)?;
        read_deletes(&mut reader, &mut parsed.deletes, &mut budget)?;
        reader.end()?;
        Ok(Self { bytes, parsed: Arc::new(parsed) })
    }

    /// The update that changes nothing: `00 00`.
    #[must_use]
    pub fn empty() -> Self {
        Self { bytes: Bytes::from_static(&[0, 0]), parsed: Arc::default() }
    }

    /// The update as it was received.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether it neither inserts nor deletes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks().next().is_none() && self.parsed.deletes.is_empty()
    }

    /// What it inserts, as `(client, first clock, clock behind the last)`; gaps are left out.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.parsed.sections.iter().flat_map(|section| {
            let real = section.blocks.iter().filter(|block| !block.is_skip());
            real.map(|block| (section.client, block.start(), block.end()))
        })
    }

    /// What it deletes, as `(client, first clock, length in clocks)`.
    pub fn deletes(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.parsed.deletes.iter().map(|&(client, clock, len)| (client, clock.into(), len.into()))
    }

    /// Whether it holds `ContentJSON` of Yjs before 13.0. yrs 0.28.1 reads one string too many there, so
    /// such an update must not reach that engine.
    #[must_use]
    pub fn has_legacy_json(&self) -> bool {
        self.parsed.sections.iter().any(|section| section.blocks.iter().any(|block| block.content == 2))
    }

    /// Whether it holds a subdocument, which yrs 0.28.1 frees too early when an edit replaces it (HAZARDS yrs-10).
    #[must_use]
    pub fn has_subdocuments(&self) -> bool {
        self.parsed.sections.iter().any(|section| section.blocks.iter().any(|block| block.content == 9))
    }

    /// What must be known before a document can take this update whole: how far each client must reach
    /// without a hole. Empty if it leans on nothing.
    #[must_use]
    pub fn ground(&self) -> BTreeMap<u64, u64> {
        let (mut ground, mut own) = (BTreeMap::new(), BTreeMap::new());
        for section in &self.parsed.sections {
            // Whoever reaches the last run of structs has every hole before it filled.
            let (mut behind, mut run) = (0, 0);
            for block in section.blocks.iter().filter(|block| !block.is_skip()) {
                if block.start() > behind {
                    run = block.start();
                }
                behind = block.end();
            }
            own.insert(section.client, behind);
            if run > 0 {
                ground.insert(section.client, run);
            }
        }
        let needs = self.parsed.needs.iter().map(|(&client, &behind)| (client, behind));
        let deletes = self.deletes().map(|(client, clock, len)| (client, clock + len));
        for (client, behind) in needs.chain(deletes) {
            if behind > own.get(&client).copied().unwrap_or(0) {
                let clock = ground.entry(client).or_insert(0);
                *clock = (*clock).max(behind);
            }
        }
        ground
    }

    /// The clients of which it inserts something, in ascending order.
    pub(super) fn clients(&self) -> impl Iterator<Item = u64> + '_ {
        self.parsed.sections.iter().map(|section| section.client)
    }

    /// The sections in ascending client order.
    pub(super) fn sections(&self) -> &[Section] {
        &self.parsed.sections
    }

    /// The bytes of the struct with this index in a section.
    pub(super) fn block_bytes(&self, section: &Section, index: usize) -> &[u8] {
        let Some(block) = section.blocks.get(index) else { return &[] };
        let end = section.blocks.get(index + 1).map_or(section.end, |next| next.at);
        self.bytes.get(block.at as usize..end as usize).unwrap_or_default()
    }
}

/// What has been read of an update so far, against what one may have.
#[derive(Debug, Default)]
struct Budget {
    structs: usize,
    holes: usize,
    clients: usize,
    deletes: usize,
}

impl Budget {
    fn block(&mut self, content: u8) -> Result<(), InvalidUpdate> {
        if content == SKIP {
            spend(&mut self.holes, "holes", UPDATE_HOLES_MAX)?;
        }
        spend(&mut self.structs, "structs", UPDATE_STRUCTS_MAX)
    }

    fn client(&mut self) -> Result<(), InvalidUpdate> {
        spend(&mut self.clients, "clients", UPDATE_CLIENTS_MAX)
    }

    fn delete(&mut self) -> Result<(), InvalidUpdate> {
        spend(&mut self.deletes, "delete ranges", UPDATE_DELETES_MAX)
    }
}

fn spend(used: &mut usize, what: &'static str, max: usize) -> Result<(), InvalidUpdate> {
    *used += 1;
    if *used > max { Err(InvalidUpdate::TooMany { what, max }) } else { Ok(()) }
}

fn read_section(
    reader: &mut Reader<'_>,
    total: usize,
    parents: &mut Vec<Id>,
    needs: &mut BTreeMap<u64, u64>,
    budget: &mut Budget,
) -> Result<Section, InvalidUpdate> {
    let structs = count(reader, 2)?;
    let client = read_client(reader)?;
    let mut clock = reader.var_u64()?;
    if structs == 0 {
        return Err(InvalidUpdate::EmptySection { client });
    }
    if clock > CLOCK_MAX {
        return Err(InvalidUpdate::ClockTooHigh { client });
    }
    let position = |reader: &Reader<'_>| narrow((total - reader.rest().len()) as u64, client);
    let mut blocks = Vec::new();
    for _ in 0..structs {
        let at = position(reader)?;
        let raw = RawBlock::read(reader, Id { client, clock })?;
        budget.block(raw.content())?;
        parents.extend(raw.parent);
        for id in raw.needs() {
            let behind = needs.entry(id.client).or_insert(0);
            *behind = (*behind).max(id.clock + 1);
        }
        let (start, len) = (narrow(clock, client)?, narrow(raw.len, client)?);
        blocks.push(Block { clock: start, len, at, content: raw.content() });
        clock += raw.len;
    }
    Ok(Section { client, blocks, end: position(reader)? })
}

/// The deletes of an update, as `(client, first clock, length in clocks)`, from bytes that hold nothing else.
pub(super) fn parse_deletes(bytes: &[u8]) -> Result<Vec<(u64, u32, u32)>, InvalidUpdate> {
    let (mut reader, mut deletes) = (Reader::new(bytes), Vec::new());
    read_deletes(&mut reader, &mut deletes, &mut Budget::default())?;
    reader.end()?;
    Ok(deletes)
}

fn read_deletes(
    reader: &mut Reader<'_>,
    deletes: &mut Vec<(u64, u32, u32)>,
    budget: &mut Budget,
) -> Result<(), InvalidUpdate> {
    let mut clients = Vec::new();
    for _ in 0..count(reader, 2)? {
        let client = read_client(reader)?;
        clients.push(client);
        let mut behind = 0u64;
        for _ in 0..count(reader, 2)? {
            budget.delete()?;
            let (clock, len) = (reader.var_u64()?, reader.var_u64()?);
            if len == 0 {
                return Err(InvalidUpdate::Empty { client, clock });
            }
            if len > CLOCK_MAX || clock > CLOCK_MAX - len {
                return Err(InvalidUpdate::ClockTooHigh { client });
            }
            if clock < behind {
                return Err(InvalidUpdate::DeleteOrder { client });
            }
            behind = clock + len;
            deletes.push((client, narrow(clock, client)?, narrow(len, client)?));
        }
    }
    clients.sort_unstable();
    match duplicate(clients.into_iter()) {
        Some(client) => Err(InvalidUpdate::DuplicateClient { client }),
        None => Ok(()),
    }
}

/// Refuses a parent that this very update shows to be no shared type: yrs stops halfway through such
/// an update and commits the half (HAZARDS: yrs-1).
fn check_parents(sections: &[Section], parents: &[Id]) -> Result<(), InvalidUpdate> {
    for parent in parents {
        let found = sections
            .binary_search_by_key(&parent.client, |section| section.client)
            .ok()
            .and_then(|at| sections.get(at))
            .and_then(|section| {
                let behind = section.blocks.partition_point(|block| block.start() <= parent.clock);
                section.blocks.get(behind.checked_sub(1)?)
            });
        if let Some(block) = found
            && block.end() > parent.clock
            && !matches!(block.content, GC | DELETED | TYPE | SKIP)
        {
            return Err(InvalidUpdate::ParentNoType { client: parent.client, clock: parent.clock });
        }
    }
    Ok(())
}

fn read_client(reader: &mut Reader<'_>) -> Result<u64, InvalidUpdate> {
    let client = reader.var_u64()?;
    if client > CLIENT_ID_MAX { Err(Lib0Error::TooLarge.into()) } else { Ok(client) }
}

fn narrow(value: u64, client: u64) -> Result<u32, InvalidUpdate> {
    u32::try_from(value).map_err(|_| InvalidUpdate::ClockTooHigh { client })
}

fn duplicate(sorted: impl Iterator<Item = u64>) -> Option<u64> {
    let mut last = None;
    for client in sorted {
        if last == Some(client) {
            return last;
        }
        last = Some(client);
    }
    None
}
