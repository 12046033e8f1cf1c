//! The members of one Automerge document, as a plain state machine: who syncs with whom where nothing stores, who
//! hears ephemeral messages, and who hears of heads.
//!
//! automerge-repo syncs in pairs, and each side keeps what it believes of the other under its peer id. So a relay
//! without an archive shows each client **virtual peers**, its *slots*: within one document a slot stands for
//! one other member at a time. Clients have no way to be told that a peer left, and drop only the last one that was
//! introduced when their socket ends; whatever else they were ever shown stays with all it is believed to have. So slots
//! are few, keep their names for ever, also over a new connection to another relay, and are used again: before a slot
//! stands for another member, the client is sent [`RESET`], after which it believes nothing of it. (Unique ids for each
//! connection would be right, too, but clients would collect them and send each change to all of them.)
//!
//! Rules, each because of what stock clients do:
//! - Who has not got the document, or comes back with an older one, is paired with one member that holds it, so that
//!   it is sent the document once and not by everybody. If that one leaves, is silent or has no access, another takes
//!   its slot. Who has caught up is paired with all others that hold it; any one of them may go.
//! - A request is answered "unavailable" as soon as nobody holds the document, or the slot stands for nobody: clients
//!   wait for each peer they know. Who only asks reaches nobody; the peer in its slot is made to begin.
//! - Only a member that waits for the document is told that a peer has it no more. To others it means nothing, and
//!   for a document that a client has dropped it would make it look for it again.
//! - Ephemeral messages count for slot 0 only: clients send one copy to each slot, with counts of their own.
//!
//! Guarantees: a message reaches the member that its slot stands for, or nobody; members that hold the document are
//! joined in pairs with each other; a member costs memory for its heads ([`HEADS_KEPT_MAX`]) and its partners, and no
//! more than a given number of them is paired at once. Those beyond are told that the document is unavailable, and
//! get in when somebody leaves.
//!
//! [`HEADS_KEPT_MAX`]: crate::limits::HEADS_KEPT_MAX

mod effect;
mod gossip;
mod machine;
mod matching;
mod member;
#[cfg(test)]
mod tests;

pub use effect::{Effect, RESET, Slot};
pub use gossip::{Subscriptions, heads_of};
pub use machine::Pairs;
