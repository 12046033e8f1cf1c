//! Presence of the users of a Yjs document: `varUint n { varUint client, varUint clock, string JSON }`.
//!
//! Layout of `y-protocols` 1.0.7 `awareness.js`. States are kept as the JSON text that came and are
//! handed on unread; they are only checked to be JSON within bounds.

use bytes::Bytes;

use super::json::check_json;
use crate::limits::{AWARENESS_ENTRIES_MAX, AWARENESS_STATE_BYTES_MAX};
use crate::wire::lib0::{Lib0Error, Reader, write_var_bytes, write_var_u64};

/// Why bytes are no awareness update. Always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAwareness {
    /// A primitive value is malformed, or bytes are missing or left over.
    #[error("the awareness update is malformed")]
    Lib0(#[from] Lib0Error),
    /// More entries than one update may have.
    #[error("the awareness update claims {claimed} entries")]
    TooManyEntries {
        /// The claimed number.
        claimed: u64,
    },
    /// A state that is larger than accepted.
    #[error("the state of client {client} has {found} bytes, more than are accepted")]
    StateTooLarge {
        /// The client id.
        client: u64,
        /// The length of its state in bytes.
        found: usize,
    },
    /// A state that is no JSON or is nested too deep.
    #[error("the state of client {client} is no json of bounded depth")]
    Json {
        /// The client id.
        client: u64,
    },
}

/// One client's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwarenessEntry {
    /// The client id.
    pub client: u64,
    /// Counts the client's own changes of its state.
    pub clock: u64,
    /// The state as JSON text; `None` is JSON `null`: the client is gone.
    pub state: Option<Bytes>,
}

/// What an awareness message carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwarenessUpdate {
    /// In the order received; a client may appear twice.
    pub entries: Vec<AwarenessEntry>,
}

impl AwarenessUpdate {
    /// Reads one whole awareness update; states are copied out of `bytes`.
    ///
    /// # Errors
    /// [`InvalidAwareness`] names the first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidAwareness> {
        let mut reader = Reader::new(bytes);
        let claimed = reader.var_u64()?;
        if claimed > AWARENESS_ENTRIES_MAX as u64 {
            return Err(InvalidAwareness::TooManyEntries { claimed });
        }
        let mut entries = Vec::new();
        for _ in 0..claimed {
            let (client, clock) = (reader.var_u64()?, reader.var_u64()?);
            let state = reader.var_str()?;
            if state.len() > AWARENESS_STATE_BYTES_MAX {
                return Err(InvalidAwareness::StateTooLarge { client, found: state.len() });
            }
            check_json(state).map_err(|_| InvalidAwareness::Json { client })?;
            let state = (state.trim() != "null").then(|| Bytes::copy_from_slice(state.as_bytes()));
            entries.push(AwarenessEntry { client, clock, state });
        }
        reader.end()?;
        Ok(Self { entries })
    }

    /// The bytes as y-protocols writes them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_var_u64(&mut out, self.entries.len() as u64);
        for entry in &self.entries {
            write_var_u64(&mut out, entry.client);
            write_var_u64(&mut out, entry.clock);
            write_var_bytes(&mut out, entry.state.as_deref().unwrap_or(b"null"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_updates_come_back() {
        let here = [&[1u8, 1, 1, 7][..], br#"{"n":1}"#].concat();
        let gone = [&[1u8, 1, 2, 4][..], b"null"].concat();
        let parsed = AwarenessUpdate::parse(&here).unwrap();
        assert_eq!(parsed.entries[0].state.as_deref(), Some(&br#"{"n":1}"#[..]));
        assert_eq!(parsed.encode(), here);
        let parsed = AwarenessUpdate::parse(&gone).unwrap();
        assert_eq!(parsed.entries[0], AwarenessEntry { client: 1, clock: 2, state: None });
        assert_eq!(parsed.encode(), gone);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for len in 0..11 {
            let whole = [&[1u8, 1, 1, 7][..], br#"{"n":1}"#].concat();
            assert!(AwarenessUpdate::parse(&whole[..len]).is_err());
        }
        assert_eq!(AwarenessUpdate::parse(&[1, 1, 1, 1, b'{']), Err(InvalidAwareness::Json { client: 1 }));
        assert_eq!(
            AwarenessUpdate::parse(&[0xff, 0xff, 0x7f]),
            Err(InvalidAwareness::TooManyEntries { claimed: 0x1f_ffff })
        );
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        let mut bytes = vec![1, 1, 1];
        write_var_bytes(&mut bytes, deep.as_bytes());
        assert_eq!(AwarenessUpdate::parse(&bytes), Err(InvalidAwareness::Json { client: 1 }));
        assert_eq!(AwarenessUpdate::parse(&[0, 0]), Err(InvalidAwareness::Lib0(Lib0Error::Trailing)));
    }
}
