//! How far a peer knows each client: `varUint n { varUint client, varUint clock }`.

use std::collections::BTreeMap;

use super::any::count;
use super::error::InvalidUpdate;
use crate::limits::CLOCK_MAX;
use crate::wire::lib0::{Reader, write_var_u64};

/// The first unknown clock of each client. It says nothing about deletes (HAZARDS: yrs-7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateVector(BTreeMap<u64, u64>);

impl StateVector {
    /// Reads an encoded state vector; entries of clock 0 say nothing and are dropped.
    ///
    /// # Errors
    /// [`InvalidUpdate`] if it is malformed, lists a client twice or names a clock out of bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidUpdate> {
        let mut reader = Reader::new(bytes);
        let mut clocks = BTreeMap::new();
        for _ in 0..count(&mut reader, 2)? {
            let (client, clock) = (reader.var_u64()?, reader.var_u64()?);
            if clock > CLOCK_MAX {
                return Err(InvalidUpdate::ClockTooHigh { client });
            }
            if clocks.insert(client, clock).is_some() {
                return Err(InvalidUpdate::DuplicateClient { client });
            }
        }
        reader.end()?;
        Ok(clocks.into_iter().collect())
    }

    /// The bytes, in descending client order as Yjs writes them; `00` if empty.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_var_u64(&mut out, self.0.len() as u64);
        for (&client, &clock) in self.0.iter().rev() {
            write_var_u64(&mut out, client);
            write_var_u64(&mut out, clock);
        }
        out
    }

    /// The first unknown clock of `client`; 0 if nothing is known.
    #[must_use]
    pub fn get(&self, client: u64) -> u64 {
        self.0.get(&client).copied().unwrap_or(0)
    }

    /// Whether no client is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What both know.
    #[must_use]
    pub fn lower(&self, other: &Self) -> Self {
        self.iter().map(|(client, clock)| (client, clock.min(other.get(client)))).collect()
    }

    /// What one of both knows.
    #[must_use]
    pub fn upper(&self, other: &Self) -> Self {
        let mut upper = self.clone();
        for (client, clock) in other.iter() {
            let known = upper.0.entry(client).or_default();
            *known = clock.max(*known);
        }
        upper
    }

    /// Each known client with its first unknown clock, in ascending client order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(&client, &clock)| (client, clock))
    }
}

impl FromIterator<(u64, u64)> for StateVector {
    fn from_iter<T: IntoIterator<Item = (u64, u64)>>(entries: T) -> Self {
        Self(entries.into_iter().filter(|&(_, clock)| clock > 0).collect())
    }
}
