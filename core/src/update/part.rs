//! What of one update has its ground, struct by struct.
//!
//! The structs of a client are taken in the order of their clocks, up to the first one that leans on something
//! that is not known. What waits is indexed by the client and clock that it waits for: each struct is looked
//! at once for each thing that it leans on.

use std::collections::{BTreeMap, VecDeque};

use super::block::{Id, RawBlock};
use super::coverage::Coverage;
use super::parse::{Block, Section, Update};
use super::ranges::{RangeSet, write_delete_set};
use crate::wire::lib0::{Reader, write_var_u64};

impl Coverage {
    /// Takes in what of `update` has its ground, and gives it as an update; none if that is nothing.
    pub(super) fn admit_part(&mut self, update: &Update) -> Option<Update> {
        let mut taking = Taking { update, known: self, reached: BTreeMap::new() };
        let taken = taking.sections();
        let part = Update::parse(taking.write(&taken).into()).ok()?;
        self.add(&part);
        (!part.is_empty()).then_some(part)
    }
}

struct Taking<'a> {
    update: &'a Update,
    known: &'a Coverage,
    /// Clients that the update has brought further.
    reached: BTreeMap<u64, u64>,
}

impl Taking<'_> {
    fn reach(&self, client: u64) -> u64 {
        self.reached.get(&client).copied().unwrap_or_else(|| self.known.reach(client))
    }

    /// How many structs of each section are taken.
    fn sections(&mut self) -> Vec<usize> {
        let sections = self.update.sections();
        let mut taken = vec![0; sections.len()];
        let mut waiting: BTreeMap<u64, BTreeMap<u64, Vec<usize>>> = BTreeMap::new();
        let mut ready: VecDeque<usize> = (0..sections.len()).collect();
        while let Some(at) = ready.pop_front() {
            let (Some(section), Some(taken)) = (sections.get(at), taken.get_mut(at)) else { continue };
            if let Some((client, clock)) = self.section(section, taken) {
                waiting.entry(client).or_default().entry(clock).or_default().push(at);
            }
            let reached = self.reach(section.client);
            let Some(held) = waiting.get_mut(&section.client) else { continue };
            while let Some(first) = held.first_entry().filter(|first| *first.key() <= reached) {
                ready.extend(first.remove());
            }
        }
        taken
    }

    /// Takes structs of a section; returns the client and clock that the next one waits for, if it is another's.
    fn section(&mut self, section: &Section, taken: &mut usize) -> Option<(u64, u64)> {
        let client = section.client;
        loop {
            let block = section.blocks.get(*taken)?;
            let reached = self.reach(client);
            let missing = if block.is_skip() { block.end() > reached } else { block.start() > reached };
            if missing {
                return None; // Nobody but the section itself brings its client further.
            }
            if let Some(id) = self.needs(section, *taken, block).find(|id| id.clock >= self.reach(id.client))
            {
                return Some((id.client, id.clock + 1));
            }
            self.reached.insert(client, reached.max(block.end()));
            *taken += 1;
        }
    }

    /// What a struct leans on. It was read before, so it reads.
    fn needs(&self, section: &Section, index: usize, block: &Block) -> impl Iterator<Item = Id> + use<> {
        let id = Id { client: section.client, clock: block.start() };
        let read = RawBlock::read(&mut Reader::new(self.update.block_bytes(section, index)), id);
        read.map(|block| block.needs()).into_iter().flatten()
    }

    fn write(&self, taken: &[usize]) -> Vec<u8> {
        let (mut body, mut count) = (Vec::new(), 0u64);
        for (section, taken) in self.update.sections().iter().zip(taken).rev() {
            let blocks = section.blocks.get(..*taken).unwrap_or_default();
            // What is before a hole that counts as taken was known before.
            let from = blocks.iter().rposition(Block::is_skip).map_or(0, |hole| hole + 1);
            let Some(first) = blocks.get(from) else { continue };
            count += 1;
            write_var_u64(&mut body, (blocks.len() - from) as u64);
            write_var_u64(&mut body, section.client);
            write_var_u64(&mut body, first.start());
            (from..blocks.len()).for_each(|at| body.extend_from_slice(self.update.block_bytes(section, at)));
        }
        let mut deletes: BTreeMap<u64, RangeSet> = BTreeMap::new();
        for (client, clock, len) in self.update.deletes() {
            let end = (clock + len).min(self.reach(client));
            if clock < end {
                deletes.entry(client).or_default().insert(clock, end);
            }
        }
        let mut out = Vec::with_capacity(body.len() + 16);
        write_var_u64(&mut out, count);
        out.append(&mut body);
        write_delete_set(&mut out, &deletes);
        out
    }
}
