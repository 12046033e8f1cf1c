//! What is larger than a message goes in parts, one behind the other in the same stream. A gap ends what is under way.

use bytes::Bytes;

use super::codec::{Head, InvalidEnvelope, LETTER_BYTES_MAX, Letter, MESSAGE_BYTES_MAX, Place, Sender};
use super::envelope::{Part, ToRoom};

/// Most bytes that all senders together may have under way.
pub(super) const HELD_BYTES_MAX: usize = 4 * LETTER_BYTES_MAX;
/// Room for the head and what a part says of itself.
const AROUND_BYTES: usize = 64;
const PART_BYTES: usize = MESSAGE_BYTES_MAX - AROUND_BYTES;
pub(super) const PARTS_MAX: u64 = LETTER_BYTES_MAX.div_ceil(PART_BYTES) as u64;

/// A message that no peer would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message between relays has {found} bytes, at most {max} are taken; it was not sent")]
pub struct TooLarge {
    /// Its length in bytes.
    pub found: usize,
    /// The most there may be.
    pub max: usize,
}

/// A letter as messages, the first one at `place` and each further one behind it.
pub(super) fn pack(
    sender: Sender,
    place: Place,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<Vec<Bytes>, TooLarge> {
    let mut whole = Vec::new();
    Head { sender, place }.write(&mut whole);
    let head_len = whole.len();
    write(&mut whole);
    if whole.len() <= MESSAGE_BYTES_MAX {
        return Ok(vec![whole.into()]);
    }
    let letter = Bytes::from(whole).slice(head_len..);
    if letter.len() > LETTER_BYTES_MAX {
        return Err(TooLarge { found: letter.len(), max: LETTER_BYTES_MAX });
    }
    let count = letter.len().div_ceil(PART_BYTES) as u64;
    let message = |index: u64| {
        let start = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(PART_BYTES).min(letter.len());
        let bytes = letter.slice(start..letter.len().min(start + PART_BYTES));
        let mut out = Vec::with_capacity(AROUND_BYTES + bytes.len());
        Head { sender, place: place.behind(index) }.write(&mut out);
        ToRoom::Part(Part { index, count, bytes }).write(&mut out);
        Bytes::from(out)
    };
    Ok((0..count).map(message).collect())
}

/// What has come of a letter in one stream.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
    next: u64,
    count: u64,
}

impl Assembly {
    /// Takes the next part; gives the letter with the last one. `held` is what all senders have under way.
    pub(super) fn add(&mut self, part: &Part, held: &mut usize) -> Result<Option<Letter>, InvalidEnvelope> {
        if part.count > PARTS_MAX || part.index >= part.count {
            self.clear(held);
            return Err(InvalidEnvelope::Code { what: "which part it is", found: part.index });
        }
        if part.index == 0 {
            self.clear(held);
            self.count = part.count;
        } else if part.index != self.next || part.count != self.count {
            // The one before was lost, and whoever needs to know has been told.
            self.clear(held);
            return Ok(None);
        }
        if self.bytes.len() + part.bytes.len() > LETTER_BYTES_MAX || *held + part.bytes.len() > HELD_BYTES_MAX
        {
            self.clear(held);
            return Err(InvalidEnvelope::TooLarge);
        }
        *held += part.bytes.len();
        self.bytes.extend_from_slice(&part.bytes);
        self.next = part.index + 1;
        if self.next < self.count {
            return Ok(None);
        }
        let whole = std::mem::take(&mut self.bytes);
        *held -= whole.len();
        self.clear(held);
        Ok(Some(Letter::whole(whole.into())))
    }

    /// Forgets what has come.
    pub(super) fn clear(&mut self, held: &mut usize) {
        *held = held.saturating_sub(self.bytes.len());
        *self = Self::default();
    }
}
