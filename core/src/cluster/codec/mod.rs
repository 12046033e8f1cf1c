//! What relays say to each other as bytes, strict in both directions. `core/PROTOCOL.md` has the layout; golden bytes
//! lie in `fixtures/cluster`.
//!
//! Nothing is allocated from a claimed length, and no update, state vector or presence gets by unread. A version that
//! is not known is refused; a kind of body that is not known is no error, so that a later program can say more.

mod error;
mod head;
mod kind;
mod message; // what rooms say
mod read;
mod tunnel;
mod write;

pub use error::InvalidEnvelope;
pub use head::{Sender, bye, sender_of};

pub(super) use head::{Head, Place};
pub(super) use message::write as write_said;
pub(super) use read::Letter;
pub(super) use tunnel::write as write_frame;
pub(super) use write::{part_head, said_to_peer, said_to_room};

use crate::limits::{PEER_PAYLOAD_BYTES_MAX, STATE_VECTOR_BYTES_MAX, UPDATE_BYTES_MAX};

/// Largest message on a backplane in bytes: half of what a NATS server takes by default. What is larger goes in parts.
pub const MESSAGE_BYTES_MAX: usize = PEER_PAYLOAD_BYTES_MAX;

/// Largest thing that is said in bytes, before it is cut in parts: an answer with the largest update, the largest state
/// vector and what is around them.
pub(super) const LETTER_BYTES_MAX: usize = UPDATE_BYTES_MAX + STATE_VECTOR_BYTES_MAX + 64 * 1024;
