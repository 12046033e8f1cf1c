//! What a room spreads in one turn of its runtime, framed once and handed to each member in one piece.
//!
//! A turn ends when everything that is ready has been read, never by a timer: nothing waits longer than the work
//! that is there already. The order of messages is kept; frames stay single WebSocket messages, only their bytes
//! lie together.
//!
//! A member does not get back what it brought. Its pieces are slices of the same bytes, unless these are mostly its
//! own: then they are copied, so that a reader that stands still cannot keep far more alive than it is counted for.
//! A member that is behind gets its portion without presence.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::room::MemberId;

use super::framing::{Framing, PerFraming, Seat};
use crate::connection::frame;

/// Bytes after which a turn is over, and length from which a message goes its own way: a copy would cost more than
/// what it saves.
const BYTES_MAX: usize = 256 * 1024;
/// What an empty one keeps.
const KEPT_BYTES: usize = 1024;
/// Empty ones that a thread keeps: as many rooms as have something to hand out in one turn, hardly ever more.
const SPARE_MAX: usize = 256;

thread_local! {
    #[expect(clippy::vec_box, reason = "the box is what a room holds")]
    static SPARE: RefCell<Vec<Box<Gathered>>> = const { RefCell::new(Vec::new()) };
}

/// The messages of this turn, in order.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    bodies: Vec<u8>,
    parts: Vec<Part>,
    /// Whoever brought one, each once, in order.
    bringers: Vec<MemberId>,
    /// Changes of presence before the first that is here.
    presence: Option<u64>,
}

#[derive(Debug)]
struct Part {
    except: Option<MemberId>,
    is_presence: bool,
    len: usize,
}

/// The messages of a turn in one framing.
#[derive(Debug)]
struct Batch {
    bytes: Bytes,
    /// Where each message ends.
    ends: Vec<usize>,
}

/// What one member gets.
#[derive(Debug, Default)]
pub(super) struct Portion {
    pub(super) pieces: Vec<Bytes>,
    pub(super) messages: usize,
}

impl Gathered {
    /// Whether a message of this length is gathered at all.
    pub(super) fn takes(len: usize) -> bool {
        len < BYTES_MAX
    }

    /// An empty one: the one that was in use last on this thread, and is still in its cache.
    pub(super) fn take() -> Box<Self> {
        SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Whether the turn is over because of its size.
    pub(super) fn is_full(&self) -> bool {
        self.bodies.len() >= BYTES_MAX
    }

    /// If there is presence here, how many changes of it there were before.
    pub(super) fn presence(&self) -> Option<u64> {
        self.presence
    }

    /// `presence` as of [`Effect::Spread`](tombolo_core::room::Effect::Spread).
    pub(super) fn push(&mut self, except: Option<MemberId>, presence: Option<u64>, body: &[u8]) {
        self.bodies.extend_from_slice(body);
        self.parts.push(Part { except, is_presence: presence.is_some(), len: body.len() });
        self.presence = self.presence.or(presence);
        if let Some(id) = except
            && let Err(place) = self.bringers.binary_search(&id)
        {
            self.bringers.insert(place, id);
        }
    }

    /// Gives each member its portion, without presence to those who are behind.
    pub(super) fn deliver(
        &self,
        seats: &BTreeMap<MemberId, Seat>,
        mut is_behind: impl FnMut(MemberId, &Seat) -> bool,
        mut give: impl FnMut(MemberId, &Seat, &mut Portion),
    ) {
        let mut batches = PerFraming::new();
        let mut portion = Portion::default();
        for (id, seat) in seats {
            let batch = batches.of(&seat.framing, || Arc::new(self.batch(&seat.framing)));
            let without_presence = self.presence.is_some() && is_behind(*id, seat);
            self.portion(&batch, *id, without_presence, &mut portion);
            if portion.messages > 0 {
                give(*id, seat, &mut portion);
            }
        }
    }

    /// Forgets it all and leaves its room to the next one; that of a large turn is given back.
    pub(super) fn give_back(mut self: Box<Self>) {
        self.bodies.clear();
        self.bodies.shrink_to(KEPT_BYTES);
        self.parts.clear();
        self.parts.shrink_to(KEPT_BYTES / size_of::<Part>());
        self.bringers.clear();
        self.presence = None;
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(self);
            }
        });
    }

    /// All messages, framed.
    fn batch(&self, framing: &Framing) -> Batch {
        let prefix = framing.prefix();
        let more = frame::HEAD_BYTES_MAX + prefix.len();
        let mut bytes = Vec::with_capacity(self.bodies.len() + self.parts.len() * more);
        let mut ends = Vec::with_capacity(self.parts.len());
        let mut rest = self.bodies.as_slice();
        for part in &self.parts {
            let Some((body, behind)) = rest.split_at_checked(part.len) else { break };
            frame::append_binary(&mut bytes, &[&prefix, body]);
            ends.push(bytes.len());
            rest = behind;
        }
        Batch { bytes: bytes.into(), ends }
    }

    /// What of it is for this member.
    fn portion(&self, batch: &Batch, member: MemberId, without_presence: bool, portion: &mut Portion) {
        let Portion { pieces, messages } = portion;
        pieces.clear();
        if !without_presence && self.bringers.binary_search(&member).is_err() {
            pieces.push(batch.bytes.clone());
            *messages = self.parts.len();
            return;
        }
        *messages = 0;
        let (mut start, mut end, mut bytes) = (0, 0, 0);
        let mut cut = |start: usize, end: usize| {
            if start < end {
                bytes += end - start;
                pieces.push(batch.bytes.slice(start..end));
            }
        };
        for (part, after) in self.parts.iter().zip(&batch.ends) {
            if part.except == Some(member) || (without_presence && part.is_presence) {
                cut(start, end);
                start = *after;
            } else {
                *messages += 1;
            }
            end = *after;
        }
        cut(start, end);
        if bytes < batch.bytes.len() / 2 {
            pieces.iter_mut().for_each(|piece| *piece = Bytes::copy_from_slice(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);

    fn gathered() -> Gathered {
        let mut gathered = Gathered::default();
        gathered.push(Some(A), None, b"one");
        gathered.push(None, Some(7), b"two");
        gathered.push(Some(B), None, b"three");
        gathered.push(Some(A), Some(8), b"four");
        gathered
    }

    fn got(gathered: &Gathered, member: MemberId) -> (Vec<u8>, usize) {
        portion(gathered, member, false)
    }

    fn portion(gathered: &Gathered, member: MemberId, without_presence: bool) -> (Vec<u8>, usize) {
        let batch = gathered.batch(&Framing::Bare);
        let mut portion = Portion::default();
        gathered.portion(&batch, member, without_presence, &mut portion);
        (portion.pieces.concat(), portion.messages)
    }

    fn frames(bodies: &[&str]) -> Vec<u8> {
        bodies.iter().flat_map(|body| frame::binary(&[body.as_bytes()]).to_vec()).collect()
    }

    #[test]
    fn nobody_gets_back_what_it_brought_and_the_order_stays() {
        let gathered = gathered();
        assert_eq!(got(&gathered, MemberId(3)), (frames(&["one", "two", "three", "four"]), 4));
        assert_eq!(got(&gathered, A), (frames(&["two", "three"]), 2));
        assert_eq!(got(&gathered, B), (frames(&["one", "two", "four"]), 3));
    }

    #[test]
    fn who_is_behind_gets_all_but_presence() {
        let gathered = gathered();
        assert_eq!(gathered.presence(), Some(7), "before the first");
        assert_eq!(portion(&gathered, MemberId(3), true), (frames(&["one", "three"]), 2));
        assert_eq!(portion(&gathered, A, true), (frames(&["three"]), 1));
        Box::new(gathered).give_back();
        let next = Gathered::take();
        assert_eq!((next.presence(), got(&next, A)), (None, (vec![], 0)));
    }

    #[test]
    fn who_brought_nearly_all_of_it_keeps_only_its_own_portion_alive() {
        let mut gathered = Gathered::default();
        gathered.push(Some(A), None, &[0; 10_000]);
        gathered.push(Some(B), None, b"x");
        let batch = gathered.batch(&Framing::Bare);
        let mut portion = Portion::default();
        gathered.portion(&batch, A, false, &mut portion);
        drop(gathered);
        assert!(batch.bytes.is_unique(), "the small piece is a copy");
        assert_eq!(portion.pieces.concat(), frames(&["x"]));
    }

    #[test]
    fn a_member_that_brought_everything_gets_nothing() {
        let mut gathered = Gathered::default();
        gathered.push(Some(A), None, b"mine");
        assert_eq!(got(&gathered, A), (vec![], 0));
    }
}
